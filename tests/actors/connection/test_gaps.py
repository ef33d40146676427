from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.connection.gaps import GapTracker
from tickloom.messages.market import Prints

SECOND = 1_000_000_000


def prints(*rows: tuple[str, int]) -> Prints:
    names = tuple(dict.fromkeys(name for name, _ in rows))
    n = len(rows)
    return Prints(
        names, [names.index(name) for name, _ in rows], [ts for _, ts in rows], [1.0] * n, [1] * n, [0] * n, [0] * n, 0
    )


def test_a_gap_reaches_from_the_newest_print_before_a_loss_to_the_first_one_after_it():
    tracker = GapTracker()
    tracker.confirmed("A", 5)
    assert tracker.saw(prints(("A", 90), ("A", 100)), 200) == []
    tracker.lost("the cable was cut")
    assert tracker.missing == ("A",)
    tracker.confirmed("A", 300)
    [gap] = tracker.saw(prints(("A", 310), ("A", 320)), 400)
    assert (gap.contract, gap.from_ns, gap.to_ns, gap.cause) == ("A", 100, 311, "the cable was cut")
    assert gap.recv_ns == 400
    assert tracker.missing == ()
    assert tracker.saw(prints(("A", 330)), 500) == []


@pytest.mark.parametrize("length", [2, 200])
def test_contracts_have_gaps_of_their_own_in_small_batches_and_large(length):
    tracker = GapTracker()
    for name in "AB":
        tracker.confirmed(name, 1)
    tracker.saw(prints(("A", 10), ("B", 20)), 30)
    tracker.lost("gone")
    for name in "AB":
        tracker.confirmed(name, 40)
    gaps = tracker.saw(prints(("B", 52), *[("B", 60 + n) for n in range(length)]), 90)
    assert [(gap.contract, gap.from_ns, gap.to_ns) for gap in gaps] == [("B", 20, 53)]
    assert tracker.missing == ("A",)
    assert tracker.newest("B") == 59 + length


@pytest.mark.parametrize("length", [1, 200])
def test_where_stamps_go_astray_a_gap_is_wider_by_twice_as_much_at_either_end(length):
    tracker = GapTracker(lateness_ns=50)
    tracker.confirmed("A", 1)
    tracker.saw(prints(*[("A", 100)] * length, ("A", 93), ("A", 120), ("A", 60)), 200)  # the last one is a stray
    assert tracker.room("A") == 2 * 7
    tracker.saw(prints(("A", 121), ("A", 100)), 200, measure=False)
    assert tracker.room("A") == 2 * 7
    tracker.lost("gone")
    [gap] = tracker.saw(prints(("A", 300)), 400)
    assert (gap.from_ns, gap.to_ns) == (121 - 2 * 7, 301 + 2 * 7)


def test_a_stamp_far_ahead_of_the_clock_tells_nothing():
    tracker = GapTracker(future_ns=1000)
    tracker.confirmed("A", 1)
    tracker.saw(prints(("A", 100), ("A", 10_000_000), ("A", 110)), 200)
    assert tracker.newest("A") == 110
    tracker.lost("gone")
    assert tracker.saw(prints(("A", 10_000_000)), 300) == []
    [gap] = tracker.saw(prints(("A", 310)), 400)
    assert (gap.from_ns, gap.to_ns) == (110, 311)


def test_a_contract_that_stays_quiet_has_its_gap_closed_when_its_subscription_was_confirmed():
    tracker = GapTracker(settle_ns=5 * SECOND)
    tracker.confirmed("A", SECOND)
    tracker.saw(prints(("A", 2 * SECOND)), 2 * SECOND)
    tracker.lost("gone")
    assert tracker.on_time(100 * SECOND) == []  # not back yet
    tracker.confirmed("A", 100 * SECOND)
    assert tracker.on_time(104 * SECOND) == []
    [gap] = tracker.on_time(105 * SECOND)
    assert (gap.from_ns, gap.to_ns) == (2 * SECOND, 100 * SECOND)
    assert tracker.on_time(106 * SECOND) == []


