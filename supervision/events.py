"""What supervision tells the world: immutable records, each with the path it is about and when (wall clock, ns UTC).

Nothing here acts. Who delivers them is `bus`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickloom.supervision.exits import Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    path: str
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """An incarnation is up: constructed, and its `on_start` returned. Supervisors: all their children are."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited(Event):
    """An incarnation has ended. There is exactly one for each that began."""

    epoch: int
    exit: Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Event):
    """Something raised. Told once, wherever it came from.

    `phase` is where: start, batch, fold, commit, emit, control, ask, query, catch_up, task, exit, supervisor. The
    exception has been freed of its traceback (which keeps whole batches alive); `traceback_text` is what it said.
    """

    epoch: int
    phase: str
    cause: BaseException
    traceback_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarting(Event):
    """A child will be started again after `delay` seconds; `attempt` counts from 0 since its last quiet period."""

    epoch: int
    attempt: int
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Event):
    """A child's breaker went from one state to another ("closed", "open", "half-open")."""

    before: str
    after: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityExceeded(Event):
    """A supervisor gives up: more than `intensity` restarts within `period` seconds. `child` was the last straw."""

    child: str
    intensity: int
    period: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun(Event):
    """An incarnation did not start or stop in time and was fenced off; its thread may still run."""

    epoch: int
    doing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Straggler(Event):
    """The thread of a fenced incarnation has ended after all."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine(Event):
    """Messages on which an actor failed were put aside; the rest of their batch was handled."""

    epoch: int
    count: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityChanged(Event):
    """A mailbox's bound was changed while the tree ran."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberDropped(Event):
    """A subscriber raised too often in a row and is told nothing any more. `path` names it as far as it has a name."""

    failures: int


@dataclass(frozen=True, slots=True)
class Died:
    """What a watcher is told: the incarnation `epoch` of `path` is dead, and how it ended.

    `epoch` 0: nothing ever ran there.
    """

    path: str
    epoch: int
    exit: Exit
