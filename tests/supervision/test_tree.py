"""The tree: start, stop, children by hand, death watch, and what it shows of itself."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tickloom.supervision import (
    Actor,
    ActorDead,
    AlreadyPresent,
    AlreadyStarted,
    Backoff,
    BreakerSpec,
    CapacityChanged,
    ChildRunning,
    ChildSpec,
    Declined,
    Died,
    Exited,
    ExitKind,
    MailboxSpec,
    NoSuchPlace,
    Overrun,
    SpecError,
    Started,
    StartError,
    Straggler,
    SupervisionError,
    TreeStopped,
)
from tickloom.supervision.ref import Reply

AT_ONCE = Backoff(base=0)


def failing(context):
    raise OSError("no such device")


# --- start ---


def test_children_start_in_order_and_stop_in_reverse(plant, kit):
    tree = plant(kit.worker("a"), kit.sup("s", kit.worker("x"), kit.worker("y")), kit.worker("b"))
    assert kit.notes("start") == ["/a", "/s/x", "/s/y", "/b"]
    tree.stop()
    assert kit.notes("exit") == ["/b", "/s/y", "/s/x", "/a"]


def test_if_child_k_fails_to_start_those_before_it_are_stopped_in_reverse_and_the_error_names_k(plant, kit):
    tree = plant(kit.worker("a"), kit.worker("b"), ChildSpec("k", failing), kit.worker("z"), start=False)
    with pytest.raises(StartError, match=r"/k failed to start.*no such device") as refused:
        tree.start()
    assert isinstance(refused.value.__cause__, OSError)
    assert kit.notes("start") == ["/a", "/b"]
    assert kit.notes("exit") == ["/b", "/a"]
    assert tree.threads() == []


def test_a_child_that_fails_deep_down_is_named_by_its_whole_path(plant, kit):
    tree = plant(kit.worker("a"), kit.sup("s", kit.worker("x"), kit.sup("t", ChildSpec("k", failing))), start=False)
    with pytest.raises(StartError, match=r"/s/t/k failed to start"):
        tree.start()
    assert kit.notes("exit") == ["/s/x", "/a"]


def test_a_start_that_fails_in_on_start_counts_as_failed_too(plant, kit):
    class Late(Actor):
        def on_start(self):
            raise OSError("no such device")

    with pytest.raises(StartError, match=r"/late.*no such device"):
        plant(ChildSpec("late", Late))


def test_what_is_not_an_actor_is_refused_by_name(plant):
    with pytest.raises(StartError, match=r"/a: start must return an Actor or None, not 42"):
        plant(ChildSpec("a", lambda context: 42))


@pytest.mark.parametrize("how", ["none", "raise", "on_start"])
def test_a_child_may_decline_to_start_its_spec_is_kept_nothing_runs(plant, kit, how):
    class Declining(Actor):
        def on_start(self):
            raise Declined("not today")

    def declined(context):
        raise Declined("not today")

    start = {"none": lambda context: None, "raise": declined, "on_start": Declining}[how]
    tree = plant(ChildSpec("a", start), kit.worker("b"))
    assert tree.child_spec("/a").start is start
    view = tree.snapshot().find("/a")
    assert (view.state, view.alive) == ("parked", False)
    assert not tree.ref("/a").put("anything")


def test_a_start_that_takes_too_long_is_fenced_and_is_a_failed_start(plant, kit, clock, faults, probe):
    reached, release = faults.hold("/slow", "start")
    tree = plant(kit.worker("a"), kit.worker("slow", start_timeout=2), start=False, clock=clock, faults=faults)
    errors = []

    def start():
        try:
            tree.start()
        except StartError as error:
            errors.append(str(error))

    starter = threading.Thread(target=start)
    starter.start()
    assert reached.wait(5)
    clock.wait_for_sleepers(2)
    clock.advance(2)
    release.set()
    starter.join(5)
    assert errors == ["child /slow failed to start: overrun (was not up after 2 s)"]
    assert tree.stop().overruns == ("/slow",)


def test_a_tree_that_is_not_up_in_time_says_who_is_still_starting(plant, kit, clock, faults, until):
    reached, release = faults.hold("/slow", "start")
    tree = plant(kit.worker("slow", start_timeout=60), start=False, clock=clock, faults=faults)
    errors = []

    def start():
        try:
            tree.start(timeout=1)
        except StartError as error:
            errors.append(str(error))

    starter = threading.Thread(target=start)
    starter.start()
    assert reached.wait(5)
    clock.wait_for_sleepers(2)
    clock.advance(1)
    until(lambda: tree.snapshot().find("/slow").state == "stopping")
    release.set()
    starter.join(5)
    assert errors == ["t: not up after 1 s; still starting: /slow"]


def test_a_tree_starts_once(plant, kit):
    tree = plant(kit.worker("a"))
    with pytest.raises(TreeStopped, match="started once"):
        tree.start()


def test_a_ref_resolves_before_the_start_and_its_messages_wait(plant, kit):
    tree = plant(kit.worker("a"), start=False)
    assert tree.ref("/a").put("early")
    tree.start()
    tree.stop("drain")
    assert ("/a", 1, "early") in kit.log


def test_a_path_that_leads_nowhere_is_refused(plant, kit):
    tree = plant(kit.worker("a"))
    with pytest.raises(NoSuchPlace, match="/b"):
        tree.ref("/b")
    with pytest.raises(NoSuchPlace, match="/b"):
        tree.watch("/b", print)
    with pytest.raises(NoSuchPlace, match="/b"):
        tree.start_child("/b", kit.worker("c"))
    with pytest.raises(NoSuchPlace, match="/b"):
        tree.terminate_child("/b")


# --- stop ---


def test_drain_handles_everything_queued_before_it(plant, kit, faults):
    reached, release = faults.hold("/a", "before_batch")
    tree = plant(kit.worker("a"), faults=faults)
    for n in range(500):
        assert tree.ref("/a").put(n)
    assert reached.wait(5)
    tree.request_stop("drain")
    release.set()
    assert tree.wait(5).kind is ExitKind.SHUTDOWN
    assert [what for _, _, what in kit.log if isinstance(what, int)] == list(range(500))


def test_now_makes_dead_letters_of_what_is_queued(plant, kit, faults, until):
    reached, release = faults.hold("/a", "after_batch")
    tree = plant(kit.worker("a", max_batch=1), faults=faults)
    for n in range(5):
        assert tree.ref("/a").put(n)
    assert reached.wait(5)
    tree.request_stop("now")
    until(lambda: tree.snapshot().find("/a").state == "stopping")
    release.set()
    tree.wait(5)
    assert [what for _, _, what in kit.log if isinstance(what, int)] == [0]
    counters = tree.snapshot().find("/a").counters
    assert counters.taken + counters.discarded == 5
    assert tree.dead_letters.counts_for("/a")["stopped"] == 4


def test_a_pipeline_declared_downstream_first_drains_from_its_top(stage, kit):
    for seed in range(20):
        kit.log.clear()
        small = MailboxSpec(capacity=2)
        _dispatcher, tree = stage(
            kit.worker("end", mailbox=small, max_batch=1),
            kit.adder("middle", "/end", mailbox=small, max_batch=1),
            kit.adder("top", "/middle", max_batch=1),
            seed=seed,
        )
        for _ in range(30):
            tree.ref("/top").put(1)
        assert tree.stop("drain", 5).clean
        assert len([what for _, _, what in kit.log if isinstance(what, int)]) == 30
        assert tree.dead_letters.counts() == {}


def test_draining_brings_a_child_in_backoff_up_to_finish(stage, kit, faults):
    faults.crash("/a", "before_batch", nth=3, times=2)
    child = kit.worker("a", max_batch=1, backoff=Backoff(base=100, cap=100, jitter=0))
    dispatcher, tree = stage(child, faults=faults)
    for n in range(6):
        tree.ref("/a").put(n)
    dispatcher.run()
    assert tree.snapshot().find("/a").state == "backoff"
    faults.calm()
    assert tree.stop("drain", 5).clean
    assert [what for _, _, what in kit.log if isinstance(what, int)] == list(range(6))
    assert dispatcher.seconds() < 5


def test_draining_gives_up_on_a_child_that_cannot_come_up_within_its_budget(stage, kit):
    def once(context):
        if context.epoch > 1:
            raise OSError("gone")
        return kit.Scripted(context, [])

    _dispatcher, tree = stage(ChildSpec("a", once), kit.worker("b"), intensity=3)
    tree.ref("/a").tell(kit.crash)
    tree.ref("/a").put("never handled")
    assert tree.stop("drain", 5).clean
    assert tree.dead_letters.counts_for("/a")["stopped"] == 1


def held_up(plant, kit, clock, faults, *more, **spec):
    """A tree in which the child /slow does not come out of its batch; returns it and what lets it go."""
    reached, release = faults.hold("/slow", "before_batch")
    tree = plant(kit.worker("a"), kit.worker("slow", **spec), kit.worker("b"), *more, clock=clock, faults=faults)
    tree.ref("/slow").put("stuck")
    assert reached.wait(5)
    return tree, release


def stop_in_thread(tree, mode="now", timeout=None):
    reports = []
    thread = threading.Thread(target=lambda: reports.append(tree.stop(mode, timeout)))
    thread.start()
    return thread, reports


def test_a_child_that_overruns_its_shutdown_time_is_fenced_off_and_reported_by_name(
    plant, kit, clock, faults, probe, until
):
    tree, release = held_up(plant, kit, clock, faults, shutdown=2)
    tree.subscribe(probe)
    thread, reports = stop_in_thread(tree)
    until(lambda: tree.snapshot().find("/slow").state == "stopping")
    clock.advance(2)
    overrun = probe.wait_for(Overrun)
    assert (overrun.path, overrun.doing) == ("/slow", "stop")
    probe.wait_for(lambda event: isinstance(event, Exited) and event.path == "/")
    release.set()
    thread.join(10)
    assert reports[0].overruns == ("/slow",)
    assert not reports[0].clean


def test_when_one_overruns_the_siblings_still_stop(plant, kit, clock, faults, probe, until):
    tree, release = held_up(plant, kit, clock, faults, shutdown=2)
    tree.subscribe(probe)
    thread, _ = stop_in_thread(tree)
    until(lambda: tree.snapshot().find("/slow").state == "stopping")
    clock.advance(2)
    probe.wait_for(lambda event: isinstance(event, Exited) and event.path == "/")
    assert [path for path in kit.notes("exit") if path != "/slow"] == ["/b", "/a"]
    release.set()
    thread.join(10)


def test_a_fenced_childs_messages_are_refused_and_its_results_ignored(plant, kit, clock, probe, until):
    reached, release = threading.Event(), threading.Event()
    tried, heard = [], []

    class Overrunning(kit.Scripted):
        def on_batch(self, messages):
            to = self.context.ref("/other")
            self.context.commit("before")
            reached.set()
            release.wait()
            tried.append(to.put("late"))
            tried.append(to.offer("late"))
            to.tell("late")
            try:
                self.context.commit("late")
            except BaseException as error:
                tried.append(type(error).__name__)
                raise

    class Other(kit.Scripted):
        def on_batch(self, messages):
            heard.extend(messages)

    tree = plant(
        ChildSpec("other", lambda context: Other(context, kit.log)),
        ChildSpec("slow", lambda context: Overrunning(context, kit.log), shutdown=1),
        kit.worker("bystander"),
        clock=clock,
    )
    tree.subscribe(probe)
    tree.ref("/slow").put("go")
    assert reached.wait(5)
    stopper = threading.Thread(target=lambda: tree.terminate_child("/slow"))
    stopper.start()
    until(lambda: tree.snapshot().find("/slow").state == "stopping")
    clock.advance(1)
    stopper.join(5)
    release.set()
    probe.wait_for(Straggler)
    assert tried == [False, False, "Fenced"]
    assert heard == []
    assert tree._services.find("/slow").memory.state == "before"
    assert tree.dead_letters.counts_for("/other")["sender fenced"] == 3


def test_an_ask_in_the_hands_of_a_child_that_is_given_up_fails_and_its_late_reply_is_ignored(
    plant, kit, clock, faults, until
):
    reached, release = faults.hold("/b", "on_control")
    tree = plant(
        kit.worker("a", backoff=AT_ONCE),
        kit.worker("b", shutdown=1),
        strategy="one_for_all",
        clock=clock,
        faults=faults,
    )
    mailbox, first, second = tree._services.find("/b").mailbox, Reply(), Reply()
    mailbox.put_control(lambda actor: "too late", "", first)
    assert reached.wait(5)
    mailbox.put_control(lambda actor: actor.context.epoch, "", second)
    tree.ref("/a").tell(kit.crash)
    until(lambda: tree.snapshot().find("/b").state == "stopping")
    clock.advance(1)
    until(lambda: second.settled)
    release.set()
    with pytest.raises(ActorDead, match="/b was given up while it handled the message"):
        first.result()
    assert second.result() == 2


def test_control_messages_a_given_up_child_had_not_come_to_go_to_its_successor(plant, kit, clock, faults, until):
    _, ready = faults.hold("/b", "start")
    reached, release = faults.hold("/b", "on_control")
    tree = plant(
        kit.worker("a", backoff=AT_ONCE), kit.worker("b", shutdown=1), strategy="one_for_all",
        clock=clock, faults=faults, start=False,
    )  # fmt: skip
    for n in range(3):
        tree.ref("/b").tell(lambda actor, n=n: actor.note(n))
    ready.set()
    tree.start()
    assert reached.wait(5)
    tree.ref("/a").tell(kit.crash)
    until(lambda: tree.snapshot().find("/b").state == "stopping")
    clock.advance(1)
    until(lambda: ("/b", 2, 2) in kit.log)
    release.set()
    assert [(epoch, n) for path, epoch, n in kit.log if path == "/b" and isinstance(n, int) and epoch == 2] == [
        (2, 1),
        (2, 2),
    ]


def test_a_fenced_child_is_replaced_and_two_never_take_from_one_mailbox(plant, kit, clock, faults, probe, until):
    reached, release = faults.hold("/b", "before_batch")
    tree = plant(
        kit.worker("a", backoff=AT_ONCE),
        kit.worker("b", shutdown=1),
        strategy="one_for_all",
        clock=clock,
        faults=faults,
    )
    tree.subscribe(probe)
    tree.ref("/b").put("one")
    assert reached.wait(5)
    tree.ref("/a").tell(kit.crash)
    until(lambda: tree.snapshot().find("/b").state == "stopping")
    clock.advance(1)
    probe.wait_for(lambda event: isinstance(event, Started) and (event.path, event.epoch) == ("/b", 2))
    tree.ref("/b").put("two")
    assert tree.ref("/b").ask(lambda actor: actor.context.epoch, timeout=30) == 2
    release.set()
    probe.wait_for(Straggler)
    tree.stop("drain")
    assert [(epoch, what) for path, epoch, what in kit.log if what in ("one", "two")][:2] == [(2, "one"), (2, "two")]


def test_a_whole_group_shares_one_deadline_not_the_sum(stage, kit, clock):
    """Five children that would each take all their time: the group is done in the time of one."""
    from tickloom.supervision.core import new_supervisor, step
    from tickloom.supervision.lifecycle import Stage
    from tickloom.supervision.orders import Begin, ChildUp, Due, FenceChild, Halt, SetTimer
    from tickloom.supervision.spec import SupervisorSpec

    second = 10**9
    spec = SupervisorSpec(tuple(kit.worker(name, shutdown=1) for name in "abcde"))
    state, _ = step(new_supervisor("/", spec), Begin(), 0)
    for name in "abcde":
        state, _ = step(state, ChildUp(name, 1), 0)
    timers, now, fenced = {}, 0, []
    event = Halt("now", second, final=True)
    while state.stage is not Stage.DONE:
        state, commands = step(state, event, now)
        timers.update({c.key: c.at_ns for c in commands if isinstance(c, SetTimer)})
        fenced += [c.id for c in commands if isinstance(c, FenceChild)]
        if state.stage is not Stage.DONE:
            key = min(timers, key=timers.get)
            now, event = timers.pop(key), Due(key)
    assert now == second
    assert sorted(fenced) == list("abcde")


def test_no_thread_of_a_stopped_tree_is_alive_after_its_deadline(plant, kit):
    before = threading.active_count()
    tree = plant(*(kit.sup(f"s{i}", *(kit.worker(f"w{j}") for j in range(5))) for i in range(5)))
    assert threading.active_count() == before + 25 + 1
    assert len(tree.threads()) == 26
    report = tree.stop()
    assert report.clean
    assert tree.threads() == []
    assert threading.active_count() == before


def test_threads_are_named_by_path(plant, kit):
    tree = plant(kit.sup("s", kit.worker("a")))
    assert tree.threads() == ["t/s/a", "t/supervisor"]
    assert tree.ref("/s/a").ask(lambda actor: threading.current_thread().name) == "t/s/a"
    assert tree.snapshot().find("/s/a").thread[0] == "t/s/a"


def test_stopping_again_is_harmless_and_a_tree_never_started_stops_too(plant, kit):
    tree = plant(kit.worker("a"))
    assert tree.stop() == tree.stop()
    idle = plant(kit.worker("a"), start=False)
    assert idle.stop().clean


def test_an_actor_cannot_stop_its_own_tree_and_wait_but_can_ask_for_it(plant, kit):
    tree = plant(kit.worker("a"))
    with pytest.raises(SupervisionError, match="request_stop"):
        tree.ref("/a").ask(lambda actor: tree.stop())
    other = plant(kit.worker("b"))
    other.ref("/b").tell(lambda actor: other.request_stop("drain"))
    assert other.wait(5).kind is ExitKind.SHUTDOWN


def test_a_stop_wakes_a_producer_blocked_in_a_put(plant, kit, faults, clock, until):
    reached, release = faults.hold("/end", "before_batch")
    tree = plant(
        kit.worker("end", mailbox=MailboxSpec(1), max_batch=1),
        kit.adder("top", "/end", max_batch=1),
        faults=faults,
        clock=clock,
    )
    for _ in range(5):
        tree.ref("/top").put(1)
    assert reached.wait(5)
    until(lambda: tree.snapshot().find("/end").counters.waiting)
    stopper, reports = stop_in_thread(tree)
    until(lambda: not tree.snapshot().find("/top").alive)
    release.set()
    stopper.join(5)
    assert reports[0].clean


def test_a_process_that_forgets_to_stop_its_tree_still_ends_and_cleans_up():
    program = """
