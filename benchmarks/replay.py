"""Replay: a decoded log to Parquet, eight timeframes, beside polars' eight `group_by` passes over the same ticks.

    python benchmarks/replay.py [FILE] [--ticks 5000000] [--columns … --timezone …] [--repeat 3] [--profile]

FILE is anything `tickloom import` takes, and its ticks are repeated, each lap a whole number of weeks later, until
there are `--ticks` of them; without one, a random walk of 100 ticks a second. The log is made once, by the importer.
One line of JSON: `mticks` is million ticks a second of wall time, best of `--repeat`; replay reads the log from its
files, validates every tick and writes Parquet files and digests; polars has them in memory and writes nothing.
`reading` is the log alone, read and dropped.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import parquet

import tickloom
from tickloom.actors.recorder.importing.ticks import import_ticks
from tickloom.actors.recorder.reader import LogReader
from tickloom.config.timeframes import Timeframe
from tickloom.messages.intake import Frames
from tickloom.messages.market import NS

CONTRACT = "CON.F.US.EP.Z25"
NAMES = ("1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d")
WEEK = 7 * 86_400 * NS

Columns = dict[str, Any]


def walk(count: int) -> Columns:
    """Return a random walk of so many ticks."""
    rng = np.random.default_rng(7)
    return {
        "time": 1_750_000_000 * NS + np.cumsum(rng.exponential(NS / 100, count).astype(np.int64)),
        "price": 5_000 + np.cumsum(rng.integers(-1, 2, count)) * 0.25,
        "size": rng.geometric(0.3, count),
        "side": rng.integers(0, 2, count),
    }


def columns_of(log: Path) -> Columns:
    """Return the ticks of a log."""
    parts: list[list[Any]] = [[], [], [], []]
    with LogReader(log) as reader:
        for numbered in reader.items():
            if isinstance(numbered.item, Frames) and numbered.item.prints is not None:
                prints = numbered.item.prints
                for part, column in zip(parts, (prints.ts_ns, prints.price, prints.size, prints.side), strict=True):
                    part.append(np.asarray(column))
    return dict(zip(("time", "price", "size", "side"), map(np.concatenate, parts), strict=True))


def repeated(ticks: Columns, count: int) -> Columns:
    """Return `count` ticks: the same ones again and again, each lap whole weeks after the one before."""
    stamps = ticks["time"]
    laps = -(-count // len(stamps))
    step = (int(stamps.max() - stamps.min()) // WEEK + 1) * WEEK
    made = {name: np.tile(column, laps)[:count] for name, column in ticks.items()}
    made["time"] = made["time"] + np.repeat(np.arange(laps) * step, len(stamps))[:count]
    return made


def by_polars(frame: pl.DataFrame) -> int:
    """Return the number of bars after eight passes."""
    bars = 0
    for name in NAMES:
        made = frame.group_by(pl.col("time") // (Timeframe.parse(name).seconds * NS)).agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("size").sum().alias("volume"),
            pl.len().alias("trades"),
            (pl.col("price") * pl.col("size")).sum().alias("notional"),
            pl.col("size").filter(pl.col("side") == 0).sum().alias("buy"),
            pl.col("size").filter(pl.col("side") == 1).sum().alias("sell"),
        )
        bars += made.sort("time").height
    return bars


def reading(log: Path) -> int:
    """Read a log as replay does, and drop it."""
    with LogReader(log) as reader:
        return sum(len(each.item) for each in reader.items(max_rows=65_536) if isinstance(each.item, Frames))


def best(work: Callable[[], Any], repeat: int) -> tuple[float, float, Any]:
    """Return the least wall and CPU seconds, and the last result."""
    wall = cpu = float("inf")
    result = None
    for _ in range(repeat):
        result = None
        gc.collect()
        c, w = time.process_time(), time.perf_counter()
        result = work()
        wall, cpu = min(wall, time.perf_counter() - w), min(cpu, time.process_time() - c)
    return wall, cpu, result


def main() -> None:
    """Run once and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--ticks", type=int, default=5_000_000)
    parser.add_argument("--columns")
    parser.add_argument("--timezone", default="UTC")
    parser.add_argument("--batch", type=int, default=65_536)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="the calling thread's, which reads the log")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if options.file:
            import_ticks(
                options.file,
                place / "once",
                CONTRACT,
                columns=options.columns,
                timezone=options.timezone,
                tick_size=0.25,
            )
            ticks = repeated(columns_of(place / "once"), options.ticks)
        else:
            ticks = walk(options.ticks)
        parquet.write_table(
            pa.table({**ticks, "time": pa.array(ticks["time"], pa.timestamp("ns", "UTC"))}), place / "ticks.parquet"
        )
        import_ticks(place / "ticks.parquet", place / "log", CONTRACT, tick_size=0.25)
        count = len(ticks["time"])

        def run() -> tickloom.Replay:
            return tickloom.replay(
                place / "log", timeframes=NAMES, out=place / f"out-{time.monotonic_ns()}", batch_rows=options.batch
            )

        if options.profile:
            with cProfile.Profile() as profile:
                run()
            pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(25)
        run()  # the pages of the log are in memory from here on, as polars' ticks are
        wall, cpu, made = best(run, options.repeat)
        read, _, _ = best(lambda: reading(place / "log"), options.repeat)
        frame = pl.DataFrame(ticks)
        polars, polars_cpu, bars = best(lambda: by_polars(frame), options.repeat)
        figures = {
            "ticks": count,
            "mticks": round(count / wall / 1e6, 2),
            "mticks_per_cpu": round(count / cpu / 1e6, 2),
            "reading": round(count / read / 1e6, 2),
            "polars": round(count / polars / 1e6, 2),
            "polars_per_cpu": round(count / polars_cpu / 1e6, 2),
            "to_polars": round(polars / wall, 2),
            "lost": made.summary.lost,
            "rejected": made.summary.rejected,
            "bars": made.summary.bars,
            "polars_bars": bars,
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
