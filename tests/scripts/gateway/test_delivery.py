import pytest

from tickloom.scripts.gateway.contracts import choose
from tickloom.scripts.gateway.delivery import CHUNK_TICKS, Chunk, Ledger, TradeWire
from tickloom.scripts.gateway.market import ModelMarket
from tickloom.scripts.gateway.shaping import Cursor, Item
from tickloom.scripts.gateway.switches import Switches

MNQ = "CON.F.US.MNQ.Z25"


@pytest.fixture
def market():
    market = ModelMarket(choose([MNQ]), seed=0, rate=0.0, start_ns=10**18)
    market.burst(3 * CHUNK_TICKS, MNQ, 10**18)
    market.advance(10**18 + 1000)
    return market


def test_subscriptions_in_step_share_one_encoding_and_one_that_lags_has_its_own(market):
    wire = TradeWire(market, 1)
    first = wire.chunk(MNQ, Cursor(5000), Switches())
    assert wire.chunk(MNQ, Cursor(5000), Switches()) is first
    assert wire.chunk(MNQ, Cursor(4999), Switches()).first == 4999
    wire.begin()
    assert wire.chunk(MNQ, Cursor(5000), Switches()) == first


@pytest.mark.parametrize("switches", [Switches(), Switches(duplicate_pct=5, drop_pct=5, out_of_order_pct=5, bad_pct=5)])
def test_a_backlog_is_served_in_bounded_pieces_that_together_are_everything(market, switches):
    wire, cursor, ledger, pieces = TradeWire(market, 1), Cursor(0), Ledger(MNQ), 0
    while cursor.next <= market.last(MNQ):
        chunk = wire.chunk(MNQ, cursor, switches)
        assert chunk.last - chunk.first < CHUNK_TICKS
        ledger.sent(chunk)
        cursor, pieces = chunk.cursor, pieces + 1
    report = ledger.report()
    covered = {i for a, b in report["ranges"] + report["dropped"] for i in range(a, b + 1)}
    assert covered | {cursor.held} - {None} >= set(range(market.last(MNQ)))
    assert pieces == 4


def test_what_is_no_longer_known_cannot_be_served(market):
    with pytest.raises(LookupError):
        TradeWire(market, 1).chunk(MNQ, Cursor(-1), Switches())


def items(*numbers):
    return Chunk(b"", 1, min(numbers), max(numbers), [Item(n) for n in numbers], [], Cursor(max(numbers) + 1))


def test_the_ledger_keeps_the_order_of_sending_and_the_union_of_what_was_sent():
    ledger = Ledger(MNQ)
    ledger.sent(Chunk(b"", 3, 0, 9, None, [], Cursor(10)))
    ledger.sent(items(10, 12, 13, 11, 13))
    ledger.sent(Chunk(b"", 1, 20, 22, [Item(20), Item(20, "zero_price"), Item(22)], [21], Cursor(23)))
    ledger.dropped(23, 30)
    report = ledger.report()
    assert report["runs"] == [[0, 10], [12, 13], [11, 11], [13, 13], [20, 20], [22, 22]]
    assert report["ranges"] == [[0, 13], [20, 20], [22, 22]]
    assert report["dropped"] == [[21, 21], [23, 30]]
    assert report["bad"] == [{"i": 20, "kind": "zero_price"}]
    assert (report["ticks"], report["messages"], report["truncated"]) == (17, 5, False)


def test_a_ledger_that_is_full_says_so_and_goes_on_counting():
    ledger = Ledger(MNQ, limit=10)
    for n in range(0, 100, 2):
        ledger.sent(items(n))
    report = ledger.report()
    assert len(report["runs"]) == 10
    assert (report["ticks"], report["truncated"]) == (50, True)
