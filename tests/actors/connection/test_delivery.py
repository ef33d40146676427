from __future__ import annotations

import json

from tickloom.actors.connection.decode import Decoder
from tickloom.actors.connection.delivery import Delivery, Received
from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.connection.handover import Missing
from tickloom.messages.control import Gap
from tickloom.messages.intake import Frames
from tickloom.messages.market import as_list
from tickloom.messages.stamps import format_stamp

NS = 1_000_000_000
START = 1_750_000_000 * NS
OLD, NEW = "market/1", "market/2"


class Stream:
    """A delivery with clocks that are turned by hand, and what it emitted."""

    def __init__(self, hub="market", lateness_ns=0) -> None:
        self.items: list = []
        self.logouts: list[str] = []
        self.now = 1000.0
        self.gaps = GapTracker()
        self.delivery = Delivery(
            hub, Decoder(), self.gaps, self.items.append, on_logout=self.logouts.append, lateness_ns=lateness_ns,
            linger=3.0, wall_ns=lambda: START + 60 * NS, monotonic=lambda: self.now,
        )  # fmt: skip
        self.gaps.confirmed("A", START)

    def take(self, source: str, *payloads: bytes) -> None:
        stamps = [START] * len(payloads)
        self.delivery.take(source, Received(list(payloads), stamps, stamps))

    @property
    def prices(self) -> list[float]:
        frames = [item for item in self.items if isinstance(item, Frames) and item.prints is not None]
        return [price for each in frames for price in as_list(each.prints.price)]


def event(target: str, *arguments: object) -> bytes:
    return json.dumps({"type": 1, "target": target, "arguments": arguments}, separators=(",", ":")).encode() + b"\x1e"


def trade(second: int, contract: str = "A") -> bytes:
    """A trade at that second, at a price of as much."""
    stamp = format_stamp(START + second * NS)
    return event("GatewayTrade", contract, [{"price": second, "timestamp": stamp, "type": 0, "volume": 1}])


def quote(second: int, contract: str = "A") -> bytes:
    return event("GatewayQuote", contract, {"lastPrice": second, "timestamp": format_stamp(START + second * NS)})


def test_a_gap_is_emitted_before_the_frames_that_close_it():
    stream = Stream()
    stream.take(OLD, trade(1))
    stream.delivery.lost("the link broke off")
    stream.take(NEW, trade(5))
    assert [type(item) for item in stream.items] == [Frames, Gap, Frames]
    gap = stream.items[1]
    assert (gap.from_ns, gap.to_ns, gap.cause) == (START + NS, START + 5 * NS + 1, "the link broke off")


def test_what_is_missing_up_to_what_comes_next_is_told_when_that_comes_or_in_due_time():
    stream = Stream()
    stream.take(OLD, trade(1))
    stream.delivery.tell(Missing("A", START + NS, None), "it was held up")
    assert len(stream.items) == 1
    stream.take(OLD, trade(4))
    assert [type(item) for item in stream.items] == [Frames, Gap, Frames]
    stream.delivery.tell(Missing("A", START + 4 * NS, START + 5 * NS), "it was held up")
    assert (stream.items[-1].from_ns, stream.items[-1].to_ns) == (START + 4 * NS, START + 5 * NS)


def test_what_two_connections_bring_is_passed_on_once_until_stamps_prove_that_nothing_comes_twice():
    stream = Stream()
    overlap = stream.delivery.compare(OLD, NEW)
    for second in (1, 2, 3):
        stream.take(OLD, trade(second))
        stream.take(NEW, trade(second))
    assert stream.prices == [1, 2, 3]
    stream.delivery.ended(overlap, OLD)
    assert stream.delivery.comparing
    stream.take(NEW, trade(4))
    assert not stream.delivery.comparing
    assert stream.prices == [1, 2, 3, 4]


def test_where_no_stamps_prove_it_connections_are_compared_for_a_while():
    stream = Stream("user")
    overlap = stream.delivery.compare("user/1", "user/2")
    orders = [event("GatewayUserOrder", {"id": n, "accountId": 7, "contractId": "A"}) for n in range(3)]
    stream.take("user/1", orders[0])
    stream.delivery.ended(overlap, "user/1")
    stream.now += 2.9
    stream.take("user/2", orders[0], orders[1])
    assert stream.delivery.comparing
    stream.now += 0.2
    stream.take("user/2", orders[2])
    assert not stream.delivery.comparing
    events = [json.loads(payload)["id"] for item in stream.items for _, _, payload in item.events]
    assert events == [0, 1, 2]


def test_a_third_connection_is_compared_with_none():
    stream = Stream()
    stream.delivery.compare(OLD, NEW)
    stream.take(OLD, trade(1))
    stream.take("market/3", trade(1))
    assert stream.prices == [1, 1]


def test_a_link_that_is_lost_leaves_nothing_to_compare():
    stream = Stream()
    stream.delivery.compare(OLD, NEW)
    stream.delivery.lost("the link broke off")
    assert not stream.delivery.comparing
    assert stream.gaps.missing == ("A",)


def test_everything_goes_where_it_is_diverted_until_it_goes_straight_on_again():
    stream = Stream()
    diverted = []
    stream.delivery.divert(lambda source, received: diverted.append(source))
    stream.take(OLD, trade(1))
    assert (diverted, stream.items) == ([OLD], [])
    stream.delivery.divert(None)
    stream.take(OLD, trade(2))
    assert stream.prices == [2]


def test_the_end_of_the_session_by_the_gateway_is_told_in_a_sentence_with_its_words_cut():
    stream = Stream("user")
    stream.take("user/1", event("GatewayLogout", "another " + "session " * 50))
    [why] = stream.logouts
    assert why.startswith('the gateway ended this session because another one took over ("another session session')
    assert len(why) < 200


def test_every_print_and_every_quote_changes_a_contract_s_mark():
    stream = Stream()
    marks = [stream.delivery.mark("A")]
    for payload in (trade(1), quote(1), quote(1), trade(2)):
        stream.take(OLD, payload)
        marks.append(stream.delivery.mark("A"))
    assert len(set(marks)) == len(marks)
    stream.take(OLD, trade(1, "B"))
    assert stream.delivery.mark("A") == marks[-1]
