"""What publishers have in common: subscriptions that outlive their incarnation, and slow readers that harm only
themselves.

A subscriber has a bounded mailbox of its own. What it is too slow for costs it its oldest messages, counted, and nobody
else anything. Subscriptions live with the publisher's place, not with the incarnation: a restart ends none.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

import msgspec

from tickloom.supervision import NOTHING, Actor, Mailbox, MailboxSpec, Policy

ENDED = "the session has ended"


class Subscription:
    """A subscriber's own mailbox, which holds `capacity` messages at most. Its own kind says which it wants."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.mailbox = Mailbox(MailboxSpec(capacity=capacity, policy=Policy.DROP_OLDEST))

    def shrink(self, share: float) -> None:
        """Hold at most this share of what was asked for; what is beyond it goes as the next messages come."""
        self.mailbox.resize(max(int(self.capacity * share), 1))


S = TypeVar("S", bound=Subscription)


class Subscribe(msgspec.Struct, frozen=True):
    """Ask a publisher to begin."""

    subscription: Subscription


class Cancel(msgspec.Struct, frozen=True):
    """Ask a publisher to end one."""

    subscription: Subscription


class Shrink(msgspec.Struct, frozen=True):
    """Tell a publisher to hold a share of what subscribers asked for, for those to come as well; 1.0: all of it."""

    share: float


class CloseAll(msgspec.Struct, frozen=True):
    """Ask a publisher to end all of them: after what was delivered, subscribers see the end."""


class Publisher(Actor, Generic[S]):
    """Delivers what it receives to its subscriptions. Override `deliver`; `subscriptions` are those there are."""

    def on_start(self) -> None:
        """Take over the subscriptions of the incarnation before."""
        kept = self.context.recall()
        self.subscriptions: tuple[S, ...] = () if kept is NOTHING else kept[0]
        self._share: float = 1.0 if kept is NOTHING else kept[1]

    def deliver(self, message: Any) -> Any:
        """Offer to each subscription's mailbox what it wants of the message; `unhandled` if it is of another kind."""
        raise NotImplementedError

    def on_control(self, message: Any) -> Any:
        """Begin, end, shrink, or end all. The reply says how many there are now."""
        match message:
            case Shrink(share):
                self._share = share
                for each in self.subscriptions:
                    each.shrink(share)
                self._keep(self.subscriptions)
            case Subscribe(subscription):
                subscription.shrink(self._share)
                self._keep((*self.subscriptions, cast(S, subscription)))  # each publisher is asked for its own kind
            case Cancel(subscription):
                self._keep(tuple(each for each in self.subscriptions if each is not subscription))
                subscription.mailbox.drain("cancelled")
            case CloseAll():
                for each in self.subscriptions:
                    each.mailbox.drain(ENDED)
                self._keep(())
            case _:
                return self.unhandled(message)
        return len(self.subscriptions)

    def on_batch(self, messages: list[Any]) -> None:
        """Deliver, message by message: what was delivered is not delivered again after a crash."""
        for message in messages:
            self.deliver(message)
            self.context.advance(1)

    def _keep(self, subscriptions: tuple[S, ...]) -> None:
        self.subscriptions = subscriptions
        self.context.commit((subscriptions, self._share))
