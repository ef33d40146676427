"""The ledger as a pure fold: what each timeframe's final bars hold, and what was withheld from them.

It is the other side of validation's totals. When a session has ended, for every timeframe

    received = rejected + withheld on the way + refused by the timeframe + trades in its final bars

less the trades of an earlier session that those bars had begun with, where this one goes on with its log;
and what is missing on the right is *lost*: a defect, never a matter of course.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from tickloom.messages.bars import Bars, Forget
from tickloom.messages.reports import Withheld


class Entry(msgspec.Struct, frozen=True):
    """Totals of one timeframe: final bars, trades in them, trades that came too late for their bar."""

    bars: int = 0
    trades: int = 0
    refused: int = 0


class LedgerState(msgspec.Struct, frozen=True):
    """Entries by timeframe; prints withheld by actor path, because its fold failed on them."""

    entries: dict[str, Entry] = {}
    withheld: dict[str, int] = {}


Input: TypeAlias = Bars | Withheld | Forget


class LedgerFold:
    """The fold `(LedgerState, [Bars | Withheld]) -> (LedgerState, [])`."""

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
                )
            elif isinstance(message, Forget):
                entries.pop(message.timeframe, None)
            elif isinstance(message, Withheld):
                withheld[message.path] = withheld.get(message.path, 0) + message.prints
        return LedgerState(entries, withheld), ()

    def split(self, messages: Sequence[Input]) -> tuple[Sequence[Input], Sequence[Input]] | None:
        """Halve a failing batch by messages."""
        middle = len(messages) // 2
        return (messages[:middle], messages[middle:]) if middle else None


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
