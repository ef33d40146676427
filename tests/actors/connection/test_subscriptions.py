from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from tickloom.actors.connection.carrier import Carrier
from tickloom.actors.connection.errors import ConnectionLost, InvocationFailed, SubscriptionRefused
from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.connection.subscriptions import Subscriptions
from tickloom.messages.control import Subscribed, Unsubscribed
from tickloom.messages.market import Instrument

A, B = Instrument("CON.A", 1, 4), Instrument("CON.B", 1, 4)
REFUSED = SubscriptionRefused("CON.A", "trades", "no such contract")
LOST = ConnectionLost("the connection broke off")


class Desk:
    """A connection that notes what is asked of it, in one story with what is emitted, and answers as it is told."""

    def __init__(self, story: list, answer: Exception | None = None) -> None:
        self.story = story
        self.answer = answer
        self.deaf = False

    async def ask(self, *what: object) -> None:
        self.story.append(what)
        if self.deaf:
            await asyncio.Event().wait()
        if self.answer is not None:
            raise self.answer

    async def subscribe(self, contract, streams) -> None:
        await self.ask("subscribe", contract, streams)

    async def unsubscribe(self, contract, streams) -> None:
        await self.ask("unsubscribe", contract, streams)

    async def subscribe_accounts(self) -> None:
        await self.ask("subscribe accounts")

    async def subscribe_account(self, account) -> None:
        await self.ask("subscribe account", account)

    async def unsubscribe_accounts(self, accounts) -> None:
        await self.ask("unsubscribe accounts", accounts)


@pytest.fixture
def world():
    """Subscriptions, what is followed with them, and everything that happens in one story."""
    story: list = []
    gaps = GapTracker()
    made = []

    def carrier(answer=None, *, ready=True) -> Carrier:
        made.append(Carrier("market", len(made) + 1, Desk(story, answer)))
        made[-1].ready = ready
        return made[-1]

    def subscriptions(hub="market", accounts=()) -> Subscriptions:
        return Subscriptions(hub, accounts, gaps, story.append, lambda: 5)

    return SimpleNamespace(story=story, gaps=gaps, carrier=carrier, subscriptions=subscriptions)


def test_a_contract_is_announced_before_it_is_subscribed_on_every_connection_that_is_up(world):
    async def test():
        subscriptions = world.subscriptions()
        await subscriptions.add(A, ["trades"], (world.carrier(), world.carrier(ready=False), world.carrier()))
        asked = ("subscribe", "CON.A", ("trades",))
        first, one, second, other = world.story
        assert (one, other) == (asked, asked)
        assert [(type(each), each.connection, each.instrument) for each in (first, second)] == [
            (Subscribed, 1, A),
            (Subscribed, 3, A),
        ]
        assert subscriptions.contracts == ("CON.A",)
        assert world.gaps.newest("CON.A") == 5, "confirmed"

    asyncio.run(test())


def test_a_contract_that_is_refused_is_taken_back_and_not_wanted(world):
    async def test():
        subscriptions = world.subscriptions()
        with pytest.raises(SubscriptionRefused):
            await subscriptions.add(A, ("trades",), (world.carrier(REFUSED),))
        assert world.story[-1] == Unsubscribed(recv_ns=5, contract="CON.A")
        assert subscriptions.contracts == ()

    asyncio.run(test())


def test_a_contract_stays_wanted_though_the_connection_went_and_the_next_one_is_asked_for_it(world):
    async def test():
        subscriptions = world.subscriptions()
        await subscriptions.add(A, ("trades", "quotes"), (world.carrier(LOST),))
        await subscriptions.add(B, ("trades",), ())
        assert subscriptions.contracts == ("CON.A", "CON.B")
        world.story.clear()
        await subscriptions.establish(world.carrier(ready=False))
        assert [each for each in world.story if isinstance(each, tuple)] == [
            ("subscribe", "CON.A", ("trades", "quotes")),
            ("subscribe", "CON.B", ("trades",)),
        ]

    asyncio.run(test())


@pytest.mark.parametrize("answer", [None, REFUSED, LOST])
def test_a_contract_is_said_to_be_followed_no_longer_once_its_connections_have_answered_or_gone(world, answer):
    async def test():
        subscriptions = world.subscriptions()
        await subscriptions.add(A, ("trades",), ())
        await subscriptions.remove("CON.A", (world.carrier(answer),))
        assert world.story == [("unsubscribe", "CON.A", ("trades",)), Unsubscribed(recv_ns=5, contract="CON.A")]
        await subscriptions.remove("CON.A", ())
        assert len(world.story) == 2

    asyncio.run(test())


def test_on_the_user_hub_accounts_are_asked_for_and_in_the_end_no_longer(world):
    async def test():
        subscriptions = world.subscriptions("user", [7, 8])
        carrier = world.carrier()
        await subscriptions.establish(carrier)
        assert await subscriptions.drain(carrier, 1.0)
        assert world.story == [
            ("subscribe accounts",),
            ("subscribe account", 7),
            ("subscribe account", 8),
            ("unsubscribe accounts", (7, 8)),
        ]

    asyncio.run(test())


@pytest.mark.parametrize(
    ("answer", "answered"),
    [
        (None, True),
        (REFUSED, True),  # an answer all the same
        (LOST, False),
        (InvocationFailed("the server says no", answered=True), True),
        (InvocationFailed("no answer came", answered=False), False),
    ],
)
def test_a_connection_has_delivered_its_last_when_it_has_answered(world, answer, answered):
    async def test():
        subscriptions = world.subscriptions()
        await subscriptions.add(A, ("trades",), ())
        assert await subscriptions.drain(world.carrier(answer), 1.0) is answered

    asyncio.run(test())


def test_a_connection_that_does_not_answer_is_not_waited_for_longer_than_allowed(world):
    async def test():
        subscriptions = world.subscriptions()
        await subscriptions.add(A, ("trades",), ())
        deaf = world.carrier()
        deaf.connection.deaf = True
        assert await subscriptions.drain(deaf, 0.01) is False

    asyncio.run(test())
