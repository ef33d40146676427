"""The accounts actor: hands the user hub's typed events to whoever subscribed.

A slow subscriber loses its own oldest events, counted, and nobody else's. Subscriptions live with the place, not with
the incarnation: a restart ends none.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tickloom.messages.accounts import AccountEvent, AccountEvents
from tickloom.supervision import NOTHING, Actor, Mailbox, MailboxSpec, Policy

ENDED = "the session has ended"


class Subscription:
    """A subscriber's own bounded mailbox, and the account it is for (None: all of them)."""

    def __init__(self, account: int | None, *, capacity: int) -> None:
        self.account = account
        self.mailbox = Mailbox(MailboxSpec(capacity=capacity, policy=Policy.DROP_OLDEST))

    def wants(self, event: AccountEvent) -> bool:
        """Whether the event is of the account that was asked for, or of the link they all share."""
        return self.account is None or event.account in (None, self.account)


class Subscribe(msgspec.Struct, frozen=True):
    """Ask to begin."""

    subscription: Subscription


class Cancel(msgspec.Struct, frozen=True):
    """Ask to end one."""

    subscription: Subscription


class CloseAll(msgspec.Struct, frozen=True):
    """Ask to end all of them: after what was delivered, subscribers see the end."""


class AccountsActor(Actor):
    """Receives `AccountEvents` and delivers them one by one."""

    def on_start(self) -> None:
        """Take over the subscriptions of the incarnation before."""
        kept = self.context.recall()
        self._subscriptions: tuple[Subscription, ...] = () if kept is NOTHING else kept

    def on_control(self, message: Any) -> Any:
        """Begin, end, or end all. The reply says how many there are now."""
        match message:
            case Subscribe(subscription):
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
            if not isinstance(message, AccountEvents):
                self.unhandled(message)
            else:
                for event in message.events:
                    for each in self._subscriptions:
                        if each.wants(event):
                            each.mailbox.offer(event, self.path)
            self.context.advance(1)

    def _keep(self, subscriptions: tuple[Subscription, ...]) -> None:
        self._subscriptions = subscriptions
        self.context.commit(subscriptions)
