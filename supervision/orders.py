"""What a supervisor's core hears and what it says: inputs and commands, as values. See `lifecycle` for the theory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from tickloom.supervision.breaker import Breaker
from tickloom.supervision.exits import Exit
from tickloom.supervision.spec import ChildSpec

# --- what a supervisor hears ---


@dataclass(frozen=True, slots=True)
class Begin:
    """Start the children."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop everything by `deadline_ns`. `final`: nothing of it will run again, so the places close as they empty."""

    mode: str
    deadline_ns: int
    final: bool


@dataclass(frozen=True, slots=True)
class ChildUp:
    """The incarnation is up."""

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ChildDeclined:
    """The incarnation declined to start."""

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """The incarnation did not get up."""

    id: str
    epoch: int
    exit: Exit


@dataclass(frozen=True, slots=True)
class ChildExited:
    """An incarnation that had been up is gone."""

    id: str
    epoch: int
    exit: Exit


@dataclass(frozen=True, slots=True)
class ChildSucceeded:
    """The incarnation did something well (asked for only while its breaker wants to know)."""

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Due:
    """A timer that was set has come."""

    key: TimerKey


@dataclass(frozen=True, slots=True)
class Add:
    """Add a child and start it."""

    spec: ChildSpec
    token: Any


@dataclass(frozen=True, slots=True)
class Terminate:
    """Stop a child and keep its spec (a temporary one's goes)."""

    id: str
    mode: str
    deadline_ns: int
    token: Any


@dataclass(frozen=True, slots=True)
class Revive:
    """Start a child that was terminated, declined or finished."""

    id: str
    token: Any


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the spec of a child that does not run."""

    id: str
    token: Any


Input: TypeAlias = (
    Begin
    | Halt
    | ChildUp
    | ChildDeclined
    | ChildFailed
    | ChildExited
    | ChildSucceeded
    | Due
    | Add
    | Terminate
    | Revive
    | Delete
)


# --- what a supervisor says ---


@dataclass(frozen=True, slots=True)
class TimerKey:
    """Names a timer: what for, whose (""; the group's), and of which incarnation."""

    purpose: str
    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class StartChild:
    """Bring incarnation `epoch` of the child up."""

    spec: ChildSpec
    epoch: int


@dataclass(frozen=True, slots=True)
class StopChild:
    """Tell the incarnation to stop."""

    id: str
    epoch: int
    mode: str
    deadline_ns: int
    final: bool


@dataclass(frozen=True, slots=True)
class FenceChild:
    """Give the incarnation up: nothing it still does counts."""

    id: str
    epoch: int
    doing: str


@dataclass(frozen=True, slots=True)
class CloseChild:
    """Nothing will run at this place, unless it is revived by hand."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForgetChild:
    """The spec is gone, and the place with it."""

    id: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send `Due(key)` at `at_ns`, in place of any timer of that key."""

    key: TimerKey
    at_ns: int


@dataclass(frozen=True, slots=True)
class SetBackoff:
    """Send `Due(key)` after the child's backoff delay number `attempt`."""

    key: TimerKey
    attempt: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget the timer, if it is set."""

    key: TimerKey


@dataclass(frozen=True, slots=True)
class TurnBreaker:
    """The child's breaker has changed."""

    id: str
    epoch: int
    before: Breaker
    after: Breaker
    cause: str


@dataclass(frozen=True, slots=True)
class WatchSuccess:
    """Report the next success of this incarnation."""

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Exhausted:
    """More restarts than the intensity bears; `id` was the last."""

    id: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to `Add`, `Terminate`, `Revive` or `Delete`: an error, or None when it is done."""

    token: Any
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Up:
    """The supervisor has started."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The supervisor has ended, after having been up."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class NotUp:
    """The supervisor did not get up, and what it had started is stopped again."""

    exit: Exit


Command: TypeAlias = (
    StartChild | StopChild | FenceChild | CloseChild | ForgetChild | SetTimer | SetBackoff | CancelTimer | TurnBreaker
    | WatchSuccess | Exhausted | Reply | Up | Gone | NotUp
)  # fmt: skip
