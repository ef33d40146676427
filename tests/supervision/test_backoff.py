"""Backoff: the delay and its bounds; when it starts over."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tickloom.supervision import Backoff, MailboxSpec, Policy, Restarting


@given(
    base=st.floats(0, 1e6),
    cap=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
    attempt=st.integers(0, 10**9),
    seed=st.integers(0, 100),
)
def test_delay_is_min_of_cap_and_base_times_two_to_the_n_less_jitter_in_the_stated_range(
    base, cap, jitter, attempt, seed
):
    full = min(cap, base * 2.0 ** min(attempt, 1000))
    delay = Backoff(base, cap, jitter).delay(attempt, Random(seed))
    slack = 1e-9 * full
    assert (1 - jitter) * full - slack <= delay <= full + slack


def test_without_jitter_the_delays_double_up_to_the_cap():
    backoff = Backoff(base=0.1, cap=1.0, jitter=0)
    assert [round(backoff.delay(n, Random(0)), 9) for n in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_the_delay_does_not_overflow_at_large_n():
    assert Backoff(base=0.1, cap=30, jitter=0).delay(10**18, Random(0)) == 30


def test_jitter_comes_from_the_random_source_given():
    backoff = Backoff(base=1, cap=60, jitter=0.5)
    assert backoff.delay(3, Random(1)) == backoff.delay(3, Random(1))
    assert len({backoff.delay(3, Random(seed)) for seed in range(20)}) > 10


def attempts(tree, path):
    return [event.attempt for event in tree.events() if isinstance(event, Restarting) and event.path == path]


def test_backoff_resets_after_a_quiet_period(stage, kit):
    backoff = Backoff(base=1, cap=60, jitter=0, quiet=10)
    dispatcher, tree = stage(kit.worker("a", backoff=backoff), intensity=100)
    for wait in (1, 2, 4):
        tree.ref("/a").tell(kit.crash)
        dispatcher.advance(wait)
    assert attempts(tree, "/a") == [0, 1, 2]
    dispatcher.advance(9.9)
    tree.ref("/a").tell(kit.crash)
    dispatcher.advance(8)
    assert attempts(tree, "/a") == [0, 1, 2, 3]
    dispatcher.advance(10)
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    assert attempts(tree, "/a") == [0, 1, 2, 3, 0]


def test_a_child_in_backoff_does_not_run_until_its_delay_is_over(stage, kit, epochs):
    dispatcher, tree = stage(kit.worker("a", backoff=Backoff(base=2, jitter=0)), intensity=9)
    tree.ref("/a").tell(kit.crash)
    dispatcher.advance(1.999)
    assert epochs(tree)["/a"] == 0
    assert tree.snapshot().find("/a").state == "backoff"
    dispatcher.advance(0.001)
    assert epochs(tree)["/a"] == 2


def test_nested_supervisors_count_alone(stage, kit):
    backoff = Backoff(base=1, jitter=0, quiet=1000)
    dispatcher, tree = stage(
        kit.worker("a", backoff=backoff), kit.sup("s", kit.worker("a", backoff=backoff), intensity=9), intensity=9
    )
    for _ in range(3):
        tree.ref("/s/a").tell(kit.crash)
        dispatcher.advance(10)
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    assert attempts(tree, "/s/a") == [0, 1, 2]
    assert attempts(tree, "/a") == [0]


def test_messages_sent_to_a_child_in_backoff_wait_in_its_mailbox_within_its_bound(stage, kit):
    mailbox = MailboxSpec(2, Policy.DROP_NEWEST)
    dispatcher, tree = stage(kit.worker("a", backoff=Backoff(base=5, jitter=0), mailbox=mailbox), intensity=9)
    ref = tree.ref("/a")
    ref.tell(kit.crash)
    dispatcher.run()
    assert [ref.put(1), ref.put(2), ref.put(3)] == [True, True, False]
    assert tree.snapshot().find("/a").depth == 2
    dispatcher.advance(5)
    assert [(epoch, what) for _, epoch, what in kit.log if what in (1, 2, 3)] == [(2, 1), (2, 2)]
    assert tree.dead_letters.counts_for("/a")["mailbox full"] == 1
