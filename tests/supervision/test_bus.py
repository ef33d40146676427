"""Events on their way out: a bounded history, subscribers that cannot hurt, publishing that never blocks."""

from __future__ import annotations

import threading

from tickloom.supervision import Exited, Started, SubscriberDropped
from tickloom.supervision.bus import ROW, EventBus
from tickloom.supervision.clocks import SystemClock
from tickloom.supervision.events import Event


def event(number):
    return Event(path=f"/{number}", at_ns=number)


def inline(**limits):
    return EventBus("t", SystemClock(), inline=True, **limits)


def test_the_history_is_bounded_and_keeps_the_last_events():
    bus = inline(history=3)
    for number in range(10):
        bus.publish(event(number))
    assert [e.at_ns for e in bus.history()] == [7, 8, 9]
    assert bus.published == 10


def test_a_subscriber_hears_everything_from_then_on_in_order(probe):
    bus = inline()
    bus.publish(event(0))
    bus.subscribe(probe.tell)
    for number in (1, 2, 3):
        bus.publish(event(number))
    assert [e.at_ns for e in probe.messages] == [1, 2, 3]


def test_a_failing_subscriber_is_counted_and_dropped_after_so_many_in_a_row_and_others_go_on_hearing(probe):
    bus = inline()

    def failing(item):
        raise ValueError("not my day")

    bad = bus.subscribe(failing)
    bus.subscribe(probe)
    for number in range(10):
        bus.publish(event(number))
    assert (bad.failures, bad.active) == (ROW, False)
    heard = [e.at_ns for e in probe.messages if not isinstance(e, SubscriberDropped)]
    assert heard == list(range(10))
    dropped = [e for e in probe.messages if isinstance(e, SubscriberDropped)]
    assert [e.failures for e in dropped] == [ROW]
    assert "failing" in dropped[0].path


def test_a_subscriber_that_fails_now_and_then_is_kept():
    bus = inline()

    def moody(item):
        if item.at_ns % 2:
            raise ValueError("odd")

    subscription = bus.subscribe(moody)
    for number in range(20):
        bus.publish(event(number))
    assert (subscription.active, subscription.failures, subscription.seen) == (True, 10, 10)


def test_a_slow_callback_never_blocks_publishing_and_what_it_misses_is_counted(probe):
    bus = EventBus("t", SystemClock(), backlog=5)
    reached, release = threading.Event(), threading.Event()

    def slow(item):
        reached.set()
        release.wait()

    subscription = bus.subscribe(slow)
    bus.subscribe(probe)
    bus.publish(event(0))
    assert reached.wait(5)
    for number in range(1, 100):
        bus.publish(event(number))
    assert len(probe.messages) == 100
    release.set()
    assert bus.close(5)
    assert (subscription.seen, subscription.missed) == (6, 94)


def test_a_cancelled_subscription_hears_nothing_more_and_may_be_cancelled_twice(probe):
    bus = inline()
    subscription = bus.subscribe(probe.tell)
    bus.publish(event(1))
    subscription.cancel()
    subscription.cancel()
    bus.publish(event(2))
    assert len(probe.messages) == 1


def test_closing_delivers_what_is_queued_and_ends_the_callback_thread(probe):
    bus = EventBus("t", SystemClock())
    bus.subscribe(probe.tell)
    for number in range(50):
        bus.publish(event(number))
    assert bus.close(5)
    assert len(probe.messages) == 50
    assert not [thread for thread in threading.enumerate() if thread.name == "t/events"]


def test_events_go_to_a_ref_on_its_control_lane(stage, kit, probe):
    from tickloom.supervision import ChildSpec

    dispatcher, tree = stage(ChildSpec("listener", probe.actor), kit.worker("a"))
    tree.subscribe(tree.ref("/listener"))
    tree.ref("/a").tell(kit.crash)
    dispatcher.advance(10)
    kinds = [type(e).__name__ for e in probe.messages]
    assert kinds == ["Failure", "Exited", "Restarting", "Started"]


def test_a_subscriber_may_itself_use_the_tree(plant, kit, probe):
    """A callback that asks an actor from the callback thread: nothing waits for the callback, so nothing deadlocks."""
    tree = plant(kit.worker("a"), kit.worker("b", restart="transient"))
    answers = []

    def curious(item):
        if isinstance(item, Exited) and item.path == "/b":
            answers.append(tree.ref("/a").ask(lambda actor: "reply"))
            probe.tell(item)

    tree.subscribe(curious)
    tree.ref("/b").tell(kit.leave)
    probe.wait_for(Exited)
    assert answers == ["reply"]


def test_the_started_event_of_each_actor_comes_before_its_supervisors(plant, kit):
    tree = plant(kit.sup("s", kit.worker("a"), kit.worker("b")))
    assert [e.path for e in tree.events() if isinstance(e, Started)] == ["/s/a", "/s/b", "/s", "/"]
