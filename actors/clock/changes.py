"""Changes of the clocks: when a calendar's zone puts its clock forward or back, that is told once.

Bars are right on such days without it; who reads a day of 23 hours, or two hours with the same local time, should find
out why. Time is that of the prints, so a replay tells the same changes as the session did, and those of a weekend are
told when the market opens again. What passed before the first print, or while no session ran, is not told.

A session says at each beat how far its prints have come, and that is enough. A log may hold years without a beat, as
one that was imported does, so a replay is followed by the prints themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from tickloom.config.sessions import Transition, transitions
from tickloom.messages.intake import Validated
from tickloom.messages.market import Trades
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
    """Folds `FeedState` and `Validated` into what has been told; its outputs are the `Transition`s that were passed,
    each once. No result depends on how messages are cut into batches.

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
        reached: dict[ZoneInfo, tuple[int, int]] = {}
        for message in messages:
            for zone, (first, newest) in self._reached(message).items():
                since, before = reached.get(zone, (first, newest))
                reached[zone] = (since, max(before, newest))
        after = dict(state)
        told: list[Transition] = []
        for zone, (first, newest) in reached.items():
            before = state.get(zone.key, first)
            after[zone.key] = max(before, newest)
            if newest > before:
                told += transitions(zone, before, newest)
        return after, sorted(told, key=lambda each: (each.ts_ns, each.zone))

    def _reached(self, message: Any) -> dict[ZoneInfo, tuple[int, int]]:
        """Return the stamp from which a message speaks of each zone, and its newest one."""
        reached: dict[ZoneInfo, tuple[int, int]] = {}
        if isinstance(message, FeedState):
            for contract, stamp, _ in message.contracts:
                zone = self._zone_of(contract)
                newest = max(reached[zone][1], stamp) if zone in reached else stamp
                reached[zone] = (newest, newest)
        elif isinstance(message, Validated):
            earliest: dict[ZoneInfo, int] = {}
            for trades in message.items:
                if isinstance(trades, Trades) and len(trades):
                    zone, tick, stamps = self._zone_of(trades.contract), int(trades.tick[0]), trades.ts_ns
                    newest = int(stamps.max()) if isinstance(stamps, np.ndarray) else max(stamps)
                    since, before = reached.get(zone, (0, newest))
                    if tick < earliest.get(zone, tick + 1):  # the print of the zone that arrived first
                        earliest[zone], since = tick, int(stamps[0])
                    reached[zone] = (since, max(before, newest))
        return reached

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
