import json

from tickloom.scripts.gateway.contracts import CATALOGUE
from tickloom.scripts.gateway.quotes import ASK, BID, NEW_ASK, NEW_BID, RESET, DepthBoard, QuoteBoard
from tickloom.scripts.gateway.tape import compute_block
from tickloom.scripts.gateway.ticks import Totals

CLE = CATALOGUE["CON.F.US.CLE.F26"]
FIELDS = {
    *("symbol", "symbolName", "lastPrice", "bestBid", "bestAsk", "change", "changePercent"),
    *("open", "high", "low", "volume", "lastUpdated", "timestamp"),
}


def session(steps=300, each=7):
    """Yield the totals of a session as they grow, and the number of the newest tick."""
    block, totals = compute_block(CLE, 0, 0), Totals(CLE.price(CLE.base))
    for k in range(steps):
        low, high = k * each, (k + 1) * each
        bid = CLE.price(block.bid[high - 1])
        totals.add(block.price[low:high], block.size[low:high], bid, 10**18 + high * 100)
        yield totals, high - 1


def test_sparse_quotes_put_together_are_the_whole_quote():
    board, folded, sparse = QuoteBoard(CLE), {}, 0
    for totals, index in session():
        delta = board.update(totals, index)
        folded.update(delta)
        sparse += len(delta) < len(FIELDS)
        assert folded == board.whole
        assert set(folded) == FIELDS
        assert delta["symbol"] == "F.US.CLE"
        assert folded["bestBid"] <= folded["lastPrice"] <= folded["bestAsk"]
        assert folded["low"] <= folded["lastPrice"] <= folded["high"]
    assert sparse > 290


def test_a_quote_is_only_sent_when_a_tick_has_come():
    board, totals = QuoteBoard(CLE), Totals(1.0)
    assert board.update(totals, -1) is None
    totals.add([58.0], [1], 57.99, 10**18)
    assert board.update(totals, 0)
    assert board.update(totals, 0) is None


def fold(book, rows):
    for row in rows:
        if row is None:
            continue
        if row["type"] == RESET:
            book.update({ASK: {}, BID: {}})
        elif row["type"] in book:
            book[row["type"]].pop(row["price"], None)
            if row["volume"]:
                book[row["type"]][row["price"]] = row["volume"]
    return book


def as_book(truth):
    return {
        kind: {level["price"]: level["volume"] for level in truth[side]}
        for kind, side in ((ASK, "asks"), (BID, "bids"))
    }


def test_depth_put_together_is_the_book_and_null_entries_are_among_it():
    board, nulls, smaller = DepthBoard(CLE, 0), 0, 0
    book = {ASK: {}, BID: {}}
    for totals, index in session():
        rows = board.update(totals, index)
        nulls += None in rows
        smaller += len(rows) < 100
        assert fold(book, rows) == as_book(board.truth())
        best = {kind: row["price"] for row in rows if row for kind in (NEW_BID, NEW_ASK) if row["type"] == kind}
        assert best.get(NEW_ASK, min(book[ASK])) == min(book[ASK])
        assert best.get(NEW_BID, max(book[BID])) == max(book[BID])
        assert max(book[BID]) < min(book[ASK])
    assert nulls > 10
    assert smaller > 290


def test_a_newcomer_gets_a_reset_and_the_book_in_a_message_beyond_ten_kilobytes():
    board = DepthBoard(CLE, 0)
    assert board.snapshot() == []
    for totals, index in session(20):
        board.update(totals, index)
    rows = board.snapshot()
    assert rows[0]["type"] == RESET
    assert fold({ASK: {1.0: 1}, BID: {}}, rows) == as_book(board.truth())
    assert len(json.dumps(rows)) > 10_240


def test_the_best_is_first_in_the_book_as_truth_tells_it():
    board = DepthBoard(CLE, 0)
    for totals, index in session(5):
        board.update(totals, index)
    truth = board.truth()
    assert truth["asks"][0]["price"] == min(level["price"] for level in truth["asks"])
    assert truth["bids"][0]["price"] == max(level["price"] for level in truth["bids"])
