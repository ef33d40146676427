"""What a timeframe's actor passes on of the bars that are open: the latest of each, and none that has closed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.bars.activity import ActivityFold
from tickloom.actors.bars.shell import TimeframeActor
from tickloom.config.timeframes import Timeframe
from tickloom.messages.bars import Bar, Bars
from tickloom.messages.control import Beat
from tickloom.messages.intake import Validated
from tickloom.messages.market import NS, Trades
from tickloom.supervision import Actor, ActorContext, ChildSpec, SupervisorSpec
from tickloom.supervision.testing import Dispatcher

T0 = 1_709_899_200 * NS


class Listener(Actor):
    """Writes down the bars it was told, updates after what closed, as a subscriber gets them."""

    def on_batch(self, messages: list[Any]) -> None:
        said = [bar for bars in messages for bar in (*bars.closed, *bars.updated)]
        self.context.commit([*(self.context.recall() or []), *said])


class Told:
    """A timeframe that counts prints, with somebody who listens; time is moved by hand."""

    def __init__(self, timeframe: str) -> None:
        def start(context: ActorContext) -> TimeframeActor:
            routes = {Bars: [context.ref("/listener")]}
            return TimeframeActor(context, ActivityFold(Timeframe.parse(timeframe)), routes, None)

        self.dispatcher = Dispatcher(seed=1)
        children = (ChildSpec("listener", Listener), ChildSpec("timeframe", start))
        self.tree = self.dispatcher.tree(SupervisorSpec(children=children))
        self.tree.start()
        self.dispatcher.clock.advance(1.0)
        self.prints = 0

    def give(self, *stamps: int, wait: float = 0.0) -> None:
        """Prints with these stamps (seconds), at once; then so many seconds pass."""
        numbers = list(range(self.prints, self.prints + len(stamps)))
        self.prints += len(stamps)
        times, ones = [T0 + each * NS for each in stamps], [1] * len(stamps)
        trades = Trades("X", times, numbers, ones, [0] * len(stamps), numbers)
        self.tree.ref("/timeframe").offer(Validated(self.prints, (trades,)))
        self.wait(wait)

    def beat(self) -> None:
        """The clock says that time has passed."""
        self.prints += 1
        self.tree.ref("/timeframe").offer(Validated(self.prints, (Beat(recv_ns=T0),)))
        self.dispatcher.run()

    def wait(self, seconds: float) -> None:
        self.dispatcher.run()
        self.dispatcher.clock.advance(seconds)
        self.dispatcher.run()

    def heard(self) -> list[Bar]:
        said: list[Bar] = self.tree.recall("/listener") or []
        return said

    def stop(self) -> None:
        self.tree.stop("now")


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told("3t")
    yield made
    made.stop()


def test_what_was_open_is_not_passed_on_after_it_closed_though_its_open_time_went_back(told: Told) -> None:
    told.give(0, 0, 0)
    told.give(9)  # it is too soon to pass this on
    told.give(4)  # nor this: the same bar, and now it opens earlier
    told.give(4, 4)  # it closed, and the next one opens at the same time
    told.wait(1)
    told.beat()
    told.give(4, wait=1)
    told.beat()
    shown = [(bar.number, bar.trades, bar.final) for bar in told.heard()]
    assert shown == [(1, 3, True), (2, 3, True), (3, 1, False), (3, 2, False)]


def test_the_last_word_on_an_open_bar_is_passed_on_though_nothing_more_is_traded(told: Told) -> None:
    told.give(0, wait=0.01)
    told.give(0)
    assert [bar.trades for bar in told.heard()] == [1], "too soon for another"
    told.beat()
    assert [bar.trades for bar in told.heard()] == [1], "and still"
    told.wait(0.05)
    told.beat()
    assert [bar.trades for bar in told.heard()] == [1, 2]
    told.wait(1)
    told.beat()
    assert len(told.heard()) == 2


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["1t", "3t", "4v"]),
    st.lists(
        st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.sampled_from([0.0, 0.02, 0.06])), max_size=15
    ),
)
def test_every_bar_closes_once_in_order_and_nothing_is_heard_of_it_after(
    timeframe: str, steps: Sequence[tuple[list[int], float]]
) -> None:
    told = Told(timeframe)
    for stamps, wait in steps:
        told.give(*stamps, wait=wait)
    told.wait(1)
    heard, size = told.heard(), int(timeframe[:-1])
    told.stop()
    closed = [bar.number for bar in heard if bar.final]
    assert closed == list(range(1, told.prints // size + 1))
    over = 0
    for bar in heard:
        assert bar.number == over + 1, "the bar at hand, and no other"
        over += bar.final
