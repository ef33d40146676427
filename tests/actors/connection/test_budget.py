from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.connection.budget import BARS, OTHER, Budget


@given(st.integers(1, 6), st.floats(0.5, 30), st.lists(st.floats(0, 10), max_size=60))
def test_no_window_ever_holds_more_than_the_budget(limit, seconds, gaps):
    budget = Budget(limit, seconds)
    now, begun = 0.0, []
    for gap in gaps:
        now += gap
        begun.append(now + budget.reserve(now))
    assert all(later - first > -1e-9 for first, later in pairwise(begun))  # now and the wait add up to within rounding
    for first, later in zip(begun, begun[limit:], strict=False):
        assert later - first >= seconds * (1 - 1e-9)


def test_within_the_budget_nothing_waits_and_beyond_it_the_oldest_makes_room():
    budget = Budget(*BARS)
    assert [budget.reserve(float(n) / 10) for n in range(50)] == [0.0] * 50
    assert budget.reserve(10.0) == 20.0
    assert OTHER == (200, 60.0)


def test_a_budget_that_allows_nothing_is_refused():
    with pytest.raises(ValueError, match="allows nothing"):
        Budget(0, 1.0)
