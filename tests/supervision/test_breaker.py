"""The circuit breaker: its table, and what it does to a child, its messages and its askers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.supervision import (
    Backoff,
    Breaker,
    BreakerChanged,
    BreakerOpen,
    BreakerSpec,
    ChildSpec,
    MailboxSpec,
    Policy,
)
from tickloom.supervision.breaker import (
    BREAKER_TRANSITIONS,
    BreakerEvent,
    BreakerState,
    IllegalStep,
    advance,
    new_breaker,
)
from tickloom.supervision.clocks import to_ns
from tickloom.supervision.ref import Reply

SECOND = to_ns(1)
FAILURE, SUCCESS, RESET = BreakerEvent.FAILURE, BreakerEvent.SUCCESS, BreakerEvent.RESET


def feed(spec, *events):
    breaker = new_breaker(spec)
    for event, at in events:
        breaker = advance(spec, breaker, event, to_ns(at))
    return breaker


# --- the table ---


@given(limit=st.integers(1, 20))
def test_closed_opens_after_exactly_max_failures_in_the_window(limit):
    spec = BreakerSpec(max_failures=limit, window=60)
    assert feed(spec, *[(FAILURE, 0)] * (limit - 1)).state is Breaker.CLOSED
    assert feed(spec, *[(FAILURE, 0)] * limit).state is Breaker.OPEN


def test_failures_that_have_left_the_window_do_not_count():
    spec = BreakerSpec(max_failures=3, window=10)
    assert feed(spec, (FAILURE, 0), (FAILURE, 5), (FAILURE, 10.1)).state is Breaker.CLOSED
    assert feed(spec, (FAILURE, 0), (FAILURE, 5), (FAILURE, 10)).state is Breaker.OPEN


def test_a_success_resets_the_count():
    spec = BreakerSpec(max_failures=2, window=60)
    assert feed(spec, (FAILURE, 0), (SUCCESS, 1), (FAILURE, 2)).state is Breaker.CLOSED


def test_failure_reopens_and_lengthens_the_reset_time_up_to_its_cap():
    spec = BreakerSpec(max_failures=1, reset_timeout=2, max_reset_timeout=7)
    events = [(FAILURE, 0)]
    waits = []
    for _ in range(4):
        waits.append(feed(spec, *events).reset_ns / SECOND)
        events += [(RESET, 0), (FAILURE, 0)]
    assert waits == [2, 4, 7, 7]


def test_success_closes_and_resets_the_reset_time():
    spec = BreakerSpec(max_failures=1, reset_timeout=2, max_reset_timeout=60)
    breaker = feed(spec, (FAILURE, 0), (RESET, 0), (FAILURE, 0), (RESET, 0), (SUCCESS, 0))
    assert breaker == BreakerState(Breaker.CLOSED, (), 2 * SECOND)


@pytest.mark.parametrize("state", list(Breaker))
@pytest.mark.parametrize("event", [FAILURE, SUCCESS, RESET])
def test_an_illegal_step_is_refused_and_leaves_the_breaker_as_it_was(state, event):
    breaker = BreakerState(state, (), SECOND)
    legal = (state, event) in BREAKER_TRANSITIONS
    try:
        advance(BreakerSpec(), breaker, event, 0)
    except IllegalStep as refusal:
        assert not legal
        assert state.value in str(refusal)
        assert breaker == BreakerState(state, (), SECOND)
    else:
        assert legal


# --- on a tree ---

AT_ONCE = Backoff(base=0)


def turns(tree, path="/a"):
    events = [event for event in tree.events() if isinstance(event, BreakerChanged) and event.path == path]
    return [(event.before, event.after) for event in events]


def broken(stage, kit, spec, times=None, **child):
    """A tree whose child /a has crashed until its breaker opened."""
    dispatcher, tree = stage(kit.worker("a", breaker=spec, backoff=AT_ONCE, **child))
    for _ in range(times or spec.max_failures):
        tree.ref("/a").tell(kit.crash)
        dispatcher.run()
    return dispatcher, tree


def test_open_fails_fast_the_child_is_not_called(stage, kit, epochs):
    dispatcher, tree = broken(stage, kit, BreakerSpec(max_failures=2, reset_timeout=5))
    assert epochs(tree)["/a"] == 0
    before = dispatcher.seconds()
    with pytest.raises(BreakerOpen, match="/a"):
        tree.ref("/a").ask(lambda actor: "called")
    assert dispatcher.seconds() == before
    dispatcher.advance(4.9)
    assert epochs(tree)["/a"] == 0


def test_asks_that_wait_when_the_breaker_opens_fail_at_once(stage, kit):
    dispatcher, tree = stage(kit.worker("a", breaker=BreakerSpec(max_failures=1), backoff=AT_ONCE))
    ref, reply = tree.ref("/a"), Reply()
    ref.tell(kit.crash)
    tree._services.find("/a").mailbox.put_control(lambda actor: "called", "", reply)
    dispatcher.run()
    with pytest.raises(BreakerOpen, match="/a"):
        reply.result()


def test_held_messages_wait_under_the_mailboxs_own_policy_and_are_handled_after(stage, kit):
    spec = BreakerSpec(max_failures=1, reset_timeout=5, while_open="hold")
    dispatcher, tree = broken(stage, kit, spec, mailbox=MailboxSpec(3, Policy.DROP_OLDEST))
    for message in range(1, 6):
        assert tree.ref("/a").put(message)
    dispatcher.advance(5)
    assert [what for _, _, what in kit.log if isinstance(what, int)] == [3, 4, 5]
    assert tree.dead_letters.counts_for("/a")["mailbox full"] == 2


def test_what_would_have_gone_to_an_open_child_is_refused_counted_and_dead_lettered(stage, kit):
    spec = BreakerSpec(max_failures=1, reset_timeout=5, while_open="refuse", probe=1)
    _dispatcher, tree = broken(stage, kit, spec)
    assert [tree.ref("/a").put(n) for n in range(5)] == [True, False, False, False, False]
    tree.ref("/a").tell("order")
    counters = tree.snapshot().find("/a").counters
    assert (counters.refused, counters.depth, counters.control_lost) == (4, 1, 1)
    assert counters.balanced
    assert tree.dead_letters.counts_for("/a")["breaker open"] == 5


def test_after_reset_timeout_half_open_admits_a_bounded_probe_of_asks(stage, kit):
    dispatcher, tree = broken(stage, kit, BreakerSpec(max_failures=1, reset_timeout=5, probe=2, probe_time=60))
    dispatcher.advance(5)
    assert tree.snapshot().find("/a").breaker == "half-open"
    mailbox = tree._services.find("/a").mailbox
    replies = [Reply() for _ in range(4)]
    admitted = [mailbox.put_control(lambda actor: "called", "", reply) for reply in replies]
    assert admitted == [True, True, False, False]
    dispatcher.run()
    assert [reply.result() for reply in replies[:2]] == ["called", "called"]
    assert tree.snapshot().find("/a").breaker == "closed"


def test_a_half_open_child_is_given_at_most_probe_messages_until_it_has_succeeded(stage, kit, faults):
    spec = BreakerSpec(max_failures=1, reset_timeout=5, probe=2, probe_time=60)
    sizes = []

    class Sizes(kit.Scripted):
        def on_batch(self, messages):
            sizes.append(len(messages))

    dispatcher, tree = stage(ChildSpec("a", lambda context: Sizes(context, kit.log), breaker=spec, backoff=AT_ONCE))
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    for n in range(10):
        tree.ref("/a").put(n)
    dispatcher.advance(5)
    assert sizes == [2, 8]
    assert turns(tree) == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]


def test_a_failed_probe_reopens_for_longer(stage, kit, epochs):
    spec = BreakerSpec(max_failures=1, reset_timeout=5, max_reset_timeout=60)
    dispatcher, tree = broken(stage, kit, spec)
    tree.ref("/a").put(kit.crash)
    dispatcher.advance(5)
    assert turns(tree)[-1] == ("half-open", "open")
    dispatcher.advance(9.9)
    assert turns(tree)[-1] == ("half-open", "open")
    dispatcher.advance(0.1)
    assert ("open", "half-open") in turns(tree)[3:]


def test_the_batch_that_failed_is_itself_the_probe(stage, kit, faults):
    spec = BreakerSpec(max_failures=2, reset_timeout=5)
    faults.crash("/a", "before_batch", nth=1, times=2)
    dispatcher, tree = stage(kit.worker("a", breaker=spec, backoff=AT_ONCE), faults=faults)
    tree.ref("/a").put("first")
    dispatcher.run()
    assert tree.snapshot().find("/a").breaker == "open"
    dispatcher.advance(5)
    assert ("/a", 3, "first") in kit.log
    assert tree.snapshot().find("/a").breaker == "closed"


def test_living_for_the_probe_time_is_success_enough_when_nothing_comes(stage, kit):
    dispatcher, tree = broken(stage, kit, BreakerSpec(max_failures=1, reset_timeout=5, probe_time=3))
    dispatcher.advance(7.9)
    assert tree.snapshot().find("/a").breaker == "half-open"
    dispatcher.advance(0.1)
    assert tree.snapshot().find("/a").breaker == "closed"


def test_a_child_whose_work_is_not_messages_can_report_its_success(stage, kit):
    dispatcher, tree = broken(stage, kit, BreakerSpec(max_failures=1, reset_timeout=5, probe_time=60))
    dispatcher.advance(5)
    tree.ref("/a").tell(lambda actor: actor.unhandled("x"))
    dispatcher.run()
    assert tree.snapshot().find("/a").breaker == "half-open"
    tree.ref("/a").tell(lambda actor: actor.context.succeeded())
    dispatcher.run()
    assert tree.snapshot().find("/a").breaker == "closed"


def test_every_transition_is_an_event_that_others_can_subscribe_to(stage, kit, probe):
    dispatcher, tree = stage(kit.worker("a", breaker=BreakerSpec(max_failures=1, reset_timeout=5), backoff=AT_ONCE))
    tree.subscribe(probe)
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    tree.ref("/a").put("probe")
    dispatcher.advance(5)
    seen = [(e.path, e.before, e.after) for e in probe.messages if isinstance(e, BreakerChanged)]
    assert seen == [("/a", "closed", "open"), ("/a", "open", "half-open"), ("/a", "half-open", "closed")]
    assert "told to crash" in next(e.cause for e in probe.messages if isinstance(e, BreakerChanged))


def catching(kit):
    class Catching(kit.Scripted):
        def on_catch_up(self, first_missed):
            self.note(("missed from", first_missed))

    def spec(**fields):
        return ChildSpec("a", lambda context: Catching(context, kit.log), backoff=AT_ONCE, **fields)

    return spec


def heard(kit):
    return [what for _, _, what in kit.log if isinstance(what, (int, tuple))]


def test_an_actor_coming_back_is_told_from_which_message_it_must_be_fed_again_before_live_input(stage, kit):
    spec = BreakerSpec(max_failures=1, reset_timeout=5, while_open="refuse", probe=2)
    dispatcher, tree = stage(catching(kit)(breaker=spec))
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    for n in range(1, 8):
        tree.ref("/a").put(n)
    dispatcher.advance(5)
    tree.ref("/a").put(8)
    dispatcher.run()
    assert heard(kit) == [1, 2, ("missed from", 3), 8]


def test_what_was_queued_before_the_first_missed_message_is_handled_before_the_catch_up(stage, kit, faults):
    spec = BreakerSpec(max_failures=1, reset_timeout=5, while_open="refuse", probe=1)
    faults.crash("/a", "on_control")
    dispatcher, tree = stage(catching(kit)(breaker=spec), faults=faults)
    tree.ref("/a").tell("anything")
    for n in range(1, 5):
        tree.ref("/a").put(n)
    dispatcher.run()
    assert tree.snapshot().find("/a").breaker == "open"
    assert not tree.ref("/a").put(5)
    dispatcher.advance(5)
    tree.ref("/a").put(6)
    dispatcher.run()
    assert heard(kit) == [1, 2, 3, 4, ("missed from", 5), 6]


def test_nothing_missed_means_no_catch_up(stage, kit):
    dispatcher, tree = stage(catching(kit)(breaker=BreakerSpec(max_failures=1, reset_timeout=5)))
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    tree.ref("/a").put(1)
    dispatcher.advance(5)
    assert heard(kit) == [1]


def test_a_child_restarted_by_hand_begins_with_a_closed_breaker(stage, kit):
    _dispatcher, tree = broken(stage, kit, BreakerSpec(max_failures=1, reset_timeout=200))
    tree.terminate_child("/a")
    tree.restart_child("/a")
    assert tree.ref("/a").ask(lambda actor: "called") == "called"
    assert tree.snapshot().find("/a").breaker == "closed"
