"""The publisher: hands bars to whoever subscribed. A slow subscriber loses its own oldest bars, counted, and nobody
else's.

Subscriptions live with the place, not with the incarnation: a restart of the publisher ends none.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tickloom.actors.bars.tables import rows_of
from tickloom.messages.bars import Bar, Bars
from tickloom.supervision import NOTHING, Actor, Mailbox, MailboxSpec, Policy

ENDED = "the session has ended"


class Subscription:
    """A subscriber's own bounded mailbox, and what it wants: empty `contract` or `timeframe` means all of them.

    With `partial` it also gets the updates of bars that are still open (`Bar.final` is False).
    """

    def __init__(self, contract: str, timeframe: str, *, partial: bool, capacity: int) -> None:
        self.contract = contract
        self.timeframe = timeframe
        self.partial = partial
        self.capacity = capacity
        self.mailbox = Mailbox(MailboxSpec(capacity=capacity, policy=Policy.DROP_OLDEST))

    def shrink(self, share: float) -> None:
        """Hold at most this share of what was asked for; what is beyond it goes as the next bars come."""
        self.mailbox.resize(max(int(self.capacity * share), 1))

    def wants(self, bar: Bar) -> bool:
        """Whether the bar is of the contract that was asked for."""
        return not self.contract or bar.contract == self.contract


class Subscribe(msgspec.Struct, frozen=True):
    """Ask the publisher to begin."""

    subscription: Subscription


class Cancel(msgspec.Struct, frozen=True):
    """Ask the publisher to end one."""

    subscription: Subscription


class Shrink(msgspec.Struct, frozen=True):
    """Tell the publisher to hold a share of what subscribers asked for, for those to come as well; 1.0: all of it."""

    share: float


class CloseAll(msgspec.Struct, frozen=True):
    """Ask the publisher to end all of them: after what was delivered, subscribers see the end."""


class PublisherActor(Actor):
    """Receives `Bars` of every timeframe and delivers closed and revised bars, and updates to those who want them."""

    def on_start(self) -> None:
        """Take over the subscriptions of the incarnation before."""
        kept = self.context.recall()
        self._subscriptions: tuple[Subscription, ...] = () if kept is NOTHING else kept[0]
        self._share: float = 1.0 if kept is NOTHING else kept[1]

    def on_control(self, message: Any) -> Any:
        """Begin, end, or end all. The reply says how many there are now."""
        match message:
            case Shrink(share):
                self._share = share
                for each in self._subscriptions:
                    each.shrink(share)
                self._keep(self._subscriptions)
            case Subscribe(subscription):
                subscription.shrink(self._share)
                self._keep((*self._subscriptions, subscription))
            case Cancel(subscription):
                self._keep(tuple(s for s in self._subscriptions if s is not subscription))
                subscription.mailbox.drain("cancelled")
            case CloseAll():
                for each in self._subscriptions:
                    each.mailbox.drain(ENDED)
                self._keep(())
            case _:
                return self.unhandled(message)
        return len(self._subscriptions)

    def on_batch(self, messages: list[Any]) -> None:
        """Deliver, message by message: what was delivered is not delivered again after a crash."""
        for message in messages:
            if not isinstance(message, Bars):
                self.unhandled(message)
            elif self._subscriptions:
                self._deliver(message)
            self.context.advance(1)

    def _deliver(self, bars: Bars) -> None:
        for each in self._subscriptions:
            if each.timeframe and each.timeframe != bars.timeframe:
                continue
            for columns in bars.columns:
                if not each.contract or columns.contract == each.contract:
                    for bar in rows_of(columns):
                        each.mailbox.offer(bar, self.path)
            shown = (*bars.closed, *bars.revised, *(bars.updated if each.partial else ()))
            for bar in shown:
                if each.wants(bar):
                    each.mailbox.offer(bar, self.path)

    def _keep(self, subscriptions: tuple[Subscription, ...]) -> None:
        self._subscriptions = subscriptions
        self.context.commit((subscriptions, self._share))