from tickloom.supervision import Actor, ChildSpec, SupervisorSpec, Tree

class A(Actor):
    def on_exit(self, reason):
        print("cleaned up:", reason, flush=True)

tree = Tree(SupervisorSpec((ChildSpec("a", A),)))
tree.start()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0
    assert done.stdout == "cleaned up: shutdown\n"
    assert done.stderr == ""


# --- children by hand ---


def test_dynamic_children_can_be_added_and_removed_while_running(plant, kit):
    tree = plant(kit.worker("a"), kit.sup("s"))
    ref = tree.start_child("/s", kit.worker("new"))
    assert ref.path == "/s/new"
    assert ref.ask(lambda actor: actor.path) == "/s/new"
    tree.terminate_child("/s/new")
    assert not ref.put("too late")
    tree.delete_child("/s/new")
    with pytest.raises(NoSuchPlace):
        tree.ref("/s/new")
    assert [view.path for view in tree.snapshot().walk()] == ["/", "/a", "/s"]


def test_a_whole_supervisor_can_be_added_and_removed(plant, kit):
    tree = plant(kit.worker("a"))
    assert tree.start_child("/", kit.sup("s", kit.worker("x"), kit.worker("y"))) is None
    assert tree.ref("/s/y").ask(lambda actor: actor.path) == "/s/y"
    tree.terminate_child("/s", "drain")
    assert kit.notes("exit") == ["/s/y", "/s/x"]
    tree.delete_child("/s")
    with pytest.raises(NoSuchPlace):
        tree.ref("/s/x")


