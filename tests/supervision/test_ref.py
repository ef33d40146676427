"""Refs and asks: the address survives restarts, and every ask resolves."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tickloom.supervision import (
    ActorDead,
    AskRefused,
    AskTimeout,
    Backoff,
    BreakerOpen,
    BreakerSpec,
    ChildSpec,
    Failure,
    Interrupted,
    MailboxSpec,
    SupervisionError,
    Unhandled,
)

AT_ONCE = Backoff(base=0)


def test_a_ref_is_the_stable_address_of_a_place_and_survives_restarts(plant, kit, probe):
    tree = plant(kit.worker("a", backoff=AT_ONCE), intensity=9)
    ref = tree.ref("/a")
    lived = [ref.ask(lambda actor: actor.context.epoch)]
    for _ in range(2):
        ref.tell(kit.crash)
        lived.append(ref.ask(lambda actor: actor.context.epoch))
    assert lived == [1, 2, 3]
    assert ref == tree.ref("a/")
    assert hash(ref) == hash(tree.ref("/a"))
    assert ref.path == "/a"


def test_an_ask_resolves_with_the_reply(plant, kit):
    tree = plant(kit.worker("a"))
    assert tree.ref("/a").ask(lambda actor: 42) == 42
    assert tree.ref("/a").ask(lambda actor: None) is None


def test_an_ask_resolves_with_the_callees_error(plant, kit):
    tree = plant(kit.worker("a", backoff=AT_ONCE))
    with pytest.raises(ValueError, match="told to crash"):
        tree.ref("/a").ask(kit.crash)


def test_an_ask_resolves_with_a_timeout_by_the_trees_clock(plant, kit, clock, faults):
    reached, release = faults.hold("/a", "on_control")
    tree = plant(kit.worker("a"), clock=clock, faults=faults)
    caught = []

    def asker():
        try:
            tree.ref("/a").ask(lambda actor: 42, timeout=3)
        except AskTimeout as error:
            caught.append(str(error))

    thread = threading.Thread(target=asker)
    thread.start()
    assert reached.wait(5)
    clock.wait_for_sleepers(1)
    clock.advance(3)
    thread.join(5)
    release.set()
    assert caught == ["/a did not reply within 3 s"]


def test_the_timeout_covers_the_wait_to_be_handled_as_well(stage, kit):
    dispatcher, tree = stage(kit.worker("a", backoff=Backoff(base=20, jitter=0)))
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    with pytest.raises(AskTimeout):
        tree.ref("/a").ask(lambda actor: 42, timeout=5)
    assert dispatcher.seconds() == 5


def test_an_ask_that_has_timed_out_is_not_handled_any_more(stage, kit):
    dispatcher, tree = stage(kit.worker("a", backoff=Backoff(base=20, jitter=0)))
    handled = []
    tree.ref("/a").tell(kit.crash)
    with pytest.raises(AskTimeout):
        tree.ref("/a").ask(lambda actor: handled.append(1), timeout=5)
    dispatcher.advance(60)
    assert handled == []


def test_an_ask_during_a_restart_is_answered_by_the_next_incarnation(stage, kit):
    dispatcher, tree = stage(kit.worker("a", backoff=Backoff(base=2, jitter=0)))
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    assert tree.ref("/a").ask(lambda actor: actor.context.epoch, timeout=5) == 2


def test_an_ask_of_a_dead_actor_fails_with_actor_dead_at_once(plant, kit):
    tree = plant(kit.worker("a", restart="transient"), kit.worker("b"))
    tree.terminate_child("/a")
    with pytest.raises(ActorDead, match=r"/a is dead: terminated"):
        tree.ref("/a").ask(lambda actor: 42)
    ref = tree.ref("/b")
    tree.stop()
    with pytest.raises(ActorDead, match=r"/b is dead"):
        ref.ask(lambda actor: 42)


def test_every_ask_resolves_even_when_it_races_the_callees_death(plant, kit):
    """Asks by eight threads race kills and ends of their callees; none may be left without an outcome."""
    tree = plant(kit.sup("s", intensity=10**6))
    outcomes, rounds, crowd = [], 40, 8
    for number in range(rounds):
        ref = tree.start_child("/s", kit.worker(f"a{number}", restart="temporary"))
        begin = threading.Barrier(crowd + 1)

        def asker(ref=ref, begin=begin):
            begin.wait()
            for _ in range(5):
                try:
                    outcomes.append(ref.ask(lambda actor: "reply", timeout=20))
                except SupervisionError as error:
                    outcomes.append(type(error).__name__)

        threads = [threading.Thread(target=asker) for _ in range(crowd)]
        for thread in threads:
            thread.start()
        begin.wait()
        ref.tell(kit.crash if number % 2 else kit.leave)
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
    assert len(outcomes) == rounds * crowd * 5
    assert set(outcomes) <= {"reply", "ActorDead"}
    assert "ActorDead" in outcomes


def test_an_ask_for_what_the_callee_has_no_handler_for_says_so(plant, kit):
    tree = plant(kit.worker("a"))
    with pytest.raises(Unhandled, match=r"/a has no handler for a str"):
        tree.ref("/a").ask("nonsense")
    assert tree.snapshot().find("/a").epoch == 1


def test_an_answer_can_be_an_error_on_purpose_without_a_crash(plant, kit):
    class NotNow(AskRefused):
        pass

    tree = plant(kit.worker("a"))
    with pytest.raises(NotNow, match="busy"):
        tree.ref("/a").ask(kit.raises(NotNow("busy")))
    assert tree.snapshot().find("/a").epoch == 1
    assert not [event for event in tree.events() if isinstance(event, Failure)]


def test_an_ask_fails_fast_when_the_breaker_is_open_whatever_becomes_of_data(stage, kit):
    for while_open in ("hold", "refuse"):
        spec = BreakerSpec(max_failures=1, while_open=while_open)
        dispatcher, tree = stage(kit.worker("a", breaker=spec))
        tree.ref("/a").tell(kit.crash)
        dispatcher.run()
        with pytest.raises(BreakerOpen):
            tree.ref("/a").ask(lambda actor: 42)


def test_two_actors_that_ask_each_other_time_out_and_live_on(plant, kit):
    class Asking(kit.Scripted):
        def on_control(self, message):
            if message == "go":
                try:
                    return self.context.ref("/b" if self.path == "/a" else "/a").ask("go", timeout=0.05)
                except AskTimeout:
                    return "timed out"
            return super().on_control(message)

    specs = [ChildSpec(name, lambda context: Asking(context, kit.log)) for name in "ab"]
    tree = plant(*specs)
    assert tree.ref("/a").ask("go") == "timed out"
    assert tree.ref("/b").ask(lambda actor: "alive") == "alive"


def test_a_stop_ends_an_ask_its_actor_waits_in(plant, kit, faults, clock):
    reached, release = faults.hold("/b", "on_control")
    ended = []

    class Asking(kit.Scripted):
        def on_control(self, message):
            try:
                return self.context.ref("/b").ask("question", timeout=1000)
            except Interrupted:
                ended.append(self.path)
                raise

    tree = plant(kit.worker("b"), ChildSpec("a", lambda context: Asking(context, kit.log)), faults=faults, clock=clock)
    tree.ref("/a").tell("go")
    assert reached.wait(5)
    stopper = threading.Thread(target=lambda: tree.terminate_child("/a"))
    stopper.start()
    stopper.join(10)
    release.set()
    assert ended == ["/a"]


def test_awaitable_asks_do_not_freeze_the_callers_loop(plant, kit, faults):
    reached, release = faults.hold("/a", "on_control")
    tree = plant(kit.worker("a"), faults=faults)

    async def main():
        asked = asyncio.ensure_future(tree.ref("/a").ask_async(lambda actor: 42, timeout=20))
        ticks = 0
        while not reached.is_set():
            await asyncio.sleep(0)
            ticks += 1
        for _ in range(100):
            await asyncio.sleep(0)
            ticks += 1
        assert not asked.done()
        release.set()
        return ticks, await asked

    ticks, reply = asyncio.run(main())
    assert reply == 42
    assert ticks >= 100


def test_awaitable_asks_resolve_with_errors_timeouts_and_death_too(plant, kit, faults):
    _reached, release = faults.hold("/slow", "on_control")
    tree = plant(kit.worker("a", backoff=AT_ONCE), kit.worker("slow"), kit.worker("dead"), faults=faults)
    tree.terminate_child("/dead")

    async def main():
        with pytest.raises(ValueError, match="told to crash"):
            await tree.ref("/a").ask_async(kit.crash)
        with pytest.raises(AskTimeout, match="/slow"):
            await tree.ref("/slow").ask_async("question", timeout=0.01)
        with pytest.raises(ActorDead):
            await tree.ref("/dead").ask_async("question")
        cancelled = asyncio.ensure_future(tree.ref("/slow").ask_async("question", timeout=20))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled

    asyncio.run(main())
    release.set()


def test_what_an_actor_sends_through_its_context_carries_its_path(plant, kit, probe):
    tree = plant(ChildSpec("probe", probe.actor), kit.worker("a"))

    def act(actor):
        ref = actor.context.ref("/probe")
        ref.put("data")
        ref.tell("control")
        ref.put("for another", sender="/elsewhere")

    tree.ref("/a").tell(act)
    probe.wait_for(3)
    assert sorted(zip(probe.messages, probe.senders, strict=True)) == [
        ("control", "/a"),
        ("data", "/a"),
        ("for another", "/elsewhere"),
    ]


def test_a_message_to_a_dead_actor_is_a_dead_letter_with_sender_receiver_and_reason(plant, kit):
    tree = plant(kit.worker("a", mailbox=MailboxSpec(2)), kit.worker("b"))
    tree.terminate_child("/a")
    assert tree.ref("/b").ask(lambda actor: actor.context.ref("/a").put("lost")) is False
    tree.ref("/a").tell("order", sender="me")
    letters = [(d.message, d.sender, d.receiver, d.reason) for d in tree.dead_letters.recent()]
    assert letters == [("lost", "/b", "/a", "terminated"), ("order", "me", "/a", "terminated")]
    assert tree.dead_letters.counts() == {"terminated": 2}
