"""What is missing at a handover is told before the prints that follow it: these wait.

What must live here: what waits, for what, and what has been told. What must not: what is missing (`handover`), when
which connection is used (`replacement`). No clock, no I/O.

Theory of operation. A gap must be told before the print that follows it: that print moves the market's time, and bars
the gap touches may be final then. Whether there is a gap is known when the old connection has come as far as the new
one, or will not come any further. So the first prints of the new one wait until each contract's first has come on the
old one as well, or is told to be missing. The old one's go straight on.
"""

from __future__ import annotations

from collections.abc import Collection

from tickloom.actors.connection.decode import Decoder
from tickloom.actors.connection.delivery import Delivery, Received
from tickloom.actors.connection.handover import held_back, missing
from tickloom.actors.connection.subscriptions import Subscriptions


class Telling:
    """Stands before the delivery from its making on, until `let_go`.

    Args:
        old, new: the connections' names, as `Frames.source`.
        subscriptions: the contracts that are followed.
        delivery: where everything goes in the end.

    Attributes:
        overlap: what the two connections make together.
    """

    def __init__(self, old: str, new: str, subscriptions: Subscriptions, delivery: Delivery) -> None:
        self.overlap = delivery.compare(old, new)
        self._new = new
        self._subscriptions = subscriptions
        self._delivery = delivery
        self._before = {contract: delivery.gaps.newest(contract) for contract in subscriptions.contracts}
        self._told: set[str] = set()
        self._waiting: list[Received] = []
        self._scout = Decoder()  # reads what waits: the session's own numbers what it reads
        delivery.divert(self._take)

    def suspects(self) -> list[str]:
        """Return the contracts of which the new connection has prints, and the old one has not come as far."""
        return held_back(self.overlap, self._subscriptions.contracts, self._delivery.gaps)

    def tell(self, suspects: Collection[str], cause: str, *, answered: bool) -> None:
        """Tell what is missing as the old connection goes, once a contract; what waited for that alone goes on.

        Args:
            suspects: contracts of which the old connection held something back.
            cause: why it is missing.
            answered: whether the old connection answers still (see `handover.missing`).
        """
        contracts = [contract for contract in self._subscriptions.contracts if contract not in self._told]
        for each in missing(
            self.overlap, contracts, self._delivery.gaps, self._newest_before, answered=answered, held_back=suspects
        ):
            self._told.add(each.contract)
            self._delivery.tell(each, cause)
        self._pass_on_if_met()

    def let_go(self) -> None:
        """Pass on what waits, and let nothing wait any more."""
        self._delivery.divert(None)
        self._pass_on()

    def _newest_before(self, contract: str) -> int:
        return self._before.get(contract) or self._delivery.gaps.newest(contract)

    def _take(self, source: str, received: Received) -> None:
        if source == self._new:
            self._waiting.append(received)
            prints = self._scout.decode(source, received.payloads, received.walls, received.monos).prints
            if prints is not None:
                self.overlap.announce(prints)
        else:
            self._delivery.pass_on(source, received)
        self._pass_on_if_met()

    def _pass_on_if_met(self) -> None:
        if self._waiting and self._told.issuperset(self.suspects()):
            self._pass_on()

    def _pass_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for received in waiting:
            self._delivery.pass_on(self._new, received)
