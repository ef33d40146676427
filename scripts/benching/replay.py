"""A recorded log to bars of eight timeframes, beside polars' eight `group_by` passes over the same ticks.

Polars has the ticks in memory and does nothing but add up; a replay reads its log from files, checks every batch's
checksum, judges every tick, and hashes every bar. Both sides must come to the same number of bars.
"""

from __future__ import annotations

import gc
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet

import tickloom
from tickloom.actors.recorder.importing.ticks import import_ticks
from tickloom.config.timeframes import Timeframe
from tickloom.messages.market import NS
from tickloom.scripts.benching.figures import Figure

CONTRACT: Final = "BENCH"
TIMEFRAMES: Final = ("1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d")
TICKS_A_SECOND: Final = 100


class UnequalBars(RuntimeError):
    """Ours and the peer's bars are not the same in number: one of them is wrong."""


def walk(count: int, seed: int = 7) -> dict[str, Any]:
    """Return a random walk of so many ticks as columns: time (ns), price, size, side."""
    rng = np.random.default_rng(seed)
    return {
        "time": 1_750_000_000 * NS + np.cumsum(rng.exponential(NS / TICKS_A_SECOND, count).astype(np.int64)),
        "price": 5_000 + np.cumsum(rng.integers(-1, 2, count)) * 0.25,
        "size": rng.geometric(0.3, count),
        "side": rng.integers(0, 2, count),
    }


def measure(place: Path, ticks: int, rounds: int) -> list[Figure]:
    """Measure both sides in turns.

    Args:
        place: a folder for the log.
        ticks: how many.
        rounds: of each side; the best counts.

    Raises:
        UnequalBars: the sides do not agree.
    """
    columns = walk(ticks)
    stamps = pa.array(columns["time"], pa.timestamp("ns", "UTC"))
    parquet.write_table(pa.table({**columns, "time": stamps}), place / "ticks.parquet")
    import_ticks(place / "ticks.parquet", place / "log", CONTRACT, tick_size=0.25)
    installed = importlib.util.find_spec("polars") is not None
    theirs = _polars(columns) if installed else None
    best: dict[str, tuple[float, float]] = {}
    bars: dict[str, int] = {}
    for _ in range(rounds):
        for name, work in (("ours", lambda: _replay(place / "log")), ("polars", theirs)):
            if work is not None:
                bars[name], *took = _timed(work)
                wall, cpu = best.get(name, (float("inf"), float("inf")))
                best[name] = (min(wall, took[0]), min(cpu, took[1]))
    if len(set(bars.values())) != 1:
        raise UnequalBars(f"replay came to {bars['ours']} bars, polars to {bars['polars']}")
    note = f"{ticks:,} ticks of a random walk, {bars['ours']:,} bars, no files written; best of {rounds}"
    if not installed:
        note += "; polars is not installed (pip install polars)"

    def figure(name: str, index: int) -> Figure:
        return Figure(
            name=name,
            unit="M ticks",
            ours=ticks / best["ours"][index] / 1e6,
            peer="polars, eight group_by",
            theirs=ticks / best["polars"][index] / 1e6 if installed else None,
            note=note,
        )

    return [figure("replay, a second", 0), figure("replay, a CPU second", 1)]


def _timed(work: Callable[[], int]) -> tuple[int, float, float]:
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    made = work()
    return made, time.perf_counter() - wall, time.process_time() - cpu


def _replay(log: Path) -> int:
    summary = tickloom.replay(log, timeframes=TIMEFRAMES).summary
    assert (summary.lost, summary.rejected) == (0, 0)
    return summary.bars


def _polars(columns: dict[str, Any]) -> Callable[[], int]:
    import polars as pl

    frame = pl.DataFrame(columns)
    price, size, side = pl.col("price"), pl.col("size"), pl.col("side")
    sums = [
        price.first().alias("open"), price.max().alias("high"), price.min().alias("low"), price.last().alias("close"),
        size.sum().alias("volume"), pl.len().alias("trades"), (price * size).sum().alias("notional"),
        size.filter(side == 0).sum().alias("buy"), size.filter(side == 1).sum().alias("sell"),
    ]  # fmt: skip

    def run() -> int:
        widths = [Timeframe.parse(name).seconds * NS for name in TIMEFRAMES]
        return sum(frame.group_by(pl.col("time") // width).agg(sums).sort("time").height for width in widths)

    return run
