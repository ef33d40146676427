"""The testing kit tests itself: the clock, the dispatcher, probes, faults, timers, dead letters."""

from __future__ import annotations

import threading

import pytest

from tickloom.supervision import AsyncActor, Backoff, ChildSpec, Exited, SupervisorSpec, Tree
from tickloom.supervision.clocks import Latch, SystemClock, Waiter
from tickloom.supervision.deadletters import DeadLetter, DeadLetters
from tickloom.supervision.testing import POINTS, Dispatcher, FaultPlan, InjectedCrash, Probe, Stuck
from tickloom.supervision.timers import Timers

# --- the clock ---


def test_a_manual_clock_stands_still_until_it_is_moved(clock):
    wall = clock.wall_ns()
    assert clock.monotonic_ns() == 0
    clock.advance(1.5)
    assert (clock.monotonic_ns(), clock.wall_ns() - wall) == (1_500_000_000, 1_500_000_000)
    clock.advance_to(1_000_000_000)
    assert clock.monotonic_ns() == 1_500_000_000


def test_a_thread_that_waits_on_it_goes_on_when_its_time_has_come_and_not_before(clock):
    results = []
    thread = threading.Thread(target=lambda: results.append(clock.wait(Waiter(), 10)))
    thread.start()
    clock.wait_for_sleepers(1)
    clock.advance(9.999)
    assert results == []
    clock.advance(0.001)
    thread.join(5)
    assert results == [False]


def test_waiting_for_no_time_at_all_does_not_block(clock):
    assert clock.wait(Waiter(), 0) is False


def test_too_few_sleepers_are_an_error_that_says_so(clock):
    with pytest.raises(AssertionError, match="0 of 1"):
        clock.wait_for_sleepers(1, timeout=0.001)


def test_the_system_clock_goes_on_by_itself():
    clock = SystemClock()
    assert clock.monotonic_ns() <= clock.monotonic_ns()
    assert clock.wall_ns() > 1_700_000_000 * 10**9
    assert clock.wait(Waiter(), 0.001) is False


def test_a_latch_lets_everybody_go_on_before_and_after_it_is_set(clock):
    latch = Latch()
    assert not latch.wait(SystemClock(), 0)
    results = []
    threads = [threading.Thread(target=lambda: results.append(latch.wait(SystemClock(), 10))) for _ in range(5)]
    for thread in threads:
        thread.start()
    latch.set()
    for thread in threads:
        thread.join(5)
    assert results == [True] * 5
    assert latch.wait(SystemClock(), None)


# --- timers ---


def test_timers_come_in_order_and_can_be_moved_and_cancelled():
    timers, called = Timers(), []
    timers.set("b", 20, lambda: called.append("b"))
    timers.set("a", 10, lambda: called.append("a"))
    timers.set("c", 30, lambda: called.append("c"))
    timers.set("b", 5, lambda: called.append("b moved"))
    timers.cancel("c")
    timers.cancel("never set")
    assert timers.next_ns() == 5
    while (call := timers.pop_due(25)) is not None:
        call()
    assert called == ["b moved", "a"]
    assert timers.next_ns() is None
    assert len(timers) == 0


def test_cancelled_timers_do_not_gather():
    timers = Timers()
    for _ in range(10_000):
        timers.set("again and again", 10**12, lambda: None)
    assert len(timers._heap) < 100


# --- the dispatcher ---


def trace(seed):
    kinds = []
    dispatcher = Dispatcher(seed)
    probe = Probe()
    specs = [ChildSpec(name, probe.actor, max_batch=1, backoff=Backoff(base=0)) for name in "abc"]
    tree = dispatcher.tree(SupervisorSpec(tuple(specs)))
    tree.start()
    for n in range(20):
        for name in "abc":
            tree.ref(f"/{name}").put((name, n))
    dispatcher.run()
    kinds.append(tuple(probe.messages))
    tree.stop()
    return kinds


def test_the_same_seed_takes_the_same_steps_and_another_seed_others():
    assert trace(1) == trace(1)
    assert len({str(trace(seed)) for seed in range(5)}) > 1


def test_a_schedule_in_which_all_wait_for_good_is_stuck_and_says_who():
    from tickloom.supervision import Actor

    class Waiting(Actor):
        def on_batch(self, messages):
            self.context.clock.wait(Waiter(), None)

    dispatcher = Dispatcher()
    tree = dispatcher.tree(SupervisorSpec((ChildSpec("a", Waiting),)))
    tree.start()
    tree.ref("/a").put(1)
    dispatcher.run()
    with pytest.raises(Stuck, match="/a"):
        tree.wait(None)


def test_time_jumps_to_the_next_timer_when_everybody_waits(stage, kit):
    dispatcher, tree = stage(kit.worker("a"))
    tree.ref("/a").tell(lambda actor: actor.context.send_after(3600, lambda a: a.note("later")))
    dispatcher.run()
    assert dispatcher.seconds() == 0
    assert tree.wait(7200) is None
    assert dispatcher.seconds() == 7200
    assert kit.notes("later") == ["/a"]