def test_already_started_and_already_present_differ(plant, kit):
    tree = plant(kit.worker("a"))
    with pytest.raises(AlreadyStarted, match="/a"):
        tree.start_child("/", kit.worker("a"))
    tree.terminate_child("/a")
    with pytest.raises(AlreadyPresent, match="/a"):
        tree.start_child("/", kit.worker("a"))


def test_deleting_a_running_child_is_refused(plant, kit):
    tree = plant(kit.worker("a"))
    with pytest.raises(ChildRunning, match="/a is running"):
        tree.delete_child("/a")
    with pytest.raises(ChildRunning, match="/a is running"):
        tree.restart_child("/a")
    assert tree.ref("/a").ask(lambda actor: "alive") == "alive"


def test_a_terminated_child_refuses_messages_until_it_is_restarted_with_its_memory(plant, kit, probe):
    tree = plant(kit.adder("a", probe))
    ref = tree.ref("/a")
    ref.put(2)
    ref.put(3)
    tree.drain("/a")
    assert not ref.put(100)
    assert tree.snapshot().find("/a").state == "parked"
    tree.restart_child("/a")
    ref.put(1)
    tree.drain("/a")
    assert probe.messages[-1] == 6


def test_draining_one_child_leaves_the_others_at_work(plant, kit):
    tree = plant(kit.worker("a"), kit.worker("b"))
    tree.ref("/a").put("last")
    tree.drain("/a")
    assert ("/a", 1, "last") in kit.log
    assert tree.ref("/b").ask(lambda actor: "at work") == "at work"


