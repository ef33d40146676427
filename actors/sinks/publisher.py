"""The publisher: hands bars to whoever subscribed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tickloom.actors.bars.blocks import in_order, rows_of
from tickloom.actors.publishing import Publisher, Subscription
from tickloom.actors.sinks.pace import Pace
from tickloom.messages.bars import Bar, BarColumns, Bars
from tickloom.messages.market import NS


class BarSubscription(Subscription):
    """A subscription to bars: empty `contract` or `timeframe` means all of them.

    With `partial` it also gets the updates of bars that are still open (`Bar.final` is False): all that the timeframes
    let go, or with `every_ns` above 0 at most one of each contract and timeframe in that time, the latest.
    """

    def __init__(self, contract: str, timeframe: str, *, partial: bool, capacity: int, every_ns: int = 0) -> None:
        super().__init__(capacity)
        self.contract = contract
        self.timeframe = timeframe
        self.partial = partial
        self.pace = Pace(every_ns) if partial and every_ns > 0 else None

    def wants(self, bars: Bar | BarColumns) -> bool:
        """Whether a bar, or a block of them, is of the contract that was asked for."""
        return not self.contract or bars.contract == self.contract


class End(msgspec.Struct, frozen=True):
    """Ask the publisher to end the subscriptions to one timeframe: it was removed."""

    timeframe: str


class Due(msgspec.Struct, frozen=True):
    """What the publisher tells itself when updates that a subscriber's pace held back are to be shown."""


DUE: Final = Due()


class PublisherActor(Publisher[BarSubscription]):
    """Receives `Bars` of every timeframe and delivers closed and revised bars, and updates to those who want them."""

    def on_start(self) -> None:
        """Take over the subscriptions, with what their paces hold back."""
        super().on_start()
        self._armed_ns: int | None = None
        self._arm()

    def on_control(self, message: Any) -> Any:
        """Show what is due; end those of a timeframe; otherwise as any publisher."""
        match message:
            case Due():
                self._armed_ns = None
                self._show()
                return None
            case End(timeframe):
                self._end(timeframe)
                return len(self.subscriptions)
        return super().on_control(message)

    def deliver(self, message: Any) -> Any:
        """Offer the bars, one by one."""
        if not isinstance(message, Bars):
            return self.unhandled(message)
        now = self._now()
        closed: Sequence[Bar | BarColumns] = message.closed
        if message.columns:
            closed = in_order(message.closed, message.columns)
        for each in self.subscriptions:
            if each.timeframe and each.timeframe != message.timeframe:
                continue
            for item in filter(each.wants, closed):
                for bar in (item,) if isinstance(item, Bar) else rows_of(item):
                    self._offer_closed(each, bar)
            for bar in message.revised:
                if each.wants(bar):
                    self._offer_closed(each, bar)
            if each.partial:
                for bar in message.updated:
                    if each.wants(bar) and (each.pace is None or each.pace.admit(bar, now)):
                        each.mailbox.offer(bar, self.path)
        self._arm()
        return None

    def _offer_closed(self, subscription: BarSubscription, bar: Bar) -> None:
        if subscription.pace is not None:
            subscription.pace.close(bar)
        subscription.mailbox.offer(bar, self.path)

    def _end(self, timeframe: str) -> None:
        ended = [each for each in self.subscriptions if each.timeframe == timeframe]
        for each in ended:
            each.mailbox.drain(f"timeframe {timeframe} was removed")
        self._keep(tuple(each for each in self.subscriptions if each not in ended))
        for each in self.subscriptions:
            if each.pace is not None:
                each.pace.end(timeframe)

    def _show(self) -> None:
        """Offer the updates whose time has come."""
        now = self._now()
        for each in self.subscriptions:
            if each.pace is not None:
                for bar in each.pace.due(now):
                    each.mailbox.offer(bar, self.path)
        self._arm()

    def _arm(self) -> None:
        """Have this actor told when the next update is due."""
        dues = [
            due for each in self.subscriptions if each.pace is not None if (due := each.pace.next_due()) is not None
        ]
        if dues and (self._armed_ns is None or min(dues) < self._armed_ns):
            self._armed_ns = min(dues)
            self.context.send_after(max(self._armed_ns - self._now(), 0) / NS, DUE)

    def _now(self) -> int:
        return self.context.clock.monotonic_ns()
