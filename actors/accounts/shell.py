"""The accounts actor: hands the user hub's typed events to whoever subscribed."""

from __future__ import annotations

from typing import Any

from tickloom.actors.publishing import Publisher, Subscription
from tickloom.messages.accounts import AccountEvent, AccountEvents


class AccountSubscription(Subscription):
    """A subscription to the events of an account (None: of all of them)."""

    def __init__(self, account: int | None, *, capacity: int) -> None:
        super().__init__(capacity)
        self.account = account

    def wants(self, event: AccountEvent) -> bool:
        """Whether the event is of the account that was asked for, or of the link they all share."""
        return self.account is None or event.account in (None, self.account)


class AccountsActor(Publisher[AccountSubscription]):
    """Receives `AccountEvents` and delivers them one by one."""

    def deliver(self, message: Any) -> Any:
        """Offer the events, one by one."""
        if not isinstance(message, AccountEvents):
            return self.unhandled(message)
        for event in message.events:
            for each in self.subscriptions:
                if each.wants(event):
                    each.mailbox.offer(event, self.path)
        return None