def test_a_child_added_by_hand_that_fails_to_start_is_not_added(plant, kit):
    tree = plant(kit.worker("a"))
    with pytest.raises(StartError, match=r"/new failed to start.*no such device"):
        tree.start_child("/", ChildSpec("new", failing))
    with pytest.raises(NoSuchPlace):
        tree.child_spec("/new")
    tree.start_child("/", kit.worker("new"))


def test_a_significant_child_is_refused_where_nobody_would_care(plant, kit):
    tree = plant(kit.worker("a"))
    with pytest.raises(SpecError, match="significant"):
        tree.start_child("/", kit.worker("b", restart="transient", significant=True))


def test_a_supervisor_that_is_restarted_has_the_children_of_its_spec_again(stage, kit, epochs):
    inner = kit.sup("s", kit.worker("x", backoff=AT_ONCE), intensity=0)
    dispatcher, tree = stage(ChildSpec("s", inner.start, backoff=AT_ONCE), intensity=5)
    tree.start_child("/s", kit.worker("added"))
    tree.ref("/s/x").tell(kit.crash)
    dispatcher.run()
    assert epochs(tree) == {"/": 1, "/s": 2, "/s/x": 2}


def test_commands_to_a_tree_that_does_not_run_are_refused(plant, kit):
    tree = plant(kit.worker("a"))
    tree.stop()
    with pytest.raises(TreeStopped):
        tree.start_child("/", kit.worker("b"))
    with pytest.raises(TreeStopped):
        tree.terminate_child("/a")


