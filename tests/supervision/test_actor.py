"""The actor base: life cycle, failures that surface once, redelivery, quarantine; and pykka as it was found."""

from __future__ import annotations

import threading
from inspect import getsource, signature
from random import Random

import pykka
import pytest
from pykka._actor import Actor as PykkaActor
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from tickloom.supervision import (
    NOTHING,
    Actor,
    Backoff,
    BreakerSpec,
    ChildSpec,
    Exited,
    Failure,
    MailboxSpec,
    Quarantine,
    SpecError,
)

AT_ONCE = Backoff(base=0)


def failures(tree):
    return [event for event in tree.events() if isinstance(event, Failure)]


# --- failures surface once ---


def phases(tree):
    return [(failure.path, failure.epoch, failure.phase, str(failure.cause)) for failure in failures(tree)]


def test_a_failure_to_construct_surfaces_once(stage, kit):
    _dispatcher, tree = stage(kit.sup("s", intensity=0, restart="temporary"))

    def start(context):
        raise OSError("no such device")

    with pytest.raises(Exception, match="no such device"):
        tree.start_child("/s", ChildSpec("a", start))
    assert phases(tree) == [("/s/a", 1, "start", "no such device")]


def test_a_failure_in_on_start_surfaces_once(stage, kit):
    class Bad(Actor):
        def on_start(self):
            raise OSError("no such device")

    _dispatcher, tree = stage(kit.worker("x"))
    with pytest.raises(Exception, match="no such device"):
        tree.start_child("/", ChildSpec("a", Bad))
    assert phases(tree) == [("/a", 1, "start", "no such device")]


@pytest.mark.parametrize(("lane", "phase"), [("put", "batch"), ("tell", "control"), ("ask", "ask")])
def test_a_failure_in_a_message_or_an_ask_surfaces_once_with_path_cause_and_traceback(stage, kit, lane, phase):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE, poison_after=1))
    if lane == "ask":
        with pytest.raises(ValueError, match="told to crash"):
            tree.ref("/a").ask(kit.crash)
    else:
        getattr(tree.ref("/a"), lane)(kit.crash)
    dispatcher.run()
    assert phases(tree) == [("/a", 1, phase, "told to crash")]
    text = failures(tree)[0].traceback_text
    assert "in act" in text
    assert "ValueError: told to crash" in text
    if lane != "ask":  # else its asker raised it again, and those frames are the asker's own
        assert failures(tree)[0].cause.__traceback__ is None
    assert tree.snapshot().find("/a").last_failure is failures(tree)[0]


def test_a_failure_in_on_exit_surfaces_once_and_the_stop_goes_on(stage, kit):
    class Bad(Actor):
        def on_exit(self, reason):
            raise OSError("cannot close")

    _dispatcher, tree = stage(kit.worker("x"), ChildSpec("a", Bad))
    assert tree.stop().clean
    assert phases(tree) == [("/a", 1, "exit", "cannot close")]


def test_a_failure_of_the_supervisor_itself_surfaces_and_it_goes_on(stage, kit):
    dispatcher, tree = stage(kit.worker("a"))
    tree._warden.post(lambda: 1 / 0)
    dispatcher.run()
    assert [(f.path, f.phase, type(f.cause)) for f in failures(tree)] == [("/", "supervisor", ZeroDivisionError)]
    assert tree.ref("/a").ask(lambda actor: "alive") == "alive"


def test_a_failure_while_handling_a_failure_surfaces_too(stage, kit):
    class Bad(kit.Scripted):
        def on_exit(self, reason):
            raise OSError("cannot close")

    dispatcher, tree = stage(ChildSpec("a", lambda context: Bad(context, kit.log), backoff=AT_ONCE))
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    assert phases(tree) == [("/a", 1, "control", "told to crash"), ("/a", 1, "exit", "cannot close")]
    exits = [event.exit for event in tree.events() if isinstance(event, Exited)]
    assert [str(exit_) for exit_ in exits] == ["crash (ValueError: told to crash)"]


def test_each_incarnation_has_exactly_one_exit_notice(stage, kit):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE), intensity=99)
    for n in range(10):
        tree.ref("/a").put(kit.crash) if n % 2 else tree.ref("/a").tell(kit.crash)
        dispatcher.advance(10)
    tree.stop()
    epochs = [event.epoch for event in tree.events() if isinstance(event, Exited) and event.path == "/a"]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) >= 11


