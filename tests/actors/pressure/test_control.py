"""Pressure moves limits between their bounds, with hysteresis, and every move says why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.pressure.boxes import Began, Box, Ended
from tickloom.actors.pressure.control import (
    Look,
    Policy,
    Pressure,
    Squeezed,
    Stretched,
    Yielded,
    capacity,
    decide,
    gives_way,
    scaled,
)
from tickloom.actors.pressure.readings import Memory, Reading
from tickloom.messages.market import NS

POLICY = Policy(recover_ns=5 * NS)


def memory(share: float) -> Memory:
    return Memory(
        (Reading("the machine's memory", 10, 100), Reading("the control group's memory", int(share * 1000), 1000))
    )


def run(
    *looks: tuple[float | None, Box | None], policy: Policy = POLICY, state: Pressure | None = None, start: int = 0
):
    """One look a second: (share of memory, look at /pipeline/validation)."""
    state, told = state or Pressure(), []
    for second, (share, box) in enumerate(looks, start=start):
        seen = Memory() if share is None else memory(share)
        boxes = {} if box is None else {"/pipeline/validation": box}
        state, events = decide(policy, state, Look(second * NS, seen, boxes))
        told += events
    return state, told


def only(told, kind):
    return [each for each in told if isinstance(each, kind)]


def test_memory_above_the_threshold_halves_once_a_look_down_to_the_floor_and_says_why():
    state, told = run(*[(0.9, None)] * 10)
    assert [(each.before, each.after) for each in only(told, Squeezed)] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert told[0].cause == "90% of the control group's memory (0 MiB of 0 MiB)"
    assert [scaled(POLICY, 1024, squeeze) for squeeze in range(6)] == [1024, 512, 256, 128, 64, 64]
    assert state.squeeze == POLICY.most_squeezed == 4


def test_critical_memory_goes_to_the_floor_at_once():
    assert only(run((0.96, None))[1], Squeezed) == [
        Squeezed(0, 4, "96% of the control group's memory (0 MiB of 0 MiB)")
    ]


def test_between_the_thresholds_nothing_moves_and_the_way_back_starts_anew():
    state, told = run((0.9, None), *[(0.8, None)] * 100)
    assert state.squeeze == 1
    state, told = run(*[(0.6, None)] * 4, (0.8, None), *[(0.6, None)] * 5, state=state, start=101)
    assert only(told, Squeezed) == []
    state, told = run((0.6, None), state=state, start=111)
    assert [(each.before, each.after) for each in only(told, Squeezed)] == [(1, 0)]


def test_memory_that_cannot_be_read_decides_nothing():
    full = Box(8, 8, merged=1)
    state, told = run((None, Box(0, 8)), (None, full))
    assert only(told, Squeezed) == only(told, Stretched) == []
    assert state.squeeze == 0


def test_a_mailbox_that_overflows_is_stretched_while_memory_is_plentiful_up_to_the_ceiling():
    looks = [Box(8, 8, held=n) for n in range(6)]
    state, told = run(*[(0.2, box) for box in looks])
    assert [(each.before, each.after) for each in only(told, Stretched)] == [(0, 1), (1, 2)]
    assert capacity(POLICY, state, "/pipeline/validation", 100) == 400
    assert capacity(POLICY, state, "/elsewhere", 100) == 100


def test_it_comes_back_step_by_step_when_it_does_not_overflow_any_more():
    state, _ = run(*[(0.2, Box(8, 8, held=n)) for n in range(6)])
    state, told = run(*[(0.2, Box(0, 32, held=5))] * 30, state=state, start=6)
    assert [type(each) for each in told if not isinstance(each, Yielded)] == [Ended, Stretched, Stretched]
    assert [(each.before, each.after) for each in only(told, Stretched)] == [(2, 1), (1, 0)]
    assert state.stretched == {}


def test_what_was_stretched_is_taken_back_at_once_when_memory_is_short():
    state, _ = run(*[(0.2, Box(8, 8, held=n)) for n in range(6)])
    state, told = run((0.9, Box(8, 32, held=9)), state=state, start=6)
    (back,) = only(told, Stretched)
    assert (back.before, back.after) == (2, 0)
    assert "control group" in back.cause
    assert capacity(POLICY, state, "/pipeline/validation", 100) == 50


def test_flows_give_way_in_order_one_a_look_and_come_back_in_reverse():
    looks = [(0.75, Box(8, 8, held=n)) for n in range(1, 9)]
    state, told = run((0.75, Box(0, 8)), *looks)
    assert [each.flow for each in only(told, Yielded)] == ["updates", "quotes", "depth", "subscribers", "trades"]
    assert only(told, Yielded)[0].cause == "/pipeline/validation overflows"
    assert all(gives_way(POLICY, state, flow) for flow in POLICY.order)
    state, told = run(*[(0.75, Box(0, 8, held=8))] * 60, state=state, start=9)
    assert [(each.flow, each.back) for each in only(told, Yielded)] == [
        (flow, True) for flow in ("trades", "subscribers", "depth", "quotes", "updates")
    ]


def test_the_order_is_a_setting_and_what_is_not_in_it_never_gives_way():
    policy = Policy(recover_ns=NS, order=("subscribers", "updates"))
    state, told = run((0.75, Box(0, 8)), *[(0.75, Box(8, 8, held=n)) for n in range(1, 9)], policy=policy)
    assert [each.flow for each in only(told, Yielded)] == ["subscribers", "updates"]
    assert not gives_way(policy, state, "trades")


def test_an_overflow_outside_of_what_is_vital_is_told_and_is_no_strain():
    policy = Policy(recover_ns=NS, vital=("/pipeline/bars",))
    state, told = run((0.75, Box(0, 8)), (0.75, Box(8, 8, dropped=3)), policy=policy)
    assert [type(each) for each in told] == [Began]
    assert state.yielding == 0


def test_a_mailbox_that_merges_is_squeezed_only_where_trades_give_way():
    state, _ = run((0.9, None))
    assert state.squeeze == 1
    assert capacity(POLICY, state, "/pipeline/bars/1s", 256, merges=True) == 256
    state, _ = run(*[(0.9, None)] * 9)
    assert capacity(POLICY, state, "/pipeline/bars/1s", 256, merges=True) == 16


def test_nothing_is_ever_scaled_to_nothing():
    assert scaled(POLICY, 1, 4) == 1
    assert scaled(Policy(floor=1.0), 4096, Policy(floor=1.0).most_squeezed) == 4096


@pytest.mark.parametrize("wrong", [{"low": 0.9, "high": 0.8}, {"floor": 0.0}, {"ceiling": 0.5}, {"critical": 0.5}])
def test_thresholds_that_do_not_rise_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Policy(**wrong)


@given(
    st.lists(st.tuples(st.one_of(st.none(), st.floats(0.01, 1.2)), st.integers(0, 8), st.integers(0, 2)), max_size=80)
)
def test_whatever_happens_everything_stays_within_its_bounds_and_every_move_has_a_cause(steps):
    state, held = Pressure(), 0
    for second, (share, depth, more) in enumerate(steps):
        held += more
        seen = Memory() if share is None else memory(share)
        before = state
        state, told = decide(POLICY, state, Look(second * NS, seen, {"/a": Box(depth, 8, held=held)}))
        assert all(each.cause for each in told if not isinstance(each, Began | Ended))
        assert 0 <= state.squeeze <= POLICY.most_squeezed
        assert 0 <= state.yielding <= len(POLICY.order)
        assert abs(state.yielding - before.yielding) <= 1
        size = capacity(POLICY, state, "/a", 1024)
        assert 1024 * POLICY.floor <= size <= 1024 * POLICY.ceiling
        moved = (before.squeeze, before.stretched, before.yielding) != (state.squeeze, state.stretched, state.yielding)
        assert moved == (state.decisions > before.decisions)