def test_a_contract_never_traded_is_missing_from_when_it_was_first_confirmed():
    tracker = GapTracker()
    tracker.confirmed("A", 50)
    tracker.lost("gone")
    tracker.confirmed("A", 80)
    [gap] = tracker.saw(prints(("A", 85)), 90)
    assert (gap.from_ns, gap.to_ns) == (50, 86)


def test_a_second_loss_before_the_first_print_widens_the_one_gap():
    tracker = GapTracker()
    tracker.confirmed("A", 1)
    tracker.saw(prints(("A", 10)), 10)
    tracker.lost("first")
    tracker.confirmed("A", 20)
    tracker.lost("second")
    assert tracker.on_time(10**18) == []
    tracker.confirmed("A", 40)
    [gap] = tracker.saw(prints(("A", 45)), 50)
    assert (gap.from_ns, gap.to_ns, gap.cause) == (10, 46, "first")


def test_a_stamp_from_before_the_loss_still_makes_a_gap_that_is_not_empty():
    tracker = GapTracker()
    tracker.confirmed("A", 1)
    tracker.saw(prints(("A", 100)), 100)
    tracker.lost("gone")
    tracker.confirmed("A", 120)
    [gap] = tracker.saw(prints(("A", 60)), 130)
    assert (gap.from_ns, gap.to_ns) == (100, 101)


def test_contracts_nobody_follows_make_no_gaps():
    tracker = GapTracker()
    tracker.confirmed("A", 1)
    tracker.forget("A")
    tracker.lost("gone")
    assert tracker.missing == ()
    assert tracker.saw(prints(("A", 5), ("Z", 6)), 9) == []
    tracker.lost("gone", ["Z"])
    assert tracker.missing == ()


def test_a_gap_left_by_a_process_that_is_gone_reaches_from_its_last_print_to_our_first():
    tracker = GapTracker()
    tracker.resume("A", 100, "the process ended")
    assert tracker.missing == ("A",)
    tracker.confirmed("A", 300)
    [gap] = tracker.saw(prints(("A", 310)), 400)
    assert (gap.contract, gap.from_ns, gap.to_ns, gap.cause) == ("A", 100, 311, "the process ended")


def test_prints_that_come_before_the_answer_to_the_subscription_close_the_gap_all_the_same():
    tracker = GapTracker()
    tracker.confirmed("A", 5)
    tracker.saw(prints(("A", 100)), 100)
    tracker.lost("gone")
    [gap] = tracker.saw(prints(("A", 310)), 400)
    tracker.confirmed("A", 500)
    assert (gap.from_ns, gap.to_ns) == (100, 311)
    assert tracker.saw(prints(("A", 320)), 600) == []


class AtLeisure(GapTracker):
    """One that never takes the short way: what that must come to."""

    def _follow(self, prints: Prints, now_ns: int) -> bool:
        return False


ROWS = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 400)), min_size=1, max_size=12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("saw"), ROWS, st.integers(50, 400)),
        st.tuples(st.just("lost"), st.sampled_from(["A", "B", None]), st.just(0)),
        st.tuples(st.just("confirmed"), st.sampled_from("AB"), st.integers(1, 400)),
    ),
    max_size=12,
)


@given(steps=STEPS)
def test_the_short_way_of_a_short_batch_comes_to_what_the_long_way_comes_to(steps):
    quick, slow = (kind(lateness_ns=60, future_ns=30) for kind in (GapTracker, AtLeisure))
    for what, about, at in steps:
        for tracker in (quick, slow):
            if what == "lost":
                tracker.lost("gone", None if about is None else (about,))
            elif what == "confirmed":
                tracker.confirmed(about, at)
        if what == "saw":
            assert quick.saw(prints(*about), at) == slow.saw(prints(*about), at)
        assert quick.missing == slow.missing
        for name in "ABC":
            assert (quick.newest(name), quick.room(name)) == (slow.newest(name), slow.room(name))
