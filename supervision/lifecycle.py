"""The states of a supervisor and its children, and the two tables they move along.

Values only. What must not be in here: decisions (those are in `core`), threads, clocks, actors. Times are monotonic
nanoseconds, and come in from outside.

Theory of operation. A child is always in one `Phase`; `DOWN` is the hub at which something is decided about it. A
supervisor is in one `Stage`. Both move only along the tables. The core answers each event with commands; the shell
(`warden`) carries them out and reports what came of it as further events (both are in `orders`). Nothing ever waits
inside the core: to start or stop a child is a command now and an event later, so a supervisor answers and stops at
any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from tickloom.supervision.breaker import BreakerState
from tickloom.supervision.exits import Exit
from tickloom.supervision.spec import ChildSpec


class Phase(Enum):
    """Where a child is."""

    DOWN = "down"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    OPEN = "breaker open"
    PARKED = "parked"


class Move(Enum):
    """What moves a child from phase to phase."""

    START = "start"
    UP = "is up"
    DECLINE = "declined"
    FAIL = "failed to start"
    EXIT = "exited"
    STOP = "told to stop"
    OVERRUN = "overran, fenced"
    DELAY = "to be restarted"
    TRIP = "breaker opened"
    DUE = "time is up"
    PARK = "not to run"
    REVIVE = "restarted by hand"


CHILD_TRANSITIONS: dict[tuple[Phase, Move], Phase] = {
    (Phase.DOWN, Move.START): Phase.STARTING,
    (Phase.DOWN, Move.DELAY): Phase.BACKOFF,
    (Phase.DOWN, Move.TRIP): Phase.OPEN,
    (Phase.DOWN, Move.PARK): Phase.PARKED,
    (Phase.STARTING, Move.UP): Phase.RUNNING,
    (Phase.STARTING, Move.DECLINE): Phase.PARKED,
    (Phase.STARTING, Move.FAIL): Phase.DOWN,
    (Phase.STARTING, Move.EXIT): Phase.DOWN,
    (Phase.STARTING, Move.STOP): Phase.STOPPING,
    (Phase.STARTING, Move.OVERRUN): Phase.DOWN,
    (Phase.RUNNING, Move.EXIT): Phase.DOWN,
    (Phase.RUNNING, Move.STOP): Phase.STOPPING,
    (Phase.STOPPING, Move.EXIT): Phase.DOWN,
    (Phase.STOPPING, Move.FAIL): Phase.DOWN,
    (Phase.STOPPING, Move.OVERRUN): Phase.DOWN,
    (Phase.BACKOFF, Move.DUE): Phase.DOWN,
    (Phase.BACKOFF, Move.PARK): Phase.PARKED,
    (Phase.OPEN, Move.DUE): Phase.DOWN,
    (Phase.OPEN, Move.PARK): Phase.PARKED,
    (Phase.PARKED, Move.REVIVE): Phase.DOWN,
}
"""Every legal move of a child."""

LIVE = frozenset({Phase.STARTING, Phase.RUNNING, Phase.STOPPING})
"""Phases in which an incarnation exists."""


class Stage(Enum):
    """Where a supervisor is."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"


class Turn(Enum):
    """What moves a supervisor."""

    BEGIN = "told to start"
    UP = "all children are up"
    FAIL = "a child failed to start"
    HALT = "told to stop"
    EXHAUST = "intensity exceeded"
    AUTO = "significant children ended"
    EMPTY = "no child lives"


SUPERVISOR_TRANSITIONS: dict[tuple[Stage, Turn], Stage] = {
    (Stage.IDLE, Turn.BEGIN): Stage.STARTING,
    (Stage.STARTING, Turn.UP): Stage.RUNNING,
    (Stage.STARTING, Turn.FAIL): Stage.STOPPING,
    (Stage.STARTING, Turn.HALT): Stage.STOPPING,
    (Stage.RUNNING, Turn.HALT): Stage.STOPPING,
    (Stage.RUNNING, Turn.EXHAUST): Stage.STOPPING,
    (Stage.RUNNING, Turn.AUTO): Stage.STOPPING,
    (Stage.STOPPING, Turn.EMPTY): Stage.DONE,
}
"""Every legal turn of a supervisor."""


# --- what a supervisor is ---


@dataclass(frozen=True, slots=True)
class Child:
    """One child as its supervisor knows it.

    `epoch` numbers its incarnations from 1. `recycle`: it must go down before its group starts again. `unwanted`: it
    is being stopped for good. `died`: how it ended while the group was still starting, to be dealt with after that.
    `attempt` counts restarts since the last quiet period; `up_ns` is since when it is up. `stop_mode` and `stop_by_ns`
    are how and by when it was told to stop; `undrained`: it is down, but must come up once more to handle what is
    queued. `start_token` and `token` wait for its start, and its stop, to be over.
    """

    spec: ChildSpec
    phase: Phase = Phase.DOWN
    epoch: int = 0
    recycle: bool = False
    unwanted: bool = False
    died: Exit | None = None
    attempt: int = -1
    up_ns: int | None = None
    stop_by_ns: int = 0
    stop_mode: str = "now"
    undrained: bool = False
    breaker: BreakerState | None = None
    token: Any = None
    start_token: Any = None


@dataclass(frozen=True, slots=True)
class SupervisorState:
    """One incarnation of a supervisor: its stage, its children in order, its recent restarts (ns)."""

    path: str
    strategy: Any
    intensity: int
    period_ns: int
    auto_shutdown: Any
    children: tuple[Child, ...]
    stage: Stage = Stage.IDLE
    restarts: tuple[int, ...] = ()
    exit: Exit | None = None
    failed: bool = False
    mode: str = "now"
    deadline_ns: int = 0
    final: bool = False
    hurried: bool = False