# --- death watch ---


def test_a_watcher_gets_exactly_one_notice_for_each_death(stage, kit, probe):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE), intensity=9)
    tree.watch("/a", probe)
    for _ in range(3):
        tree.ref("/a").tell(kit.crash)
        dispatcher.run()
    tree.stop()
    assert [(died.path, died.epoch, died.exit.kind.value) for died in probe.messages] == [
        ("/a", 1, "crash"),
        ("/a", 2, "crash"),
        ("/a", 3, "crash"),
        ("/a", 4, "shutdown"),
    ]


def test_a_watcher_gets_its_notice_also_when_the_watched_actor_was_dead_already(stage, kit, probe):
    dispatcher, tree = stage(kit.worker("a", restart="transient"), kit.worker("b"))
    tree.ref("/a").tell(kit.leave)
    dispatcher.run()
    tree.watch("/a", probe)
    dispatcher.run()
    assert [(died.epoch, died.exit.kind) for died in probe.messages] == [(1, ExitKind.NORMAL)]
    tree.stop()
    assert len(probe.messages) == 1


def test_watching_what_never_ran_says_so_and_watching_after_the_end_works(plant, kit, probe):
    tree = plant(ChildSpec("a", lambda context: None), kit.worker("b"))
    tree.stop()
    tree.watch("/b", probe)
    assert (probe.wait_for(Died).epoch, probe.messages[0].exit.kind) == (1, ExitKind.SHUTDOWN)


