"""The fold alone: trades in, final bars of eight timeframes and their digest out. No actors, no log, no files.

    python benchmarks/fold.py [--ticks 3000000] [--rates 10000 100 1] [--batches 65536 256]

One line of JSON a figure; `mticks` is million trades a second of CPU time of all threads, best of `--repeat`. The
market is a random walk with exponential waiting times, so `rate` says how many trades share a second: at 1 a second
nearly every trade makes a one-second bar of its own, which is the worst case. Compared are:

- `arrays`: as the actors run it, every timeframe fed from the one-second reduction;
- `plan`: every timeframe fed from the finer one that divides it;
- `loop`: the same with the array paths switched off, trades as lists;
- `polars`: eight `group_by` passes over all the trades in memory at once, the same aggregates, no digest, no late
  trades; and `polars_sorted`, the same with all that helps it: products made once, stamps declared to be in order.

`crossover` times one batch of n trades through the reduction, by loop and by arrays. `memory` is what a bar takes.
`never_slower` runs all of it in batches of each size, trades in order and out of order in several ways, the way that is
chosen and the loop in turns; `ratio` is the loop's time to that of the chosen way, and the least of them comes last.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from tickloom.actors.bars.digest import combine_digests
from tickloom.actors.bars.fold import TimeframeFold, TimeframeState
from tickloom.actors.bars.history import History
from tickloom.actors.bars.reduce import ReduceFold, ReduceState
from tickloom.actors.bars.rolling import roll
from tickloom.config.buckets import BucketRule, rule_for
from tickloom.config.calendars import find_calendar
from tickloom.config.plan import BASE, roll_up
from tickloom.config.timeframes import Timeframe
from tickloom.messages.bars import Bar, Bars, Delta, Reduced
from tickloom.messages.control import SessionStopped
from tickloom.messages.intake import Validated
from tickloom.messages.market import NS, IntArray, Trades

CONTRACT = "CON.F.US.EP.Z25"
NAMES = ("1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d")
START = 1_750_000_000 * NS
GRACE, LATENESS = NS // 2, 10 * NS
OFF = 10**12

WIDTHS = [Timeframe.parse(name).seconds * NS for name in NAMES]
OHLCV = (
    pl.col("price").first().alias("open"),
    pl.col("price").max().alias("high"),
    pl.col("price").min().alias("low"),
    pl.col("price").last().alias("close"),
    pl.col("size").sum().alias("volume"),
    pl.len().alias("trades"),
)

Market = tuple[IntArray, IntArray, IntArray, IntArray, IntArray]


def market(count: int, rate: float) -> Market:
    """Return stamps, prices (in ticks), sizes, sides and arrival numbers."""
    rng = np.random.default_rng(7)
    ts = START + np.cumsum(rng.exponential(NS / rate, count).astype(np.int64))
    price = 20_000 + np.cumsum(rng.integers(-1, 2, count))
    return ts, price, rng.geometric(0.3, count), rng.integers(0, 2, count), np.arange(count)


def messages(columns: Market, batch: int, *, lists: bool) -> list[Validated]:
    """Cut a market into messages, and end the session."""
    out = []
    for seq, start in enumerate(range(0, len(columns[0]), batch), 1):
        part: list[Any] = [column[start : start + batch] for column in columns]
        if lists:
            part = [column.tolist() for column in part]
        out.append(Validated(seq, (Trades(CONTRACT, *part),), 1, len(part[0])))
    stop = SessionStopped(recv_ns=int(columns[0][-1]))
    return [*out, Validated(len(out) + 1, (stop,))]


class Folds:
    """The reduction and eight timeframes, with rules that are laid out already."""

    def __init__(self) -> None:
        calendar = find_calendar("utc")
        self.rules: dict[str, BucketRule] = {name: rule_for(calendar, name) for name in NAMES}
        for rule in self.rules.values():
            rule.bucket(START)
        feeds = {feed.timeframe: feed.source for feed in roll_up([Timeframe.parse(name) for name in NAMES])}
        self.sources = {name: "" if feeds[name] == BASE else feeds[name] for name in NAMES}

    def timeframe(self, name: str) -> TimeframeFold:
        """Return a timeframe's fold."""
        rule = self.rules[name]
        return TimeframeFold(name, lambda contract: rule, GRACE, LATENESS)

    def run(self, given: list[Validated], *, by_plan: bool = False, vector_rows: int | None = None) -> tuple[str, int]:
        """Return the digest and the number of final bars."""
        options = {} if vector_rows is None else {"vector_rows": vector_rows, "column_rows": vector_rows}
        reduce = ReduceFold(GRACE, LATENESS, **options)
        state: ReduceState = reduce.initial()
        folds = {name: self.timeframe(name) for name in NAMES}
        states: dict[str, TimeframeState] = {name: fold.initial() for name, fold in folds.items()}
        bars = 0
        for message in given:
            state, finest = reduce.step(state, [message])
            said: dict[str, list[Reduced]] = {"": list(finest)}
            for name, fold in folds.items():
                source = said[self.sources[name] if by_plan else ""]
                if by_plan and any(each.columns for each in source):
                    source = [roll(each, fold.weaving.rules) for each in source]
                said[name] = source
                states[name], outputs = fold.step(states[name], source)
                bars += sum(map(final, outputs))
        digests: dict[tuple[str, str], bytes] = {}
        for name, fold in folds.items():
            digests |= fold.digests(states[name])
        return combine_digests(digests), bars


