"""Bars kept for reading, as a pure fold: a bounded `History` for each contract and timeframe, and the open bars.

Everything is immutable, so a reader takes the committed state and looks, without asking anybody. The memory allowed is
shared out equally among the windows there are; what has to go goes from the oldest end of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from tickloom.actors.bars.blocks import place, rows_of, runs_in_order
from tickloom.actors.bars.history import LEAST_BYTES, History
from tickloom.config.timeframes import Timeframe
from tickloom.messages.bars import Bar, BarColumns, Bars, Forget
from tickloom.messages.market import Instrument

if TYPE_CHECKING:
    import pyarrow as pa

NONE_KEPT: Final = History(1, 1 << 20)
"""The history of a contract and timeframe of which nothing is known."""


class Keep(msgspec.Struct, frozen=True):
    """Tell the history how much to keep from now on: bars of a contract and timeframe, bytes of all together.

    Never more than the fold was made with; what is beyond it goes at once.
    """

    rows: int
    bytes: int


Key: TypeAlias = tuple[str, str]
"""(contract, timeframe)."""


class Window(msgspec.Struct, frozen=True):
    """What is kept of one contract and timeframe: closed bars, and the updates of open ones, by their place.

    Bars `by_activity` are final as they close, one is open at most, and their open times are those of stamps: two may
    share one, a later bar may have an earlier one, and that of the open bar changes as it grows. So they are kept in
    the order in which they closed, which is that of their numbers.
    """

    history: History
    open: dict[int, Bar] = {}
    by_activity: bool = False

    @property
    def blocks(self) -> tuple[BarColumns, ...]:
        """Final bars in blocks, oldest first."""
        return self.history.blocks

    @property
    def tail(self) -> tuple[Bar, ...]:
        """Final bars after the blocks."""
        return self.history.recent

    @property
    def pending(self) -> dict[int, Bar]:
        """Closed bars that may still be revised, by their place."""
        return self.history.closed


class HistoryState(msgspec.Struct, frozen=True):
    """Windows by (contract, timeframe), instruments by contract, and the bounds in force (None: the fold's)."""

    windows: dict[Key, Window] = {}
    instruments: dict[str, Instrument] = {}
    keep: Keep | None = None


class Latest(msgspec.Struct, frozen=True):
    """For each timeframe the open bar, or the last one, and the closes of the bars before it (in points)."""

    bars: dict[str, Bar]
    closes: dict[str, list[float]]


Input: TypeAlias = Bars | Instrument | Keep | Forget


class HistoryFold:
    """The fold `(HistoryState, [Bars | Instrument]) -> (HistoryState, [])`.

    Args:
        max_rows: final bars kept for each contract and timeframe.
        max_bytes: memory of all windows together.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self.max_rows = max_rows
        self.max_bytes = max_bytes

    def initial(self) -> HistoryState:
        """Nothing kept."""
        return HistoryState()

    def step(self, state: HistoryState, messages: Sequence[Input]) -> tuple[HistoryState, Sequence[object]]:
        """Fold in order. Messages of other types are passed over."""
        windows, instruments = dict(state.windows), state.instruments
        keep = state.keep or Keep(self.max_rows, self.max_bytes)
        for message in messages:
            if isinstance(message, Instrument):
                instruments = {**instruments, message.contract: message}
            elif isinstance(message, Keep):
                keep = Keep(min(message.rows, self.max_rows), min(message.bytes, self.max_bytes))
                windows = _within(keep, windows)
            elif isinstance(message, Forget):
                windows = {key: window for key, window in windows.items() if key[1] != message.timeframe}
            elif isinstance(message, Bars):
                for contract, own in _by_contract(message).items():
                    key = (contract, message.timeframe)
                    known = windows.get(key)
                    if known is None:
                        by_activity = Timeframe.parse(message.timeframe).is_activity
                        known = Window(History(keep.rows, _share(keep, len(windows) + 1)), {}, by_activity)
                    windows[key] = _count(known, own) if known.by_activity else _fold(known, own)
        if len(windows) > len(state.windows):
            windows = _within(keep, windows)
        return HistoryState(windows, instruments, keep), ()

    def split(self, messages: Sequence[Input]) -> tuple[Sequence[Input], Sequence[Input]] | None:
        """Halve a failing batch by messages."""
        middle = len(messages) // 2
        return (messages[:middle], messages[middle:]) if middle else None


def _within(keep: Keep, windows: dict[Key, Window]) -> dict[Key, Window]:
    """Return the windows within their share, those that are quiet as well."""
    share = _share(keep, len(windows))
    return {
        key: msgspec.structs.replace(window, history=window.history.bounded(keep.rows, share))
        for key, window in windows.items()
    }


def _share(keep: Keep, windows: int) -> int:
    """Return the bytes of each window: an equal part, and never less than what holds one block."""
    return max(keep.bytes // max(windows, 1), LEAST_BYTES)


class _Own(msgspec.Struct):
    """What one `Bars` says of one contract."""

    updated: list[Bar] = []
    closed: list[Bar] = []
    settled: list[Bar] = []
    columns: list[BarColumns] = []


def _by_contract(bars: Bars) -> dict[str, _Own]:
    found: dict[str, _Own] = {}
    for bar in bars.updated:
        found.setdefault(bar.contract, _Own()).updated.append(bar)
    for bar in (*bars.closed, *bars.revised):
        found.setdefault(bar.contract, _Own()).closed.append(bar)
    for bar in bars.settled:
        found.setdefault(bar.contract, _Own()).settled.append(bar)
    for block in bars.columns:
        found.setdefault(block.contract, _Own()).columns.append(block)
    return found


def _fold(window: Window, own: _Own) -> Window:
    history = window.history.show(own.closed)
    if own.columns:
        for item in runs_in_order(own.settled, own.columns):
            history = history.settle_columns(item) if isinstance(item, BarColumns) else history.settle(item)
    else:
        history = history.settle(own.settled)
    closed = {bar.open_time for bar in own.closed}
    last = max(
        [int(block.open_time[-1]) for block in own.columns] + [bar.open_time for bar in own.settled], default=None
    )
    kept = {
        start: bar
        for start, bar in {**window.open, **{bar.open_time: bar for bar in own.updated}}.items()
        if start not in closed and (last is None or start > last)
    }
    return Window(history, kept)


def _count(window: Window, own: _Own) -> Window:
    """Fold bars by activity: what closed is final, and an update is the last word on the one bar at hand."""
    at_hand = {place(bar): bar for bar in own.updated[-1:]}
    kept = at_hand if at_hand or own.settled else window.open
    return Window(window.history.settle(own.settled), kept, by_activity=True)


def table(
    state: HistoryState, contract: str, timeframe: str, last: int | None = None, *, partial: bool = False
) -> pa.Table:
    """Return the closed bars of a window as an Arrow table, oldest first; `last` limits it to the newest so many.

    With `partial` the bars that are still open come last, as they are now, and count among the newest.
    """
    from tickloom.actors.bars.tables import bars_table  # Arrow is for who reads a table

    window = state.windows.get((contract, timeframe))
    if window is None:
        return bars_table([], state.instruments, timeframe)
    still_open = [bar for _, bar in sorted(window.open.items())] if partial else []
    if last is None:
        return bars_table([*window.history.bars(), *still_open], state.instruments, timeframe)
    still_open = still_open[max(len(still_open) - last, 0) :]
    return bars_table([*window.history.bars(last - len(still_open)), *still_open], state.instruments, timeframe)


def latest(state: HistoryState, contract: str, timeframes: Sequence[str], closes: int = 32) -> Latest:
    """Return the open (or last) bar of each timeframe, and up to `closes` closes before it."""
    bars: dict[str, Bar] = {}
    before: dict[str, list[float]] = {}
    instrument = state.instruments.get(contract)
    for timeframe in timeframes:
        window = state.windows.get((contract, timeframe))
        if window is None:
            continue
        recent: list[Bar] = []
        for item in window.history.bars(closes + 1):
            recent += rows_of(item) if isinstance(item, BarColumns) else [item]
        recent += [bar for _, bar in sorted(window.open.items())]
        if recent:
            bars[timeframe] = recent[-1]
            ticks = [bar.close for bar in recent[-closes - 1 : -1]]
            before[timeframe] = [instrument.to_price(t) if instrument else float(t) for t in ticks]
    return Latest(bars, before)