def test_an_actor_can_watch_another_and_supervisors_can_be_watched(plant, kit, probe):
    told = []

    class Watcher(kit.Scripted):
        def on_control(self, message):
            if isinstance(message, Died):
                told.append(message.path)
                return None
            return super().on_control(message)

    tree = plant(
        ChildSpec("watcher", lambda context: Watcher(context, kit.log)),
        kit.sup("s", kit.worker("x", backoff=AT_ONCE), intensity=0, restart="temporary"),
    )
    tree.watch("/s/x", tree.ref("/watcher"))
    tree.watch("/s", tree.ref("/watcher"))
    tree.watch("/s", probe)
    tree.ref("/s/x").tell(kit.crash)
    probe.wait_for(Died)
    assert tree.ref("/watcher").ask(lambda actor: list(told)) == ["/s/x", "/s"]


def test_a_cancelled_watch_hears_nothing_more(stage, kit, probe):
    dispatcher, tree = stage(kit.worker("a", backoff=AT_ONCE))
    watch = tree.watch("/a", probe)
    watch.cancel()
    tree.ref("/a").tell(kit.crash)
    dispatcher.run()
    assert probe.messages == []


def test_an_overrun_child_is_dead_to_its_watchers_once(plant, kit, clock, faults, probe, until):
    tree, release = held_up(plant, kit, clock, faults, shutdown=1)
    tree.watch("/slow", probe)
    thread, _ = stop_in_thread(tree)
    until(lambda: tree.snapshot().find("/slow").state == "stopping")
    clock.advance(1)
    probe.wait_for(1)
    release.set()
    thread.join(10)
    assert [died.exit.kind for died in probe.messages] == [ExitKind.OVERRUN]


