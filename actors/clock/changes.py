"""Changes of the clocks: when a calendar's zone puts its clock forward or back, that is told once.

Bars are right on such days without it; who reads a day of 23 hours, or two hours with the same local time, should find
out why. Time is that of the prints, so a replay tells the same changes as the session did, and those of a weekend are
told when the market opens again. What passed before the first print, or while no session ran, is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from tickloom.config.sessions import Transition, transitions
from tickloom.messages.reports import FeedState
from tickloom.supervision import Event, FoldActor

Passed: TypeAlias = Mapping[str, int]
"""By zone: the stamp (ns) up to which its changes have been told."""

NOTHING_PASSED: Passed = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockChanged(Event):
    """The clock of a zone that a calendar goes by was put forward or back; `words` say which, when and by how much."""

    transition: Transition

    @property
    def words(self) -> str:
        """What happened."""
        return str(self.transition)


class ChangesFold:
    """Folds `FeedState` into what has been told; its outputs are the `Transition`s that were passed, each once.

    Args:
        zone_of: the zone of a contract's calendar.
    """

    def __init__(self, zone_of: Callable[[str], ZoneInfo]) -> None:
        self._zone_of = zone_of

    def initial(self) -> Passed:
        """Nothing is known of any zone."""
        return NOTHING_PASSED

    def step(self, state: Passed, messages: Sequence[Any]) -> tuple[Passed, list[Transition]]:
        """Tell what was passed since the last batch, in order of time."""
        newest: dict[ZoneInfo, int] = {}
        for message in messages:
            if isinstance(message, FeedState):
                for contract, stamp, _ in message.contracts:
                    zone = self._zone_of(contract)
                    newest[zone] = max(newest.get(zone, stamp), stamp)
        after = dict(state)
        told: list[Transition] = []
        for zone, stamp in newest.items():
            before = state.get(zone.key)
            if before is None or stamp > before:
                after[zone.key] = stamp
                told += transitions(zone, before, stamp) if before is not None else ()
        return after, sorted(told, key=lambda each: (each.ts_ns, each.zone))

    def split(self, messages: Sequence[Any]) -> None:
        """What comes in is a state: a failing batch is put aside whole, and the next one says it all again."""


class ChangesActor(FoldActor[Passed]):
    """Publishes a `ClockChanged` for each change. Asks are answered with what has been passed."""

    def emit(self, output: Any) -> None:
        """Publish it."""
        self.context.publish(ClockChanged(path=self.path, at_ns=self.context.clock.wall_ns(), transition=output))

    def query(self, state: Passed, message: Any) -> dict[str, int]:
        """Answer with the stamps, by zone."""
        return dict(state)
