"""What a tree is made of, as values: child and supervisor specifications, checked when they are written down.

A wrong specification is refused here, with a sentence that names the child and the field. After OTP's
`supervisor:child_spec()` and `sup_flags()`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from tickloom.supervision.backoff import Backoff
from tickloom.supervision.breaker import BreakerSpec
from tickloom.supervision.checks import choice, instance, seconds, whole
from tickloom.supervision.errors import SpecError
from tickloom.supervision.policy import MailboxSpec

if TYPE_CHECKING:
    from tickloom.supervision.actor import ActorBase
    from tickloom.supervision.context import ActorContext


class Restart(Enum):
    """When a child that ended comes back: always; after a crash only; never (and its spec goes with it)."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Strategy(Enum):
    """Who is replaced with a crashed child: nobody; all its siblings; those started after it."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class AutoShutdown(Enum):
    """When significant children that ended end their supervisor: never; with the first; with the last."""

    NEVER = "never"
    ANY = "any"
    ALL = "all"


DEFAULT_SHUTDOWN = 5.0
"""Seconds a worker has to stop, when its spec does not say."""


@dataclass(frozen=True)
class ChildSpec:
    """One child: an actor, or a supervisor with children of its own.

    `id` is its name among its siblings and the last part of its path. `start` makes the actor, in the actor's own
    thread; returning None (or raising `Declined`) declines. `shutdown` is the time it has to stop, in seconds
    (None: 5 for a worker, and for a supervisor the longest of its children's). `start_timeout` bounds its start.
    `significant` children can end their supervisor (see `AutoShutdown`). `max_batch` bounds what one `on_batch` gets.
    Actors that name the same `crew` share a thread (see `tickloom.supervision.crew`); by default each has its own.
    A worker that is to `linger` (seconds) is not woken for more data within that time of the last, unless its mailbox
    is half full: its batches are larger, and who brings them pays for fewer wake-ups. Control wakes it always.
    A worker's batch that crashed it `poison_after` times, outside its fold, is quarantined. A child with a `breaker`
    does not use up its supervisor's intensity: its failures open the breaker instead.
    """

    id: str
    start: Callable[[ActorContext], ActorBase | None] | SupervisorSpec
    restart: Restart = Restart.PERMANENT
    shutdown: float | None = None
    significant: bool = False
    mailbox: MailboxSpec = field(default_factory=MailboxSpec)
    backoff: Backoff = field(default_factory=Backoff)
    breaker: BreakerSpec | None = None
    max_batch: int = 4096
    start_timeout: float = 30.0
    poison_after: int = 10
    crew: str = ""
    linger: float = 0.0

    def __post_init__(self) -> None:
        instance(f"child {self.id!r}", "id", self.id, str)
        if not self.id or "/" in self.id:
            raise SpecError(f"child {self.id!r}: id must be a non-empty string without '/'")
        owner = f"child {self.id!r}"
        object.__setattr__(self, "restart", choice(owner, "restart", Restart, self.restart))
        if not callable(self.start) and not isinstance(self.start, SupervisorSpec):
            raise SpecError(f"{owner}: start must be a function of the context or a SupervisorSpec, not {self.start!r}")
        if self.shutdown is not None:
            seconds(owner, "shutdown", self.shutdown)
        seconds(owner, "start_timeout", self.start_timeout, above_zero=True)
        whole(owner, "max_batch", self.max_batch)
        whole(owner, "poison_after", self.poison_after)
        instance(owner, "crew", self.crew, str)
        seconds(owner, "linger", self.linger)
        if self.linger and self.crew:
            raise SpecError(
                f"{owner}: linger is for a worker with a thread of its own; leave it or crew {self.crew!r} out"
            )
        instance(owner, "mailbox", self.mailbox, MailboxSpec)
        instance(owner, "backoff", self.backoff, Backoff)
        if self.breaker is not None:
            instance(owner, "breaker", self.breaker, BreakerSpec)
        if self.significant and self.restart is Restart.PERMANENT:
            raise SpecError(f"{owner}: significant needs restart transient or temporary; permanent children never end")

    @property
    def is_supervisor(self) -> bool:
        """Whether the child is a supervisor."""
        return isinstance(self.start, SupervisorSpec)

    @property
    def stop_seconds(self) -> float:
        """How long it may take to stop."""
        if self.shutdown is not None:
            return self.shutdown
        return self.start.stop_seconds if isinstance(self.start, SupervisorSpec) else DEFAULT_SHUTDOWN


@dataclass(frozen=True)
class SupervisorSpec:
    """A supervisor: its children in the order they start (they stop in reverse), and how it keeps them.

    At most `intensity` restarts within `period` seconds are borne; one more, and it stops its children and ends with
    `shutdown`, leaving the matter to its parent.
    """

    children: tuple[ChildSpec, ...] = ()
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 3
    period: float = 5.0
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER

    def __post_init__(self) -> None:
        object.__setattr__(self, "children", tuple(self.children))
        ids: set[str] = set()
        for child in self.children:
            instance("supervisor", "each of children", child, ChildSpec)
            if child.id in ids:
                raise SpecError(f"supervisor: children must have different ids, but {child.id!r} is there twice")
            ids.add(child.id)
        owner = f"supervisor of {', '.join(repr(child.id) for child in self.children) or 'no children'}"
        object.__setattr__(self, "strategy", choice(owner, "strategy", Strategy, self.strategy))
        object.__setattr__(self, "auto_shutdown", choice(owner, "auto_shutdown", AutoShutdown, self.auto_shutdown))
        whole(owner, "intensity", self.intensity, least=0)
        seconds(owner, "period", self.period, above_zero=True)
        for child in self.children:
            check_significant(child, self.auto_shutdown)

    @property
    def stop_seconds(self) -> float:
        """How long the group may take to stop: its slowest child, not the sum."""
        return max((child.stop_seconds for child in self.children), default=DEFAULT_SHUTDOWN)


def check_significant(child: ChildSpec, auto_shutdown: AutoShutdown) -> None:
    """Refuse a significant child under a supervisor that would not care.

    Raises:
        SpecError: `auto_shutdown` is never.
    """
    if child.significant and auto_shutdown is AutoShutdown.NEVER:
        raise SpecError(f"child {child.id!r}: significant needs a supervisor with auto_shutdown any or all, not never")
