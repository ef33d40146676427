"""Quotes merge to the latest of each contract, sparse fields kept; depth goes; trades and the raw frames stay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.connection.thinning import Thin, merged, thinned
from tickloom.messages.intake import Frames
from tickloom.messages.market import Depth, Prints, Quote

PRINTS = Prints(("A",), [0], [1], [1.0], [1], [0], [0], 1)


def frames(quotes=(), depth=()):
    return Frames("market/1", [1, 2, 3], [1, 2, 3], [b"a", b"b", b"c"], PRINTS, tuple(quotes), tuple(depth))


def test_the_latest_quote_of_each_contract_stays_with_what_it_did_not_mention():
    given_ = frames(
        [
            (0, Quote("A", 1, bid=1.0, ask=2.0)),
            (0, Quote("B", 1, bid=9.0)),
            (1, Quote("A", 2, ask=2.5)),
            (2, Quote("A", 3, volume=7)),
        ]
    )
    got, quotes, depth = thinned(given_, Thin(quotes=True))
    assert got.quotes == ((0, Quote("B", 1, bid=9.0)), (2, Quote("A", 3, bid=1.0, ask=2.5, volume=7)))
    assert (quotes, depth) == (2, 0)


def test_depth_goes_and_is_counted_and_nothing_else_does():
    given_ = frames([(0, Quote("A", 1))], [(1, Depth("A", ())), (2, Depth("A", ()))])
    got, quotes, depth = thinned(given_, Thin(depth=True))
    assert (got.depth, quotes, depth) == ((), 0, 2)
    assert (got.quotes, got.prints, got.payloads) == (given_.quotes, given_.prints, given_.payloads)


def test_nothing_gives_way_that_was_not_told_to():
    given_ = frames([(0, Quote("A", 1)), (1, Quote("A", 2))], [(1, Depth("A", ()))])
    assert thinned(given_, Thin()) == (given_, 0, 0)


_field = st.one_of(st.none(), st.floats(0, 10))
_quotes = st.builds(Quote, st.just("A"), st.integers(0, 9), last=_field, bid=_field, ask=_field, high=_field)


@given(_quotes, _quotes, _quotes)
def test_merging_is_the_same_in_any_grouping(a, b, c):
    assert merged(merged(a, b), c) == merged(a, merged(b, c))


@given(st.lists(_quotes, min_size=1, max_size=20))
def test_a_reader_of_the_merged_quotes_knows_in_the_end_what_a_reader_of_all_knows(quotes):
    def known(each):
        fields = {}
        for _, quote in each:
            fields.update({n: v for n in ("last", "bid", "ask", "high") if (v := getattr(quote, n)) is not None})
        return fields

    given_ = frames([(0, quote) for quote in quotes])
    got, gone, _ = thinned(given_, Thin(quotes=True))
    assert known(got.quotes) == known(given_.quotes)
    assert gone == len(quotes) - 1
