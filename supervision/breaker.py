"""The circuit breaker of one child, as a table over a pure state. No clock, no thread, no child: only when to say no.

Theory of operation. The supervisor feeds every failure of the child (`FAILURE`), its first success after one
(`SUCCESS`) and the end of the reset time (`RESET`) into `advance`. Closed, failures within `window` are counted; the
`max_failures`-th opens the breaker (`TRIP`). Open, the child does not run. After `reset_timeout` the breaker is
half-open: the child runs, but is let have only a bounded probe. A success closes it and puts the reset time back to
its first value; a failure opens it again for twice as long, up to `max_reset_timeout`. The three states and their
meaning are those of Nygard, "Release It!"; that a success resets the count is Pekko's rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tickloom.supervision.checks import seconds, whole
from tickloom.supervision.clocks import to_ns
from tickloom.supervision.errors import SpecError


class Breaker(Enum):
    """The states of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class BreakerEvent(Enum):
    """What moves a breaker. `TRIP` is the failure that fills the count."""

    FAILURE = "failure"
    TRIP = "failure, the last of max_failures"
    SUCCESS = "success"
    RESET = "reset time over"


BREAKER_TRANSITIONS: dict[tuple[Breaker, BreakerEvent], Breaker] = {
    (Breaker.CLOSED, BreakerEvent.FAILURE): Breaker.CLOSED,
    (Breaker.CLOSED, BreakerEvent.TRIP): Breaker.OPEN,
    (Breaker.CLOSED, BreakerEvent.SUCCESS): Breaker.CLOSED,
    (Breaker.OPEN, BreakerEvent.RESET): Breaker.HALF_OPEN,
    (Breaker.HALF_OPEN, BreakerEvent.FAILURE): Breaker.OPEN,
    (Breaker.HALF_OPEN, BreakerEvent.SUCCESS): Breaker.CLOSED,
}
"""Every legal step. What is not here is refused and leaves the state as it was."""


@dataclass(frozen=True)
class BreakerSpec:
    """When a child's breaker opens, for how long, and what becomes of its messages meanwhile.

    It opens at the `max_failures`-th failure within `window` seconds, with no success between them. It stays open for
    `reset_timeout` seconds, doubled at each failed probe up to `max_reset_timeout`. `while_open="hold"`: data waits in
    the mailbox under the mailbox's own policy; `"refuse"`: data is refused, counted and dead-lettered, and the first
    message missed is told to the actor when it is back. The half-open child is given at most `probe` messages and as
    many asks until it has succeeded; if nothing comes, having lived for `probe_time` seconds is success enough.
    """

    max_failures: int = 5
    window: float = 60.0
    reset_timeout: float = 5.0
    max_reset_timeout: float = 300.0
    while_open: str = "hold"
    probe: int = 1
    probe_time: float = 5.0

    def __post_init__(self) -> None:
        for name in ("max_failures", "probe"):
            whole("breaker", name, getattr(self, name))
        for name in ("window", "reset_timeout", "max_reset_timeout", "probe_time"):
            seconds("breaker", name, getattr(self, name), above_zero=True)
        if self.max_reset_timeout < self.reset_timeout:
            raise SpecError(
                f"breaker: max_reset_timeout ({self.max_reset_timeout}) must not be below "
                f"reset_timeout ({self.reset_timeout})"
            )
        if self.while_open not in ("hold", "refuse"):
            raise SpecError(f"breaker: while_open must be 'hold' or 'refuse', not {self.while_open!r}")


@dataclass(frozen=True, slots=True)
class BreakerState:
    """Where a breaker stands: its state, the recent failures' times (ns), and how long it opens next (ns)."""

    state: Breaker = Breaker.CLOSED
    failures: tuple[int, ...] = ()
    reset_ns: int = 0


def new_breaker(spec: BreakerSpec) -> BreakerState:
    """Return a closed breaker."""
    return BreakerState(reset_ns=to_ns(spec.reset_timeout))


class IllegalStep(Exception):
    """An event that the table does not know in this state. The state is as it was."""


def advance(spec: BreakerSpec, breaker: BreakerState, event: BreakerEvent, now_ns: int) -> BreakerState:
    """Return the breaker after `event` (`FAILURE`, `SUCCESS` or `RESET`; `TRIP` is found here).

    `reset_ns` of an open breaker is how long it stays open from `now_ns`.

    Raises:
        IllegalStep: the table has no such step; `breaker` is unchanged, being a value.
    """
    failures: tuple[int, ...] = ()
    if event is BreakerEvent.FAILURE and breaker.state is Breaker.CLOSED:
        oldest = now_ns - to_ns(spec.window)
        failures = (*(at for at in breaker.failures if at >= oldest), now_ns)
        if len(failures) >= spec.max_failures:
            event, failures = BreakerEvent.TRIP, ()
    state = BREAKER_TRANSITIONS.get((breaker.state, event))
    if state is None:
        raise IllegalStep(f"a breaker that is {breaker.state.value} cannot take {event.value!r}")
    reset_ns = breaker.reset_ns
    if breaker.state is Breaker.HALF_OPEN:
        if event is BreakerEvent.FAILURE:
            reset_ns = min(reset_ns * 2, to_ns(spec.max_reset_timeout))
        else:
            reset_ns = to_ns(spec.reset_timeout)
    return BreakerState(state, failures, reset_ns)
