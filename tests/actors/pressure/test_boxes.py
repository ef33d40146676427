"""Overflow begins and ends once each, counts exactly, and does not flap; an actor that stands is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.pressure.boxes import Began, Box, Ended, Watched, stuck, watch, words
from tickloom.messages.market import NS

QUIET = 2 * NS


def see(*looks: Box, watched: Watched | None = None, pace: float = 1.0):
    """Look once a second; return what is known at the end, and all that was told."""
    watched, told = watched or Watched(), []
    for second, box in enumerate(looks):
        watched, events = watch(watched, {"/a": box}, int(second * pace * NS), QUIET)
        told += events
    return watched, told


def test_an_overflow_begins_with_the_first_message_without_room_and_ends_once_there_has_been_room_for_a_while():
    looks = [
        Box(3, 8),
        Box(8, 8, merged=5),
        Box(8, 8, merged=9),
        Box(2, 8, merged=9),
        Box(2, 8, merged=9),
        Box(1, 8, merged=9),
    ]
    watched, told = see(*looks)
    assert told == [Began("/a", {"merged": 5}, 8), Ended("/a", {"merged": 9}, 4.0)]
    assert watched.episodes == {}
    assert watched.overflows == 1


def test_one_that_comes_back_within_the_quiet_time_is_the_same_overflow():
    full, free = Box(8, 8, dropped=1), Box(0, 8, dropped=1)
    again = Box(8, 8, dropped=4)
    _, told = see(Box(0, 8), full, free, again, Box(0, 8, dropped=4), Box(0, 8, dropped=4), Box(0, 8, dropped=4))
    assert told == [Began("/a", {"dropped": 1}, 8), Ended("/a", {"dropped": 4}, 5.0)]


def test_a_queue_more_than_half_full_is_not_over_it():
    full = Box(8, 8, held=1)
    _, told = see(Box(0, 8), full, *[Box(5, 8, held=1)] * 10)
    assert told == [Began("/a", {"held back": 1}, 8)]


def test_senders_that_wait_are_an_overflow_though_nothing_was_counted_yet():
    watched, told = see(Box(8, 8, waiting=2))
    assert told == [Began("/a", {}, 8)]
    assert words(watched.episodes["/a"].counts()) == "senders wait for room"


def test_what_happened_before_the_first_look_is_not_news():
    assert see(Box(0, 8, merged=100))[1] == []


def test_an_actor_that_is_gone_ends_its_overflow():
    watched, _ = see(Box(0, 8), Box(8, 8, refused=3))
    watched, told = watch(watched, {}, 9 * NS, QUIET)
    assert told == (Ended("/a", {"refused": 3}, 8.0),)
    assert watched.episodes == {}


def test_an_actor_with_something_to_do_that_does_nothing_is_stuck_after_a_while():
    watched, _ = see(*[Box(4, 8, done=7)] * 11)
    assert stuck(watched, 10 * NS, 10 * NS) == {"/a": 10.0}
    assert stuck(watched, 10 * NS, 11 * NS) == {}


def test_one_that_does_something_or_has_nothing_to_do_or_is_held_is_not_stuck():
    for looks in (
        [Box(4, 8, done=n) for n in range(20)],
        [Box(0, 8, done=7)] * 20,
        [Box(4, 8, done=7, idle=True)] * 20,
    ):
        watched, _ = see(*looks)
        assert stuck(watched, 19 * NS, 5 * NS) == {}


def test_outputs_that_do_not_go_out_are_something_to_do():
    watched, _ = see(*[Box(0, 8, done=7, unemitted=1)] * 6)
    assert list(stuck(watched, 5 * NS, 5 * NS)) == ["/a"]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=60))
def test_every_message_without_room_is_in_exactly_one_overflow(steps):
    """Sum of the episodes = totals, begins and ends alternate, whatever the looks are."""
    watched, told = watch(Watched(), {"/a": Box(0, 8)}, 0, QUIET)
    merged = dropped = held = 0
    events = list(told)
    for second, (depth, more_merged, more_dropped, more_held) in enumerate(steps, start=1):
        merged, dropped, held = merged + more_merged, dropped + more_dropped, held + more_held
        watched, told = watch(watched, {"/a": Box(depth, 8, merged, dropped, 0, held)}, second * NS, QUIET)
        events += told
    watched, told = watch(watched, {}, 10**6 * NS, QUIET)
    events += told
    assert [type(event) for event in events] == [Began, Ended] * (len(events) // 2)
    ended = [event.counts for event in events if isinstance(event, Ended)]
    assert sum(counts.get("merged", 0) for counts in ended) == merged
    assert sum(counts.get("dropped", 0) for counts in ended) == dropped
    assert sum(counts.get("held back", 0) for counts in ended) == held
