"""What the user hub says of accounts, as typed messages, live and from a log.

An `AccountEvent` is made from a frame's event, or from a record of the user hub's link, by `account_events` alone: a
replay of a log therefore gives the same messages in the same order. After a link that was lost (`Disconnected`) events
may be missing: the user hub has no history, so there is nothing to fetch them from. What a new link begins with
(`Connected`) are the accounts as they stand.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from tickloom.messages.control import Connected, Disconnected
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.projectx import USER_EVENTS, UserAccount, UserEvent, user_event

USER_HUB = "user"

AccountNews: TypeAlias = UserEvent | Connected | Disconnected


class AccountEvent(msgspec.Struct, frozen=True):
    """One event. `seq` is the log's sequence number of its frame or record, `recv_ns` when it was received (ns UTC).

    `news` is a `UserAccount`, `UserOrder`, `UserPosition` or `UserTrade`; or `Connected` or `Disconnected`, when a link
    of the user hub came up or went. A planned replacement of a link loses nothing: its `Disconnected` says so.
    """

    seq: int
    recv_ns: int
    news: AccountNews

    @property
    def account(self) -> int | None:
        """The account's id; None for what concerns them all."""
        match self.news:
            case UserAccount(id=account):
                return account
            case Connected() | Disconnected():
                return None
            case other:
                return other.account_id


class AccountEvents(msgspec.Struct, frozen=True):
    """Events in the order of the log."""

    events: tuple[AccountEvent, ...]


def account_events(numbered: Numbered) -> tuple[AccountEvent, ...]:
    """Return what an item of the intake says of accounts, in order. Nearly always nothing."""
    item = numbered.item
    if isinstance(item, Frames):
        return tuple(
            AccountEvent(numbered.seq + frame, int(item.recv_ns[frame]), user_event(target, data))
            for frame, target, data in item.events
            if target in USER_EVENTS
        )
    if isinstance(item, Connected | Disconnected) and item.hub == USER_HUB:
        return (AccountEvent(numbered.seq, item.recv_ns, item),)
    return ()
