"""The truth of a soak against a dozen lines that nobody could get wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tickloom.actors.bars.digest import Chain
from tickloom.messages.market import NS
from tickloom.scripts.soaking.hours import Hours
from tickloom.scripts.soaking.market import Own, Stray
from tickloom.scripts.soaking.products import CHANGE_NS, PRODUCTS
from tickloom.scripts.soaking.truth import GAP, PARTIAL, REVISED, Series, alone, grouped, seconds

START = CHANGE_NS
ROUND_THE_CLOCK = 2


def rows(count: int, span_s: int, seed: int = 1) -> Own:
    rng = np.random.default_rng(seed)
    ts = START + np.sort(rng.integers(0, span_s * NS // 10**8, count)) * 10**8  # many share a stamp
    return Own(
        ROUND_THE_CLOCK,
        ts,
        np.arange(100, 100 + count),
        1000 + np.cumsum(rng.integers(-3, 4, count)),
        rng.integers(0, 9, count),
        rng.integers(0, 3, count),
    )


def by_hand(own: Own, width: int) -> dict[int, list[Any]]:
    """Open, high, low, close, volume, trades, notional, buy, sell of each bucket."""
    bars: dict[int, list[Any]] = {}
    for ts, _tick, price, size, side in sorted(zip(*(column.tolist() for column in own[1:]), strict=True)):
        bar = bars.setdefault((ts - START) // width * width + START, [price, price, price, price, 0, 0, 0, 0, 0])
        bar[1], bar[2], bar[3] = max(bar[1], price), min(bar[2], price), price
        sums = (size, 1, price * size, size * (side == 0), size * (side == 1))
        bar[4:] = [a + b for a, b in zip(bar[4:], sums, strict=True)]
    return bars


def series(width: int) -> Series:
    return Series(Hours(PRODUCTS[ROUND_THE_CLOCK], START, START + 3600 * NS), width)


@pytest.mark.parametrize("width_s", [1, 5, 60])
def test_bars_are_what_a_plain_loop_makes_of_the_prints(width_s: int) -> None:
    own, made = rows(5000, 300), series(width_s * NS)
    made.settle(seconds(own), START + 300 * NS, [], None)
    expected = by_hand(own, width_s * NS)
    taken = made.take(len(expected))
    assert {int(row[0]): row[2:11].tolist() for row in taken} == expected
    assert (taken[:, 1] - taken[:, 0] == width_s * NS).all()


def test_how_the_prints_are_cut_into_chunks_changes_nothing() -> None:
    own, whole, cut = rows(3000, 60), series(15 * NS), series(15 * NS)
    whole.settle(seconds(own), START + 60 * NS, [], None)
    for second in range(0, 60, 7):
        part = (own.ts >= START + second * NS) & (own.ts < START + (second + 7) * NS)
        chunk = Own(own.product, *(column[part] for column in own[1:]))
        cut.settle(seconds(chunk), START + (second + 7) * NS, [], None)
    assert whole.bars == cut.bars == 4
    assert whole.take(4).tolist() == cut.take(4).tolist()
    assert whole.digest() == cut.digest()


def test_a_print_out_of_order_is_in_its_bar_and_a_revision_where_it_came_too_late() -> None:
    own, made = rows(2000, 30), series(5 * NS)
    stray = Stray(ROUND_THE_CLOCK, START + 2 * NS + 7, 99_999, 5_000, 3, 1, START + 9 * NS)
    made.stray(stray.ts, stray.known)
    made.settle(np.concatenate((seconds(own), [alone(stray)])), START + 30 * NS, [], None)
    first = made.take(1)[0]
    assert first[3] == 5_000, "the high"
    assert (first[11], first[12]) == (1, REVISED)
    on_time = series(60 * NS)
    on_time.stray(stray.ts, stray.known)
    on_time.settle(np.array([alone(stray)]), START + 60 * NS, [], None)
    assert on_time.take(1)[0][11:].tolist() == [0, 0]


def test_an_order_of_equal_stamps_is_that_of_arrival() -> None:
    one = Stray(0, START, 7, 100, 1, 0, 0)
    other = Stray(0, START, 8, 200, 1, 0, 0)
    made = grouped(np.array([alone(other), alone(one)]), np.array([START, START]))
    assert (made[0][1], made[0][6]) == (100, 200), "open, close"


def test_gaps_and_the_ends_of_a_session_flag_the_bars_they_touch() -> None:
    own, made = rows(2000, 20), series(5 * NS)
    marks = [(START + 4 * NS, START + 6 * NS, GAP), (START - 1, START, PARTIAL)]
    made.settle(seconds(own), 0, marks, START + 20 * NS)
    assert made.take(4)[:, 12].tolist() == [GAP, GAP, 0, PARTIAL]


def test_its_digest_is_the_one_the_product_promises() -> None:
    own, made = rows(4000, 300), series(NS)
    made.settle(seconds(own), START + 300 * NS, [], None)
    chain = Chain()
    for count in (1, 130, 128):
        chain = chain.extend(made.take(count).astype("<i8").tobytes())
        assert made.digest() == chain.digest()
    with pytest.raises(IndexError, match="the truth has"):
        made.take(10_000)
