"""What pressure tells the world: events on the tree's bus, beside supervision's own, each with its cause in words."""

from __future__ import annotations

from dataclasses import dataclass

from tickloom.supervision import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class OverflowBegan(Event):
    """A mailbox has no room. `account` says what has become of how many messages so far."""

    capacity: int
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverflowEnded(Event):
    """There is room again, and has been for a while. `account` is that of the whole overflow."""

    seconds: float
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChanged(Event):
    """A limit was moved: `limit` says which, `before` and `after` in what measure, `cause` why.

    `path` is the actor's whose limit it is, or the pressure actor's for those of many.
    """

    limit: str
    before: str
    after: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowYielded(Event):
    """A flow gives way from now on, or (`back`) does so no longer: see `[pressure] order`."""

    flow: str
    back: bool
    cause: str
