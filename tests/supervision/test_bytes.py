"""A mailbox is bounded in bytes as well as in messages, whatever happens to what is queued."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.supervision import Mailbox, MailboxSpec, Policy
from tickloom.supervision.errors import SpecError


def spec(**settings):
    return MailboxSpec(**{"capacity": 100, "max_bytes": 10, "weigh": len, **settings})


def test_a_lane_is_full_when_what_is_queued_weighs_its_bound():
    box = Mailbox(spec())
    assert [box.offer("aaaa"), box.offer("bbbb"), box.offer("cccc"), box.offer("d")] == [True, True, True, False]
    assert box.counters().bytes == 12
    assert box.room() == 0
    assert box.take_batch(1) == ["aaaa"]
    assert box.offer("d")
    assert box.counters().bytes == 9


def test_a_message_above_the_bound_is_let_in_alone():
    box = Mailbox(spec())
    assert box.offer("x" * 1000)
    assert not box.offer("y")
    assert box.take_batch(10) == ["x" * 1000]
    assert box.counters().bytes == 0


def test_the_oldest_go_until_there_is_room_in_bytes():
    box = Mailbox(spec(policy=Policy.DROP_OLDEST))
    for message in ("aaaa", "bbbb", "cccc", "dddd"):
        assert box.put(message)
    assert box.take_batch(10) == ["bbbb", "cccc", "dddd"]
    assert box.counters().balanced


def test_what_is_merged_weighs_what_it_became():
    box = Mailbox(spec(policy=Policy.CONFLATE, conflate=lambda a, b: max(a, b)))
    for message in ("aaaaa", "bbbbb", "cccc"):
        assert box.offer(message)
    assert box.counters().bytes == 9
    assert box.take_batch(10) == ["aaaaa", "cccc"]


def test_the_bound_can_be_changed_and_whoever_waits_is_let_in():
    box = Mailbox(spec())
    assert box.offer("x" * 10)
    assert not box.offer("y")
    box.resize(100, 20)
    assert box.offer("y")
    assert box.counters().max_bytes == 20


def test_a_bound_in_bytes_needs_scales():
    with pytest.raises(SpecError, match="needs a weigh function"):
        MailboxSpec(max_bytes=1)


@given(
    st.sampled_from(list(Policy)),
    st.lists(st.one_of(st.text("ab", max_size=9), st.integers(1, 5)), max_size=60),
)
def test_the_weight_is_that_of_what_is_queued_after_anything(policy, script):
    merge = {"conflate": lambda a, b: a + b if len(a + b) < 6 else None} if policy is Policy.CONFLATE else {}
    box = Mailbox(spec(policy=policy, capacity=4, **merge))
    for step in script:
        if isinstance(step, int):
            box.take_batch(step, 0)
        else:
            box.offer(step)
        assert box.counters().bytes == sum(map(len, box._data))
        assert box.counters().balanced
        assert len(box) <= 4