# --- SystemExit and KeyboardInterrupt ---


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("lane", ["put", "tell", "ask"])
def test_system_exit_or_keyboard_interrupt_never_stops_other_actors(plant, kit, probe, error, lane):
    class Bystander(pykka.ThreadingActor):
        def on_receive(self, message):
            return message

    outsider = Bystander.start()
    try:
        tree = plant(kit.worker("a", backoff=AT_ONCE, poison_after=1), kit.worker("b"), intensity=9)
        tree.subscribe(probe)
        if lane == "ask":
            with pytest.raises(Exception, match=f"/a died of {error.__name__}"):
                tree.ref("/a").ask(kit.raises(error()))
        else:
            getattr(tree.ref("/a"), lane)(kit.raises(error()))
        died = probe.wait_for(lambda event: isinstance(event, Exited))
        assert (died.path, died.exit.kind.value, type(died.exit.cause)) == ("/a", "crash", error)
        assert tree.ref("/a").ask(lambda actor: actor.context.epoch) == 2
        assert tree.ref("/b").ask(lambda actor: actor.context.epoch) == 1
        assert outsider.ask("alive", timeout=5) == "alive"
    finally:
        outsider.stop()


def test_an_embedding_programs_stop_all_does_not_reach_into_a_tree(plant, kit):
    tree = plant(kit.worker("a"))
    tree.ref("/a").ask(lambda actor: None)
    pykka.ActorRegistry.stop_all(timeout=5)
    assert tree.ref("/a").ask(lambda actor: actor.context.epoch) == 1
    assert pykka.ActorRegistry.get_all() == []


# --- the life cycle ---


def test_everything_of_an_actor_runs_in_its_own_thread(plant, kit, faults):
    idents = []

    class Noting(Actor):
        def __init__(self, context):
            super().__init__(context)
            self.note()

        def note(self):
            idents.append((threading.get_ident(), threading.current_thread().name))

        def on_start(self):
            self.note()

        def on_batch(self, messages):
            self.note()

        def on_control(self, message):
            self.note()

        def on_exit(self, reason):
            self.note()

    tree = plant(ChildSpec("a", Noting))
    tree.ref("/a").put(1)
    tree.ref("/a").ask("x")
    tree.stop("drain")
    assert len(idents) == 5
    assert len(set(idents)) == 1
    assert idents[0][1] == "t/a"
    assert idents[0][0] != threading.get_ident()


def test_on_exit_is_called_once_however_an_actor_ends(stage, kit):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE), kit.worker("b", restart="transient"))
    tree.ref("/a").tell(kit.crash)
    tree.ref("/b").tell(kit.leave)
    dispatcher.run()
    assert sorted(kit.notes("exit")) == ["/a", "/b"]
    tree.stop()
    assert sorted(kit.notes("exit")) == ["/a", "/a", "/b"]


def test_an_actor_that_leaves_finishes_its_batch_and_what_is_queued_after_is_a_dead_letter(stage, kit):
    dispatcher, tree = stage(kit.worker("a", restart="transient", max_batch=2))
    for message in (kit.leave, "same batch", "after"):
        tree.ref("/a").put(message)
    dispatcher.run()
    assert ("/a", 1, "same batch") in kit.log
    assert ("/a", 1, "after") not in kit.log
    assert [letter.message for letter in tree.dead_letters.recent()] == ["after"]


def test_the_default_handlers_write_messages_off_with_their_sender(stage):
    dispatcher, tree = stage(ChildSpec("a", Actor))
    tree.ref("/a").put("data", sender="me")
    tree.ref("/a").tell("control", sender="you")
    dispatcher.run()
    letters = [(d.message, d.sender, d.receiver, d.reason) for d in tree.dead_letters.recent()]
    assert sorted(letters) == [("control", "you", "/a", "unhandled"), ("data", "me", "/a", "unhandled")]
    assert tree.snapshot().find("/a").epoch == 1


def test_a_control_message_that_crashed_its_handler_is_accounted_for(stage, kit):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE))
    tree.ref("/a").tell(kit.crash, sender="me")
    for _ in range(3):
        tree.ref("/a").tell(lambda actor: actor.note("next"))
    dispatcher.run()
    assert [(d.sender, d.reason) for d in tree.dead_letters.recent()] == [("me", "crashed its handler")]
    assert [(epoch, what) for _, epoch, what in kit.log if what == "next"] == [(2, "next")] * 3


