"""What validation costs a print, with all rules on; and a peer's: the rules as polars expressions.

    python benchmarks/validation.py [--prints 2000000] [--batches 65536 4096 256 1] [--bad 0 0.001 0.05]

One line of JSON a figure: nanoseconds of CPU time (all threads) a print, best of `--repeat`. The market is a random
walk on the grid with rising stamps, of which a share shares one with the print before it, as real futures ticks do;
`bad` is the share of prints that some rule rejects, spread over seven of the rules. `all` has every rule on, those too that
are off by default (`regressing`, `duplicates`, `max_age_ns`, a range); `default` is as the settings are. Accepted and
rejected must add up to what was put in.

The peer judges a whole frame at once by ten polars expressions and gathers the good rows. It has no state: no band that
follows the last accepted price, no confirmation of a move (its band is against the price before, good or bad), no
memory of what other batches held. So it does less, and is not equal in what it lets through.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from tickloom.actors.validation.fold import ValidationFold, ValidationState
from tickloom.actors.validation.rules import Rules
from tickloom.messages.control import SessionStarted
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, Instrument, IntArray, Prints

ES = Instrument("CON.F.US.EP.Z25", 1, 4)
T0 = 1_763_990_000 * NS
DEFAULT = Rules(zero_size="accept")
ALL = Rules(
    zero_size="reject",
    regressing="reject",
    duplicates="reject",
    max_age_ns=60 * NS,
    price_low=100.0,
    price_high=50_000.0,
    max_size=1000,
)


def market(prints: int, bad: float) -> dict[str, Any]:
    """Columns of prints; a share of them is rejected by some rule."""
    rng = np.random.default_rng(7)
    ticks = 20_000 + np.cumsum(rng.integers(-1, 2, prints))
    ts = T0 + np.cumsum(np.where(rng.random(prints) < 0.5, 0, rng.integers(1, 200_000, prints)))
    # sizes that differ within an instant: duplicates are rejected, and these are none
    size = 1 + np.arange(prints) % 97
    price, recv = ticks / 4, ts + 500_000
    chosen = np.flatnonzero(rng.random(prints) < bad)
    for i, kind in zip(chosen, rng.integers(0, 7, len(chosen)), strict=True):
        match int(kind):
            case 0:
                price[i] = np.nan
            case 1:
                price[i] += 0.1
            case 2:
                price[i] = 60_000.0
            case 3:
                size[i] = 0
            case 4:
                size[i] = 5000
            case 5:
                ts[i] += 30 * NS
            case _:
                ts[i] -= 30 * NS
    return {"ts": ts, "price": price, "size": size, "recv": recv, "side": rng.integers(0, 2, prints)}


def batches(columns: dict[str, Any], size: int) -> list[Numbered]:
    """The market as intake, `size` prints an item: arrays, or lists below 64 as the live decoder makes them."""
    items, seq = [], 2
    total = len(columns["ts"])
    for first in range(0, total, size):
        part = {name: column[first : first + size] for name, column in columns.items()}
        count = len(part["ts"])
        zeros: IntArray = np.zeros(count, dtype=np.int64)
        given: Any = (zeros, part["ts"], part["price"], part["size"], part["side"], np.arange(count))
        if size < 64:
            given = tuple(column.tolist() for column in given)
        frames = Frames("market/1", part["recv"], part["recv"], None, Prints((ES.contract,), *given, first))
        items.append(Numbered(seq, frames))
        seq += count
    return items


def fold(rules: Rules, items: list[Numbered]) -> ValidationState:
    """Fold all items, one a step, as an actor that is not behind does."""
    made = ValidationFold(rules)
    started = SessionStarted(recv_ns=T0, version="b", settings={}, instruments=(ES,), timeframes=())
    state, _ = made.step(made.initial(), [Numbered(1, started)])
    for item in items:
        state, _ = made.step(state, [item])
    return state


def by_polars(frame: pl.DataFrame) -> tuple[int, int]:
    """The rules as expressions over the whole frame, first those that look at a row alone; returns how many passed, and
    the sum of their prices in ticks."""
    price, ts = pl.col("price"), pl.col("ts")
    exact = price * 4
    alone = (
        price.is_finite()
        & ((exact - exact.round()).abs() <= 1e-6)
        & price.is_between(100.0, 50_000.0)
        & pl.col("size").is_between(1, 1000)
        & (ts - pl.col("recv") <= 5 * NS)
        & (pl.col("recv") - ts <= 60 * NS)
    )
    newest = ts.cum_max()
    good = frame.filter(alone).filter(
        (newest - ts <= 10 * NS)
        & (newest == ts)
        & ((price - price.shift(1)).abs() <= pl.max_horizontal(0.1 * price.shift(1).abs(), pl.lit(25.0))).fill_null(
            True
        )
        & ~pl.struct("ts", "price", "size", "side").is_duplicated()
    )
    return len(good), int((good["price"] * 4).cast(pl.Int64).sum())


def best(repeat: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the least CPU time of all threads (s), and what the work returned."""
    times, result = [], None
    for _ in range(repeat):
        began = time.process_time()
        result = work()
        times.append(time.process_time() - began)
    return min(times), result


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prints", type=int, default=2_000_000)
    parser.add_argument("--batches", type=int, nargs="+", default=[65_536, 4096, 256, 1])
    parser.add_argument("--bad", type=float, nargs="+", default=[0.0, 0.001, 0.05])
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    print(json.dumps({"python": platform.python_version(), "numpy": np.__version__, "polars": pl.__version__}))
    figures: dict[tuple[str, float], float] = {}
    for bad in asked.bad:
        prints = asked.prints if bad < 0.01 else asked.prints // 4
        columns = market(prints, bad)
        for size in asked.batches:
            some = prints if size >= 64 else prints // 10
            items = batches({name: column[:some] for name, column in columns.items()}, size)
            for name, rules in (("default", DEFAULT), ("all", ALL)):
                seconds, state = best(asked.repeat, lambda rules=rules, items=items: fold(rules, items))  # type: ignore[misc]
                assert state.counts.accepted + sum(state.counts.rejected.values()) + state.counts.held == some
                figure = seconds / some * 1e9
                figures.setdefault((name, bad), figure)
                said = {"rules": name, "batch": size, "bad": bad, "ns_a_print": round(figure, 1)}
                print(json.dumps(said | {"rejected": sum(state.counts.rejected.values())}))
        frame = pl.DataFrame({name: columns[name] for name in ("ts", "price", "size", "recv", "side")})
        seconds, (passed, _) = best(asked.repeat, lambda frame=frame: by_polars(frame))  # type: ignore[misc]
        figure = seconds / prints * 1e9
        ratio = round(figure / figures["all", bad], 2)
        said = {"peer": "polars", "bad": bad, "ns_a_print": round(figure, 1), "times_ours": ratio}
        print(json.dumps(said | {"rejected": prints - passed}))


if __name__ == "__main__":
    main()
