"""A consistent cut: whatever each actor has come to when it is looked at, what is kept goes together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.bars.activity import ActivityState
from tickloom.actors.bars.fold import TimeframeState
from tickloom.actors.bars.reduce import ReduceState
from tickloom.actors.checkpoint.states import Cut, States
from tickloom.actors.validation.fold import ValidationState


def states(validation: int, reduce: int, minutes: int, ticks: int) -> States:
    return States(
        ValidationState(seq=validation),
        ReduceState(seq=reduce),
        {"1m": TimeframeState(seq=minutes)},
        {"500t": ActivityState(seq=ticks)},
    )


def test_actors_that_stand_at_one_number_are_a_cut_at_once() -> None:
    assert Cut().look(states(5, 5, 5, 5)) == states(5, 5, 5, 5)


def test_an_actor_that_is_behind_is_waited_for_and_the_others_are_kept_as_they_were() -> None:
    cut = Cut()
    assert cut.look(states(9, 7, 3, 9)) is None
    assert cut.look(states(12, 11, 9, 12)) is None, "the timeframe has not seen what the reduction holds"
    assert cut.look(states(15, 15, 12, 15)) == states(9, 11, 12, 9)


def test_what_the_session_before_came_to_is_no_cut_of_this_one() -> None:
    cut = Cut(after=5)
    assert cut.look(states(5, 5, 5, 5)) is None
    assert cut.look(states(6, 6, 6, 6)) == states(6, 6, 6, 6)


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 4), min_size=1, max_size=30))
def test_nobody_in_a_cut_is_ahead_of_those_it_feeds(steps: list[tuple[int, int, int, int]]) -> None:
    cut = Cut()
    v = r = m = t = 0
    for dv, dr, dm, dt in steps:  # each gets on by itself, but never past the one that feeds it
        v = v + dv
        r, t = min(v, r + dr), min(v, t + dt)
        m = min(r, m + dm)
        found = cut.look(states(v, r, m, t))
        if found is not None:
            validation, reduce, minutes, ticks = found.seqs
            assert validation <= reduce <= minutes
            assert validation <= ticks
            return