def test_an_actor_can_send_itself_a_message_later_by_the_trees_clock(stage, kit):
    dispatcher, tree = stage(kit.worker("a"))

    def schedule(actor):
        actor.context.send_after(10, lambda a: a.note("ten"))
        actor.context.send_after(5, lambda a: a.note("five"))
        cancel = actor.context.send_after(7, lambda a: a.note("never"))
        cancel()

    tree.ref("/a").tell(schedule)
    dispatcher.advance(9.999)
    assert kit.notes("five") == ["/a"]
    assert kit.notes("ten") == []
    dispatcher.advance(0.001)
    assert kit.notes("ten") == ["/a"]
    assert kit.notes("never") == []


def test_a_message_an_actor_sent_itself_does_not_reach_its_successor(stage, kit):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE))
    tree.ref("/a").tell(lambda actor: actor.context.send_after(5, lambda a: a.note("late")))
    tree.ref("/a").tell(kit.crash)
    dispatcher.advance(10)
    assert kit.notes("late") == []


# --- at least once ---


def test_a_batch_that_crashed_its_actor_is_handed_to_the_next_incarnation(stage, kit, faults):
    faults.crash("/a", "after_batch", nth=3)
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE, max_batch=1), faults=faults)
    for n in range(5):
        tree.ref("/a").put(n)
    dispatcher.run()
    assert [what for _, _, what in kit.log if isinstance(what, int)] == [0, 1, 2, 3, 4]


def test_what_an_actor_has_advanced_past_does_not_come_again(stage, kit):
    class Stumbling(Actor):
        def on_batch(self, messages):
            for message in messages:
                if message == 3 and self.context.epoch == 1:
                    raise ValueError("stumbled")
                kit.log.append(message)
                self.context.advance(1)

    dispatcher, tree = stage(ChildSpec("a", Stumbling, backoff=AT_ONCE))
    for n in range(6):
        tree.ref("/a").put(n)
    dispatcher.run()
    assert kit.log == [0, 1, 2, 3, 4, 5]


def test_an_actor_that_crashes_at_the_end_of_all_it_was_given_is_given_nothing_and_its_breaker_opens(stage, kit):
    class Late(Actor):
        def on_batch(self, messages):
            kit.log.append(list(messages))
            self.context.advance(len(messages))
            raise ValueError("after the last")

    breaker = BreakerSpec(max_failures=3, reset_timeout=1000, max_reset_timeout=1000)
    dispatcher, tree = stage(ChildSpec("a", Late, backoff=AT_ONCE, max_batch=2, breaker=breaker), intensity=99)
    for n in range(8):
        tree.ref("/a").put(n)
    dispatcher.run()
    assert kit.log == [[0, 1], [2, 3], [4, 5]], "an empty batch would have been a success"
    assert tree.snapshot().find("/a").breaker == "open"


def test_an_actor_that_lingers_is_woken_once_for_what_comes_within_that_time(stage, kit):
    dispatcher, tree = stage(kit.worker("a", linger=0.5, mailbox=MailboxSpec(capacity=10)))
    ref, batches = tree.ref("/a"), []

    def handled():
        batches.append(tree.snapshot().find("/a").batches)
        return batches[-1]

    ref.put(1)
    dispatcher.run()  # it slept: the first message wakes it
    assert handled() == 1
    for number in range(2, 5):
        ref.put(number)
        dispatcher.run()
    assert handled() == 1  # it lingers: nobody wakes it
    dispatcher.advance(0.5)
    assert handled() == 2  # its time has come, and all are one batch
    assert [what for _, _, what in kit.log] == ["start", 1, 2, 3, 4]
    for number in range(5, 10):
        ref.put(number)
        dispatcher.run()
    assert handled() == 3  # half of the mailbox was full
    ref.put(10)
    ref.tell(lambda actor: actor.note("told"))
    dispatcher.run()
    assert [what for _, _, what in kit.log][-2:] == ["told", 10]  # control wakes it, and data goes with it
    dispatcher.advance(0.5)  # nothing came meanwhile: it sleeps again
    ref.put(11)
    dispatcher.run()
    assert kit.log[-1][2] == 11


def test_to_linger_and_to_share_a_thread_do_not_go_together(kit):
    with pytest.raises(SpecError, match=r"linger .* crew 'c'"):
        kit.worker("a", linger=0.5, crew="c")


def test_an_actor_that_lingers_stops_at_once_and_handles_what_it_has(stage, kit):
    dispatcher, tree = stage(kit.worker("a", linger=60))
    tree.ref("/a").put(1)
    dispatcher.run()
    tree.ref("/a").put(2)
    tree.stop()
    assert [what for _, _, what in kit.log] == ["start", 1, 2, "exit"]
    assert dispatcher.seconds() < 60


