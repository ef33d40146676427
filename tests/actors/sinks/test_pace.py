"""The pace of a subscriber's updates: never too soon, never too old, and what is last is shown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tickloom.actors.publishing import CloseAll, Subscribe
from tickloom.actors.sinks.pace import Pace
from tickloom.actors.sinks.publisher import BarSubscription, End, PublisherActor
from tickloom.messages.bars import Bar, Bars
from tickloom.messages.market import NS
from tickloom.supervision import ChildSpec, SupervisorSpec
from tickloom.supervision.testing import Dispatcher, FaultPlan

EVERY = 1000


def bar(close: int, *, open_time: int = 0, contract: str = "A", timeframe: str = "1s", final: bool = False) -> Bar:
    return Bar(contract, timeframe, open_time, open_time + NS, 0, close, 0, close, 1, 1, close, 1, 0, 0, 0, final)


steps = st.lists(
    st.tuples(st.sampled_from(["update", "update", "update", "close", "look"]), st.integers(0, 700), st.integers(0, 1), st.integers(0, 1)),
    max_size=40,
)  # fmt: skip


@given(steps)
def test_an_update_is_shown_at_most_once_in_the_time_and_what_is_held_is_the_latest(steps):
    """The oracle keeps every update ever made, and looks at each instant which was the last of each open bar."""
    pace, now = Pace(EVERY), 0
    latest: dict[tuple[str, int], Bar] = {}  # what a subscriber has not seen of bars that are open
    shown: dict[str, list[int]] = {"A": [], "B": []}
    for number, (what, wait, which, open_time) in enumerate(steps, 1):
        now += wait + 1
        contract = "AB"[which]
        if what == "update":
            update = bar(number, open_time=open_time, contract=contract)
            latest[contract, open_time] = update
            if pace.admit(update, now):
                del latest[contract, open_time]
                shown[contract].append(now)
        elif what == "close":
            pace.close(bar(number, open_time=open_time, contract=contract, final=True))
            latest.pop((contract, open_time), None)
        else:
            due = pace.next_due()
            found = pace.due(now)
            assert bool(found) == (due is not None and due <= now)
            for each in found:
                assert latest.pop((each.contract, each.open_time)) == each
            for each_contract in {each.contract for each in found}:
                shown[each_contract].append(now)
    for times in shown.values():
        assert all(later - sooner >= EVERY for sooner, later in pairwise(times))
    assert sorted(pace.due(now + EVERY), key=repr) == sorted(latest.values(), key=repr)


@pytest.mark.parametrize("every", [0, -1])
def test_no_time_is_no_pace(every):
    with pytest.raises(ValueError, match="above 0"):
        Pace(every)


class Published:
    """A publisher alone in a tree; time is moved by hand."""

    def __init__(self, faults: FaultPlan | None = None) -> None:
        self.dispatcher = Dispatcher(seed=1)
        self.tree = self.dispatcher.tree(
            SupervisorSpec(children=(ChildSpec("publisher", PublisherActor),)), faults=faults
        )
        self.tree.start()

    def subscribe(self, contract: str = "", timeframe: str = "", every_ns: int = NS) -> BarSubscription:
        subscription = BarSubscription(contract, timeframe, partial=True, capacity=100, every_ns=every_ns)
        self.tree.ref("/publisher").tell(Subscribe(subscription))
        self.dispatcher.run()
        return subscription

    def say(self, *updated: Bar, closed: tuple[Bar, ...] = (), seconds: float = 0.0) -> None:
        self.tree.ref("/publisher").offer(Bars((updated or closed)[0].timeframe, 1, closed=closed, updated=updated))
        self.dispatcher.run()
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        self.dispatcher.clock.advance(seconds)
        self.dispatcher.run()


@pytest.fixture
def published() -> Iterator[Published]:
    made = Published()
    yield made
    made.tree.stop("now")


def seen(subscription: BarSubscription) -> list[Any]:
    return [each.close for each in subscription.mailbox.take_batch(100, timeout=0)]


def test_a_subscriber_sees_the_first_update_at_once_and_then_the_latest_when_its_time_has_come(published):
    slow, quick = published.subscribe(), published.subscribe(every_ns=0)
    for close in range(1, 5):
        published.say(bar(close), seconds=0.2)
    assert seen(slow) == [1]
    published.wait(0.2)
    assert seen(slow) == [4], "nothing more was traded, and it is shown all the same"
    assert seen(quick) == [1, 2, 3, 4]
    published.wait(5)
    assert seen(slow) == []


def test_what_closed_is_shown_at_once_and_its_last_update_is_not_shown_after_it(published):
    slow = published.subscribe("A", "1s")
    published.say(bar(1), seconds=0.1)
    published.say(bar(2), seconds=0.1)
    published.say(bar(9, contract="B"))
    published.say(closed=(bar(3, final=True),))
    published.wait(5)
    assert seen(slow) == [1, 3]


def test_a_restart_forgets_neither_the_pace_nor_what_waits():
    faults = FaultPlan()
    for point in ("before_batch", "after_batch"):
        faults.crash("/publisher", point, nth=2)
    published = Published(faults)
    slow = published.subscribe()
    published.say(bar(1), seconds=0.1)
    published.say(bar(2), seconds=0.1)
    published.wait(0.5)
    published.say(bar(3))
    published.wait(2)
    assert seen(slow) == [1, 3]
    published.tree.stop("now")


def test_a_timeframe_that_was_removed_shows_no_more(published):
    every = published.subscribe()
    published.say(bar(1), seconds=0.1)
    published.say(bar(2), seconds=0.1)
    published.tree.ref("/publisher").tell(End("1s"))
    published.wait(5)
    assert seen(every) == [1]


def test_the_end_comes_without_what_was_held(published):
    slow = published.subscribe()
    published.say(bar(1), seconds=0.1)
    published.say(bar(2), seconds=0.1)
    published.tree.ref("/publisher").tell(CloseAll())
    published.wait(5)
    assert seen(slow) == [1]


def test_a_bar_by_activity_is_not_shown_after_it_closed_though_its_open_time_went_back(published):
    slow = published.subscribe("A", "3t")

    def growing(close: int, open_time: int, number: int, final: bool = False) -> Bar:
        return replace(bar(close, open_time=open_time, timeframe="3t", final=final), number=number)

    published.say(growing(1, 9, 1), seconds=0.1)
    published.say(growing(2, 9, 1), seconds=0.1)
    published.say(growing(3, 4, 1), seconds=0.1)
    published.say(closed=(growing(4, 4, 1, final=True),))
    published.say(growing(5, 4, 2), seconds=0.1)
    published.say(growing(6, 4, 2))
    published.wait(5)
    assert seen(slow) == [1, 4, 6], "the next bar, which opens at the same time, is another"
