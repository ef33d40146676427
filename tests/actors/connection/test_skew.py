from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.connection.skew import ClockSkew

NS = 1_000_000_000
START = 1_750_000_000 * NS


def date(ns: int) -> str:
    return format_datetime(datetime.fromtimestamp(ns // NS, UTC), usegmt=True)


@given(
    st.integers(-50 * NS, 50 * NS),
    st.lists(st.tuples(st.integers(0, 3 * NS), *[st.integers(0, NS)] * 3), min_size=1, max_size=30),
)
def test_the_true_offset_is_always_within_the_bounds_though_a_date_may_be_a_second_old(offset, requests):
    skew = ClockSkew()
    now = START
    widths = []
    for pause, there, back, stale in requests:
        asked = now + pause
        now = asked + there + back
        skew.heard(date(asked + there + offset - stale), asked, now)
        assert abs(skew.offset_ns - offset) <= skew.uncertainty_ns + 1
        widths.append(skew.uncertainty_ns)
    assert widths == sorted(widths, reverse=True)


def test_answers_at_different_parts_of_a_second_narrow_it_down():
    skew = ClockSkew()
    for n in range(20):
        at = START + n * 1_050_000_000
        skew.heard(date(at + 7 * NS), at - 1_000_000, at + 1_000_000)
    assert abs(skew.offset_ns - 7 * NS) <= skew.uncertainty_ns
    assert skew.uncertainty_ns < 600_000_000


def test_a_clock_that_was_set_is_followed():
    skew = ClockSkew()
    skew.heard(date(START), START, START)
    skew.heard(date(START + 100 * NS), START + NS, START + NS)
    assert abs(skew.offset_ns - 99 * NS) <= 1 * NS


def test_answers_without_a_date_say_nothing():
    skew = ClockSkew()
    for text in (None, "", "yesterday"):
        skew.heard(text, START, START + NS)
    assert (skew.offset_ns, skew.uncertainty_ns) == (None, None)
