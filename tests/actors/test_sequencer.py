"""The order of the log is the order of the pipeline; and a recorder that stands still does not hold the feed up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tickloom.actors.outlet import LogOutlet
from tickloom.actors.sequencer import Nudge, Sequencer
from tickloom.messages.control import Beat, Gap, SessionStopped
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, Prints
from tickloom.supervision import Actor, ActorContext, ChildSpec, MailboxSpec, SupervisorSpec, Tree


class Keeper(Actor):
    """Keeps what it gets, when the gate is open; says when it has something in hand."""

    def __init__(
        self, context: ActorContext, gate: threading.Event, kept: list[Any], begun: threading.Event | None = None
    ) -> None:
        super().__init__(context)
        self.gate, self.kept, self.begun = gate, kept, begun or threading.Event()

    def on_batch(self, messages: list[Any]) -> None:
        self.begun.set()
        assert self.gate.wait(30)
        self.kept += [message for message in messages if not isinstance(message, Nudge)]


class Bench:
    """A tree of a recorder that can be stopped and a validation that cannot; time is moved by hand."""

    def __init__(self, capacity: int) -> None:
        self.gate, self.begun, self.now = threading.Event(), threading.Event(), 0
        self.logged: list[Numbered] = []
        self.judged: list[Numbered] = []
        self.told: list[bool] = []
        always = threading.Event()
        always.set()
        box = MailboxSpec(capacity=capacity)
        self.tree = Tree(SupervisorSpec(children=(
            ChildSpec(id="log", start=lambda c: Keeper(c, self.gate, self.logged, self.begun), mailbox=box, max_batch=1),
            ChildSpec(id="validation", start=lambda c: Keeper(c, always, self.judged),
                      mailbox=MailboxSpec(capacity=10_000)),
        )))  # fmt: skip
        self.tree.start()
        self.log = LogOutlet(self.tree.ref("/log"), lambda: self.now, self.told.append, patience_ns=2 * NS)
        self.sequencer = Sequencer([self.tree.ref("/validation")], log=self.log)

    def busy(self) -> None:
        """Wait until the recorder has something in hand."""
        assert self.begun.wait(30)

    def settle(self) -> None:
        for path in ("/log", "/validation"):
            assert self.tree.settle(path, 30)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(8)
    yield made
    made.gate.set()
    made.tree.stop("now")


def frames(at: int, count: int = 2) -> Frames:
    stamps = [at * NS + i for i in range(count)]
    prints = Prints(("A",), [0] * count, stamps, [1.0] * count, [1] * count, [0] * count, list(range(count)), at)
    return Frames("m", stamps, stamps, [b"x"] * count, prints)


def fill(bench: Bench) -> int:
    """Offer until the recorder has no room; return how many went in."""
    for count in range(100):
        if count == 1:
            bench.busy()
        if not bench.sequencer.offer(frames(count)):
            return count
    raise AssertionError("it always had room")


def test_what_both_have_room_for_both_get_in_one_order(bench: Bench) -> None:
    bench.gate.set()
    for at in range(50):
        assert bench.sequencer.put(frames(at))
    bench.settle()
    assert bench.logged == bench.judged
    assert [n.seq for n in bench.logged] == list(range(1, 101, 2))


def test_a_recorder_without_room_is_waited_for_while_there_is_patience(bench: Bench) -> None:
    count = fill(bench)
    bench.now = 2 * NS - 1
    assert not bench.sequencer.offer(frames(count))
    bench.gate.set()
    assert bench.sequencer.put(frames(count), timeout=30)
    bench.settle()
    assert bench.logged == bench.judged
    assert (bench.told, bench.sequencer.unlogged) == ([], 0)


def test_then_the_feed_goes_on_without_it_and_a_gap_in_the_log_says_what_it_lacks(bench: Bench) -> None:
    count = fill(bench)
    bench.now = 2 * NS
    for at in range(count, count + 20):
        assert bench.sequencer.offer(frames(at))
    stopped = SessionStopped(recv_ns=7)
    assert bench.sequencer.offer(Beat(recv_ns=5))
    assert bench.sequencer.offer(stopped)
    assert (bench.told, bench.sequencer.unlogged) == ([True], 40)
    bench.gate.set()
    bench.settle()
    assert bench.sequencer.offer(frames(99))
    bench.settle()
    assert bench.told == [True, False]
    numbers = [n.seq for n in bench.logged]
    assert numbers == sorted(set(numbers))
    assert [n.seq for n in bench.judged] == sorted({n.seq for n in bench.judged})
    assert len(bench.judged) == count + 23, "validation had everything"
    gap, kept, after = (n.item for n in bench.logged[count:])
    assert isinstance(gap, Gap)
    assert (gap.contract, gap.from_ns, gap.to_ns) == ("A", count * NS, (count + 19) * NS + 2)
    assert "40 frames with 40 prints lost" in gap.cause
    assert kept == stopped, "records are kept, where frames are not"
    assert isinstance(after, Frames)
    assert bench.logged[-1] == bench.judged[-1]


def test_at_the_end_what_is_owed_is_waited_for(bench: Bench) -> None:
    count = fill(bench)
    bench.now = 2 * NS
    assert bench.sequencer.offer(frames(count))
    assert not bench.sequencer.settle(0.01)
    bench.gate.set()
    assert bench.sequencer.settle(30)
    bench.settle()
    assert isinstance(bench.logged[-1].item, Gap)


def test_an_event_loop_that_waits_for_room_goes_on_without_the_log_too(bench: Bench) -> None:
    count = fill(bench)

    async def offer() -> None:
        waiting = asyncio.create_task(bench.sequencer.put_async(frames(count)))
        await asyncio.sleep(0)
        bench.now = 2 * NS
        async with asyncio.timeout(30):
            await waiting

    bench.log._patience_ns = NS // 10
    asyncio.run(offer())
    assert bench.sequencer.unlogged == 2
    assert bench.told == [True]


@pytest.mark.parametrize("capacity", [1, 2])
def test_the_smallest_mailbox_comes_back_as_well(capacity: int) -> None:
    bench = Bench(capacity)
    count = fill(bench)
    bench.now = 2 * NS
    for at in range(count, count + 5):
        assert bench.sequencer.offer(frames(at))
    bench.gate.set()
    for at in range(50, 90):
        bench.settle()
        bench.sequencer.offer(frames(at))
    bench.settle()
    assert bench.told == [True, False]
    assert bench.logged[-1] == bench.judged[-1]
    bench.tree.stop("now")
