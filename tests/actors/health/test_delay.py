from __future__ import annotations

import pytest

from tickloom.actors.health.delay import WINDOW_NS, offset, seen
from tickloom.messages.reports import ClockState

NS = 1_000_000_000
MS = NS // 1000


@pytest.mark.parametrize(
    ("differences", "clock", "expected"),
    [
        ((), None, 0),
        ((20 * MS, 25 * MS), None, 0),  # a clock of which nothing is known is believed
        ((20 * MS,), (-NS, NS), 0),  # and so is one that may be right
        ((-300 * MS, -200 * MS), None, -300 * MS),  # nothing arrives before it is sent
        ((-300 * MS,), (-NS, NS), -300 * MS),
        ((30_020 * MS,), (29 * NS, 31 * NS), 30_020 * MS),  # half a minute ahead: the quickest print says how much
        ((33_000 * MS,), (29 * NS, 31 * NS), 31 * NS),  # the rest is delay
        ((25_000 * MS,), (29 * NS, 31 * NS), 25_000 * MS),
        ((), (29 * NS, 31 * NS), 30 * NS),
        ((-29_900 * MS,), (-31 * NS, -29 * NS), -29_900 * MS),
    ],
)
def test_the_offset_is_what_the_bounds_allow_and_no_print_arrives_before_it_is_sent(differences, clock, expected):
    known = None
    for difference in differences:
        known = seen(known, difference, NS)
    assert offset(known, ClockState(*clock) if clock else None) == expected


def test_the_least_difference_is_that_of_the_last_one_to_two_windows():
    known = seen(seen(None, 10, NS), -500, NS)
    known = seen(known, 7, NS + WINDOW_NS)
    assert known.lowest == -500
    known = seen(known, 9, NS + 2 * WINDOW_NS)
    assert known.lowest == 7
