"""Crews: actors that share a thread, and are otherwise each for itself."""

from __future__ import annotations

import threading
from collections import deque
from random import Random

import pytest

from tickloom.supervision import (
    Actor,
    AsyncActor,
    Backoff,
    ChildSpec,
    Exited,
    ExitKind,
    MailboxSpec,
    Restarting,
    SpecError,
    StartError,
    SupervisorSpec,
    Tree,
)
from tickloom.supervision.testing import FaultPlan, Probe

WAIT = 20.0
AT_ONCE = Backoff(base=0)


class Stage(Actor):
    """Puts what it gets, one by one, into `target`, and says in which thread."""

    def __init__(self, context, target, seen):
        super().__init__(context)
        self._target = target
        self._seen = seen

    def on_batch(self, messages):
        for message in messages:
            if callable(message):
                message(self)
                continue
            self._seen.append((self.path, threading.current_thread().name, message))
            if self._target is not None:
                self._target.put(message)
            self.context.advance(1)

    def on_control(self, message):
        return threading.current_thread().name


class Fan(Actor):
    """Puts each number it gets into all its targets."""

    def __init__(self, context, targets):
        super().__init__(context)
        self._targets = targets

    def on_batch(self, messages):
        for message in messages:
            for target in self._targets:
                target.put(message)
            self.context.advance(1)


class Line:
    """A tree of stages that pass messages on: /a to /b to /c, then to a probe."""

    def __init__(self, *, crew="line", capacity=1024, names="abc", faults=None, shutdown=5.0):
        self.seen = []
        self.probe = Probe()
        children = tuple(
            ChildSpec(
                name,
                self._stage(name, names),
                crew=crew,
                mailbox=MailboxSpec(capacity=capacity),
                backoff=AT_ONCE,
                shutdown=shutdown,
            )
            for name in reversed(names)
        )
        self.tree = Tree(SupervisorSpec(children, intensity=1000), name="line", faults=faults)
        self.tree.start()

    def _stage(self, name, names):
        def start(context):
            after = names[names.index(name) + 1 :]
            return Stage(context, context.ref("/" + after[0]) if after else self.probe, self.seen)

        return start

    def threads(self):
        return {thread for _, thread, _ in self.seen}


@pytest.fixture
def line():
    made = []

    def make(**options):
        made.append(Line(**options))
        return made[-1]

    yield make
    for each in made:
        each.tree.stop("now", 5)


def test_members_work_in_one_thread_and_others_in_their_own(line):
    crewed, apart = line(), line(crew="")
    for each in (crewed, apart):
        each.tree.ref("/a").put(1)
        each.probe.wait_for(int, timeout=WAIT)
    assert crewed.threads() == {"line/crew/line"}
    assert apart.threads() == {"line/a", "line/b", "line/c"}
    assert crewed.tree.ref("/b").ask("where") == "line/crew/line"


def test_a_put_that_finds_no_room_lets_the_others_make_some(line):
    narrow = line(capacity=1)
    narrow.tree.ref("/a").put(lambda actor: [actor._target.put(number) for number in range(500)])
    assert narrow.probe.wait_for(500, timeout=WAIT) == list(range(500))
    assert len(narrow.tree.dead_letters) == 0
    assert narrow.threads() == {"line/crew/line"}


def test_a_member_that_crashes_comes_back_and_the_others_never_stop(line):
    plan = FaultPlan()
    plan.crash("/b", "before_batch", nth=2)
    crewed = line(faults=plan)
    events = Probe()
    crewed.tree.subscribe(events)
    for number in range(3):
        crewed.tree.ref("/a").put(number)
        assert crewed.probe.wait_for(number + 1, timeout=WAIT) == list(range(number + 1))
    assert events.wait_for(Restarting, timeout=WAIT).path == "/b"
    assert crewed.threads() == {"line/crew/line"}
    assert [view.restarts for view in crewed.tree.snapshot().walk() if view.path in ("/a", "/b", "/c")].count(0) == 2


def test_when_a_member_hangs_and_is_given_up_the_others_go_on_in_another_thread(line):
    crewed = line(shutdown=0.05)
    hangs, free = threading.Event(), threading.Event()

    def hang(actor):
        hangs.set()
        free.wait(WAIT)

    crewed.tree.ref("/b").put(hang)
    assert hangs.wait(WAIT)
    crewed.tree.ref("/c").put("meanwhile")
    try:
        crewed.tree.terminate_child("/b", timeout=WAIT)
        assert crewed.probe.wait_for(str, timeout=WAIT) == "meanwhile"
    finally:
        free.set()
    crewed.tree.stop("now", 5)
    assert crewed.tree.threads() == []


