import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.scripts.gateway.stamps import SECOND_NS, STEP_NS, StampLog

runs = st.lists(st.tuples(st.integers(1, 30_000), st.integers(-SECOND_NS, 3 * SECOND_NS)), min_size=1, max_size=40)


@given(runs, st.data())
def test_stamps_never_fall_stay_on_the_grid_and_can_be_asked_for_in_any_slice(runs, data):
    log, now, first = StampLog(1000), 10**18, 0
    bounds = []
    for count, later in runs:
        now += later
        stamp = log.note(first, first + count - 1, now)
        assert stamp >= now // STEP_NS * STEP_NS
        bounds.append((first, stamp))
        first += count
    stamps = log.stamps(list(range(first)), 0)
    assert stamps == sorted(stamps)
    assert all(stamp % STEP_NS == 0 for stamp in stamps)
    for start, stamp in bounds:
        assert stamps[start] == stamp
    low = data.draw(st.integers(0, first - 1))
    high = data.draw(st.integers(low + 1, first))
    assert log.stamps(list(range(low, high)), low) == stamps[low:high]


def test_prints_of_one_trade_share_their_stamp_and_trades_are_told_apart():
    log = StampLog(10)
    log.note(0, 3, 1_000_000_000)
    assert log.stamps([0, 1, 1, 3], 0) == [1_000_000_000, 1_000_000_100, 1_000_000_100, 1_000_000_300]


def test_a_run_does_not_leave_the_second_it_began_in():
    log = StampLog(10)
    late = SECOND_NS - 2 * STEP_NS
    log.note(0, 4, late)
    assert log.stamps([0, 1, 2, 3, 4], 0) == [late, late + 100, late + 100, late + 100, late + 100]


def test_a_clock_set_back_does_not_set_the_stamps_back():
    log = StampLog(10)
    log.note(0, 0, 5_000)
    assert log.note(1, 1, 1_000) == 5_000


def test_the_oldest_anchors_go_and_asking_for_them_is_an_error():
    log = StampLog(100)
    for index in range(500):
        log.note(index, index, index * 1000)
    assert 200 <= log.oldest <= 400
    assert log.stamps([log.oldest], log.oldest) == [log.oldest * 1000]
    with pytest.raises(LookupError, match="older than"):
        log.stamps([log.oldest - 1], log.oldest - 1)
