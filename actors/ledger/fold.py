"""The ledger as a pure fold: what each timeframe's final bars hold, and what was withheld from them.

It is the other side of validation's totals. When a session has ended, for every timeframe

    received = rejected + withheld on the way and by the timeframe + refused by the timeframe + trades in its final bars

less the trades of an earlier session that those bars had begun with, where this one goes on with its log;
and what is missing on the right is *lost*: a defect, never a matter of course.

It also counts the prints that came while their market was closed, between two sittings of their calendar: they are in
bars of their own (`tickloom.config.buckets`), so the bars that begin outside hold them all, and no print is looked at
one by one. A break is within its sitting. Bars by activity know no sessions, and tell nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec
import numpy as np

from tickloom.config.sessions import Sessions
from tickloom.config.timeframes import Timeframe
from tickloom.messages.bars import Bar, BarColumns, Bars, Forget
from tickloom.messages.reports import Withheld

MOST_COUNTED = 256
"""Contracts whose prints outside their sessions are counted; those of all others are counted together, under ""."""


class Entry(msgspec.Struct, frozen=True):
    """Totals of one timeframe: final bars, trades in them, trades that came too late for their bar, and by contract the
    trades in bars outside every sitting (none of it: the timeframe cannot tell)."""

    bars: int = 0
    trades: int = 0
    refused: int = 0
    outside: dict[str, int] = {}


class LedgerState(msgspec.Struct, frozen=True):
    """Entries by timeframe; prints withheld by actor path, because its fold failed on them."""

    entries: dict[str, Entry] = {}
    withheld: dict[str, int] = {}


Input: TypeAlias = Bars | Withheld | Forget


class LedgerFold:
    """The fold `(LedgerState, [Bars | Withheld]) -> (LedgerState, [])`. `hours` gives a contract's sessions."""

    def __init__(self, hours: Callable[[str], Sessions]) -> None:
        self._hours = hours
        self._blind: dict[str, bool] = {}  # timeframes by whether they know no sessions

    def initial(self) -> LedgerState:
        """An empty account."""
        return LedgerState()

    def step(self, state: LedgerState, messages: Sequence[Input]) -> tuple[LedgerState, Sequence[object]]:
        """Add up. Messages of other types are passed over."""
        entries, withheld = dict(state.entries), dict(state.withheld)
        for message in messages:
            if isinstance(message, Bars):
                before = entries.get(message.timeframe, Entry())
                entries[message.timeframe] = Entry(
                    before.bars + len(message.settled) + sum(map(len, message.columns)),
                    before.trades
                    + sum(bar.trades for bar in message.settled)
                    + sum(int(block.trades.sum()) for block in message.columns),
                    before.refused + message.refused,
                    self._outside(before.outside, message),
                )
            elif isinstance(message, Forget):
                entries.pop(message.timeframe, None)
                withheld.pop(message.path, None)
            elif isinstance(message, Withheld):
                withheld[message.path] = withheld.get(message.path, 0) + message.prints
        return LedgerState(entries, withheld), ()

    def _outside(self, before: dict[str, int], bars: Bars) -> dict[str, int]:
        name = bars.timeframe
        if name not in self._blind:
            self._blind[name] = Timeframe.parse(name).is_activity
        if self._blind[name]:
            return before
        counts = before
        final: tuple[Bar | BarColumns, ...] = (*bars.settled, *bars.columns)
        for item in final:
            hours = self._hours(item.contract)
            if isinstance(item, BarColumns):
                trades = _trades_outside(item, hours)
            else:
                trades = 0 if hours.at(item.open_time) is not None else item.trades
            if trades:
                counts = dict(counts) if counts is before else counts
                contract = item.contract if item.contract in counts or len(counts) < MOST_COUNTED else ""
                counts[contract] = counts.get(contract, 0) + trades
        return counts

    def split(self, messages: Sequence[Input]) -> tuple[Sequence[Input], Sequence[Input]] | None:
        """Halve a failing batch by messages."""
        middle = len(messages) // 2
        return (messages[:middle], messages[middle:]) if middle else None


def _trades_outside(block: BarColumns, hours: Sessions) -> int:
    """Return the trades of the bars that begin between two sittings; by stretches, of which a block has few."""
    opens, row, trades = block.open_time, 0, 0
    while row < len(opens):
        at = int(opens[row])
        sitting = hours.at(at)
        end = sitting.close if sitting is not None else hours.next_open(at)
        stop = int(np.searchsorted(opens, end))
        if sitting is None:
            trades += int(block.trades[row:stop].sum())
        row = stop
    return trades


def outside(state: LedgerState) -> dict[str, int]:
    """Return by contract how many prints of final bars came between two sittings: by the finest timeframe, since one of
    days or more has what lies between the sittings of one day in that day.
    """
    timed = [frame for frame in map(Timeframe.parse, state.entries) if not frame.is_activity]
    return state.entries[str(min(timed))].outside if timed else {}


def quarantined(state: LedgerState, upstream: Sequence[str], paths: Iterable[str]) -> int:
    """Return how many prints were withheld, in the timeframe of which most were.

    A print may be in the bars of seven timeframes and withheld from those of the eighth: it is counted once.

    Args:
        state: the ledger.
        upstream: paths of the actors every timeframe is fed through.
        paths: those of the timeframes' actors.
    """
    above = sum(state.withheld.get(path, 0) for path in upstream)
    return above + max((state.withheld.get(path, 0) for path in paths), default=0)


def lost(
    state: LedgerState,
    received: int,
    rejected: int,
    upstream: Sequence[str],
    path_of: dict[str, str],
    carried: Callable[[str], int] = lambda timeframe: 0,
) -> int:
    """Return how many prints are missing, in the timeframe that misses most (0 when there is no timeframe).

    Args:
        state: the ledger at the end of a session.
        received: prints offered to the session.
        rejected: prints validation refused.
        upstream: paths of the actors every timeframe is fed through.
        path_of: the path of each timeframe's actor, by its name.
        carried: how many trades a timeframe's bars held when the session began.
    """
    above = sum(state.withheld.get(path, 0) for path in upstream)
    missing = [0]
    for timeframe, path in path_of.items():
        entry = state.entries.get(timeframe, Entry())
        held = above + state.withheld.get(path, 0)
        missing.append(received + carried(timeframe) - rejected - held - entry.refused - entry.trades)
    return max(missing, key=abs)
