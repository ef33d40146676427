"""What supervisors decide: restart types, strategies, intensity, significant children. Run step by step, time by hand.

Where a rule is OTP's, it is that of `supervisor(3)`.
"""

from __future__ import annotations

import pytest

from tickloom.supervision import (
    NORMAL,
    SHUTDOWN,
    Backoff,
    BreakerChanged,
    BreakerSpec,
    ChildSpec,
    Exited,
    ExitKind,
    IntensityExceeded,
    Started,
    SupervisorSpec,
    TreeStopped,
)
from tickloom.supervision.core import IllegalStep, new_supervisor, step
from tickloom.supervision.exits import Exit
from tickloom.supervision.lifecycle import (
    CHILD_TRANSITIONS,
    SUPERVISOR_TRANSITIONS,
    Move,
    Phase,
    Stage,
    Turn,
)
from tickloom.supervision.orders import Begin, ChildExited, ChildUp, Halt, SetBackoff, StartChild

AT_ONCE = Backoff(base=0)


def history(tree, kind):
    return [event for event in tree.events() if isinstance(event, kind)]


# --- restart types ---


@pytest.mark.parametrize(
    ("restart", "ending", "comes_back"),
    [
        ("permanent", "normal", True),
        ("permanent", "shutdown", True),
        ("permanent", "crash", True),
        ("transient", "normal", False),
        ("transient", "shutdown", False),
        ("transient", "crash", True),
        ("temporary", "normal", False),
        ("temporary", "shutdown", False),
        ("temporary", "crash", False),
    ],
)
def test_restart_types_decide_who_comes_back_after_what(stage, kit, epochs, restart, ending, comes_back):
    dispatcher, tree = stage(kit.worker("a", restart=restart, backoff=AT_ONCE))
    endings = {
        "normal": lambda actor: actor.exit(NORMAL),
        "shutdown": lambda actor: actor.exit(SHUTDOWN),
        "crash": kit.crash,
    }
    tree.ref("/a").tell(endings[ending])
    dispatcher.run()
    assert epochs(tree).get("/a", 0) == (2 if comes_back else 0)
    assert [event.exit.kind.value for event in history(tree, Exited)] == [ending]


def test_a_transient_child_that_finished_keeps_its_spec_and_can_be_started_again(stage, kit, epochs):
    dispatcher, tree = stage(kit.worker("a", restart="transient"))
    tree.ref("/a").tell(kit.leave)
    dispatcher.run()
    assert tree.child_spec("/a").id == "a"
    tree.restart_child("/a")
    assert epochs(tree)["/a"] == 2


def test_a_temporary_childs_spec_goes_with_it_arguments_and_all(stage, kit):
    import gc
    import weakref

    class Argument:
        pass

    argument = Argument()
    known = weakref.ref(argument)
    dispatcher, tree = stage(kit.worker("b"))

    def spec(given):
        return ChildSpec("a", lambda context: given and kit.Scripted(context, []), restart="temporary")

    ref = tree.start_child("/", spec(argument))
    del argument
    assert known() is not None
    ref.tell(kit.leave)
    dispatcher.run()
    with pytest.raises(LookupError, match="/a"):
        tree.child_spec("/a")
    with pytest.raises(LookupError, match="/a"):
        tree.ref("/a")
    del ref
    gc.collect()
    assert known() is None


# --- strategies ---


def test_one_for_one_the_siblings_keep_their_identity(stage, kit, epochs):
    dispatcher, tree = stage(*(kit.worker(name, backoff=AT_ONCE) for name in "abc"))
    tree.ref("/b").tell(kit.crash)
    dispatcher.run()
    assert epochs(tree) == {"/": 1, "/a": 1, "/b": 2, "/c": 1}


def test_one_for_all_no_old_child_survives(stage, kit, epochs):
    dispatcher, tree = stage(*(kit.worker(name, backoff=AT_ONCE) for name in "abc"), strategy="one_for_all")
    kit.log.clear()
    tree.ref("/b").tell(kit.crash)
    dispatcher.run()
    assert epochs(tree) == {"/": 1, "/a": 2, "/b": 2, "/c": 2}
    assert kit.notes("exit") == ["/b", "/c", "/a"]
    assert kit.notes("start") == ["/a", "/b", "/c"]


def test_rest_for_one_earlier_children_stay_and_later_ones_are_replaced_in_order(stage, kit, epochs):
    dispatcher, tree = stage(*(kit.worker(name, backoff=AT_ONCE) for name in "abcd"), strategy="rest_for_one")
    kit.log.clear()
    tree.ref("/b").tell(kit.crash)
    dispatcher.run()
    assert epochs(tree) == {"/": 1, "/a": 1, "/b": 2, "/c": 2, "/d": 2}
    assert kit.notes("exit") == ["/b", "/d", "/c"]
    assert kit.notes("start") == ["/b", "/c", "/d"]