# --- looking ---


def test_a_snapshot_shows_the_whole_tree_without_stopping_anything(plant, kit, probe, faults):
    reached, release = faults.hold("/s/busy", "before_batch")
    tree = plant(
        kit.sup("s", kit.worker("busy", mailbox=MailboxSpec(10), max_batch=1)),
        kit.adder("adder", probe, breaker=BreakerSpec()),
        faults=faults,
    )
    for n in range(4):
        tree.ref("/s/busy").put(n)
    assert reached.wait(5)
    tree.ref("/adder").put(1)
    tree.ref("/adder").put("bad")
    probe.wait_for(1)
    view = tree.snapshot()
    busy = view.find("/s/busy")
    assert [v.path for v in view.walk()] == ["/", "/s", "/s/busy", "/adder"]
    assert (busy.state, busy.alive, busy.epoch, busy.restarts) == ("running", True, 1, 0)
    assert (busy.depth, busy.capacity) == (3, 10)
    assert busy.high_water >= 3
    assert busy.counters.balanced
    assert (view.kind, view.state) == ("supervisor", "running")
    release.set()
    tree.stop("drain")
    done = tree.snapshot()
    assert done.find("/s/busy").handled == 4
    adder = done.find("/adder")
    assert (adder.kind, adder.handled, adder.quarantined, adder.breaker) == ("Adder", 1, 1, "closed")
    assert isinstance(adder.last_failure.cause, ValueError)
    with pytest.raises(LookupError, match="/nowhere"):
        done.find("/nowhere")


def test_the_rate_is_messages_handled_a_second_and_fades(stage, kit):
    dispatcher, tree = stage(kit.worker("a"))
    for _ in range(300):
        for _ in range(10):
            tree.ref("/a").put("x")
        dispatcher.advance(0.1)
    assert tree.snapshot().find("/a").rate == pytest.approx(100, rel=0.05)
    dispatcher.advance(60)
    assert tree.snapshot().find("/a").rate < 0.01


def test_a_mailboxs_bound_can_be_changed_while_it_runs_and_that_is_an_event(plant, kit, faults):
    reached, release = faults.hold("/a", "before_batch")
    tree = plant(kit.worker("a", mailbox=MailboxSpec(1), max_batch=1), faults=faults)
    ref = tree.ref("/a")
    assert ref.put("in hand")
    assert reached.wait(5)
    assert ref.offer(1)
    assert not ref.offer(2)
    tree.resize("/a", 3)
    assert [ref.offer(2), ref.offer(3), ref.offer(4)] == [True, True, False]
    change = next(event for event in tree.events() if isinstance(event, CapacityChanged))
    assert (change.path, change.before, change.after) == ("/a", 1, 3)
    release.set()


def test_when_the_system_has_no_more_threads_that_is_a_failed_start(plant, kit, monkeypatch):
    tree = plant(kit.worker("a"))

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(StartError, match=r"/b failed to start.*can't start new thread"):
        tree.start_child("/", kit.worker("b"))
    monkeypatch.undo()
    tree.start_child("/", kit.worker("b"))
    assert tree.ref("/b").ask(lambda actor: "up") == "up"
