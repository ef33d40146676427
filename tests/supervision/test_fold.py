"""Folds: state survives, a failing batch is bisected, and a crash anywhere loses nothing and doubles nothing."""

from __future__ import annotations

import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.supervision import (
    Backoff,
    BreakerSpec,
    ChildSpec,
    Exited,
    Failure,
    FoldActor,
    Quarantine,
    SupervisorSpec,
    Unhandled,
    halve,
)
from tickloom.supervision.testing import Dispatcher, FaultPlan, Probe

AT_ONCE = Backoff(base=0)
POINTS = ("before_fold", "after_fold", "before_commit", "after_commit", "on_emit", "on_control")


def sums(messages):
    total, out = 0, []
    for message in messages:
        total += message
        out.append(total)
    return out


def test_a_restarted_actor_starts_from_its_last_committed_state(stage, kit, probe):
    dispatcher, tree = stage(kit.adder("a", probe, backoff=AT_ONCE))
    for n in (1, 2, 3):
        tree.ref("/a").put(n)
    dispatcher.run()
    tree.ref("/a").tell(lambda actor: actor.exit())
    dispatcher.run()
    assert tree.snapshot().find("/a").epoch == 2
    assert tree.ref("/a").ask("sum") == 6
    tree.ref("/a").put(4)
    dispatcher.run()
    assert probe.messages[-1] == 10


def test_a_batch_that_fails_is_bisected_the_guilty_rows_are_quarantined_and_the_rest_is_handled(stage, kit, probe):
    dispatcher, tree = stage(kit.adder("a", probe))
    rows = [1, 2, "bad", 4, 5, "bad", 7, 8, 9]
    for row in rows:
        tree.ref("/a").put(row, sender="me")
    dispatcher.run()
    assert tree.ref("/a").ask("sum") == 36
    view = tree.snapshot().find("/a")
    assert (view.epoch, view.handled, view.quarantined) == (1, 7, 2)
    assert [letter.message for letter in tree.dead_letters.recent()] == ["bad", "bad"]
    assert tree.dead_letters.counts() == {"quarantined": 2}
    told = [event for event in tree.events() if isinstance(event, Quarantine)]
    assert [(q.count, q.cause) for q in told] == [(2, "ValueError: cannot add 'bad'")]
    assert not [event for event in tree.events() if isinstance(event, Exited)]


def test_a_failing_fold_is_told_as_a_failure_once_for_each_guilty_piece(stage, kit, probe):
    dispatcher, tree = stage(kit.adder("a", probe))
    for row in ["bad", 1, "bad"]:
        tree.ref("/a").put(row)
    dispatcher.run()
    failures = [event for event in tree.events() if isinstance(event, Failure)]
    assert [(f.phase, str(f.cause)) for f in failures] == [("fold", "cannot add 'bad'")] * 2
    assert "in step" in failures[0].traceback_text


@given(rows=st.lists(st.one_of(st.integers(-9, 9), st.just("bad")), max_size=40))
@settings(max_examples=60, deadline=None)
def test_what_a_bisected_batch_comes_to_does_not_depend_on_where_the_guilty_rows_are(rows):
    class Adding:
        def initial(self):
            return 0

        def step(self, state, messages):
            if "bad" in messages:
                raise ValueError("bad")
            return state + sum(messages), ()

        split = staticmethod(halve)

    dispatcher = Dispatcher()
    tree = dispatcher.tree(SupervisorSpec((ChildSpec("a", lambda context: FoldActor(context, Adding())),)))
    tree.start()
    for row in rows:
        tree.ref("/a").put(row)
    dispatcher.run()
    good = [row for row in rows if row != "bad"]
    state = tree._services.find("/a").memory.state
    assert (state or 0) == sum(good)
    assert tree.snapshot().find("/a").quarantined == len(rows) - len(good)
    tree.stop("now")


def test_a_fold_that_fails_on_everything_quarantines_everything_and_goes_on(stage, kit, probe):
    dispatcher, tree = stage(kit.adder("a", probe))
    for _ in range(50):
        tree.ref("/a").put("bad")
    tree.ref("/a").put(1)
    dispatcher.run()
    assert tree.ref("/a").ask("sum") == 1
    assert tree.snapshot().find("/a").quarantined == 50
    assert len([event for event in tree.events() if isinstance(event, Failure)]) == 8


def test_what_cannot_be_split_is_quarantined_whole(stage, kit, probe):
    class Whole(kit.Adding):
        def split(self, messages):
            return None

    class Adder(kit.Adder):
        def __init__(self, context):
            super().__init__(context, probe)
            self.fold = Whole()

    dispatcher, tree = stage(ChildSpec("a", Adder))
    for row in (1, "bad", 2):
        tree.ref("/a").put(row)
    dispatcher.run()
    assert tree.snapshot().find("/a").quarantined == 3