def test_a_poison_batch_cannot_put_an_actor_into_a_restart_loop(stage, kit):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE, max_batch=1, poison_after=3), intensity=99)
    tree.ref("/a").put("before")
    tree.ref("/a").put(kit.crash, sender="me")
    tree.ref("/a").put("after")
    dispatcher.run()
    assert tree.snapshot().find("/a").epoch == 4
    assert [what for _, _, what in kit.log if what in ("before", "after")] == ["before", "after"]
    assert [(d.sender, d.reason) for d in tree.dead_letters.recent()] == [("me", "poison")]
    told = [event for event in tree.events() if isinstance(event, Quarantine)]
    assert [(q.path, q.count, q.cause) for q in told] == [("/a", 1, "crashed its actor 3 times")]
    assert tree.snapshot().find("/a").quarantined == 1


def test_a_restarted_actor_starts_from_what_it_committed_last(stage, kit):
    _dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE))
    ref = tree.ref("/a")
    assert ref.ask(lambda actor: actor.context.recall()) is NOTHING
    ref.tell(lambda actor: actor.context.commit({"sum": 7}))
    ref.tell(kit.crash)
    assert ref.ask(lambda actor: (actor.context.epoch, actor.context.recall())) == (2, {"sum": 7})


def test_no_message_is_lost_to_crashes_at_any_point_in_any_schedule(stage, kit, faults):
    for seed in range(25):
        kit.log.clear()
        child = kit.worker("a", backoff=AT_ONCE, max_batch=3, mailbox=MailboxSpec(4), poison_after=1000)
        _, tree = stage(child, seed=seed, faults=faults, intensity=10**6)
        faults.crash_randomly(Random(seed), 0.15)
        for n in range(30):
            tree.ref("/a").put(n)
        faults.calm()
        tree.stop("drain", 600)
        seen = [what for _, _, what in kit.log if isinstance(what, int)]
        assert sorted(set(seen)) == list(range(30))
        assert tree.dead_letters.counts() == {}


# --- pykka, as found ---


def test_pykkas_own_ref_works_over_the_control_lane(plant, kit, probe):
    class Talking(kit.Scripted):
        greeting = "hello"

        def greet(self, name):
            return f"{self.greeting} {name}"

    tree = plant(ChildSpec("a", lambda context: Talking(context, kit.log), restart="transient"))
    tree.subscribe(probe)
    ref = tree.ref("/a").ask(lambda actor: actor.actor_ref)
    assert isinstance(ref, pykka.ActorRef)
    assert ref.is_alive()
    assert ref.ask(lambda actor: 42, timeout=5) == 42
    proxy = ref.proxy()
    assert proxy.greet("you").get(timeout=5) == "hello you"
    assert proxy.greeting.get(timeout=5) == "hello"
    with pytest.raises(ValueError, match="told to crash"):
        ref.ask(kit.crash, timeout=5)
    ref = tree.ref("/a").ask(lambda actor: actor.actor_ref)
    assert ref.stop(timeout=5)
    assert probe.wait_for(lambda e: isinstance(e, Exited) and e.epoch == 2).exit.kind.value == "normal"


def test_an_actor_is_started_by_its_supervisor_and_not_by_hand(plant, kit):
    tree = plant(kit.worker("a"))
    context = tree.ref("/a").ask(lambda actor: actor.context)
    with pytest.raises(RuntimeError, match="ChildSpec"):
        Actor.start(context)
    pykka.ActorRegistry.stop_all(block=False)
    for ref in pykka.ActorRegistry.get_all():
        pykka.ActorRegistry.unregister(ref)


def test_the_private_names_of_pykka_that_are_used_are_there_and_mean_what_they_did():
    """pykka is pinned to ~=4.5.0; this is what a newer one would have to keep."""
    assert list(signature(PykkaActor._actor_loop).parameters) == ["self"]
    assert list(signature(PykkaActor._start_actor_loop).parameters) == ["self"]
    assert list(signature(PykkaActor._handle_receive).parameters) == ["self", "message"]
    envelope = Envelope("message", reply_to=None)
    assert (envelope.message, envelope.reply_to) == ("message", None)
    assert _ActorStop() is not None
    source = getsource(pykka.ActorRef)
    assert "self.actor_inbox = actor.actor_inbox" in source
    assert "self.actor_stopped = actor.actor_stopped" in source
    assert "self.actor_inbox.put(" in source
    assert pykka.ThreadingActor.use_daemon_thread is False
