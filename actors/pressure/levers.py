"""What pressure can move, and how: mailboxes, streams, history, files, updates. Each is set only when it changes.

Setting a limit never waits. What could not be told (a mailbox without room) is told again after the next look, so what
is in force and what should be differ for a while at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from tickloom.actors.bars.shell import UPDATE_NS, Updates
from tickloom.actors.connection.thinning import Thin
from tickloom.actors.pressure.control import Policy, Pressure, capacity, gives_way, scaled
from tickloom.actors.publishing import Shrink
from tickloom.actors.sinks.history import Keep
from tickloom.actors.sinks.parquet import Roll
from tickloom.supervision import MailboxSpec, Ref
from tickloom.supervision import Policy as Overflow

FEWER_NS: Final = 1_000_000_000
"""Least time between two updates of an open bar where they give way."""


class Resize(Protocol):
    """Changes the bounds of the mailbox at a path, in messages and in bytes (None: it has no such bound), and how many
    messages its actor takes at once."""

    def __call__(self, path: str, capacity: int, max_bytes: int | None, max_batch: int, /) -> object:
        """Do it, without waiting."""


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say: mailboxes by path, messages taken at once, and the bounds of history and files."""

    mailboxes: Mapping[str, MailboxSpec]
    max_batch: int
    history_rows: int
    history_bytes: int
    roll_rows: int


class Levers:
    """Puts limits into force. For one thread.

    Args:
        configured: the limits without pressure.
        resize: changes the bounds of a mailbox, by path.
        history, files, publisher, hub: whom to tell; None: there is none.
        timeframes: whom of them, at the moment.
    """

    def __init__(
        self,
        configured: Configured,
        *,
        resize: Resize,
        history: Ref,
        publisher: Ref,
        files: Ref | None,
        timeframes: Callable[[], Sequence[Ref]],
        hub: Ref | None = None,
    ) -> None:
        self._configured = configured
        self._resize = resize
        self._history = history
        self._files = files
        self._publisher = publisher
        self._timeframes = timeframes
        self._hub = hub
        self._told: dict[str, Any] = {}

    def pull(self, policy: Policy, state: Pressure) -> None:
        """Put into force what `state` says, where it is not what the last look saw."""
        for path, spec in self._configured.mailboxes.items():
            box = state.watched.boxes.get(path)
            size = capacity(policy, state, path, spec.capacity, merges=spec.policy is Overflow.CONFLATE)
            if box is not None and size != box.capacity:
                squeeze = state.squeeze if size < spec.capacity else 0
                max_bytes = None if spec.max_bytes is None else scaled(policy, spec.max_bytes, squeeze)
                self._resize(path, size, max_bytes, scaled(policy, self._configured.max_batch, squeeze))
        what, squeeze = self._configured, state.squeeze
        keep = Keep(scaled(policy, what.history_rows, squeeze), scaled(policy, what.history_bytes, squeeze))
        if self._news("history", keep) and not self._history.offer(keep):
            del self._told["history"]
        roll = Roll(scaled(policy, what.roll_rows, squeeze))
        if self._files is not None and self._news("files", roll) and not self._files.offer(roll):
            del self._told["files"]
        squeezed = squeeze if gives_way(policy, state, "subscribers") else 0
        shrink = Shrink(max(0.5**squeezed, policy.floor))
        if self._news("publisher", shrink):
            self._publisher.tell(shrink)
        updates = Updates(FEWER_NS if gives_way(policy, state, "updates") else UPDATE_NS)
        # again after each look while they give way: an actor that was restarted has forgotten it
        if self._news("timeframes", updates) or updates.every_ns != UPDATE_NS:
            for timeframe in self._timeframes():
                timeframe.tell(updates)
        thin = Thin(gives_way(policy, state, "quotes"), gives_way(policy, state, "depth"))
        if self._hub is not None and (self._news("hub", thin) or thin != Thin()):
            self._hub.tell(thin)

    def _news(self, whom: str, what: Any) -> bool:
        """Note what is being told, and return whether it is something else than before."""
        news: bool = what != self._told.get(whom)
        self._told[whom] = what
        return news
