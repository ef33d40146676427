import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.scripts.gateway.pacing import PERIOD_NS, Pacer, warp

S = 1_000_000_000


def pacer(rate, *, lively=True, seed=0):
    return Pacer(rate, name="X", seed=seed, lively=lively, start_ns=0)


@settings(deadline=None)
@given(st.floats(0.1, 200_000), st.integers(1, 400), st.integers(0, 99))
def test_the_average_over_whole_periods_is_exact(rate, periods, seed):
    assert abs(pacer(rate, seed=seed).due(periods * PERIOD_NS) - rate * periods * 10) <= 1


@settings(deadline=None)
@given(st.floats(0.1, 200_000), st.lists(st.integers(0, 100 * S), min_size=2), st.booleans())
def test_what_is_due_never_shrinks(rate, times, lively):
    made = pacer(rate, lively=lively)
    counts = [made.due(time) for time in sorted(times)]
    assert counts == sorted(counts)


@settings(deadline=None)
@given(st.integers(0, 10**15), st.integers(0, 9))
def test_warped_time_never_strays_from_its_period(elapsed, seed):
    assert elapsed // PERIOD_NS <= warp(seed, "X", elapsed) // PERIOD_NS <= elapsed // PERIOD_NS + 1
    assert warp(seed, "X", elapsed // PERIOD_NS * PERIOD_NS) == elapsed // PERIOD_NS * PERIOD_NS


def by_tenth(made):
    counts = [made.due(k * S // 10) for k in range(1001)]
    return [b - a for a, b in itertools.pairwise(counts)]


def test_a_lively_market_has_bursts_and_quiet_spells():
    flow = by_tenth(pacer(500))
    assert max(flow) > 100
    assert min(flow) < 15


def test_an_even_flow_has_none():
    assert set(by_tenth(pacer(500, lively=False))) == {50}


def test_a_dense_stream_is_smoother():
    flow = by_tenth(pacer(100_000))
    assert max(flow) < 10_000 * 1.15
    assert min(flow) > 10_000 * 0.9


@settings(deadline=None)
@given(st.integers(0, 60 * S), st.floats(0, 10_000), st.integers(0, 60 * S))
def test_a_change_of_rate_alters_nothing_that_was_due_before(moment, rate, later):
    made = pacer(777)
    before = made.due(moment)
    made.change(rate, moment)
    assert made.due(moment) == before
    assert made.due(moment + later) >= before


def test_rate_zero_stops_the_flow_and_a_burst_still_comes():
    made = pacer(0)
    assert made.due(10**15) == 0
    made.add(5)
    assert made.due(10**15) == 5


@pytest.mark.parametrize("rate", [1, 0.3, 99_999.5])
def test_nothing_is_due_before_the_start(rate):
    assert pacer(rate).due(-S) == 0
