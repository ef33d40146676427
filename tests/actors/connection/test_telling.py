from __future__ import annotations

import asyncio
import json

import pytest

from tickloom.actors.connection.decode import Decoder
from tickloom.actors.connection.delivery import Delivery, Received
from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.connection.subscriptions import Subscriptions
from tickloom.actors.connection.telling import Telling
from tickloom.messages.control import Gap
from tickloom.messages.intake import Frames
from tickloom.messages.market import Instrument, as_list
from tickloom.messages.stamps import format_stamp

NS = 1_000_000_000
START = 1_750_000_000 * NS
OLD, NEW = "market/1", "market/2"


class Handover:
    """Two connections of which one is to take over, and what was emitted: gaps, and the prices of prints."""

    def __init__(self) -> None:
        self.items: list = []
        self.gaps = GapTracker()
        self.delivery = Delivery(
            "market", Decoder(), self.gaps, self.items.append, on_logout=lambda why: None, lateness_ns=0, linger=3.0,
            wall_ns=lambda: START + 60 * NS, monotonic=lambda: 0.0,
        )  # fmt: skip
        self.subscriptions = Subscriptions("market", (), self.gaps, lambda item: None, lambda: START)

    async def follow(self, *contracts: str) -> None:
        for contract in contracts:
            await self.subscriptions.add(Instrument(contract, 1, 4), ("trades",), ())
            self.gaps.confirmed(contract, START)

    def meet(self) -> Telling:
        return Telling(OLD, NEW, self.subscriptions, self.delivery)

    def take(self, source: str, *seconds: int, contract: str = "A") -> None:
        for second in seconds:
            element = {"price": second, "timestamp": format_stamp(START + second * NS), "type": 0, "volume": 1}
            message = {"type": 1, "target": "GatewayTrade", "arguments": [contract, [element]]}
            payload = json.dumps(message, separators=(",", ":")).encode() + b"\x1e"
            self.delivery.take(source, Received([payload], [START], [START]))

    @property
    def told(self) -> list:
        """Prices, and for each gap from which to which second it goes."""
        told: list = []
        for item in self.items:
            if isinstance(item, Gap):
                told.append((item.contract, (item.from_ns - START) // NS, (item.to_ns - START) // NS))
            elif isinstance(item, Frames) and item.prints is not None:
                told += as_list(item.prints.price)
        return told


@pytest.fixture
def handover():
    """Contracts A and B are followed; A has traded."""
    handover = Handover()
    asyncio.run(handover.follow("A", "B"))
    handover.take(OLD, 1, 2)
    return handover


def test_the_first_prints_of_a_new_connection_wait_until_the_old_one_has_come_as_far(handover):
    telling = handover.meet()
    handover.take(NEW, 4, 5)
    assert handover.told == [1, 2]
    assert telling.suspects() == ["A"]
    handover.take(OLD, 3)
    assert handover.told == [1, 2, 3]
    handover.take(OLD, 4)
    assert handover.told == [1, 2, 3, 4, 5]
    assert telling.suspects() == []
    handover.take(NEW, 6)
    assert handover.told == [1, 2, 3, 4, 5, 6], "nothing is to be waited for any more"


def test_one_contract_whose_first_print_is_only_on_the_new_connection_holds_up_the_others_too(handover):
    handover.meet()
    handover.take(NEW, 3)
    handover.take(NEW, 3, contract="B")
    handover.take(OLD, 3)
    assert handover.told == [1, 2, 3], "what a connection brought keeps its order"
    handover.take(OLD, 3, contract="B")
    assert handover.told == [1, 2, 3, 3]


def test_what_is_missing_is_told_before_the_prints_that_waited_for_it(handover):
    telling = handover.meet()
    handover.take(NEW, 4, 5)
    telling.tell(["A"], "the old one was held up", answered=True)
    assert handover.told == [1, 2, ("A", 2, 4), 4, 5]


def test_what_is_missing_of_a_contract_is_told_once(handover):
    telling = handover.meet()
    handover.take(NEW, 4)
    telling.tell(["A"], "the old one was held up", answered=True)
    telling.tell(["A"], "the old one broke off", answered=False)
    assert [item.cause for item in handover.items if isinstance(item, Gap)] == ["the old one was held up"]
    assert handover.gaps.missing == ("B",), "the second time only what is quiet on both is in doubt"


def test_a_contract_that_had_not_traded_when_the_two_met_is_missing_from_when_it_was_followed(handover):
    telling = handover.meet()
    handover.take(NEW, 4, contract="B")
    telling.tell(["B"], "the old one was held up", answered=True)
    assert handover.told == [1, 2, ("B", 0, 4), 4]


def test_once_let_go_everything_that_waited_goes_on_and_nothing_waits_any_more(handover):
    telling = handover.meet()
    handover.take(NEW, 4, 5)
    telling.let_go()
    assert handover.told == [1, 2, 4, 5]
    handover.take(NEW, 6)
    assert handover.told == [1, 2, 4, 5, 6]


def test_what_waits_is_numbered_in_the_order_in_which_it_is_passed_on(handover):
    handover.meet()
    handover.take(NEW, 4)
    handover.take(OLD, 3, 4)
    ticks = [item.prints.first_tick for item in handover.items if isinstance(item, Frames) and item.prints is not None]
    assert ticks == [0, 1, 2, 3]
