"""Bars kept for reading: final ones in a bounded ring, those that may still change beside them. A pure fold.

Everything is immutable, so a reader takes the committed state and looks, without asking anybody. Final bars are held in
blocks of columns; single ones gather in a tail until they make a block. Each contract and timeframe has its own bound in
rows, and all together one in bytes: the oldest blocks of the largest windows go first, and are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from tickloom.actors.bars.tables import bars_table
from tickloom.messages.bars import Bar, BarColumns, Bars
from tickloom.messages.market import Instrument

TAIL: Final = 128
"""Single bars that gather before they become a block."""

ROW_BYTES: Final = 14 * 8
"""Memory of a bar in a block: fourteen int64."""

_NAMES: Final = tuple(f.name for f in msgspec.structs.fields(BarColumns) if f.name not in ("contract", "timeframe"))

Key = tuple[str, str]
"""(contract, timeframe)."""


class Window(msgspec.Struct, frozen=True):
    """What is kept of one contract and timeframe, oldest first: blocks, then the tail, then what may still change.

    `pending` are bars that closed but are not final, by open time; `open` the updates of open ones. `dropped` counts final
    bars that had to go.
    """

    blocks: tuple[BarColumns, ...] = ()
    tail: tuple[Bar, ...] = ()
    pending: dict[int, Bar] = {}
    open: dict[int, Bar] = {}
    dropped: int = 0

    @property
    def rows(self) -> int:
        """Final bars held."""
        return sum(map(len, self.blocks)) + len(self.tail)


class HistoryState(msgspec.Struct, frozen=True):
    """Windows by (contract, timeframe), instruments by contract, and the final bars held in all."""

    windows: dict[Key, Window] = {}
    instruments: dict[str, Instrument] = {}
    rows: int = 0


class Latest(msgspec.Struct, frozen=True):
    """For each timeframe the open bar, or the last one, and the closes of the bars before it (in points)."""

    bars: dict[str, Bar]
    closes: dict[str, list[float]]


class HistoryFold:
    """The fold `(HistoryState, [Bars | Instrument]) -> (HistoryState, [])`.

    Args:
        max_rows: final bars kept for each contract and timeframe.
        max_bytes: memory of all blocks together.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self.max_rows = max_rows
        self.max_total = max(max_bytes // ROW_BYTES, TAIL)

    def initial(self) -> HistoryState:
        """Nothing kept."""
        return HistoryState()

    def step(self, state: HistoryState, messages: Sequence[Bars | Instrument]) -> tuple[HistoryState, Sequence[object]]:
        """Fold in order. Messages of other types are passed over."""
        windows, instruments = dict(state.windows), state.instruments
        touched: dict[Key, _Change] = {}

        def change(contract: str, timeframe: str) -> _Change:
            key = (contract, timeframe)
            found = touched.get(key)
            if found is None:
                found = touched[key] = _Change(windows.get(key, Window()))
            return found

        for message in messages:
            if isinstance(message, Instrument):
                instruments = {**instruments, message.contract: message}
            elif isinstance(message, Bars):
                for bar in message.updated:
                    change(bar.contract, bar.timeframe).open[bar.open_time] = bar
                for bar in (*message.closed, *message.revised):
                    into = change(bar.contract, bar.timeframe)
                    into.open.pop(bar.open_time, None)
                    into.pending[bar.open_time] = bar
                for bar in message.settled:
                    change(bar.contract, bar.timeframe).settle(bar)
                for block in message.columns:
                    change(block.contract, block.timeframe).settle_block(block)
        rows = state.rows
        for key, each in touched.items():
            before = windows.get(key, Window()).rows
            windows[key] = each.window(self.max_rows)
            rows += windows[key].rows - before
        while rows > self.max_total:
            key = max(windows, key=lambda k: windows[k].rows)
            shorter = _shortened(windows[key], max(windows[key].rows // 2, 1))
            rows += shorter.rows - windows[key].rows
            windows[key] = shorter
        return HistoryState(windows, instruments, rows), ()

    def split(
        self, messages: Sequence[Bars | Instrument]
    ) -> tuple[Sequence[Bars | Instrument], Sequence[Bars | Instrument]] | None:
        """Halve a failing batch by messages."""
        middle = len(messages) // 2
        return (messages[:middle], messages[middle:]) if middle else None


class _Change:
    """The working copy of one window."""

    def __init__(self, window: Window) -> None:
        self.blocks = list(window.blocks)
        self.tail = list(window.tail)
        self.pending = dict(window.pending)
        self.open = dict(window.open)
        self.dropped = window.dropped

    def settle(self, bar: Bar) -> None:
        self.open.pop(bar.open_time, None)
        self.pending.pop(bar.open_time, None)
        self.tail.append(bar)
        if len(self.tail) >= TAIL:
            self.close_tail()

    def settle_block(self, block: BarColumns) -> None:
        if not len(block):
            return
        self.close_tail()
        last = int(block.open_time[-1])
        for live in (self.open, self.pending):
            for gone in [open_time for open_time in live if open_time <= last]:
                del live[gone]
        self.blocks.append(block)

    def close_tail(self) -> None:
        if self.tail:
            self.blocks.append(to_columns(self.tail))
            self.tail = []

    def window(self, max_rows: int) -> Window:
        made = Window(tuple(self.blocks), tuple(self.tail), self.pending, self.open, self.dropped)
        return _shortened(made, max_rows) if made.rows > max_rows else made


def to_columns(bars: Sequence[Bar]) -> BarColumns:
    """Return bars of one contract and timeframe as a block."""
    first = bars[0]
    columns = (np.array([getattr(bar, name) for bar in bars], dtype=np.int64) for name in _NAMES)
    return BarColumns(first.contract, first.timeframe, *columns)


def _shortened(window: Window, rows: int) -> Window:
    """Let the oldest bars go until at most `rows` are held; blocks are cut by slicing, without a copy."""
    excess = window.rows - rows
    blocks = list(window.blocks)
    gone = 0
    while blocks and excess - gone >= len(blocks[0]):
        gone += len(blocks.pop(0))
    cut = excess - gone
    tail = window.tail
    if cut > 0 and blocks:
        blocks[0] = _slice(blocks[0], cut)
    elif cut > 0:
        tail = tail[cut:]
    return msgspec.structs.replace(window, blocks=tuple(blocks), tail=tail, dropped=window.dropped + max(excess, 0))


def _slice(block: BarColumns, start: int) -> BarColumns:
    return BarColumns(block.contract, block.timeframe, *(getattr(block, name)[start:] for name in _NAMES))


def table(state: HistoryState, contract: str, timeframe: str, last: int | None = None) -> pa.Table:
    """Return the closed bars of a window as an Arrow table, oldest first; `last` limits it to the newest so many."""
    window = state.windows.get((contract, timeframe), Window())
    loose = (*window.tail, *(bar for _, bar in sorted(window.pending.items())))
    chunks = [*window.blocks, *([to_columns(loose)] if loose else [])]
    made = bars_table(chunks, state.instruments)
    return made if last is None else made.slice(max(len(made) - last, 0))


def latest(state: HistoryState, contract: str, timeframes: Sequence[str], closes: int = 32) -> Latest:
    """Return the open (or last) bar of each timeframe, and up to `closes` closes before it."""
    bars: dict[str, Bar] = {}
    before: dict[str, list[float]] = {}
    instrument = state.instruments.get(contract)
    for timeframe in timeframes:
        window = state.windows.get((contract, timeframe))
        if window is None:
            continue
        recent = [*window.tail, *(bar for _, bar in sorted((window.pending | window.open).items()))]
        if not recent and window.blocks:
            recent = [Bar(contract, timeframe, *(int(getattr(window.blocks[-1], name)[-1]) for name in _NAMES))]
        if recent:
            bars[timeframe] = recent[-1]
            past = [] if not window.blocks else [int(v) for v in window.blocks[-1].close[-closes:]]
            ticks = [*past, *(bar.close for bar in recent[:-1])][-closes:]
            before[timeframe] = [instrument.to_price(t) if instrument else float(t) for t in ticks]
    return Latest(bars, before)
