from __future__ import annotations

import asyncio

import pytest

from tickloom.actors.connection.carriers import Carriers
from tickloom.actors.connection.errors import ConnectionLost, SubscriptionRefused
from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.connection.subscriptions import Subscriptions
from tickloom.messages.control import Connected, Disconnected
from tickloom.messages.market import Instrument


class Wire:
    """A connection that is up until it is closed, or breaks off, and answers every request alike."""

    round_trip = 0.25

    def __init__(self, answer: Exception | None = None) -> None:
        self.answer = answer
        self.over = asyncio.Event()
        self.end: Exception | None = None
        self.take = None

    async def open(self) -> None:
        pass

    async def run(self, take) -> None:
        self.take = take
        await self.over.wait()
        if self.end is not None:
            raise self.end

    async def subscribe(self, contract, streams) -> None:
        await asyncio.sleep(0)
        if self.answer is not None:
            raise self.answer

    async def close(self, *, patient: bool = True) -> None:
        self.over.set()

    def break_off(self, error: Exception) -> None:
        self.end = error
        self.over.set()


class Hub:
    """The connections of a market hub, with what they emitted, reported and received."""

    def __init__(self, *wires: Wire) -> None:
        self.items: list = []
        self.links: list = []
        self.received: list = []
        self.subscriptions = Subscriptions("market", (), GapTracker(), lambda item: None, lambda: 5)
        coming = iter(wires)
        self.carriers = Carriers(
            "market", lambda token: next(coming), self.subscriptions, lambda *what: self.received.append(what),
            self.items.append, self.links.append, wall_ns=lambda: 5, monotonic=asyncio.get_running_loop().time,
        )  # fmt: skip


def test_connections_are_numbered_and_one_is_used_when_it_has_taken_the_other_s_place():
    async def test():
        carriers = Hub(Wire(), Wire()).carriers
        old, new = carriers.new(None), carriers.new(None)
        assert (old.source, new.source) == ("market/1", "market/2")
        carriers.current, carriers.successor = old, new
        assert (carriers.up, carriers.alive) == (old, (old, new))
        carriers.promote()
        assert (carriers.up, carriers.alive) == (new, (new,))

    asyncio.run(test())


def test_a_connection_is_ready_once_everything_wanted_is_confirmed_and_delivers_under_its_name():
    async def test():
        wire = Wire()
        hub = Hub(wire)
        await hub.subscriptions.add(Instrument("CON.A", 1, 4), ("trades",), ())
        carrier = hub.carriers.new(None)
        assert not carrier.ready
        await hub.carriers.open(carrier)
        assert carrier.ready
        wire.take([b"{}\x1e"], [1], [2])
        assert hub.received == [("market/1", ([b"{}\x1e"], [1], [2]))]
        hub.carriers.current = carrier
        hub.carriers.announce(carrier)
        await hub.carriers.end_all("enough")
        assert [(type(item), item.connection) for item in hub.items] == [(Connected, 1), (Disconnected, 1)]
        assert hub.items[1].cause == "enough"
        assert [(link.state, link.round_trip_ns) for link in hub.links] == [("up", 250_000_000)]
        assert hub.carriers.alive == ()

    asyncio.run(test())


@pytest.mark.parametrize("answer", [SubscriptionRefused("CON.A", "trades", "no"), None])
def test_a_connection_that_is_refused_a_contract_or_breaks_off_meanwhile_is_not_ready(answer):
    async def test():
        wire = Wire(answer)
        hub = Hub(wire)
        await hub.subscriptions.add(Instrument("CON.A", 1, 4), ("trades",), ())
        carrier = hub.carriers.new(None)
        if answer is None:
            wire.break_off(ConnectionLost("the peer is gone"))
        with pytest.raises(SubscriptionRefused if answer else ConnectionLost):
            await hub.carriers.open(carrier)
        assert not carrier.ready
        await carrier.shut()

    asyncio.run(test())


def test_who_waits_for_a_condition_looks_at_it_again_with_every_batch_and_when_a_connection_ends():
    async def test():
        wire = Wire()
        hub = Hub(wire)
        carrier = hub.carriers.new(None)
        await hub.carriers.open(carrier)
        some = asyncio.create_task(hub.carriers.until(lambda: bool(hub.received), 60.0))
        ended = asyncio.create_task(hub.carriers.until(lambda: carrier.ended, 60.0))
        await asyncio.sleep(0)
        wire.take([b"{}\x1e"], [1], [2])
        await some
        assert not ended.done()
        wire.break_off(ConnectionLost("the peer is gone"))
        await ended
        assert hub.carriers.changed.is_set()
        await hub.carriers.until(lambda: False, 0.01)  # for no longer than that

    asyncio.run(test())


def test_nobody_waits_for_anything_once_it_is_over():
    async def test():
        hub = Hub()
        hub.carriers.close()
        await hub.carriers.until(lambda: False, 60.0)
        assert hub.carriers.changed.is_set()

    asyncio.run(test())