def final(bars: Bars) -> int:
    """Return how many bars of a message are final."""
    return len(bars.settled) + sum(map(len, bars.columns))


def by_polars(frame: pl.DataFrame) -> int:
    """Return the number of bars after eight passes, as one would write them."""
    size, side = pl.col("size"), pl.col("side")
    sums = ((pl.col("price") * size).sum(), (size * (side == 0)).sum(), (size * (side == 1)).sum())
    made = [frame.group_by(pl.col("ts") // width).agg(*OHLCV, *_named(sums)).sort("ts") for width in WIDTHS]
    return sum(bars.height for bars in made)


def by_polars_sorted(frame: pl.DataFrame) -> int:
    """Return the same, with all that helps: products made once, and polars told that the stamps are in order."""
    size, side = pl.col("size"), pl.col("side")
    products = ((pl.col("price") * size).alias("n"), (size * (side == 0)).alias("b"), (size * (side == 1)).alias("s"))
    ready = frame.with_columns(*products)
    sums = (pl.col("n").sum(), pl.col("b").sum(), pl.col("s").sum())
    made = [ready.group_by((pl.col("ts") // width).set_sorted()).agg(*OHLCV, *_named(sums)) for width in WIDTHS]
    return sum(bars.height for bars in made)


def _named(sums: tuple[pl.Expr, ...]) -> list[pl.Expr]:
    return [expression.alias(name) for expression, name in zip(sums, ("notional", "buy", "sell"), strict=True)]


def best(work: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Return the least CPU and wall seconds."""
    cpu = wall = float("inf")
    for _ in range(repeat):
        gc.collect()
        c, w = time.process_time(), time.perf_counter()
        work()
        cpu, wall = min(cpu, time.process_time() - c), min(wall, time.perf_counter() - w)
    return cpu, wall


def say(**figures: object) -> None:
    """Print one line."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def throughput(count: int, rates: list[float], batches: list[int], repeat: int) -> None:
    """Compare the ways at each rate and batch size, on the same ticks."""
    folds = Folds()
    for rate in rates:
        columns = market(count, rate)
        frame = pl.DataFrame(dict(zip(("ts", "price", "size", "side"), columns, strict=False)))
        bars = by_polars(frame)
        peers = {}
        for peer, work in (("polars", by_polars), ("polars_sorted", by_polars_sorted)):
            cpu, wall = best(lambda f=frame, w=work: w(f), repeat)  # type: ignore[misc]
            peers[peer] = count / cpu / 1e6
            say(way=peer, rate=rate, mticks=round(peers[peer], 2), wall_mticks=round(count / wall / 1e6, 2), bars=bars)
        digests = set()
        for batch in batches:
            few = count if batch >= 10_000 else min(count, 200_000)  # the loop is slow, and as slow for fewer
            part: Any = tuple(column[:few] for column in columns)
            figures = {}
            for way in ("arrays", "plan", "loop"):
                given = messages(part, batch, lists=way == "loop")
                options: dict[str, Any] = {"by_plan": way == "plan", "vector_rows": OFF if way == "loop" else None}
                digest, made = folds.run(given, **options)
                if few == count:
                    digests.add(digest)
                    assert made == bars, f"{made} bars, polars made {bars}"
                seconds, _ = best(lambda g=given, o=options: folds.run(g, **o), repeat)  # type: ignore[misc]
                figures[way] = few / seconds / 1e6
            for way, mticks in figures.items():
                against = {f"to_{peer}": round(mticks / other, 2) for peer, other in peers.items()}
                against["to_loop"] = round(mticks / figures["loop"], 2)
                say(way=way, rate=rate, batch=batch, mticks=round(mticks, 2), **against)
        assert len(digests) <= 1, "the ways disagree"


def crossover(repeat: int) -> None:
    """Time one batch through the reduction by loop and by arrays."""
    for rate in (10_000.0, 10.0):
        for n in (1, 8, 32, 64, 128, 192, 256, 1024):
            columns = market(n, rate)
            figures: dict[str, float] = {}
            for kind in ("lists", "arrays"):
                given = messages(columns, n, lists=kind == "lists")[:1]
                for way, rows in (("loop", OFF), ("arrays", 0), ("chosen", None)):
                    fold = ReduceFold(GRACE, LATENESS, **({} if rows is None else {"vector_rows": rows}))
                    start = fold.initial()
                    calls = max(20_000 // n, 50)

                    def work(fold: ReduceFold = fold, start: ReduceState = start, calls: int = calls) -> None:
                        for _ in range(calls):
                            fold.step(start, given)  # noqa: B023 - run before the next turn

                    figures[f"{kind}_{way}_us"] = round(best(work, repeat * 3)[0] / calls * 1e6, 1)
            say(way="crossover", rate=rate, n=n, **figures)


def disordered(ts: IntArray, order: str) -> IntArray:
    """Return stamps of which some come late, in one of these ways."""
    out, rng = ts.copy(), np.random.default_rng(1)
    if order == "every other 3 s late":
        out[1::2] -= 3 * NS
    elif order == "1 in 10 is 3 s late":
        out[::10] -= 3 * NS
    elif order == "1 in 100 is 3 s late":
        out[::100] -= 3 * NS
    elif order == "20 of 40 are 3 s late":
        out[np.arange(len(ts)) // 20 % 2 == 1] -= 3 * NS
    elif order == "jitter of 0.5 s":
        out += rng.integers(-NS // 2, NS // 2, len(ts))
    elif order == "jitter of 5 ms":
        out += rng.integers(-NS // 200, NS // 200, len(ts))
    return out


ORDERS = (
    "in order",
    "every other 3 s late",
    "1 in 10 is 3 s late",
    "1 in 100 is 3 s late",
    "20 of 40 are 3 s late",
    "jitter of 0.5 s",
    "jitter of 5 ms",
)


def never_slower(rate: float, repeat: int) -> None:
    """Compare the way that is chosen with the loop at every batch size, whatever order the trades come in."""
    folds, least = Folds(), (float("inf"), "", 0)
    for order in ORDERS:
        for n in (1, 8, 64, 128, 256, 1024, 4096, 65_536):
            count = max(n, min(8 * n, 4096))
            ts, *rest = market(count, rate)
            given = messages((disordered(ts, order), *rest), n, lists=False)  # type: ignore[arg-type]
            assert folds.run(given) == folds.run(given, vector_rows=OFF), f"{order}, {n} rows: the ways disagree"
            calls = max(500 // count, 1)
            times = {"chosen": float("inf"), "loop": float("inf")}
            gc.collect()
            gc.disable()
            for _ in range(repeat * (5 if n < 1024 else 1)):
                for way, rows in (("chosen", None), ("loop", OFF)):
                    start = time.process_time()
                    for _ in range(calls):
                        folds.run(given, vector_rows=rows)
                    times[way] = min(times[way], (time.process_time() - start) / calls)
            gc.enable()
            ratio = times["loop"] / times["chosen"]
            least = min(least, (ratio, order, n))
            say(
                way="never_slower",
                order=order,
                rate=rate,
                batch=n,
                mticks=round(count / times["chosen"] / 1e6, 3),
                ratio=round(ratio, 2),
            )
    say(way="never_slower_least", ratio=round(least[0], 2), order=least[1], batch=least[2])


def memory() -> None:
    """Measure what an open bar, a kept bar in a block and a chain take."""
    folds = Folds()
    fold, count = folds.timeframe("1h"), 2_000
    rows = tuple(
        Delta(
            f"C{i}",
            START,
            1000 + i,
            START + i,
            10**6 + i,
            2000 + i,
            900 + i,
            1500 + i,
            START + 9 * i,
            10**6,
            *[10**5 + i] * 5,
        )
        for i in range(count)
    )
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    state, outputs = fold.step(fold.initial(), [Reduced(1, rows)])
    del outputs, rows
    open_bar = (tracemalloc.get_traced_memory()[0] - before) / count
    before = tracemalloc.get_traced_memory()[0]
    history = History(10**6, 2**30)
    for start in range(0, 102_400, 256):
        history = history.settle(
            [Bar("A", "1s", START + i, START + i + 1, *range(11)) for i in range(start, start + 256)]
        )
    kept = (tracemalloc.get_traced_memory()[0] - before) / history.rows
    tracemalloc.stop()
    say(
        way="memory",
        open_bar_with_its_contract=round(open_bar),
        kept_bar=round(kept, 1),
        contracts=len(state.contracts),
    )


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ticks", type=int, default=3_000_000)
    parser.add_argument("--rates", type=float, nargs="+", default=[10_000, 100, 1])
    parser.add_argument("--batches", type=int, nargs="+", default=[65_536, 256])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    say(
        machine=platform.processor() or platform.machine(),
        python=platform.python_version(),
        numpy=np.__version__,
        polars=pl.__version__,
    )
    throughput(options.ticks, options.rates, options.batches, options.repeat)
    crossover(options.repeat)
    never_slower(1_000.0, options.repeat)
    memory()


if __name__ == "__main__":
    main()
