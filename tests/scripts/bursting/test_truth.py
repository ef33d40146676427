"""The truth of a burst: bars of ticks, worked out one by one here."""

from __future__ import annotations

from tickloom.scripts.bursting.truth import Tick, Truth

SECOND = 10**9


def tick(number: int, at_ns: int, price: float, size: int, side: int = 0) -> Tick:
    return Tick(number, at_ns, price, size, side)


def test_a_bar_is_first_highest_lowest_last_and_the_sums() -> None:
    truth = Truth({"1s": SECOND, "5s": 5 * SECOND})
    truth.add([tick(0, 5 * SECOND, 10.25, 2), tick(1, 5 * SECOND, 11.0, 3, 1), tick(2, 5 * SECOND + 9, 10.0, 1, 2)])
    truth.add([tick(3, 6 * SECOND - 1, 10.5, 4), tick(4, 6 * SECOND, 9.0, 7, 1)])
    first = (10.25, 11.0, 10.0, 10.5, 10, 4, 6, 3)
    assert truth.bars["1s"] == {5 * SECOND: first, 6 * SECOND: (9.0, 9.0, 9.0, 9.0, 7, 1, 0, 7)}
    assert truth.bars["5s"] == {5 * SECOND: (10.25, 11.0, 9.0, 9.0, 17, 5, 6, 10)}
    assert truth.ticks == 5
