"""Specifications: what is refused, and with which words; what is given back."""

from __future__ import annotations

import pytest

from tickloom.supervision import (
    AutoShutdown,
    Backoff,
    BreakerSpec,
    ChildSpec,
    MailboxSpec,
    Restart,
    SpecError,
    Strategy,
    SupervisorSpec,
    Tree,
)


def child(child_id="a", **spec):
    return ChildSpec(child_id, lambda context: None, **spec)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SupervisorSpec((child(),), strategy="all_for_one"), ["'a'", "strategy", "all_for_one", "one_for_all"]),
        (lambda: SupervisorSpec((child(),), intensity=-1), ["'a'", "intensity", "-1"]),
        (lambda: SupervisorSpec((child(),), intensity=1.5), ["intensity", "1.5"]),
        (lambda: SupervisorSpec((child(),), period=0), ["'a'", "period", "0"]),
        (lambda: SupervisorSpec((child(),), period=float("nan")), ["period", "nan"]),
        (lambda: SupervisorSpec((child("a"), child("b"), child("a"))), ["'a'", "twice", "ids"]),
        (lambda: SupervisorSpec((child(),), auto_shutdown="some"), ["auto_shutdown", "some"]),
        (lambda: SupervisorSpec((42,)), ["children", "ChildSpec", "42"]),
        (lambda: child(shutdown=-1), ["'a'", "shutdown", "-1"]),
        (lambda: child(shutdown=float("inf")), ["'a'", "shutdown", "inf"]),
        (lambda: child(restart="always"), ["'a'", "restart", "always", "permanent"]),
        (lambda: child("a/b"), ["'a/b'", "id", "/"]),
        (lambda: child(""), ["id", "non-empty"]),
        (lambda: child(7), ["7", "id", "str"]),
        (lambda: ChildSpec("a", 42), ["'a'", "start", "42"]),
        (lambda: child(start_timeout=0), ["'a'", "start_timeout", "above 0"]),
        (lambda: child(max_batch=0), ["'a'", "max_batch", "0"]),
        (lambda: child(poison_after=True), ["'a'", "poison_after", "True"]),
        (lambda: child(mailbox=12), ["'a'", "mailbox", "MailboxSpec"]),
        (lambda: child(backoff=1.0), ["'a'", "backoff", "Backoff"]),
        (lambda: child(breaker=5), ["'a'", "breaker", "BreakerSpec"]),
        (lambda: MailboxSpec(capacity=0), ["mailbox", "capacity", "0"]),
        (lambda: MailboxSpec(policy="drop"), ["mailbox", "policy", "'drop'", "drop_newest"]),
        (lambda: MailboxSpec(block_timeout=-1), ["mailbox", "block_timeout", "-1"]),
        (lambda: MailboxSpec(policy="conflate"), ["mailbox", "conflate", "function"]),
        (lambda: Backoff(base=-1), ["backoff", "base", "-1"]),
        (lambda: Backoff(jitter=1.5), ["backoff", "jitter", "1.5"]),
        (lambda: BreakerSpec(max_failures=0), ["breaker", "max_failures", "0"]),
        (lambda: BreakerSpec(window=0), ["breaker", "window", "above 0"]),
        (lambda: BreakerSpec(reset_timeout=9, max_reset_timeout=3), ["breaker", "max_reset_timeout", "9", "3"]),
        (lambda: BreakerSpec(while_open="wait"), ["breaker", "while_open", "'wait'"]),
    ],
)
def test_a_wrong_spec_is_refused_with_a_sentence_that_names_the_child_and_the_field(make, words):
    with pytest.raises(SpecError) as refused:
        make()
    for word in words:
        assert word in str(refused.value)


def test_permanent_with_significant_is_refused():
    with pytest.raises(SpecError, match=r"child 'a'.*significant.*permanent"):
        child(significant=True)


def test_auto_shutdown_never_with_a_significant_child_is_refused():
    with pytest.raises(SpecError, match=r"child 'a'.*significant.*auto_shutdown"):
        SupervisorSpec((child(restart="transient", significant=True),))


def test_words_are_taken_for_the_choices_they_name():
    spec = SupervisorSpec((child(restart="transient"),), strategy="rest_for_one", auto_shutdown="any")
    assert spec.strategy is Strategy.REST_FOR_ONE
    assert spec.auto_shutdown is AutoShutdown.ANY
    assert spec.children[0].restart is Restart.TRANSIENT


def test_a_spec_can_be_read_back_as_it_was_given():
    inner = SupervisorSpec((child("x", shutdown=1.5, max_batch=7),), strategy="one_for_all", intensity=9, period=60)
    spec = SupervisorSpec((child("a", restart="transient"), ChildSpec("sub", inner)))
    tree = Tree(spec)
    assert tree.spec == spec
    assert tree.child_spec("/a") is spec.children[0]
    assert tree.child_spec("/sub") is spec.children[1]
    assert tree.child_spec("/sub").start is inner
    assert tree.child_spec("/sub/x") is inner.children[0]


def test_a_group_takes_as_long_to_stop_as_its_slowest_child_not_the_sum():
    inner = SupervisorSpec((child("x", shutdown=2), child("y", shutdown=3)))
    assert inner.stop_seconds == 3
    assert SupervisorSpec((ChildSpec("inner", inner), child("z", shutdown=1))).stop_seconds == 3
    assert ChildSpec("inner", inner, shutdown=1).stop_seconds == 1
