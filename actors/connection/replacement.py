"""One connection replaces another, make before break: without losing or doubling a print.

What must live here: the steps of one replacement, and what each waits for. What must not: why a connection is to be
replaced, and what is done if it was not (`renewal`); how two connections are compared (`overlap`), what is missing when
the old one goes (`handover`), and that this is told before what follows it (`telling`).

Theory of operation. The new connection is opened and subscribed, and both deliver into one `Overlap`. When the two are
aligned the old one is unsubscribed, drained and closed. If the old one breaks off before, or brings nothing any more,
the new one takes over, and what neither delivered is a gap. If the new one cannot be made, or breaks off, the old one
goes on as if nothing had been.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tickloom.actors.connection.carrier import Carrier, Timing
from tickloom.actors.connection.carriers import Carriers
from tickloom.actors.connection.delivery import Delivery
from tickloom.actors.connection.errors import ConnectionLost, GatewayError
from tickloom.actors.connection.subscriptions import Subscriptions
from tickloom.actors.connection.telling import Telling


class Replacement:
    """Replaces `old` by `new`, which is not open yet and is the successor from now on.

    Args:
        old, new: the two connections.
        carriers: opens the new one and ends the old one.
        subscriptions: what the old one is no longer to deliver in the end.
        delivery: where both deliver.
        timing: how long it waits for what.
        monotonic: seconds.
    """

    def __init__(
        self,
        old: Carrier,
        new: Carrier,
        *,
        carriers: Carriers,
        subscriptions: Subscriptions,
        delivery: Delivery,
        timing: Timing,
        monotonic: Callable[[], float],
    ) -> None:
        self._old = old
        self._new = new
        self._carriers = carriers
        self._subscriptions = subscriptions
        self._delivery = delivery
        self._timing = timing
        self._monotonic = monotonic
        self._telling = Telling(old.source, new.source, subscriptions, delivery)
        self._behind_since: dict[str, float] = {}
        carriers.successor = new

    async def run(self, why: str) -> None:
        """Have the new connection take over; when this returns it has.

        Raises:
            GatewayError: the new one could not be made, or broke off; the old one goes on.
        """
        old, new = self._old, self._new
        try:
            await self._bring_up()
            await self._align()
            if new.ended and not old.ended:
                raise new.error() or ConnectionLost("the new connection ended")
            self._telling.tell(self._behind(), f"connection {old.number} was held up", answered=True)
            suspects = self._telling.suspects()
            answered = not old.ended and await self._subscriptions.drain(old, self._timing.drain)
        except BaseException:
            if self._pending:
                await self._withdraw()
            raise
        if self._pending:  # else the old one broke off, and `promote` was called
            self._switch()
            how = "was held up" if answered else f"broke off ({old.error()})" if old.error() else "did not answer"
            self._telling.tell(suspects, f"connection {old.number} {how}", answered=answered)
            self._telling.let_go()
            await self._carriers.end(old, f"replaced by connection {new.number}: {why}", patient=answered)
        self._carriers.changed.set()

    def promote(self) -> bool:
        """Let the new connection take over from the old one, which broke off; False if it is not up.

        Raises: what the old one ended with, if that is a defect and not the network's.
        """
        if not self._pending or not self._new.ready or self._new.ended:
            return False
        error = self._old.error()
        if error is not None and not isinstance(error, GatewayError):
            raise error
        cause = str(error or "the connection was closed")
        self._switch()
        self._carriers.gone(self._old, cause)
        self._telling.tell((), cause, answered=False)
        self._telling.let_go()
        return True

    @property
    def _pending(self) -> bool:
        """Whether the new connection is still to take over."""
        return self._carriers.successor is self._new

    async def _bring_up(self) -> None:
        await self._carriers.open(self._new)
        self._carriers.announce(self._new)
        self._carriers.changed.set()

    async def _align(self) -> None:
        """Wait until the old connection may be let go, is gone, or is not worth waiting for."""
        old, new, overlap = self._old, self._new, self._telling.overlap
        if self._carriers.hub == "user":
            await self._carriers.until(lambda: old.ended, self._timing.settle)
        await self._carriers.until(
            lambda: (
                old.ended
                or new.ended
                or bool(self._behind())
                or all(map(overlap.aligned, self._subscriptions.contracts))
            ),
            self._timing.align,
        )

    def _behind(self) -> list[str]:
        """Return the contracts in which the old connection has been behind the new one for too long."""
        now, suspects = self._monotonic(), self._telling.suspects()
        since = self._behind_since = {each: self._behind_since.get(each, now) for each in suspects}
        return [contract for contract in suspects if now - since[contract] > self._timing.lag]

    def _switch(self) -> None:
        self._carriers.promote()
        self._delivery.ended(self._telling.overlap, self._old.source)

    async def _withdraw(self) -> None:
        """Give the new connection up: what it brought is as good as what the old one brings."""
        self._telling.let_go()
        self._carriers.successor = None
        self._delivery.ended(self._telling.overlap, self._new.source)
        await asyncio.shield(self._new.shut(patient=False))
        self._carriers.changed.set()