def test_who_is_woken_by_a_turn_that_is_given_up_in_that_instant_has_its_turn_all_the_same(line):
    crewed = line(shutdown=0.05)
    crew = crewed.tree._executor._crews["line"]
    given_up, free = threading.Event(), threading.Event()

    class Ready(deque):
        """The duty is taken from whoever appends just before that: who took it has seen nobody ready."""

        def append(self, member):
            if not given_up.is_set():
                given_up.set()
                crew.relieve(crewed.tree._services.places["/b"].life)
            super().append(member)

    def wake_another(actor):
        crew._ready = Ready(crew._ready)
        actor._target.put("woken")
        free.wait(WAIT)

    crewed.tree.ref("/b").put(wake_another)
    try:
        assert crewed.probe.wait_for(str, timeout=WAIT) == "woken"
        assert given_up.is_set()
        crewed.tree.terminate_child("/b", timeout=WAIT)
    finally:
        free.set()
    crewed.tree.stop("now", 5)
    assert crewed.tree.threads() == []


def test_the_thread_ends_with_the_last_member_and_is_there_again_for_the_next(line):
    crewed = line(names="a")
    crewed.tree.terminate_child("/a")
    assert not [name for name in crewed.tree.threads() if "crew" in name]
    crewed.tree.restart_child("/a")
    crewed.tree.ref("/a").put(7)
    assert crewed.probe.wait_for(int, timeout=WAIT) == 7


def test_stopping_drains_each_member(line):
    crewed = line()
    for number in range(100):
        crewed.tree.ref("/a").put(number)
    crewed.tree.drain("/a", WAIT)
    crewed.tree.drain("/b", WAIT)
    crewed.tree.drain("/c", WAIT)
    assert crewed.probe.messages == list(range(100))
    crewed.tree.stop()
    assert crewed.tree.threads() == []


def test_a_member_that_waits_for_an_outsider_goes_on_when_there_is_room_or_its_time_is_up():
    held, release, done = threading.Event(), threading.Event(), threading.Event()
    outcome = []

    def hold(actor):
        held.set()
        release.wait(WAIT)

    def fill(actor):
        outcome.append(actor._target.put(1))  # queued behind the one that holds
        outcome.append(actor._target.put(2, timeout=0.01))
        release.set()
        outcome.append(actor._target.put(3))
        done.set()

    seen, probe = [], Probe()
    children = (
        ChildSpec("slow", lambda context: Stage(context, probe, seen), mailbox=MailboxSpec(capacity=1)),
        ChildSpec("fast", lambda context: Stage(context, context.ref("/slow"), seen), crew="line"),
        ChildSpec("other", lambda context: Stage(context, probe, seen), crew="line"),
    )
    tree = Tree(SupervisorSpec(children), name="line")
    tree.start()
    try:
        tree.ref("/slow").put(hold)
        assert held.wait(WAIT)
        tree.ref("/fast").put(fill)
        tree.ref("/other").put("meanwhile")
        assert done.wait(WAIT)
        assert outcome == [True, False, True]
        assert sorted(map(str, probe.wait_for(3, timeout=WAIT))) == ["1", "3", "meanwhile"]
    finally:
        release.set()
        tree.stop("now", 5)


def test_members_that_wait_for_an_outsider_and_for_each_other_all_go_on_in_the_end():
    """/up waits for /down, which waits for /outside: neither may lie beneath the other on one stack."""
    held, release = threading.Event(), threading.Event()

    def hold(actor):
        held.set()
        release.wait(WAIT)

    def flood(actor):
        for number in range(50):
            actor._target.put(number)

    seen, probe, narrow = [], Probe(), MailboxSpec(capacity=1)
    children = (
        ChildSpec("outside", lambda context: Stage(context, probe, seen), mailbox=narrow),
        ChildSpec("down", lambda context: Stage(context, context.ref("/outside"), seen), crew="line", mailbox=narrow),
        ChildSpec("up", lambda context: Stage(context, context.ref("/down"), seen), crew="line"),
        ChildSpec("bystander", lambda context: Stage(context, probe, seen), crew="line"),
    )
    tree = Tree(SupervisorSpec(children), name="line")
    tree.start()
    try:
        tree.ref("/outside").put(hold)
        assert held.wait(WAIT)
        tree.ref("/up").put(flood)
        tree.ref("/bystander").put("meanwhile")
        probe.wait_for(str, timeout=WAIT)
        release.set()
        assert [each for each in probe.wait_for(51, timeout=WAIT) if each != "meanwhile"] == list(range(50))
    finally:
        release.set()
        tree.stop("now", 5)
    assert tree.threads() == []


