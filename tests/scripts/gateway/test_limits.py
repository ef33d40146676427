from hypothesis import given
from hypothesis import strategies as st

from tickloom.scripts.gateway.limits import SlidingWindow

S = 10**9


@given(st.lists(st.integers(0, 20 * S), min_size=1, max_size=80))
def test_no_window_ever_holds_more_calls_than_allowed(times):
    window = SlidingWindow(5, 10)
    admitted = []
    for time in sorted(times):
        wait = window.admit("u", time)
        if not wait:
            admitted.append(time)
        else:
            assert 0 < wait <= 10
    for time in admitted:
        assert len([other for other in admitted if time - 10 * S < other <= time]) <= 5


def test_the_wait_it_names_is_enough_and_not_too_long():
    window = SlidingWindow(2, 30)
    window.admit("u", 0)
    window.admit("u", S)
    wait = window.admit("u", 2 * S)
    assert wait == 28
    assert window.admit("u", 2 * S + 27 * S)
    assert window.admit("u", 2 * S + 28 * S) == 0


def test_callers_have_a_window_each_and_are_forgotten_when_there_are_too_many():
    window = SlidingWindow(1, 30)
    assert window.admit("a", 0) == 0
    assert window.admit("b", 0) == 0
    assert window.admit("a", 0) > 0
    for k in range(5000):
        window.admit(str(k), 1)
    assert len(window._seen) <= 1000


def test_no_limit_admits_everything():
    assert not any(SlidingWindow(0, 30).admit("u", 0) for _ in range(1000))
