"""Memory: what an open bar takes, what a kept bar takes, and that ticks take none.

    python benchmarks/memory.py [--contracts 200] [--bars 20000] [--ticks 4000000]

Bars are counted by the allocator (`tracemalloc`), through the folds a session runs: an open bar is one of a timeframe
whose state holds `--contracts` of them, each of many trades, with what the fold needs to go on; a kept bar is one of a
history of `--bars` settled bars. Peers: the same open bar as a plain dictionary of its thirteen numbers, the same kept
bar as a row of a polars frame. Ticks are counted by the system: the resident memory of a process that runs validation,
reduction and eight timeframes, after each quarter of `--ticks`, when all of them are folded; a thousand ticks a
second, so that bars are few beside them.
"""

from __future__ import annotations

import argparse
import gc
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import polars as pl
import psutil

from tickloom.actors.bars.history import History
from tickloom.actors.sinks.history import HistoryFold
from tickloom.config.settings import settings_from
from tickloom.config.timeframes import Timeframe
from tickloom.engine import Engine
from tickloom.messages.bars import Bar, Bars, Delta, Reduced
from tickloom.messages.control import SessionStarted
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, Instrument, Prints
from tickloom.wiring import VALIDATION, Wires, timeframe_fold

START = 1_750_000_000 * NS
NAMES = ("1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d")


def held(make: Callable[[], Any]) -> tuple[int, Any]:
    """Return the bytes that what `make` returns takes, and it."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    made = make()
    gc.collect()
    took = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return took, made


def delta(contract: str, at: int, trades: int = 1000) -> Delta:
    """Return a second's trades, with numbers of their usual size."""
    return Delta(
        contract, START + at * NS, START + at * NS + 1, START + at * NS + 2, 10**6, 10**6 + 1, 84_000 + at % 97,
        84_100 + at % 97, 83_900 + at % 89, 84_003 + at % 89, 5_000 + at % 500, trades, 84_000 * 5_000 + at, 2_500 + at % 300,
        2_400 + at % 300,
    )  # fmt: skip


def bar(at: int) -> Bar:
    """Return a settled one-minute bar."""
    open_time = START + at * 60 * NS
    low = 83_900 + at % 89
    return Bar(
        "CON.F.US.MNQ.Z25", "1m", open_time, open_time + 60 * NS, 84_000 + at % 97, 84_100 + at % 97, low, low + 50,
        5_000 + at % 500, 1_000 + at, 84_000 * 5_000 + at, 2_500 + at % 300, 2_400 + at % 300,
    )  # fmt: skip


def open_bars(contracts: int) -> dict[str, float]:
    """Measure bars that are open: one a contract."""
    names = [f"CON.F.US.X{number}.Z25" for number in range(contracts)]
    fold = timeframe_fold(settings_from({}), Timeframe.parse("1h"))
    fold.step(fold.initial(), [Reduced(1, rows=tuple(delta(name, 0) for name in names))])  # calendars are no bar's

    def fill() -> Any:
        state = fold.initial()
        for second in range(3):  # a bar of one delta is that delta: this one was merged
            rows = tuple(delta(name, second) for name in names)
            marks = tuple((name, START + second * NS) for name in names)
            state, _ = fold.step(state, [Reduced(second + 1, rows=rows, watermarks=marks)])
        return state

    took, _ = held(fill)
    peer, _ = held(lambda: {name: msgspec.structs.asdict(delta(name, 2)) for name in names})
    return {"bytes_an_open_bar": took / contracts, "as_a_dictionary": peer / contracts}


def kept_bars(count: int) -> dict[str, float]:
    """Measure bars that are kept: one contract and timeframe, closed and settled one by one."""
    fold = HistoryFold(count, 2**40)

    def fill() -> Any:
        state = fold.initial()
        for at in range(count):
            closed = (bar(at),)
            state, _ = fold.step(state, [Bars("1m", at + 1, closed=closed, settled=closed)])
        return state

    took, state = held(fill)
    window = state.windows["CON.F.US.MNQ.Z25", "1m"]
    assert isinstance(window.history, History)
    names = ("open_time", "close_time", "open", "high", "low", "close", "volume", "trades", "notional", "buy", "sell")
    frame = pl.DataFrame({name: [getattr(bar(at), name) for at in range(count)] for name in names})
    return {"bytes_a_kept_bar": took / count, "as_a_polars_row": frame.estimated_size() / count}


def flat(ticks: int) -> dict[str, float]:
    """Measure that ticks take nothing: a thousand a second, so that bars come slowly."""
    contract, rows = "CON.F.US.EP.Z25", 1000
    engine = Engine(
        Wires(settings=settings_from({"session": {"timeframes": list(NAMES)}}), session="memory", crew=True)
    )
    engine.start()
    put = engine.tree.ref(VALIDATION).put
    instruments = (Instrument(contract, 1, 4),)
    put(Numbered(1, SessionStarted(recv_ns=START, version="", settings={}, instruments=instruments, timeframes=NAMES)))
    process, rng = psutil.Process(), np.random.default_rng(1)
    zeros, seconds, resident = np.zeros(rows, np.int64), ticks // rows, []
    for at in range(seconds):
        ts = START + at * NS + np.arange(rows) * (NS // rows)
        price = 5_000 + rng.integers(-2, 3, rows) * 0.25
        prints = Prints((contract,), zeros, ts, price, zeros + 1, zeros, zeros, at * rows)
        put(Numbered(2 + at, Frames("memory", [int(ts[-1])], [int(ts[-1])], None, prints)))
        if (at + 1) % (seconds // 4) == 0:
            for view in engine.tree.snapshot().walk():
                if view.counters is not None:
                    engine.tree.settle(view.path, 60)
            gc.collect()
            resident.append(process.memory_info().rss / 2**20)
    engine.stop()
    return {"ticks": ticks, **{f"mb_at_{quarter}_of_4": value for quarter, value in enumerate(resident, 1)}}


def main() -> None:
    """Measure and print, a line of JSON each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contracts", type=int, default=200)
    parser.add_argument("--bars", type=int, default=20_000)
    parser.add_argument("--ticks", type=int, default=4_000_000)
    options = parser.parse_args()
    for figures in (open_bars(options.contracts), kept_bars(options.bars), flat(options.ticks)):
        print(json.dumps({name: round(value, 1) for name, value in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