def test_members_may_ask_each_other(line):
    crewed = line()
    replies = Probe()
    crewed.tree.ref("/a").put(lambda actor: replies.put(actor._target.ask("where")))
    assert replies.wait_for(str, timeout=WAIT).startswith("line/crew/line")


def test_a_member_given_up_in_the_middle_of_a_wait_of_its_own_leaves_no_thread_behind(line):
    crewed = line(shutdown=0.05)
    asked, free, back = threading.Event(), threading.Event(), threading.Event()

    def ask_then_hang(actor):
        actor._target.ask("where")  # from here on it has no duty
        asked.set()
        free.wait(WAIT)
        back.set()

    crewed.tree.ref("/a").put(ask_then_hang)
    assert asked.wait(WAIT)
    crewed.tree.ref("/b").put("meanwhile")
    assert crewed.probe.wait_for(str, timeout=WAIT) == "meanwhile"
    crewed.tree.terminate_child("/a", timeout=WAIT)
    crewed.tree.stop("now", 5)
    free.set()
    assert back.wait(WAIT)
    assert crewed.tree.stop("now", 5).threads == ()


@pytest.mark.parametrize("seed", range(12))
def test_any_line_of_members_and_outsiders_with_little_room_passes_everything_on(seed):
    """Random crews over random pipelines with crashes: nothing is lost, nothing hangs, no thread stays."""
    rng = Random(seed)
    names = "abcdefg"
    probe, plan = Probe(), FaultPlan()
    for _ in range(5):
        plan.crash("/" + rng.choice(names), "before_batch", nth=rng.randrange(1, 40))

    def fan(after):
        return lambda context: Fan(context, [context.ref("/" + each) for each in after] or [probe])

    children = []
    for index, name in enumerate(names):
        after = rng.sample(names[index + 1 :], min(len(names) - index - 1, rng.choice((1, 1, 2))))
        children.append(
            ChildSpec(
                name,
                fan(after),
                crew=rng.choice(("", "one", "one", "two")),
                mailbox=MailboxSpec(capacity=rng.choice((1, 2, 64))),
                backoff=AT_ONCE,
            )
        )
    tree = Tree(SupervisorSpec(tuple(reversed(children)), intensity=1000), name="line", faults=plan)
    tree.start()
    try:
        for number in range(200):
            tree.ref("/a").put(number, timeout=WAIT)
        for name in names:
            assert tree.settle("/" + name, WAIT), tree.snapshot()
        assert set(probe.messages) >= set(range(200))
        assert len(tree.dead_letters) == 0
    finally:
        assert tree.stop("now", 10).threads == ()


def test_an_actor_with_an_event_loop_is_refused():
    class Loop(AsyncActor):
        pass

    tree = Tree(SupervisorSpec((ChildSpec("loop", Loop, crew="line"),)), name="refused")
    with pytest.raises(StartError, match="a crew has Actor and FoldActor, not Loop"):
        tree.start()
    assert tree.threads() == []


def test_a_crew_is_named_by_a_string():
    with pytest.raises(SpecError, match="crew"):
        ChildSpec("a", Actor, crew=1)


@pytest.mark.parametrize("crew", ["", "c"])
@pytest.mark.parametrize("method", ["poll", "rest"])
def test_an_order_to_leave_just_before_an_actor_rests_is_not_missed(plant, kit, probe, method, crew):
    tree = plant(kit.worker("a", crew=crew, shutdown=60.0), kit.worker("b", crew=crew))
    tree.subscribe(probe)
    box = tree._services.places["/a"].mailbox
    told, real, wake_owner = threading.Event(), getattr(box, method), box.wake_owner
    leaving = threading.Thread(target=lambda: tree.terminate_child("/a"))

    def wake():
        wake_owner()  # in vain: it does not rest yet
        told.set()

    def late(*arguments):
        if threading.current_thread() is not leaving and not leaving.ident:
            leaving.start()
            assert told.wait(WAIT)
        return real(*arguments)

    box.wake_owner = wake
    setattr(box, method, late)
    tree.ref("/a").put("work")
    ended = probe.wait_for(Exited, WAIT)
    leaving.join(WAIT)
    assert (ended.path, ended.exit.kind) == ("/a", ExitKind.SHUTDOWN)
