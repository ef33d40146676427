"""The publisher: hands bars to whoever subscribed."""

from __future__ import annotations

from typing import Any

import msgspec

from tickloom.actors.bars.blocks import rows_of
from tickloom.actors.publishing import Publisher, Subscription
from tickloom.messages.bars import Bar, Bars


class BarSubscription(Subscription):
    """A subscription to bars: empty `contract` or `timeframe` means all of them.

    With `partial` it also gets the updates of bars that are still open (`Bar.final` is False).
    """

    def __init__(self, contract: str, timeframe: str, *, partial: bool, capacity: int) -> None:
        super().__init__(capacity)
        self.contract = contract
        self.timeframe = timeframe
        self.partial = partial

    def wants(self, bar: Bar) -> bool:
        """Whether the bar is of the contract that was asked for."""
        return not self.contract or bar.contract == self.contract


class End(msgspec.Struct, frozen=True):
    """Ask the publisher to end the subscriptions to one timeframe: it was removed."""

    timeframe: str


class PublisherActor(Publisher[BarSubscription]):
    """Receives `Bars` of every timeframe and delivers closed and revised bars, and updates to those who want them."""

    def on_control(self, message: Any) -> Any:
        """End those of a timeframe; otherwise as any publisher."""
        if not isinstance(message, End):
            return super().on_control(message)
        ended = [each for each in self.subscriptions if each.timeframe == message.timeframe]
        for each in ended:
            each.mailbox.drain(f"timeframe {message.timeframe} was removed")
        self._keep(tuple(each for each in self.subscriptions if each not in ended))
        return len(self.subscriptions)

    def deliver(self, message: Any) -> Any:
        """Offer the bars, one by one."""
        if not isinstance(message, Bars):
            return self.unhandled(message)
        for each in self.subscriptions:
            if each.timeframe and each.timeframe != message.timeframe:
                continue
            for columns in message.columns:
                if not each.contract or columns.contract == each.contract:
                    for bar in rows_of(columns):
                        each.mailbox.offer(bar, self.path)
            shown = (*message.closed, *message.revised, *(message.updated if each.partial else ()))
            for bar in shown:
                if each.wants(bar):
                    each.mailbox.offer(bar, self.path)
        return None
