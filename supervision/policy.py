"""What bounds a mailbox, as a value; and the account of what went through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tickloom.supervision.checks import choice, seconds, whole
from tickloom.supervision.errors import SpecError


class Policy(Enum):
    """What a full data lane does with one message more."""

    BLOCK = "block"
    DROP_NEWEST = "drop_newest"
    DROP_OLDEST = "drop_oldest"
    CONFLATE = "conflate"


@dataclass(frozen=True)
class MailboxSpec:
    """The bound of a data lane and what happens at it.

    `capacity` is in messages. With `max_bytes` the lane is full, too, when what `weigh(message)` says of those queued
    comes to that; the message that reaches the bound is still let in, so that one above it is not stuck for good.
    `weigh` is called once a message, in the producer's thread, under the lock. `block_timeout` (seconds; None: no
    limit) bounds a blocking put. `conflate(older, newer)` returns one message that stands for both, or None when these
    two cannot merge; it is called in the producer's thread, at capacity only, on neighbours in the queue. When nothing
    can merge, CONFLATE waits as BLOCK does.
    """

    capacity: int = 1024
    policy: Policy = Policy.BLOCK
    block_timeout: float | None = None
    conflate: Callable[[Any, Any], Any | None] | None = None
    max_bytes: int | None = None
    weigh: Callable[[Any], int] | None = None

    def __post_init__(self) -> None:
        whole("mailbox", "capacity", self.capacity)
        object.__setattr__(self, "policy", choice("mailbox", "policy", Policy, self.policy))
        if self.block_timeout is not None:
            seconds("mailbox", "block_timeout", self.block_timeout)
        if self.policy is Policy.CONFLATE and not callable(self.conflate):
            raise SpecError(f"mailbox: policy conflate needs a conflate function, not {self.conflate!r}")
        if self.max_bytes is not None:
            whole("mailbox", "max_bytes", self.max_bytes)
            if not callable(self.weigh):
                raise SpecError(f"mailbox: max_bytes needs a weigh function, not {self.weigh!r}")


@dataclass(frozen=True, slots=True)
class Counters:
    """A mailbox's account, read in one piece: put = taken + conflated + refused + dropped + discarded + depth.

    `put`: messages the data lane answered for. `taken`: handed to the actor. `conflated`: merged into another.
    `refused`: not let in (closed, breaker open, timed out, deadlock). `dropped_newest`, `dropped_oldest`: by policy.
    `discarded`: still queued when the place was closed. `declined`: not put, the caller kept them. `depth`: queued
    now; `high_water` the most ever; `waiting`: producers blocked now. The control lane has
    control_put = control_taken + control_lost + control_depth. `bytes` is what is queued weighs, and `max_bytes` its
    bound, where there is one.
    """

    put: int
    taken: int
    conflated: int
    refused: int
    dropped_newest: int
    dropped_oldest: int
    discarded: int
    declined: int
    high_water: int
    conflate_errors: int
    control_put: int
    control_taken: int
    control_lost: int
    control_high_water: int
    depth: int
    capacity: int
    waiting: int
    control_depth: int
    bytes: int = 0
    max_bytes: int | None = None

    @property
    def balanced(self) -> bool:
        """Whether every message put is accounted for, exactly once, on both lanes."""
        gone = self.conflated + self.refused + self.dropped_newest + self.dropped_oldest + self.discarded
        control = self.control_taken + self.control_lost + self.control_depth
        return self.put == self.taken + gone + self.depth and self.control_put == control


@dataclass(slots=True)
class Tally:
    """The running account of a mailbox. `Counters` says what the figures mean."""

    put: int = 0
    taken: int = 0
    conflated: int = 0
    refused: int = 0
    dropped_newest: int = 0
    dropped_oldest: int = 0
    discarded: int = 0
    declined: int = 0
    high_water: int = 0
    conflate_errors: int = 0
    control_put: int = 0
    control_taken: int = 0
    control_lost: int = 0
    control_high_water: int = 0

    def read(
        self,
        depth: int,
        capacity: int,
        waiting: int,
        control_depth: int,
        queued_bytes: int = 0,
        max_bytes: int | None = None,
    ) -> Counters:
        """Return the account with what is there now."""
        return Counters(
            put=self.put,
            taken=self.taken,
            conflated=self.conflated,
            refused=self.refused,
            dropped_newest=self.dropped_newest,
            dropped_oldest=self.dropped_oldest,
            discarded=self.discarded,
            declined=self.declined,
            high_water=max(self.high_water, depth),
            conflate_errors=self.conflate_errors,
            control_put=self.control_put,
            control_taken=self.control_taken,
            control_lost=self.control_lost,
            control_high_water=max(self.control_high_water, control_depth),
            depth=depth,
            capacity=capacity,
            waiting=waiting,
            control_depth=control_depth,
            bytes=queued_bytes,
            max_bytes=max_bytes,
        )
