"""Actors with a loop of their own: tasks are owned, nothing outlives its actor, and nobody's loop is held up."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tickloom.supervision import (
    AsyncActor,
    Backoff,
    BreakerSpec,
    ChildSpec,
    Declined,
    Exited,
    Failure,
    MailboxSpec,
    StartError,
)

AT_ONCE = Backoff(base=0)


class Looping(AsyncActor):
    """Does what its messages say: an async callable is awaited with the actor; anything else is noted."""

    def __init__(self, context, log):
        super().__init__(context)
        self.log = log

    async def on_start(self):
        self.log.append(("start", self.context.epoch))

    async def on_batch(self, messages):
        for message in messages:
            if callable(message):
                await message(self)
            else:
                self.log.append(message)

    async def on_control(self, message):
        return await message(self) if callable(message) else self.unhandled(message)

    async def on_exit(self, reason):
        self.log.append(("exit", self.context.epoch, reason.kind.value))


@pytest.fixture
def looping():
    log = []

    def make(child_id="a", kind=Looping, **spec):
        spec = {"backoff": AT_ONCE, **spec}
        return ChildSpec(child_id, lambda context: kind(context, log), **spec)

    make.log = log
    return make


def say(value):
    async def act(actor):
        return value

    return act


def crash(error=None):
    async def act(actor):
        raise error or ValueError("told to crash")

    return act


def failures(tree):
    return [(f.path, f.epoch, f.phase, str(f.cause)) for f in tree.events() if isinstance(f, Failure)]


def test_an_asyncio_actors_thread_owns_one_loop(plant, looping):
    seen = []

    async def note(actor):
        seen.append((threading.current_thread().name, id(asyncio.get_running_loop())))

    tree = plant(looping())
    tree.ref("/a").put(note)
    tree.ref("/a").ask(note)
    tree.stop("drain")
    assert len(seen) == 2
    assert len(set(seen)) == 1
    assert seen[0][0] == "t/a"
    assert looping.log == [("start", 1), ("exit", 1, "shutdown")]


def test_drain_handles_everything_queued_before_it(plant, looping):
    tree = plant(looping(max_batch=3))
    for n in range(100):
        tree.ref("/a").put(n)
    assert tree.stop("drain").clean
    assert looping.log[1:-1] == list(range(100))


def test_tasks_are_cancelled_and_awaited_before_on_exit_ends_and_none_outlives_its_actor(plant, looping):
    tasks = []

    async def forever(actor):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            looping.log.append("task cleaned up")

    async def spawn(actor):
        tasks.append(actor.spawn(forever(actor), "forever"))
        tasks.append(asyncio.ensure_future(forever(actor)))

    tree = plant(looping())
    tree.ref("/a").ask(spawn)
    assert tasks[0].get_name() == "/a:forever"
    tree.stop("now")
    assert all(task.done() for task in tasks)
    assert looping.log == [("start", 1), "task cleaned up", "task cleaned up", ("exit", 1, "shutdown")]


def test_a_task_that_fails_crashes_its_actor_and_surfaces_once(plant, looping, probe):
    async def fail():
        raise OSError("connection lost")

    async def spawn(actor):
        actor.spawn(fail(), "reader")

    tree = plant(looping())
    tree.subscribe(probe)
    tree.ref("/a").tell(spawn)
    probe.wait_for(Exited)
    assert tree.ref("/a").ask(say("back")) == "back"
    assert failures(tree) == [("/a", 1, "task", "connection lost")]


def test_a_task_that_ends_well_or_is_cancelled_crashes_nothing(plant, looping):
    async def spawn(actor):
        quick = actor.spawn(asyncio.sleep(0, "done"))
        slow = actor.spawn(asyncio.sleep(1000))
        slow.cancel()
        return await quick

    tree = plant(looping())
    assert tree.ref("/a").ask(spawn) == "done"
    assert tree.ref("/a").ask(say(1)) == 1
    assert failures(tree) == []


def test_a_stop_now_cancels_what_the_actor_awaits(plant, looping, until):
    waits = threading.Event()

    async def forever(actor):
        waits.set()
        await asyncio.Event().wait()

    tree = plant(looping())
    tree.ref("/a").put(forever)
    assert waits.wait(5)
    assert tree.stop("now").clean
    assert looping.log[-1] == ("exit", 1, "shutdown")
    assert failures(tree) == []


def test_a_stop_now_during_a_long_start_ends_it(plant, looping):
    waits = threading.Event()

    class Slow(Looping):
        async def on_start(self):
            waits.set()
            await asyncio.Event().wait()

    tree = plant(looping(kind=Slow), start=False)
    failed = []

    def refused():
        try:
            tree.start()
        except StartError as error:
            failed.append(error)

    starter = threading.Thread(target=refused)
    starter.start()
    assert waits.wait(5)
    assert tree.stop("now").clean
    starter.join(5)
    assert len(failed) == 1


@pytest.mark.parametrize("lane", ["put", "tell", "ask"])
def test_failures_surface_once_and_the_actor_is_restarted(plant, looping, probe, lane):
    tree = plant(looping(poison_after=1))
    tree.subscribe(probe)
    if lane == "ask":
        with pytest.raises(ValueError, match="told to crash"):
            tree.ref("/a").ask(crash())
    else:
        getattr(tree.ref("/a"), lane)(crash())
    probe.wait_for(Exited)
    assert tree.ref("/a").ask(say("back")) == "back"
    assert [(path, epoch) for path, epoch, *_ in failures(tree)] == [("/a", 1)]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["handler", "task"])
def test_system_exit_inside_the_loop_ends_this_actor_and_no_other(plant, looping, probe, error, where):
    async def fail(actor=None):
        raise error

    async def spawn(actor):
        actor.spawn(fail())
        await asyncio.Event().wait()

    tree = plant(looping(poison_after=1), looping("b"))
    tree.subscribe(probe)
    tree.ref("/a").put(fail if where == "handler" else spawn)
    died = probe.wait_for(Exited)
    assert (died.path, type(died.exit.cause)) == ("/a", error)
    assert ("exit", 1, "crash") in looping.log
    assert tree.ref("/a").ask(say("back")) == "back"
    assert tree.ref("/b").ask(say("here")) == "here"


def test_a_start_that_declines_or_fails(plant, looping):
    class Declining(Looping):
        async def on_start(self):
            raise Declined("not today")

    class Failing(Looping):
        async def on_start(self):
            raise OSError("no route")

    tree = plant(looping(kind=Declining), looping("b"))
    assert tree.snapshot().find("/a").state == "parked"
    with pytest.raises(Exception, match=r"/c failed to start.*no route"):
        tree.start_child("/", looping("c", kind=Failing))


def test_a_batch_in_hand_comes_again_after_a_crash(plant, looping, faults):
    faults.crash("/a", "after_batch", nth=2)
    tree = plant(looping(max_batch=1), faults=faults)
    for n in range(4):
        tree.ref("/a").put(n)
    tree.stop("drain")
    assert [item for item in looping.log if isinstance(item, int)] == [0, 1, 1, 2, 3]


def test_it_sleeps_by_the_trees_clock(plant, looping, clock, until):
    done = threading.Event()

    async def nap(actor):
        await actor.sleep(60)
        done.set()

    tree = plant(looping(), clock=clock)
    tree.ref("/a").tell(nap)
    clock.wait_for_sleepers(1)
    clock.advance(59)
    assert not done.is_set()
    clock.advance(1)
    assert done.wait(5)


def test_two_loops_that_fill_each_others_mailboxes_do_not_deadlock(plant, looping, until):
    class Flooder(Looping):
        async def on_batch(self, messages):
            ahead = self.context.ref("/b" if self.path == "/a" else "/a")
            for hops in messages:
                if hops:
                    await ahead.put_async(hops - 1)
                    await ahead.put_async(hops - 1)

    small = MailboxSpec(1)
    tree = plant(looping("a", Flooder, mailbox=small, max_batch=1), looping("b", Flooder, mailbox=small, max_batch=1))
    for _ in range(30):
        tree.ref("/a").put(4)
        tree.ref("/b").put(4)
    assert tree.ref("/a").ask(say("alive"), timeout=20) == "alive"
    assert tree.stop("drain").clean
    assert all(view.counters.balanced for view in tree.snapshot().children)


def test_actors_can_ask_each_other_without_holding_up_their_loops(plant, looping):
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0)

    async def ask_other(actor):
        actor.spawn(tick())
        before = len(ticks)
        reply = await actor.context.ref("/b").ask_async(say("reply"))
        return reply, len(ticks) - before

    tree = plant(looping(), looping("b"))
    reply, during = tree.ref("/a").ask(ask_other)
    assert reply == "reply"
    assert during >= 1


def test_the_catch_up_reaches_a_looping_actor_too(plant, looping, probe, clock):
    class Catching(Looping):
        async def on_catch_up(self, first_missed):
            self.log.append(("missed from", first_missed))

    spec = BreakerSpec(max_failures=1, reset_timeout=5, while_open="refuse", probe=1)
    tree = plant(looping(kind=Catching, breaker=spec), clock=clock)
    tree.subscribe(probe)
    tree.ref("/a").tell(crash())
    probe.wait_for(lambda event: getattr(event, "after", "") == "open")
    assert [tree.ref("/a").put(n) for n in (1, 2, 3)] == [True, False, False]
    clock.advance(5)
    probe.wait_for(lambda event: getattr(event, "after", "") == "closed")
    tree.ref("/a").put(4)
    tree.stop("drain")
    assert [item for item in looping.log if not isinstance(item, tuple) or item[0] == "missed from"] == [
        1,
        ("missed from", 2),
        4,
    ]
