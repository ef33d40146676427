"""The pressure actor in a tree: limits move for real, everybody concerned is told, and a restart forgets nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tickloom.actors.bars.shell import UPDATE_NS, Updates
from tickloom.actors.connection.thinning import Thin
from tickloom.actors.pressure.control import Policy
from tickloom.actors.pressure.events import FlowYielded, LimitChanged, OverflowBegan, OverflowEnded
from tickloom.actors.pressure.levers import FEWER_NS, Configured, Levers
from tickloom.actors.pressure.readings import Memory, Reading
from tickloom.actors.pressure.shell import PressureActor, disks
from tickloom.actors.publishing import Subscribe
from tickloom.actors.sinks.history import HistoryFold
from tickloom.actors.sinks.publisher import BarSubscription, PublisherActor
from tickloom.actors.sinks.shell import HistoryActor
from tickloom.messages.market import NS
from tickloom.messages.reports import Report, Strain
from tickloom.supervision import Actor, ActorContext, CapacityChanged, ChildSpec, MailboxSpec, SupervisorSpec, Tree
from tickloom.supervision.testing import Dispatcher, FaultPlan

PRESSURE = "/pressure"


class Listener(Actor):
    """Keeps what it is told, on both lanes."""

    def on_start(self) -> None:
        self.heard: list[Any] = []

    def on_batch(self, messages: list[Any]) -> None:
        self.heard += messages
        self.context.commit(list(self.heard))

    def on_control(self, message: Any) -> None:
        self.heard.append(message)
        self.context.commit(list(self.heard))


class World:
    """A small tree under a pressure that the test sets; time is moved by hand."""

    def __init__(self, folder: Path, faults: FaultPlan | None = None) -> None:
        self.share = 0.5
        self.dispatcher = Dispatcher(seed=1)
        box = MailboxSpec(capacity=64, max_bytes=1000, weigh=lambda message: 1)

        def pressure(context: ActorContext) -> PressureActor:
            mailboxes = dict.fromkeys(("/slow", "/history"), box)
            levers = Levers(
                Configured(
                    mailboxes=mailboxes, max_batch=4096, history_rows=1024, history_bytes=64 << 20, roll_rows=4096
                ),
                resize=lambda path, capacity, max_bytes, max_batch: self.tree.resize(
                    path, capacity, max_bytes=max_bytes, max_batch=max_batch
                ),
                history=context.ref("/history"),
                publisher=context.ref("/publisher"),
                files=context.ref("/files"),
                timeframes=lambda: [context.ref("/timeframe")],
                hub=context.ref("/hub"),
            )
            return PressureActor(
                context,
                policy=Policy(recover_ns=3 * NS),
                memory=lambda: Memory((Reading("memory", round(self.share * 1000), 1000),), 123, ("a sentence",)),
                look=lambda: self.tree.snapshot(),
                levers=levers,
                health=context.ref("/health"),
                statistics=context.ref("/statistics"),
                folders=(folder,),
                stuck_ns=4 * NS,
                interval=1.0,
            )

        listeners = [
            ChildSpec(name, Listener, mailbox=box) for name in ("files", "timeframe", "health", "statistics", "hub")
        ]
        children = (
            *listeners,
            ChildSpec("slow", Listener, mailbox=box),
            ChildSpec("history", lambda c: HistoryActor(c, HistoryFold(1024, 64 << 20)), mailbox=box),
            ChildSpec("publisher", PublisherActor, mailbox=box),
            ChildSpec("pressure", pressure, mailbox=MailboxSpec(capacity=16)),
        )
        self.tree: Tree = self.dispatcher.tree(SupervisorSpec(children=children), faults=faults)
        self.tree.start()

    def look(self, times: int = 1, share: float | None = None) -> None:
        """Let so many seconds pass."""
        self.share = self.share if share is None else share
        for _ in range(times):
            self.dispatcher.clock.advance(1.0)
            self.dispatcher.run()

    def heard(self, path: str) -> list[Any]:
        return self.tree.recall(path) or []

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.tree.events() if type(event) is kind]

    def capacity(self, path: str) -> int:
        return self.tree.snapshot().find(path).capacity


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.tree.stop("now")


def test_slow_subscribers_may_have_less_waiting_once_it_is_their_turn_to_give_way(world: World) -> None:
    subscription = BarSubscription("", "", partial=False, capacity=800)
    world.tree.ref("/publisher").tell(Subscribe(subscription))
    world.look(3, share=0.9)
    assert subscription.mailbox.counters().capacity == 800, "updates, quotes and depth come before"
    world.look(1, share=0.9)
    assert subscription.mailbox.counters().capacity == 50
    later = BarSubscription("", "", partial=False, capacity=160)
    world.tree.ref("/publisher").tell(Subscribe(later))
    world.dispatcher.run()
    assert later.mailbox.counters().capacity == 10, "those who come later as well"
    world.look(60, share=0.2)
    assert (subscription.mailbox.counters().capacity, later.mailbox.counters().capacity) == (800, 160)


def test_a_hub_is_told_which_of_its_flows_give_way(world: World) -> None:
    world.look(3, share=0.9)
    assert world.heard("/hub") == [Thin(), Thin(quotes=True), Thin(quotes=True, depth=True)]
    world.look(60, share=0.2)
    assert world.heard("/hub")[-1] == Thin()


def test_short_memory_halves_mailboxes_history_and_files_and_says_why(world: World) -> None:
    world.look(1, share=0.9)
    assert (world.capacity("/slow"), world.capacity("/history")) == (32, 32)
    counters = world.tree.snapshot().find("/slow").counters
    assert counters is not None
    assert counters.max_bytes == 500
    assert world.tree._services.find("/slow").max_batch == 2048
    keep = world.tree.recall("/history").keep
    assert (keep.rows, keep.bytes) == (512, 32 << 20)
    assert world.heard("/files")[-1].rows == 2048
    (change,) = world.told(LimitChanged)
    assert (change.before, change.after) == ("1/1", "1/2")
    assert change.cause.startswith("90% of memory")


def test_when_memory_is_plentiful_again_everything_comes_back_to_what_was_configured(world: World) -> None:
    world.look(3, share=0.9)
    assert world.capacity("/slow") == 8
    world.look(40, share=0.2)
    assert (world.capacity("/slow"), world.capacity("/history")) == (64, 64)
    assert world.tree.recall("/history").keep.rows == 1024
    assert [event.after for event in world.told(LimitChanged)] == ["1/2", "1/4", "1/8", "1/4", "1/2", "1/1"]


def test_updates_are_fewer_while_they_give_way_and_a_timeframe_that_forgot_is_told_again(world: World) -> None:
    world.look(3, share=0.9)
    assert [m for m in world.heard("/timeframe") if m == Updates(FEWER_NS)], "told"
    count = len(world.heard("/timeframe"))
    world.look(1)
    assert len(world.heard("/timeframe")) == count + 1
    assert [event.flow for event in world.told(FlowYielded)][:2] == ["updates", "quotes"]
    world.look(40, share=0.2)
    assert world.heard("/timeframe")[-1] == Updates(UPDATE_NS)


def test_an_overflow_is_told_when_it_begins_and_when_it_ends_and_is_in_the_totals(world: World) -> None:
    slow = world.tree.ref("/slow")
    world.look(1)
    while slow.offer("x"):
        pass
    world.look(1)
    world.look(8)
    (began,), (ended,) = world.told(OverflowBegan), world.told(OverflowEnded)
    assert (began.path, began.account) == ("/slow", "1 held back")
    assert (ended.path, ended.account) == ("/slow", "1 held back")
    report = [m for m in world.heard("/statistics") if isinstance(m, Report)][-1]
    assert report.counters["overflows"] == 1
    assert report.gauges["resident_bytes"] == 123


def test_health_is_told_what_there_is_and_what_cannot_be_seen(world: World, tmp_path: Path) -> None:
    world.look(2, share=0.9)
    strain = world.heard("/health")[-1]
    assert isinstance(strain, Strain)
    assert strain.memory == 0.9
    assert strain.yielding == ("updates", "quotes")
    assert strain.disk_free[str(tmp_path)] > 0
    assert strain.missing == ("a sentence",)


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    free, missing = disks((tmp_path / "none",))
    assert free == {}
    assert missing == (f"the disk under {tmp_path / 'none'} cannot be looked at: No such file or directory",)


def test_an_actor_that_is_restarted_goes_on_with_what_is_in_force(tmp_path: Path) -> None:
    plan = FaultPlan()
    plan.crash(PRESSURE, "on_control", nth=3)
    world = World(tmp_path, plan)
    world.look(2, share=0.9)
    assert world.capacity("/slow") == 16
    world.look(6, share=0.8)
    assert plan.crashes == 1
    assert world.tree.snapshot().find(PRESSURE).restarts == 1
    assert world.capacity("/slow") == 16
    assert len(world.told(LimitChanged)) == 2, "nothing is decided twice"
    assert world.tree.ref(PRESSURE).ask("state", 1.0).squeeze == 2
    world.tree.stop("now")


def test_a_limit_that_is_as_it_should_be_is_not_touched(world: World) -> None:
    world.look(5)
    assert world.told(CapacityChanged) == []