def test_a_second_crash_during_a_group_restart_widens_it(stage, kit, epochs):
    backoff = Backoff(base=1, jitter=0)
    dispatcher, tree = stage(*(kit.worker(n, backoff=backoff) for n in "abc"), strategy="rest_for_one", intensity=9)
    tree.ref("/c").tell(kit.crash)
    dispatcher.advance(0.5)
    tree.ref("/a").tell(kit.crash)
    dispatcher.advance(1)
    assert epochs(tree) == {"/": 1, "/a": 2, "/b": 2, "/c": 2}


def test_a_parked_child_stays_parked_when_its_group_restarts(stage, kit, epochs):
    dispatcher, tree = stage(*(kit.worker(name, backoff=AT_ONCE) for name in "ab"), strategy="one_for_all")
    tree.terminate_child("/a")
    tree.ref("/b").tell(kit.crash)
    dispatcher.run()
    assert epochs(tree) == {"/": 1, "/a": 0, "/b": 2}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_temporary_child_goes_down_with_its_group_and_does_not_come_back_with_it(stage, kit, epochs, strategy):
    children = kit.worker("a", backoff=AT_ONCE), kit.worker("b", restart="temporary"), kit.worker("c")
    dispatcher, tree = stage(*children, strategy=strategy)
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    assert epochs(tree) == {"/": 1, "/a": 2, "/c": 2}
    assert kit.notes("exit") == ["/a", "/c", "/b"]


def test_an_order_to_a_supervisor_that_is_down_starts_nothing_there(stage, kit, epochs):
    """Found by the randomised model: to drain a child of a stopped supervisor brought it up, under nobody."""
    _dispatcher, tree = stage(kit.sup("s", kit.worker("a")))
    tree.terminate_child("/s")
    tree.terminate_child("/s/a", "drain")
    assert epochs(tree) == {"/": 1, "/s": 0, "/s/a": 0}
    with pytest.raises(TreeStopped, match="/s/a"):
        tree.restart_child("/s/a")


def test_an_incarnation_counts_on_from_the_last_also_when_its_place_was_gone(stage, kit, epochs):
    """Found by the randomised model: a temporary child came back, with its supervisor, as a second epoch 1."""
    inner = kit.sup("s", kit.worker("a", restart="temporary"), kit.worker("b", backoff=AT_ONCE), intensity=0)
    dispatcher, tree = stage(ChildSpec("s", inner.start, backoff=AT_ONCE))
    tree.ref("/s/a").tell(kit.leave)
    dispatcher.run()
    crash(dispatcher, tree, "/s/b", kit)
    assert epochs(tree) == {"/": 1, "/s": 2, "/s/a": 2, "/s/b": 2}


def test_messages_wait_at_the_places_of_a_group_while_it_restarts(stage, kit):
    backoff = Backoff(base=1, jitter=0)
    dispatcher, tree = stage(kit.worker("a", backoff=backoff), kit.worker("b"), strategy="one_for_all")
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    assert tree.ref("/b").put("kept")
    dispatcher.advance(1)
    assert ("/b", 2, "kept") in kit.log


# --- intensity ---


def crash(dispatcher, tree, path, kit):
    tree.ref(path).tell(kit.crash)
    dispatcher.run()


def test_n_restarts_within_the_period_are_borne(stage, kit, epochs):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE), intensity=3, period=10)
    for _ in range(3):
        crash(dispatcher, tree, "/a", kit)
    assert epochs(tree)["/a"] == 4
    assert tree.running


def test_n_plus_1_stops_the_children_and_then_the_supervisor_and_the_parent_sees_a_shutdown_exit(stage, kit, epochs):
    inner = kit.sup("s", *(kit.worker(n, backoff=AT_ONCE) for n in "abc"), restart="temporary", intensity=1)
    dispatcher, tree = stage(inner, kit.worker("z"))
    kit.log.clear()
    crash(dispatcher, tree, "/s/b", kit)
    crash(dispatcher, tree, "/s/b", kit)
    assert kit.notes("exit") == ["/s/b", "/s/b", "/s/c", "/s/a"]
    seen = history(tree, Exited)[-1]
    assert (seen.path, seen.exit.kind) == ("/s", ExitKind.SHUTDOWN)
    assert [(e.path, e.child) for e in history(tree, IntensityExceeded)] == [("/s", "/s/b")]
    assert epochs(tree) == {"/": 1, "/z": 1}


def test_an_exhausted_root_ends_the_tree_and_says_why(stage, kit):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE), intensity=0)
    crash(dispatcher, tree, "/a", kit)
    assert not tree.running
    ended = tree.wait(1)
    assert ended.kind is ExitKind.SHUTDOWN
    assert "/a" in ended.detail
    assert "told to crash" in ended.detail