def test_what_stands_in_for_the_guilty_rows_is_emitted_in_their_place(stage, kit, probe):
    class Reporting(kit.Adder):
        def quarantined(self, messages, error):
            return [("guilty", tuple(messages), str(error))]

    dispatcher, tree = stage(ChildSpec("a", lambda context: Reporting(context, probe)))
    for row in (1, "bad", 2):
        tree.ref("/a").put(row)
    dispatcher.run()
    assert probe.messages == [1, ("guilty", ("bad",), "cannot add 'bad'"), 3]


def test_a_failed_fold_leaves_no_half_done_update(stage, kit, probe):
    """The fold fails at the last row of its batch, having gone through the others: they count once, not twice."""
    dispatcher, tree = stage(kit.adder("a", probe))
    for row in (1, 2, 3, "bad"):
        tree.ref("/a").put(row)
    dispatcher.run()
    assert probe.messages[-1] == 6
    assert tree.ref("/a").ask("sum") == 6


def outcome(seed, point, nth, times, rows=30, batch=4):
    """Run an adder under a planned fault and a random schedule; return what came out, and its place's view."""
    probe, plan = Probe(), FaultPlan()
    plan.crash("/a", point, nth=nth, times=times)
    dispatcher = Dispatcher(seed)

    class Adding:
        def initial(self):
            return 0

        def step(self, state, messages):
            out = []
            for message in messages:
                state += message
                out.append(state)
            return state, out

        split = staticmethod(halve)

    class Adder(FoldActor):
        def __init__(self, context):
            super().__init__(context, Adding())

        def emit(self, output):
            probe.put(output)

    child = ChildSpec(
        "a", Adder, backoff=AT_ONCE, max_batch=batch, breaker=BreakerSpec(max_failures=3, reset_timeout=1)
    )
    tree = dispatcher.tree(SupervisorSpec((child,)), faults=plan)
    tree.start()
    for n in range(rows):
        tree.ref("/a").put(n)
    tree.ref("/a").tell("anything")
    dispatcher.advance(60)
    view = tree.snapshot().find("/a")
    tree.stop("now")
    return probe.messages, view, plan


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_crash_at_any_point_any_number_of_times_loses_nothing_and_doubles_nothing(point, times):
    undisturbed = sums(range(30))
    for nth in (1, 2, 7, 16, 29, 30):
        messages, view, plan = outcome(nth, point, 1 if point == "on_control" else nth, times)
        assert messages == undisturbed
        # what is committed is not handled again, and a query's trouble crashes nothing but itself
        assert plan.crashes == (1 if point in ("after_commit", "on_control") else times)
        assert view.quarantined == 0
        assert view.breaker == "closed"


def test_beyond_the_budget_the_breaker_opens_and_after_recovery_the_output_is_equal_all_the_same():
    messages, view, plan = outcome(3, "before_commit", 10, 5)
    assert view.epoch == 6
    assert plan.crashes == 5
    assert messages == sums(range(30))


def test_a_batch_that_keeps_crashing_its_actor_outside_the_fold_is_quarantined(stage, kit, probe, faults):
    faults.crash("/a", "before_commit", nth=2, times=10**6)
    child = kit.adder("a", probe, backoff=AT_ONCE, max_batch=1, poison_after=4)
    dispatcher, tree = stage(child, faults=faults, intensity=99)
    for n in (1, 10, 100):
        tree.ref("/a").put(n, sender="me")
    dispatcher.run()
    assert tree.ref("/a").ask("sum") == 101
    assert [(d.message, d.sender, d.reason) for d in tree.dead_letters.recent()] == [(10, "me", "poison")]
    assert tree.snapshot().find("/a").epoch == 5


def test_random_crashes_everywhere_in_random_schedules_change_nothing_in_a_chain_of_folds():
    rows = 25
    for seed in range(30):
        plan, probe = FaultPlan(), Probe()
        dispatcher = Dispatcher(seed)

        class Step(FoldActor):
            def __init__(self, context, to, fold):
                super().__init__(context, fold)
                self.to = to if hasattr(to, "messages") else context.ref(to)

            def emit(self, output):
                self.to.put(output)

        class Adding:
            def initial(self):
                return 0

            def step(self, state, messages):
                out = []
                for message in messages:
                    state += message
                    out.append(state)
                return state, out

            split = staticmethod(halve)

        def child(child_id, to, step=Step, fold=Adding):
            return ChildSpec(
                child_id, lambda context: step(context, to, fold()), backoff=AT_ONCE, max_batch=3, poison_after=10**6
            )

        spec = SupervisorSpec((child("c", probe), child("b", "/c"), child("a", "/b")), intensity=10**6)
        tree = dispatcher.tree(spec, faults=plan)
        tree.start()
        plan.crash_randomly(Random(seed), 0.05)
        for n in range(rows):
            tree.ref("/a").put(n)
            dispatcher.step()
        dispatcher.advance(1)
        plan.calm()
        assert tree.stop("drain", 60).clean
        assert probe.messages == sums(sums(sums(range(rows))))
        assert tree.dead_letters.counts() == {}


