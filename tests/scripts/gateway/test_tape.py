import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.scripts.gateway.contracts import CATALOGUE
from tickloom.scripts.gateway.tape import BLOCK, Tape, anchor, compute_block

MNQ = CATALOGUE["CON.F.US.MNQ.Z25"]
GOLDEN = 2199449253
numbers = st.integers(-(10**6), 10**6)


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=4), numbers)
def test_a_tick_does_not_depend_on_what_was_asked_for_before(before, number):
    tape = Tape(MNQ, 7)
    for other in before:
        tape.block(other)
    assert tape.block(number) == compute_block(MNQ, 7, number)


@settings(deadline=None)
@given(numbers, st.sampled_from(list(CATALOGUE.values())))
def test_ticks_lie_on_the_grid_above_zero_and_near_the_base_price(number, spec):
    block = compute_block(spec, 0, number)
    assert [spec.price(ticks) for ticks in block.ticks] == block.price
    assert all(abs(ticks - spec.base) < spec.base * 0.02 + 200 for ticks in block.ticks)
    assert set(block.side) == {0, 1}
    assert min(block.size) >= 1


@settings(deadline=None)
@given(numbers)
def test_trades_are_whole_within_a_block_and_their_prints_walk_one_way(number):
    block = compute_block(MNQ, 3, number)
    assert block.start[0] == block.first == number * BLOCK
    for at in range(1, BLOCK):
        start = block.start[at]
        if start == block.first + at:
            continue
        assert start == block.start[at - 1], "a print that does not begin a trade belongs to the one before"
        assert block.side[at] == block.side[at - 1]
        step = block.ticks[at] - block.ticks[at - 1]
        assert step in ((0, 1) if block.side[at] == 0 else (0, -1)), "a buy walks up the book, a sell down"


def test_the_walk_goes_on_where_the_block_before_ended():
    for number in range(-3, 4):
        end, begin = compute_block(MNQ, 0, number).ticks[-1], compute_block(MNQ, 0, number + 1).ticks[0]
        assert abs(end - anchor(MNQ, 0, number + 1)) < 15
        assert abs(end - begin) < 15


def test_seed_and_contract_change_the_market():
    tapes = [compute_block(MNQ, 0, 0), compute_block(MNQ, 1, 0), compute_block(CATALOGUE["CON.F.US.ENQ.Z25"], 0, 0)]
    assert len({tuple(block.ticks) for block in tapes}) == 3


def test_a_seed_means_the_same_market_for_ever():
    block = compute_block(MNQ, 0, 0)
    assert zlib.crc32(repr((block.ticks, block.size, block.side, block.start)).encode()) == GOLDEN


@pytest.mark.parametrize(("first", "last"), [(0, 0), (BLOCK - 1, BLOCK), (-5, 5), (10, 3 * BLOCK)])
def test_pieces_together_are_the_range_asked_for(first, last):
    ticks = [block.first + at for block, low, high in Tape(MNQ, 0).pieces(first, last) for at in range(low, high)]
    assert ticks == list(range(first, last + 1))


def test_a_trade_ends_where_the_next_begins():
    tape = Tape(MNQ, 0)
    ends = {tape.trade_end(index) for index in range(BLOCK)}
    starts = set(tape.block(0).start) | {BLOCK}
    assert {end + 1 for end in ends} == starts - {0}
