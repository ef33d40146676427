"""Mailboxes: the lanes, the policies, the account, and that nothing hangs."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tickloom.supervision import ActorDead, AskTimeout, ChildSpec, Interrupted, Mailbox, MailboxSpec, Policy
from tickloom.supervision.clocks import Waiter
from tickloom.supervision.envelopes import CatchUp, Status, Waiting
from tickloom.supervision.lane import Lane
from tickloom.supervision.life import Life, set_current_life
from tickloom.supervision.ref import Reply


def add(older, newer):
    """A conflate function for numbers; text does not merge."""
    return older + newer if isinstance(older, int) and isinstance(newer, int) else None


def lettered(spec=None, **more):
    """A mailbox and the list its lost messages go to, as (message, sender, reason)."""
    lost = []
    return Mailbox(spec, path="/a", lost=lambda *letter: lost.append(letter), **more), lost


# --- lanes ---


def test_control_is_handed_over_before_data_and_is_never_refused_for_capacity():
    box, lost = lettered(MailboxSpec(2, Policy.DROP_NEWEST))
    assert [box.put(n) for n in (1, 2, 3)] == [True, True, False]
    for n in range(5000):
        assert box.put_control(("control", n))
    status, control, batch = box.poll(0, 10, lambda: None)
    assert status is Status.WORK
    assert [item.message[1] for item in control] == list(range(5000))
    assert batch.messages == [1, 2]
    assert lost == [(3, "", "mailbox full")]


def test_a_batch_is_bounded_and_in_order():
    box, _ = lettered()
    for n in range(10):
        box.put(n)
    assert [box.take_batch(4), box.take_batch(4), box.take_batch(4), box.take_batch(4, 0)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
        [],
    ]


def test_a_batch_that_was_not_settled_is_handed_over_again():
    box, _ = lettered()
    box.put("a", "someone")
    first = box.poll(0, 10, lambda: None)[2]
    box.put("b")
    again = box.poll(0, 10, lambda: None)[2]
    assert again is first
    assert (again.messages, again.senders, again.first) == (["a"], ["someone"], 0)
    assert box.settle(0)
    assert box.poll(0, 10, lambda: None)[2].messages == ["b"]


def test_only_its_owner_takes_from_a_mailbox():
    box, _ = lettered()
    box.put("a")
    box.fence(2)
    assert box.poll(1, 10, lambda: None)[0] is Status.FENCED
    assert not box.settle(1)
    assert box.poll(2, 10, lambda: None)[2].messages == ["a"]


def test_a_sleeping_owner_is_woken_once_by_whatever_comes():
    box, _ = lettered()
    woken = []
    assert box.poll(0, 10, lambda: woken.append(1))[0] is Status.IDLE
    box.put("a")
    box.put("b")
    box.put_control("c")
    assert woken == [1]


def test_an_owner_may_rest_only_where_there_is_nothing_for_it():
    box, _ = lettered()
    woken = []
    assert box.rest(0, lambda: woken.append(1))
    box.put("a")
    assert (woken, box.rest(0, woken.clear)) == ([1], False)
    assert box.poll(0, 1, woken.clear)[2].messages == ["a"]
    assert not box.rest(0, woken.clear), "the batch in hand is not settled"
    box.settle(0)
    box.put_control("b")
    assert not box.rest(0, woken.clear)
    box.poll(0, 1, woken.clear)
    assert not box.rest(7, woken.clear), "somebody else's"
    box.drain("stopping")
    assert not box.rest(0, woken.clear)
    assert woken == [1]


def test_an_owner_that_rests_can_take_it_back_until_it_was_woken():
    box, _ = lettered()
    assert box.rest(0, lambda: None)
    assert box.stay_awake()
    assert box.rest(0, lambda: None)
    box.put("a")
    assert not box.stay_awake()


# --- policies ---


def test_block_waits_for_room_and_then_gets_in_first_come_first_served():
    box, lost = lettered(MailboxSpec(1))
    box.put(0)
    done = []
    threads = []
    for n in range(1, 6):
        thread = threading.Thread(target=lambda n=n: done.append(box.put(n)))
        thread.start()
        threads.append(thread)
        deadline = time.monotonic() + 10
        while box.counters().waiting < n:
            assert time.monotonic() < deadline
    assert [box.take_batch(10) for _ in range(6)] == [[0], [1], [2], [3], [4], [5]]
    for thread in threads:
        thread.join(5)
    assert done == [True] * 5
    assert lost == []
    assert box.counters().balanced


def test_block_with_a_timeout_refuses_when_it_has_run_out():
    box, lost = lettered(MailboxSpec(1, block_timeout=0.01))
    assert box.put("in")
    assert not box.put("late", "me")
    assert not box.put("now", timeout=0)
    assert [(m, r) for m, _, r in lost] == [("late", "full: timed out"), ("now", "full: timed out")]
    counters = box.counters()
    assert (counters.put, counters.refused, counters.depth, counters.waiting) == (3, 2, 1, 0)
    assert counters.balanced


def test_a_block_timeout_is_counted_by_the_clock_given(clock):
    box, _lost = lettered(MailboxSpec(1, block_timeout=60), clock=clock)
    box.put("in")
    done = []
    thread = threading.Thread(target=lambda: done.append(box.put("late")))
    thread.start()
    clock.wait_for_sleepers(1)
    clock.advance(59)
    assert done == []
    clock.advance(1)
    thread.join(5)
    assert done == [False]


def test_drop_newest_drops_the_one_that_comes():
    box, lost = lettered(MailboxSpec(2, Policy.DROP_NEWEST))
    assert [box.put(n, "me") for n in (1, 2, 3)] == [True, True, False]
    assert box.take_batch(9) == [1, 2]
    assert lost == [(3, "me", "mailbox full")]
    assert box.counters().dropped_newest == 1


def test_drop_oldest_drops_the_one_that_has_waited_longest():
    box, lost = lettered(MailboxSpec(2, Policy.DROP_OLDEST))
    assert [box.put(n, f"sender {n}") for n in (1, 2, 3)] == [True, True, True]
    assert box.take_batch(9) == [2, 3]
    assert lost == [(1, "sender 1", "mailbox full")]
    assert box.counters().dropped_oldest == 1


def test_conflate_merges_at_capacity_and_loses_nothing():
    box, lost = lettered(MailboxSpec(3, Policy.CONFLATE, conflate=add))
    assert all(box.put(n) for n in range(1, 101))
    batch = box.take_batch(9)
    assert len(batch) == 3
    assert sum(batch) == sum(range(1, 101))
    counters = box.counters()
    assert (counters.put, counters.conflated, counters.taken) == (100, 97, 3)
    assert counters.balanced
    assert lost == []


def test_conflate_does_not_merge_before_capacity_is_reached():
    box, _ = lettered(MailboxSpec(3, Policy.CONFLATE, conflate=add))
    for n in (1, 2, 3):
        box.put(n)
    assert box.take_batch(9) == [1, 2, 3]


def test_conflate_makes_room_among_the_queued_for_what_does_not_merge_and_keeps_the_order():
    box, _ = lettered(MailboxSpec(3, Policy.CONFLATE, conflate=add))
    for message in (1, 2, 3, "mark", 4, 5):
        assert box.put(message)
    assert box.take_batch(9) == [6, "mark", 9]


def test_conflate_waits_like_block_when_nothing_can_merge():
    box, lost = lettered(MailboxSpec(2, Policy.CONFLATE, block_timeout=0, conflate=add))
    assert [box.put("x"), box.put("y"), box.put("z")] == [True, True, False]
    assert lost == [("z", "", "full: timed out")]


def test_a_conflate_function_that_raises_merges_nothing_and_is_counted():
    box, lost = lettered(MailboxSpec(1, Policy.CONFLATE, block_timeout=0, conflate=lambda a, b: 1 / 0))
    assert [box.put(1), box.put(2)] == [True, False]
    assert box.counters().conflate_errors == 1
    assert lost == [(2, "", "full: timed out")]


def test_offer_never_waits_and_leaves_the_message_with_its_caller_when_there_is_no_room():
    box, lost = lettered(MailboxSpec(1))
    assert [box.offer(1), box.offer(2)] == [True, False]
    counters = box.counters()
    assert (counters.put, counters.declined, counters.refused) == (1, 1, 0)
    assert lost == []


# --- the account ---


class Accounting(RuleBasedStateMachine):
    """Every policy, any order of operations: each message is accounted for once, and order is kept."""

    @initialize(policy=st.sampled_from(list(Policy)), capacity=st.integers(1, 4))
    def begin(self, policy, capacity):
        self.lost = []
        self.box = Mailbox(
            MailboxSpec(capacity, policy, block_timeout=0, conflate=lambda older, newer: older | newer),
            lost=lambda message, sender, reason: self.lost.append(message),
        )
        self.number = 0
        self.kept = 0
        self.taken = []
        self.seen_lost = 0
        self.pending = None
        self.watching = False
        self.waiting = []
        self.breaker = "closed"
        self.closed = False

    def message(self):
        """Messages are sets, so that merged ones still show what is in them."""
        self.number += 1
        return frozenset([self.number])

    @rule()
    def put(self):
        self.box.put(self.message())

    @rule()
    def offer(self):
        before = self.box.counters().declined
        if not self.box.offer(self.message()):
            self.kept += self.box.counters().declined - before

    @rule()
    def leave_waiting(self):
        message = self.message()
        with self.box.lock:
            verdict = self.box._lane.admit(message, "", lambda: Waiting(message, "", lambda: None))
        self.box._after(None)
        if not isinstance(verdict, str):
            self.waiting.append(verdict)

    @rule()
    def break_off(self):
        if self.waiting:
            self.kept += self.box._decide(self.waiting.pop(), "off")

    @rule(limit=st.integers(1, 5))
    def take(self, limit):
        _status, control, batch = self.box.poll(0, limit, lambda: None)
        for item in control:
            if isinstance(item.message, CatchUp):
                assert item.message.first_missed == self.pending
                self.pending = None
                self.box.caught_up(0)
        if batch is not None:
            assert self.pending is None or all(min(message) < min(self.pending) for message in batch.messages)
            batch.attempts += 1
            self.taken += batch.messages
            self.box.settle(0)

    @rule(refuse=st.booleans(), probe=st.integers(1, 2))
    def turn_breaker(self, refuse, probe):
        if self.breaker == "closed":
            self.box.breaker_open(refuse=refuse, probe=probe)
            self.breaker = "open"
        elif self.breaker == "open":
            self.box.breaker_half_open(probe)
            self.breaker = "half-open"
        else:
            self.box.breaker_closed()
            self.breaker = "closed"

    @rule(capacity=st.integers(1, 6))
    def resize(self, capacity):
        self.box.resize(capacity)

    @precondition(lambda self: self.number > 12)
    @rule()
    def close(self):
        self.box.close("closed")
        self.closed = True
        self.pending = None

    @invariant()
    def every_message_is_accounted_for_exactly_once(self):
        if not hasattr(self, "box"):
            return
        counters = self.box.counters()
        assert counters.balanced, counters
        waiting = sum(entry.outcome is None for entry in self.waiting)
        assert counters.waiting == waiting
        assert counters.put + self.kept + waiting == self.number
        queued = set().union(*self.box._data)
        seen = sorted([*set().union(*self.taken), *set().union(*self.lost), *queued])
        assert len(seen) == len(set(seen))
        assert len(seen) + self.kept + waiting == self.number
        assert counters.depth <= counters.high_water

    @invariant()
    def what_is_taken_is_in_order(self):
        if hasattr(self, "box"):
            firsts = [min(message) for message in self.taken]
            assert firsts == sorted(firsts)

    @invariant()
    def the_first_message_missed_under_the_breaker_is_remembered(self):
        if hasattr(self, "box"):
            new = self.lost[self.seen_lost :]
            self.seen_lost = len(self.lost)
            # those that waited when it opened are missed as well
            watching, self.watching = self.watching or self.breaker != "closed", self.breaker != "closed"
            if new and self.pending is None and watching and not self.closed:
                self.pending = new[0]


def test_every_message_is_accounted_for_exactly_once_whatever_happens_in_whatever_order():
    run_state_machine_as_test(Accounting, settings=settings(max_examples=100, stateful_step_count=40, deadline=None))


def test_exact_counts_of_put_taken_refused_dropped_conflated_and_the_high_water_mark():
    box, _ = lettered(MailboxSpec(3, Policy.DROP_OLDEST))
    for n in range(5):
        box.put(n)
    box.take_batch(2)
    box.bar("closing")
    box.put("refused")
    counters = box.counters()
    assert (counters.put, counters.taken, counters.dropped_oldest, counters.refused, counters.depth) == (6, 2, 2, 1, 1)
    assert (counters.high_water, counters.capacity) == (3, 3)


def test_counts_stay_exact_under_many_threads():
    box, lost = lettered(MailboxSpec(16, Policy.BLOCK))
    taken = []
    consumer_done = threading.Event()

    def consume():
        while len(taken) < 8 * 500:
            taken.extend(box.take_batch(7, 5))
        consumer_done.set()

    def produce(k):
        for n in range(500):
            assert box.put((k, n))

    threads = [threading.Thread(target=consume), *(threading.Thread(target=produce, args=(k,)) for k in range(8))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert consumer_done.is_set()
    for k in range(8):
        assert [n for who, n in taken if who == k] == list(range(500))
    counters = box.counters()
    assert (counters.put, counters.taken, counters.depth) == (4000, 4000, 0)
    assert counters.high_water <= 16
    assert lost == []


# --- nothing hangs ---


def test_closing_wakes_every_blocked_producer_and_everything_left_is_a_dead_letter():
    box, lost = lettered(MailboxSpec(1))
    box.put("queued")
    results = []
    threads = [threading.Thread(target=lambda: results.append(box.put("blocked", "me"))) for _ in range(40)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while box.counters().waiting < 40:
        assert time.monotonic() < deadline
    box.close("stopped")
    for thread in threads:
        thread.join(5)
    assert results == [False] * 40
    assert sorted(lost) == sorted([("queued", "", "stopped")] + [("blocked", "me", "stopped")] * 40)
    assert box.counters().balanced
    assert not box.put("too late")
    reply = Reply()
    assert not box.put_control("too late", "", reply)
    with pytest.raises(ActorDead, match="/a is dead: stopped"):
        reply.result()


def test_when_the_receiver_dies_for_good_no_producer_stays_blocked(plant, kit, faults, until):
    reached, release = faults.hold("/dies", "before_batch")
    tree = plant(
        kit.worker("dies", restart="temporary", mailbox=MailboxSpec(2), max_batch=1), kit.worker("b"), faults=faults
    )
    ref = tree.ref("/dies")
    results = []
    threads = [threading.Thread(target=lambda: results.append(ref.put(kit.crash))) for _ in range(40)]
    for thread in threads:
        thread.start()
    assert reached.wait(5)
    until(lambda: tree._services.find("/dies").mailbox.counters().waiting == 37)
    release.set()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(results) == [False] * 37 + [True] * 3


def test_a_self_send_on_a_full_mailbox_does_not_deadlock_it_is_refused(plant, kit, until):
    results = []

    class Selfish(kit.Scripted):
        def on_batch(self, messages):
            if "go" in messages:
                results.extend(self.context.self_ref.put(n) for n in range(4))

    tree = plant(ChildSpec("a", lambda context: Selfish(context, kit.log), mailbox=MailboxSpec(2)))
    tree.ref("/a").put("go")
    until(lambda: len(results) == 4)
    assert results == [True, True, False, False]
    assert tree.dead_letters.counts_for("/a") == {"deadlock": 2}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_actors_that_fill_each_others_mailboxes_do_not_deadlock(plant, kit, count):
    rounds = 50

    class Flooder(kit.Scripted):
        def on_batch(self, messages):
            number = int(self.path[1:])
            ahead = self.context.ref(f"/{(number + 1) % count}")
            for hops in messages:
                if hops:
                    for _ in range(2):
                        ahead.put(hops - 1)

    tree = plant(
        *(
            ChildSpec(str(i), lambda context: Flooder(context, kit.log), mailbox=MailboxSpec(1), max_batch=1)
            for i in range(count)
        )
    )
    for _ in range(rounds):
        for i in range(count):
            tree.ref(f"/{i}").put(4)
    assert all(tree.ref(f"/{i}").ask(lambda actor: "alive", timeout=20) == "alive" for i in range(count))
    report = tree.stop("drain")
    assert report.clean
    assert all(view.counters.balanced for view in tree.snapshot().children)
    assert set(tree.dead_letters.counts()) <= {"deadlock", "stopping", "stopped"}


def test_a_put_that_waits_but_closes_no_circle_is_not_refused(plant, kit, faults, until):
    reached, release = faults.hold("/end", "before_batch")
    tree = plant(
        kit.worker("end", mailbox=MailboxSpec(1), max_batch=1),
        kit.adder("middle", "/end", mailbox=MailboxSpec(1), max_batch=1),
        kit.adder("top", "/middle", max_batch=1),
        faults=faults,
    )
    for _ in range(10):
        tree.ref("/top").put(1)
    assert reached.wait(5)
    until(lambda: tree.snapshot().find("/middle").counters.waiting)
    release.set()
    assert tree.stop("drain").clean
    assert [what for _, _, what in kit.log if isinstance(what, int)] == [1, 3, 6, 10, 15, 21, 28, 36, 45, 55]
    assert tree.dead_letters.counts() == {}


def test_a_broken_off_put_leaves_the_message_with_its_caller_and_is_counted_as_declined():
    box, lost = lettered(MailboxSpec(1))
    box.put("in")
    life = Life("/me", 1, Mailbox())
    outcome = []

    def produce():
        set_current_life(life)
        try:
            box.put("mine")
        except Interrupted as broken_off:
            outcome.append(broken_off)

    thread = threading.Thread(target=produce)
    thread.start()
    deadline = time.monotonic() + 10
    while not box.counters().waiting:
        assert time.monotonic() < deadline
    life.stop = "now"
    life.interrupt()
    thread.join(5)
    assert len(outcome) == 1
    assert lost == []
    assert (box.counters().declined, box.counters().put) == (1, 1)


# --- event loops ---


def test_an_event_loop_can_wait_for_room_without_blocking():
    box, _lost = lettered(MailboxSpec(1))

    async def main():
        assert await box.put_async("first")
        ticks = []
        second = asyncio.ensure_future(box.put_async("second"))
        for _ in range(5):
            await asyncio.sleep(0)
            ticks.append(second.done())
        assert ticks == [False] * 5
        taker = threading.Thread(target=box.take_batch, args=(1,))
        taker.start()
        assert await asyncio.wait_for(second, 5)
        taker.join(5)

    asyncio.run(main())
    assert box.take_batch(9) == ["second"]
    assert box.counters().balanced


def test_cancelling_a_wait_for_room_takes_the_message_back():
    box, lost = lettered(MailboxSpec(1))

    async def main():
        await box.put_async("first")
        second = asyncio.ensure_future(box.put_async("second"))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second

    asyncio.run(main())
    assert box.take_batch(9) == ["first"]
    assert box.take_batch(9, 0) == []
    assert (box.counters().declined, box.counters().waiting) == (1, 0)
    assert lost == []


def test_a_closed_mailbox_ends_the_waits_of_event_loops_too():
    box, lost = lettered(MailboxSpec(1))

    async def main():
        await box.put_async("first")
        second = asyncio.ensure_future(box.put_async("second", "loop"))
        await asyncio.sleep(0)
        threading.Thread(target=box.close, args=("stopped",)).start()
        return await asyncio.wait_for(second, 5)

    assert asyncio.run(main()) is False
    assert ("second", "loop", "stopped") in lost


# --- odds and ends ---


def test_what_waits_for_the_control_lane_when_it_closes_fails_with_actor_dead():
    box, lost = lettered()
    reply = Reply()
    box.put_control("question", "me", reply)
    box.put_control("order", "me")
    box.close("stopped")
    with pytest.raises(ActorDead, match="stopped"):
        reply.result()
    assert lost == [("order", "me", "stopped")]
    assert box.counters().balanced


def test_control_that_was_not_looked_at_goes_back_to_the_front():
    box, _ = lettered()
    for n in range(4):
        box.put_control(n)
    control = box.poll(0, 1, lambda: None)[1]
    box.put_control(4)
    box.give_back(control[2:])
    assert [item.message for item in box.poll(0, 1, lambda: None)[1]] == [2, 3, 4]
    assert box.counters().balanced


def test_a_catch_up_that_was_not_looked_at_comes_again_once():
    box, _ = lettered()
    box.breaker_open(refuse=True, probe=0)
    assert not box.put("missed")
    box.breaker_closed()
    control = box.poll(0, 9, lambda: None)[1]
    assert [item.message for item in control] == [CatchUp("missed")]
    box.give_back(control)
    assert [item.message for item in box.poll(0, 9, lambda: None)[1]] == [CatchUp("missed")]
    box.caught_up(0)
    assert box.poll(0, 9, lambda: None)[0] is Status.IDLE
    assert box.counters().balanced


def test_an_answer_comes_once():
    reply = Reply()
    assert reply.set(1)
    assert not reply.set(2)
    assert not reply.fail(AskTimeout("late"))
    assert reply.result() == 1


def test_a_lane_gives_way_to_a_breaker_and_back_without_losing_its_place():
    lane = Lane(MailboxSpec(10))
    for n in range(4):
        lane.admit(n, "", None)
    batch = lane.next_batch(3)
    lane.hold_back(1)
    assert batch.attempts == 0
    assert lane.inflight is None
    assert list(lane.data) == [0, 1, 2, 3]
    assert lane.next_batch(10) is None
    lane.release()
    assert lane.next_batch(10).messages == [0, 1, 2, 3]


def test_a_waiter_is_woken_or_expires_whichever_comes_first():
    waiter = Waiter()
    assert waiter.wake()
    assert not waiter.wake()
    assert not waiter.expire()
    assert waiter.block(None)
    waiter.reset()
    assert not waiter.block(0)
    assert waiter.expired
    assert not waiter.wake()


def test_control_that_comes_back_to_a_closed_mailbox_is_accounted_for():
    box, lost = lettered()
    reply = Reply()
    box.put_control("question", "me", reply)
    box.put_control("order", "me")
    control = box.poll(0, 1, lambda: None)[1]
    box.close("stopped")
    box.give_back(control)
    with pytest.raises(ActorDead, match="stopped"):
        reply.result()
    assert lost == [("order", "me", "stopped")]
    assert box.counters().balanced