def test_a_query_reads_the_committed_state_and_its_error_crashes_nothing(stage, kit, probe):
    dispatcher, tree = stage(kit.adder("a", probe))
    tree.ref("/a").put(5)
    dispatcher.run()
    assert tree.ref("/a").ask("sum") == 5
    with pytest.raises(ValueError, match="told to crash"):
        tree.ref("/a").ask(kit.crash)
    failures = [event for event in tree.events() if isinstance(event, Failure)]
    assert [(f.phase, str(f.cause)) for f in failures] == [("query", "told to crash")]
    assert tree.snapshot().find("/a").epoch == 1


def test_a_fold_without_queries_answers_that_it_has_none(stage, kit):
    _dispatcher, tree = stage(ChildSpec("a", lambda context: FoldActor(context, kit.Adding())))
    with pytest.raises(Unhandled):
        tree.ref("/a").ask("sum")


def test_outputs_that_never_got_out_are_accounted_for(stage, kit, probe, faults):
    faults.crash("/a", "on_emit", nth=1, times=10**6)
    dispatcher, tree = stage(kit.adder("a", probe, backoff=Backoff(base=100, cap=100)), faults=faults)
    tree.ref("/a").put(5)
    dispatcher.run()
    assert tree.snapshot().find("/a").unemitted == 1
    tree.stop("now")
    assert tree.dead_letters.counts() == {"not emitted: stopped": 1}


def test_splitting_in_halves_keeps_the_order_and_ends():
    assert halve([1, 2, 3]) == ([1], [2, 3])
    assert halve([1]) is None
    assert halve([]) is None


def test_a_stop_in_the_midst_of_emitting_keeps_what_is_not_out_for_the_next_incarnation(
    plant, kit, probe, faults, until
):
    class Out:
        def initial(self):
            return 0

        def step(self, state, messages):
            return state, [f"{message}.{part}" for message in messages for part in range(4)]

        split = staticmethod(halve)

    class Emitting(FoldActor):
        def emit(self, output):
            probe.put(output)

    reached, release = faults.hold("/a", "on_emit", nth=2)
    tree = plant(
        kit.worker("b", backoff=AT_ONCE),
        ChildSpec("a", lambda context: Emitting(context, Out())),
        strategy="one_for_all",
        faults=faults,
    )
    tree.ref("/a").put("m")
    assert reached.wait(5)
    tree.ref("/b").tell(kit.crash)
    until(lambda: tree.snapshot().find("/a").state == "stopping")
    release.set()
    probe.wait_for(4)
    assert probe.messages == ["m.0", "m.1", "m.2", "m.3"]
    assert tree.snapshot().find("/a").epoch == 2


def test_what_a_fenced_incarnation_still_lets_go_does_not_count(plant, kit, until):
    """It was given up in the midst of an `emit`; when that returns, the next incarnation is further on already."""
    out, gates = [], [threading.Event(), threading.Event()]
    inside = [threading.Event(), threading.Event()]

    class Out:
        def initial(self):
            return 0

        def step(self, state, messages):
            return state, ["first", "second", "third"]

        split = staticmethod(halve)

    class Emitting(FoldActor):
        def emit(self, output):
            out.append((self.context.epoch, output))
            at = {(1, "first"): 0, (2, "third"): 1}.get(out[-1])
            if at is not None:
                inside[at].set()
                gates[at].wait(20)

    tree = plant(
        kit.worker("b", backoff=AT_ONCE),
        ChildSpec("a", lambda context: Emitting(context, Out()), shutdown=0.05),
        strategy="one_for_all",
    )
    try:
        tree.ref("/a").put("m")
        assert inside[0].wait(20)
        hung = threading.enumerate()
        tree.ref("/b").tell(kit.crash)
        assert inside[1].wait(20)
        assert tree.snapshot().find("/a").unemitted == 1
        gates[0].set()
        for thread in hung:
            if thread.name.endswith("/a"):
                thread.join(20)
        view = tree.snapshot().find("/a")
        assert (view.epoch, view.unemitted, view.emitted) == (2, 1, 2)
    finally:
        for gate in gates:
            gate.set()
    until(lambda: tree.snapshot().find("/a").unemitted == 0)
    assert out == [(1, "first"), (2, "first"), (2, "second"), (2, "third")]


def test_each_incarnation_has_what_is_not_out_to_itself(plant, kit, until):
    """So that one which was given up in the midst of an output, and then counts it, counts it for nobody."""
    tree = plant(kit.worker("a", backoff=AT_ONCE))
    place = tree._services.find("/a")
    earlier = place.memory
    tree.ref("/a").tell(kit.crash)
    until(lambda: tree.snapshot().find("/a").epoch == 2)
    earlier.emitted = 7
    assert (place.memory.state, place.memory.emitted) == (earlier.state, 0)