def test_failed_restarts_count(stage, kit):
    starts = []

    def start(context):
        starts.append(context.epoch)
        if context.epoch > 1:
            raise OSError("no such device")
        return kit.Scripted(context, [])

    dispatcher, tree = stage(ChildSpec("a", start, backoff=AT_ONCE), intensity=2, period=60)
    crash(dispatcher, tree, "/a", kit)
    assert starts == [1, 2, 3]
    assert not tree.running


def test_the_window_slides_old_restarts_leave_it(stage, kit, epochs):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE), intensity=2, period=10)
    for _ in range(6):
        crash(dispatcher, tree, "/a", kit)
        dispatcher.advance(5.001)
    assert epochs(tree)["/a"] == 7
    crash(dispatcher, tree, "/a", kit)
    dispatcher.advance(1)
    crash(dispatcher, tree, "/a", kit)
    assert not tree.running


def test_a_parent_restarts_an_exhausted_child_supervisor_under_its_own_budget(stage, kit, epochs):
    inner = kit.sup("s", kit.worker("a", backoff=AT_ONCE), kit.worker("b"), intensity=0)
    dispatcher, tree = stage(ChildSpec("s", inner.start, backoff=AT_ONCE), kit.worker("z"), intensity=2, period=60)
    for count in (1, 2):
        crash(dispatcher, tree, "/s/a", kit)
        assert epochs(tree) == {"/": 1, "/s": count + 1, "/s/a": count + 1, "/s/b": count + 1, "/z": 1}
    crash(dispatcher, tree, "/s/a", kit)
    assert not tree.running


def test_a_supervisor_in_a_restart_loop_still_answers_and_still_stops(stage, kit):
    def never_up(context):
        if context.epoch > 1:
            raise OSError("still broken")
        return kit.Scripted(context, [])

    loop = ChildSpec("a", never_up, backoff=Backoff(base=0.001, cap=0.001))
    dispatcher, tree = stage(loop, kit.worker("b"), intensity=10**9)
    tree.ref("/a").tell(kit.crash)
    dispatcher.advance(0.2)
    assert tree.snapshot().find("/a").epoch > 180
    tree.start_child("/", kit.worker("c"))
    assert tree.ref("/c").ask(lambda actor: "here") == "here"
    assert tree.stop("drain", 5).clean


def test_a_child_with_a_breaker_does_not_use_up_its_supervisors_intensity(stage, kit, epochs):
    breaker = BreakerSpec(max_failures=3, reset_timeout=1)
    dispatcher, tree = stage(kit.worker("a", breaker=breaker, backoff=AT_ONCE), intensity=0)
    for _ in range(3):
        crash(dispatcher, tree, "/a", kit)
    assert tree.running
    assert tree.snapshot().find("/a").state == "breaker open"
    assert history(tree, IntensityExceeded) == []
    assert len(history(tree, BreakerChanged)) == 1


# --- significant children ---


def test_a_significant_transient_childs_normal_exit_ends_the_supervisor(stage, kit, epochs):
    significant = kit.worker("a", restart="transient", significant=True)
    inner = kit.sup("s", significant, kit.worker("b"), restart="temporary", auto_shutdown="any")
    dispatcher, tree = stage(inner)
    tree.ref("/s/a").tell(kit.leave)
    dispatcher.run()
    assert epochs(tree) == {"/": 1}
    last = history(tree, Exited)[-1]
    assert (last.path, last.exit.kind) == ("/s", ExitKind.SHUTDOWN)


def test_a_significant_transient_childs_crash_restarts_it(stage, kit, epochs):
    significant = kit.worker("a", restart="transient", significant=True, backoff=AT_ONCE)
    dispatcher, tree = stage(significant, kit.worker("b"), auto_shutdown="any")
    crash(dispatcher, tree, "/a", kit)
    assert epochs(tree) == {"/": 1, "/a": 2, "/b": 1}


def test_auto_shutdown_all_waits_for_the_last_significant_child(stage, kit, epochs):
    one, two = (kit.worker(name, restart="transient", significant=True) for name in "ab")
    dispatcher, tree = stage(one, two, kit.worker("c"), auto_shutdown="all")
    tree.ref("/a").tell(kit.leave)
    dispatcher.run()
    assert epochs(tree) == {"/": 1, "/a": 0, "/b": 1, "/c": 1}
    tree.ref("/b").tell(kit.leave)
    dispatcher.run()
    assert not tree.running
    assert tree.wait(1).kind is ExitKind.SHUTDOWN


