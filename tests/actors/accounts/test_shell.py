"""The accounts actor in a tree of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tickloom.actors.accounts.shell import AccountsActor, AccountSubscription
from tickloom.actors.publishing import Cancel, CloseAll, Subscribe
from tickloom.messages.accounts import AccountEvent, AccountEvents
from tickloom.messages.control import Disconnected
from tickloom.messages.projectx import UserAccount, UserOrder
from tickloom.supervision import ChildSpec, Ref, SupervisorSpec, Tree
from tickloom.supervision.faults import FaultPlan

GONE = AccountEvent(3, 3, Disconnected(recv_ns=3, hub="user", connection=1, cause="the cable was cut"))
NEWS = AccountEvents((AccountEvent(1, 1, UserAccount(1001)), AccountEvent(2, 2, UserOrder(5, 1002, "A")), GONE))


@pytest.fixture
def accounts() -> Iterator[tuple[Tree, Ref]]:
    faults = FaultPlan()
    faults.crash("/accounts", nth=2)
    tree = Tree(
        SupervisorSpec(children=(ChildSpec(id="accounts", start=AccountsActor),)), name="accounts-test", faults=faults
    )
    tree.start()
    yield tree, tree.ref("/accounts")
    tree.stop("now")


def read(subscription: AccountSubscription) -> list[AccountEvent]:
    """All that is left; the subscription has ended."""
    return list(subscription.mailbox.take_batch(1000))


def test_each_subscriber_gets_what_it_asked_for_and_the_end_after_what_was_delivered(accounts) -> None:
    tree, ref = accounts
    every, one, cancelled = (
        AccountSubscription(None, capacity=10),
        AccountSubscription(1002, capacity=10),
        AccountSubscription(None, capacity=9),
    )
    assert [ref.ask(Subscribe(each)) for each in (every, one, cancelled)] == [1, 2, 3]
    assert ref.ask(Cancel(cancelled)) == 2
    ref.put(NEWS)
    tree.settle("/accounts", 10)
    assert ref.ask(CloseAll()) == 0
    assert read(every) == list(NEWS.events)
    assert [event.seq for event in read(one)] == [2, 3], "its own order, and the link they all share"
    assert read(cancelled) == []


def test_a_slow_subscriber_loses_its_own_oldest_events_and_that_is_counted(accounts) -> None:
    tree, ref = accounts
    slow, quick = AccountSubscription(None, capacity=2), AccountSubscription(None, capacity=100)
    for each in (slow, quick):
        ref.ask(Subscribe(each))
    for _ in range(10):
        ref.put(NEWS)
    tree.settle("/accounts", 10)
    ref.ask(CloseAll())
    assert slow.mailbox.counters().dropped_oldest == 28
    assert [event.seq for event in read(slow)] == [2, 3]
    assert len(read(quick)) == 30


def test_a_crash_ends_no_subscription_and_repeats_and_loses_no_event(accounts) -> None:
    tree, ref = accounts
    subscription = AccountSubscription(None, capacity=100)
    ref.ask(Subscribe(subscription))
    for _ in range(3):
        ref.put(NEWS)
        tree.settle("/accounts", 10)
    ref.ask(CloseAll())
    assert [event.seq for event in read(subscription)] == [1, 2, 3] * 3
    assert tree.snapshot().find("/accounts").epoch == 2


def test_what_is_none_of_its_business_is_written_off_and_harms_nobody(accounts) -> None:
    tree, ref = accounts
    subscription = AccountSubscription(None, capacity=100)
    ref.ask(Subscribe(subscription))
    ref.put("a stray")
    ref.put(NEWS)
    tree.settle("/accounts", 10)
    ref.ask(CloseAll())
    assert len(read(subscription)) == 3
