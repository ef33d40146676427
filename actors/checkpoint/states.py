"""The states that bars are made of, as one value; and how states that go together are found while actors work. Pure.

A checkpoint is a *cut*: for each actor its committed state, with its own sequence number. Going on from it means to
feed the log from validation's number on through the same folds. Each passes over what it has folded already, so a cut
is consistent when nobody downstream is behind: validation's number <= the reduction's <= each timeframe's. A number
that has reached another is proof that everything up to there has arrived, because mailboxes keep their order.
"""

from __future__ import annotations

import msgspec

from tickloom.actors.bars.activity import ActivityState
from tickloom.actors.bars.fold import TimeframeState
from tickloom.actors.bars.reduce import ReduceState
from tickloom.actors.validation.fold import Counts, ValidationState


class States(msgspec.Struct, frozen=True):
    """What the folds have come to: validation, the finest reduction, and the timeframes by name."""

    validation: ValidationState = ValidationState()
    reduce: ReduceState = ReduceState()
    timeframes: dict[str, TimeframeState] = {}
    activities: dict[str, ActivityState] = {}

    @property
    def seqs(self) -> tuple[int, ...]:
        """The sequence number each state has come to; validation's, the least of a consistent cut, is the first."""
        timeframes = (state.seq for state in self.timeframes.values())
        activities = (state.seq for state in self.activities.values())
        return (self.validation.seq, self.reduce.seq, *timeframes, *activities)

    @property
    def last_seq(self) -> int:
        """The last record that any state holds."""
        return max(self.seqs)

    @property
    def held(self) -> int:
        """Prints that validation holds until others confirm or condemn them."""
        return sum(len(reference.held) for reference in self.validation.references.values())

    def open_trades(self, timeframe: str) -> int:
        """Return how many trades are in a timeframe's bars that are not final yet."""
        if timeframe in self.activities:
            counts = (contract.count for contract in self.activities[timeframe].contracts.values())
            return sum(count.trades for count in counts if count is not None)
        known = self.timeframes.get(timeframe, TimeframeState())
        return sum(
            live.delta.trades
            for contract in known.contracts.values()
            for bars in (contract.open, contract.closed)
            for live in bars.values()
        )

    def counted_anew(self) -> States:
        """Return the same states with validation's totals begun anew: they are a session's, not the log's."""
        counts = Counts(received=self.held)
        return msgspec.structs.replace(self, validation=msgspec.structs.replace(self.validation, counts=counts))

    def newest(self, contract: str) -> int:
        """Return a contract's newest accepted stamp (ns); without one, when it was last heard of; 0: never."""
        reference = self.validation.references.get(contract)
        if reference is not None and reference.last is not None:
            return reference.newest_ns
        return self.validation.receipts.get(contract, 0)


class Cut:
    """Finds a consistent cut: shown what is committed from time to time, it keeps of each actor what goes together.

    Args:
        after: the last number of the session before; a cut is our own from there on.
    """

    def __init__(self, after: int = 0) -> None:
        self._after = after
        self._validation: ValidationState | None = None
        self._reduce: ReduceState | None = None
        self._timeframes: dict[str, TimeframeState] = {}
        self._activities: dict[str, ActivityState] = {}

    def look(self, now: States) -> States | None:
        """Take what goes with what was taken before; return the cut when it is complete."""
        if self._validation is None:
            if now.validation.seq <= self._after:
                return None
            self._validation = now.validation
        seq = self._validation.seq
        if self._reduce is None and now.reduce.seq >= seq:
            self._reduce = now.reduce
        for name, activity in now.activities.items():
            if name not in self._activities and activity.seq >= seq:
                self._activities[name] = activity
        if self._reduce is None:
            return None
        for name, timeframe in now.timeframes.items():
            if name not in self._timeframes and timeframe.seq >= self._reduce.seq:
                self._timeframes[name] = timeframe
        if len(self._timeframes) < len(now.timeframes) or len(self._activities) < len(now.activities):
            return None
        return States(self._validation, self._reduce, self._timeframes, self._activities)