def test_it_refuses_actors_with_a_loop_of_their_own_by_name():
    tree = Dispatcher().tree(SupervisorSpec((ChildSpec("a", AsyncActor),)))
    with pytest.raises(Exception, match=r"/a.*AsyncActor"):
        tree.start()


# --- probes ---


def test_a_probe_stands_where_a_ref_is_expected():
    import asyncio

    probe = Probe(reply=lambda message: message * 2)
    assert probe.put(1)
    assert probe.offer(2)
    assert asyncio.run(probe.put_async(3))
    probe.tell(4)
    assert probe.ask(5) == 10
    assert asyncio.run(probe.ask_async(6)) == 12
    assert probe.messages == [1, 2, 3, 4, 5, 6]
    probe.clear()
    assert probe.messages == []


def test_a_probe_waits_for_a_message_by_count_type_or_condition():
    probe = Probe()
    timer = threading.Timer(0, lambda: [probe.put(n) for n in (1, "two", 3)])
    timer.start()
    assert probe.wait_for(3) == [1, "two", 3]
    assert probe.wait_for(str) == "two"
    assert probe.wait_for(lambda message: message == 3) == 3
    timer.join()


def test_a_probe_that_waited_in_vain_says_what_came_instead():
    probe = Probe("listener")
    probe.put("something else")
    with pytest.raises(AssertionError, match=r"listener.*'something else'"):
        probe.wait_for(2, timeout=0.001)


def test_a_probe_is_an_actor_too(plant):
    probe = Probe(reply=lambda message: f"re: {message}")
    tree = plant(ChildSpec("p", probe.actor))
    tree.ref("/p").put("data", sender="me")
    assert tree.ref("/p").ask("question") == "re: question"
    tree.stop("drain")
    assert sorted(probe.messages) == ["data", "question"]
    assert (probe.lives, [exit_.kind.value for exit_ in probe.exits]) == (1, ["shutdown"])


# --- faults ---


def test_crash_on_the_nth_message_counts_over_restarts(stage, kit, faults):
    fault = faults.crash("/a", nth=4, times=2)
    dispatcher, tree = stage(kit.worker("a", backoff=Backoff(base=0), max_batch=1), faults=faults)
    for n in range(1, 7):
        tree.ref("/a").put(n)
    dispatcher.run()
    assert fault.struck == faults.crashes == 2
    assert [(epoch, what) for _, epoch, what in kit.log if isinstance(what, int)] == [
        (1, 1), (1, 2), (1, 3), (3, 4), (3, 5), (3, 6),
    ]  # fmt: skip


def test_a_fault_can_be_any_error_or_any_act(stage, kit, faults):
    acted = []
    faults.crash("/a", "on_control", error=KeyboardInterrupt())
    faults.call("/a", "start", lambda: acted.append("second start"), nth=2)
    dispatcher, tree = stage(kit.worker("a", backoff=Backoff(base=0)), faults=faults)
    tree.ref("/a").tell("anything")
    dispatcher.run()
    assert [type(e.exit.cause) for e in tree.events() if isinstance(e, Exited)] == [KeyboardInterrupt]
    assert acted == ["second start"]


def test_an_unknown_fault_point_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="before_fold"):
        FaultPlan().crash("/a", "between_the_lines")
    assert len(set(POINTS)) == len(POINTS) == 10


def test_random_crashes_strike_only_where_they_may(faults):
    from random import Random

    faults.crash_randomly(Random(0), 1.0, lambda path: path == "/a")
    faults.pass_point("/b", "before_batch", 0, 1)
    with pytest.raises(InjectedCrash):
        faults.pass_point("/a", "before_batch", 0, 1)
    faults.calm()
    faults.pass_point("/a", "before_batch", 0, 1)


# --- dead letters ---


def test_dead_letters_keep_the_last_and_count_them_all_by_reason():
    letters = DeadLetters(keep=3)
    for n in range(10):
        letters.add(DeadLetter(n, "/from", "/to" if n % 2 else "/other", "full" if n < 8 else "stopped", n))
    assert [letter.message for letter in letters.recent()] == [7, 8, 9]
    assert letters.counts() == {"full": 8, "stopped": 2}
    assert letters.counts_for("/to") == {"full": 4, "stopped": 1}
    assert len(letters) == 10
    letters.forget("/to")
    assert letters.counts_for("/to") == {}
    assert len(letters) == 10


def test_a_tree_can_be_used_as_a_context(kit):
    with Tree(SupervisorSpec((kit.worker("a"),))) as tree:
        assert tree.running
        tree.ref("/a").put("handled on the way out")
    assert not tree.running
    assert ("/a", 1, "handled on the way out") in kit.log
