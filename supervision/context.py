"""What an actor is given of the world: its path, its clock, refs to others, and the memory of its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tickloom.supervision.clocks import Clock
from tickloom.supervision.events import Event
from tickloom.supervision.life import Life
from tickloom.supervision.place import NOTHING, Place
from tickloom.supervision.ref import Ref
from tickloom.supervision.services import Services


class ActorContext:
    """One incarnation's view. Belongs to the actor's thread unless a method says otherwise."""

    def __init__(self, place: Place, life: Life) -> None:
        self._place = place
        self._life = life
        self._services: Services = place.services
        self.path = place.path
        self.epoch = life.epoch
        self.clock: Clock = place.services.clock

    def ref(self, path: str) -> Ref:
        """Return the ref of the actor at `path`. What is sent through it carries this actor's path as its sender.

        Raises:
            NoSuchPlace: the tree has no actor there.
        """
        return Ref(self._services.find(path), self._life)

    @property
    def self_ref(self) -> Ref:
        """This actor's own ref."""
        return Ref(self._place, self._life)

    def recall(self) -> Any:
        """Return what was committed last, by this incarnation or one before it; `NOTHING` if nothing ever was."""
        return self._place.memory.state

    def commit(self, state: Any) -> None:
        """Keep `state` for the incarnations to come. The batch in hand stays in hand until `on_batch` returns.

        Raises:
            Fenced: this incarnation was replaced; nothing is kept.
        """
        self._place.keep(self.epoch, state)

    def advance(self, count: int) -> None:
        """Say that the first `count` messages of the batch in hand are done with: after a crash they do not come again.

        Counts from the last `advance`. For actors that handle a batch message by message.
        """
        self._place.mailbox.advance(self.epoch, count)

    def succeeded(self) -> None:
        """Report a success by hand, to the breaker: for actors whose work does not come through the mailbox."""
        if self._place.wants_success:
            self._place.wants_success = False
            self._services.warden.succeeded(self.path, self.epoch)

    def send_after(self, seconds: float, message: Any) -> Callable[[], None]:
        """Tell this actor `message` after `seconds` of the tree's clock; returns what cancels it.

        An incarnation that has ended by then is told nothing, and neither is its successor.
        """
        life, mailbox = self._life, self._place.mailbox

        def send() -> None:
            if not life.fenced and mailbox.owner == life.epoch:
                mailbox.put_control(message, life.path)

        return self._services.call_later(seconds, send)

    def dead_letter(self, message: Any, sender: str, reason: str) -> None:
        """Write down a message that reaches nobody."""
        self._services.dead_letter(message, sender, self.path, reason)

    def publish(self, event: Event) -> None:
        """Publish an event on the tree's bus."""
        self._services.bus.publish(event)

    @property
    def stopping(self) -> bool:
        """Whether this incarnation was told to stop, or given up. For long handlers that can end early."""
        return bool(self._life.stop) or self._life.fenced


__all__ = ["NOTHING", "ActorContext"]