def test_an_ordinary_childs_exit_does_not_end_the_supervisor(stage, kit):
    dispatcher, tree = stage(
        kit.worker("a", restart="transient", significant=True),
        kit.worker("b", restart="transient"),
        auto_shutdown="any",
    )
    tree.ref("/b").tell(kit.leave)
    dispatcher.run()
    assert tree.running


# --- the pure core ---


def pure(*ids, **spec):
    return new_supervisor("/", SupervisorSpec(tuple(ChildSpec(i, lambda context: None) for i in ids), **spec))


def test_a_step_changes_nothing_in_the_state_it_was_given():
    state = pure("a")
    before = repr(state)
    after, commands = step(state, Begin(), 0)
    assert repr(state) == before
    assert after is not state
    assert next(type(command) for command in commands) is StartChild


def test_an_illegal_step_is_refused_and_leaves_the_state_as_it_was():
    state, _ = step(pure("a"), Begin(), 0)
    before = repr(state)
    with pytest.raises(IllegalStep, match="starting"):
        step(state, Begin(), 0)
    assert repr(state) == before


def test_events_of_an_incarnation_that_is_not_the_present_one_change_nothing():
    state, _ = step(pure("a"), Begin(), 0)
    for stale in (ChildUp("a", 7), ChildExited("a", 0, NORMAL), ChildExited("stranger", 1, Exit(ExitKind.CRASH))):
        same, commands = step(state, stale, 5)
        assert same == state
        assert commands == []


def test_children_start_one_after_another_each_when_the_one_before_is_up():
    state, commands = step(pure("a", "b"), Begin(), 0)
    assert [c.spec.id for c in commands if isinstance(c, StartChild)] == ["a"]
    state, commands = step(state, ChildUp("a", 1), 0)
    assert [c.spec.id for c in commands if isinstance(c, StartChild)] == ["b"]
    state, _ = step(state, ChildUp("b", 1), 0)
    assert state.stage is Stage.RUNNING


def test_an_empty_supervisor_starts_and_stops():
    state, _ = step(pure(), Begin(), 0)
    assert state.stage is Stage.RUNNING
    state, _ = step(state, Halt("now", 10, final=True), 0)
    assert state.stage is Stage.DONE


def test_every_phase_and_stage_can_be_reached_and_left_but_the_last():
    phases = {phase for phase, _ in CHILD_TRANSITIONS}
    assert phases == set(Phase) == set(CHILD_TRANSITIONS.values())
    assert {move for _, move in CHILD_TRANSITIONS} == set(Move)
    stages = {stage for stage, _ in SUPERVISOR_TRANSITIONS}
    assert stages == set(Stage) - {Stage.DONE}
    assert set(SUPERVISOR_TRANSITIONS.values()) == set(Stage) - {Stage.IDLE}
    assert {turn for _, turn in SUPERVISOR_TRANSITIONS} == set(Turn)


def test_the_tree_says_when_each_incarnation_came_up_and_went(stage, kit):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE))
    crash(dispatcher, tree, "/a", kit)
    tree.stop("now")
    ups = [(e.path, e.epoch) for e in history(tree, Started)]
    downs = [(e.path, e.epoch) for e in history(tree, Exited)]
    assert ups == [("/a", 1), ("/", 1), ("/a", 2)]
    assert downs == [("/a", 1), ("/a", 2), ("/", 1)]


def test_a_child_that_dies_while_its_group_still_starts_is_dealt_with_once_the_group_is_up():
    state, _ = step(pure("a", "b"), Begin(), 0)
    state, _ = step(state, ChildUp("a", 1), 0)
    state, commands = step(state, ChildExited("a", 1, Exit(ExitKind.CRASH, ValueError("early"))), 0)
    assert state.stage is Stage.STARTING
    assert not [c for c in commands if isinstance(c, StartChild)]
    state, commands = step(state, ChildUp("b", 1), 0)
    assert state.stage is Stage.RUNNING
    assert [c.key.id for c in commands if isinstance(c, SetBackoff)] == ["a"]


def test_a_temporary_child_that_declines_is_not_kept(stage, kit, epochs):
    _, tree = stage(kit.worker("a"))
    tree.start_child("/", ChildSpec("b", lambda context: None, restart="temporary"))
    assert epochs(tree) == {"/": 1, "/a": 1}


def test_a_drain_by_hand_is_over_at_its_deadline_also_when_the_child_cannot_come_up_to_finish(stage, kit):
    slow = Backoff(base=100, cap=100, jitter=0)
    dispatcher, tree = stage(kit.worker("a", max_batch=1, backoff=slow), intensity=5)
    tree.ref("/a").put(kit.crash)
    tree.ref("/a").put("never handled")
    tree.drain("/a", timeout=3)
    assert dispatcher.seconds() == 3
    assert tree.snapshot().find("/a").state == "parked"
    assert tree.dead_letters.counts_for("/a") == {"terminated": 2}
