"""A model of a supervisor tree against the real one, under random actions and random schedules.

Two machines. `Lockstep` lets the tree come to rest after every action and compares it, child by child and epoch by
epoch, with a model that was written another way: recursive and synchronous, where the real one is made of events and
tables. `Chaos` never lets it rest: crashes, exits, slow starts, slow stops, overruns, breakers and orders by hand come
in between any two steps, and what must hold at all times is checked at all times.

TICKLOOM_LONG=1 runs both for much longer.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tickloom.supervision import (
    Actor,
    Backoff,
    BreakerSpec,
    ChildSpec,
    Exited,
    MailboxSpec,
    Policy,
    Started,
    SupervisionError,
    SupervisorSpec,
)
from tickloom.supervision.clocks import Waiter
from tickloom.supervision.orders import Add, Delete, Revive, Terminate
from tickloom.supervision.ref import Reply
from tickloom.supervision.testing import Dispatcher

LONG = bool(os.environ.get("TICKLOOM_LONG"))
AT_ONCE = Backoff(base=0)
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")


class Worker(Actor):
    """Crashes or leaves when told; its starts fail as often as `plan` says; starts and stops as slowly as it says."""

    def __init__(self, context, plan):
        super().__init__(context)
        self.plan = plan

    def pause(self, what):
        seconds = self.plan.get((what, self.path), 0)
        if seconds:
            self.context.clock.wait(Waiter(), seconds)

    def on_start(self):
        self.pause("slow start")
        left = self.plan.get(("fail", self.path), 0)
        if left:
            self.plan["fail", self.path] = left - 1
            raise OSError("told to fail its start")

    def on_batch(self, messages):
        for message in messages:
            self.on_control(message)

    def on_control(self, message):
        if message == "crash":
            raise ValueError("told to crash")
        if message == "leave":
            self.exit()
        return message

    def on_exit(self, reason):
        self.pause("slow exit")


# --- the model ---


class Exhausted(Exception):
    pass


class ModelWorker:
    def __init__(self, path, spec, plan):
        self.path, self.spec, self.plan = path, spec, plan
        self.epoch, self.alive, self.parked = 0, False, False

    def start(self):
        self.epoch += 1
        left = self.plan.get(self.path, 0)
        if left:
            self.plan[self.path] = left - 1
            return False
        self.alive = True
        return True

    def stop(self):
        self.alive = False

    def all(self):
        yield self


class ModelSupervisor:
    def __init__(self, path, spec, plan, clock, child_spec=None):
        self.path, self.sup, self.plan, self.clock, self.spec = path, spec, plan, clock, child_spec
        self.epoch, self.alive, self.parked = 0, False, False
        self.children = [self.make(child) for child in spec.children]
        self.restarts = []
        self.gone = {}

    def forget(self, child):
        self.children.remove(child)
        self.gone[child.spec.id] = child

    def make(self, child):
        path = f"{self.path.rstrip('/')}/{child.id}"
        if child.is_supervisor:
            return ModelSupervisor(path, child.start, self.plan, self.clock, child)
        return ModelWorker(path, child, self.plan)

    def all(self):
        yield self
        for child in self.children:
            yield from child.all()

    def start(self):
        self.epoch += 1
        known = {child.spec.id: child for child in self.children}
        self.children = [
            known.get(child.id) or self.gone.get(child.id) or self.make(child) for child in self.sup.children
        ]
        self.restarts = []
        for child in self.children:
            child.parked = False
        for number, child in enumerate(self.children):
            if not child.start():
                for started in reversed(self.children[:number]):
                    started.stop()
                return False
        self.alive = True
        return True

    def stop(self):
        for child in reversed(self.children):
            child.stop()
        self.alive = False

    def went_down(self, child, kind):
        """A child went down of its own; deal with it. Raises Exhausted when this supervisor is to go down."""
        child.alive = False
        restart = child.spec.restart.value
        if restart == "permanent" or (restart == "transient" and kind == "crash"):
            self.restart([child])
            return
        child.parked = True
        if restart == "temporary":
            self.forget(child)
        if child.spec.significant:
            others = [other for other in self.children if other.spec.significant]
            if self.sup.auto_shutdown.value == "any" or all(other.parked for other in others):
                raise Exhausted

    def restart(self, down):
        while down:
            failed = down.pop(0)
            now = self.clock()
            self.restarts = [at for at in self.restarts if at >= now - self.sup.period] + [now]
            if len(self.restarts) > self.sup.intensity:
                raise Exhausted
            strategy = self.sup.strategy.value
            first = 0 if strategy == "one_for_all" else self.children.index(failed)
            group = [failed] if strategy == "one_for_one" else self.children[first:]
            group = [child for child in group if not child.parked]
            for child in reversed(group):
                child.stop()
            for child in [child for child in group if child.spec.restart.value == "temporary"]:
                group.remove(child)
                self.forget(child)
            for child in group:
                if not child.start():
                    down.append(child)
                    break


class Model:
    """The whole tree. Actions return whether the tree still stands."""

    def __init__(self, spec, plan, clock):
        self.root = ModelSupervisor("/", spec, plan, clock)

    def find(self, path):
        return next((node for node in self.root.all() if node.path == path), None)

    def parents(self, path):
        return [
            node
            for node in self.root.all()
            if isinstance(node, ModelSupervisor) and path.startswith(node.path.rstrip("/") + "/")
        ]

    def went_down(self, path, kind):
        node = self.find(path)
        for parent in reversed(self.parents(path)):
            try:
                parent.went_down(node, kind)
                return True
            except Exhausted:
                parent.stop()
                node, kind = parent, "shutdown"
        return False

    def epochs(self):
        return {node.path: node.epoch if node.alive else 0 for node in self.root.all()}


# --- specifications ---


@st.composite
def workers(draw, count, auto_shutdown):
    children = []
    for number in range(count):
        restart = draw(st.sampled_from(("permanent", "permanent", "transient", "temporary")))
        significant = restart != "permanent" and auto_shutdown != "never" and draw(st.booleans())
        children.append((f"w{number}", restart, significant))
    return children


@st.composite
def shapes(draw, depth=2):
    """A supervisor as plain data: (strategy, intensity, period, auto_shutdown, workers, child supervisors)."""
    auto_shutdown = draw(st.sampled_from(("never", "never", "any", "all")))
    inner = []
    if depth:
        for number in range(draw(st.integers(0, 2))):
            restart = draw(st.sampled_from(("permanent", "permanent", "transient", "temporary")))
            inner.append((f"s{number}", restart, draw(shapes(depth=depth - 1))))
    return (
        draw(st.sampled_from(STRATEGIES)),
        draw(st.integers(0, 4)),
        draw(st.sampled_from((1.0, 10.0))),
        auto_shutdown,
        draw(workers(draw(st.integers(1, 3)), auto_shutdown)),
        inner,
    )


def build(shape, worker):
    """Return the SupervisorSpec of a shape; `worker(id, restart, significant)` makes the leaves' specs."""
    strategy, intensity, period, auto_shutdown, leaves, inner = shape
    children = [worker(*leaf) for leaf in leaves]
    for child_id, restart, below in inner:
        children.insert(1, ChildSpec(child_id, build(below, worker), restart=restart, backoff=AT_ONCE))
    return SupervisorSpec(tuple(children), strategy, intensity, period, auto_shutdown)


class Lockstep(RuleBasedStateMachine):
    """One action at a time, and then the tree must be just what the model says."""

    @initialize(shape=shapes(), seed=st.integers(0, 10**6))
    def begin(self, shape, seed):
        self.dispatcher = Dispatcher(seed)
        self.plan, self.model_plan = {}, {}

        def worker(child_id, restart, significant):
            def start(context):
                return Worker(context, self.plan)

            return ChildSpec(child_id, start, restart=restart, significant=significant, backoff=AT_ONCE)

        self.worker = worker
        spec = build(shape, worker)
        self.tree = self.dispatcher.tree(spec)
        self.model = Model(spec, self.model_plan, self.dispatcher.seconds)
        self.up = True
        self.added = 0
        self.model.root.start()
        self.tree.start()
        self.compare()

    def pick(self, data, kind=None):
        nodes = [n for n in self.model.root.all() if n.path != "/" and (kind is None or isinstance(n, kind))]
        return data.draw(st.sampled_from(nodes)) if nodes else None

    @rule(data=st.data(), kind=st.sampled_from(("crash", "crash", "leave")), fails=st.sampled_from((0, 0, 0, 1, 2)))
    def end_a_worker(self, data, kind, fails):
        node = self.pick(data, ModelWorker) if self.up else None
        if node is None or not node.alive:
            return
        self.plan["fail", node.path] = self.model_plan[node.path] = fails
        self.tree.ref(node.path).tell(kind)
        self.dispatcher.run()
        self.up = self.model.went_down(node.path, "crash" if kind == "crash" else "normal")
        self.compare()

    @rule(seconds=st.sampled_from((0.5, 1.0, 5.0, 11.0)))
    def let_time_pass(self, seconds):
        self.dispatcher.advance(seconds)
        self.compare()

    @rule(data=st.data())
    def terminate(self, data):
        node = self.pick(data) if self.up else None
        if node is None:
            return
        self.tree.terminate_child(node.path)
        node.stop()
        parent = self.model.parents(node.path)[-1] if isinstance(node, ModelWorker) else self.parent_of(node)
        node.parked = True
        if node.spec.restart.value == "temporary":
            parent.forget(node)
        self.compare()

    def parent_of(self, node):
        return next(p for p in self.model.root.all() if isinstance(p, ModelSupervisor) and node in p.children)

    @rule(data=st.data(), fails=st.sampled_from((0, 0, 1)))
    def restart(self, data, fails):
        node = self.pick(data) if self.up else None
        if node is None:
            return
        if isinstance(node, ModelWorker) and node.parked:
            self.plan["fail", node.path] = self.model_plan[node.path] = fails
        try:
            self.tree.restart_child(node.path)
            worked = True
        except SupervisionError:
            worked = False
        parent = self.parent_of(node)
        if node.parked and parent.alive:
            node.parked = False
            if node.start():
                assert worked
            else:
                assert not worked
                if node.epoch == 1:
                    parent.forget(node)
                else:
                    node.parked = True
                    if node.spec.restart.value == "temporary":
                        parent.forget(node)
        else:
            assert not worked
        self.compare()

    @rule(data=st.data())
    def delete(self, data):
        node = self.pick(data) if self.up else None
        if node is None:
            return
        try:
            self.tree.delete_child(node.path)
            assert node.parked
            self.parent_of(node).forget(node)
        except SupervisionError:
            assert not node.parked
        self.compare()

    @rule(data=st.data(), restart=st.sampled_from(("permanent", "transient", "temporary")))
    def add(self, data, restart):
        if not self.up:
            return
        sups = [n for n in self.model.root.all() if isinstance(n, ModelSupervisor) and n.alive]
        parent = data.draw(st.sampled_from(sups))
        self.added += 1
        spec = self.worker(f"new{self.added}", restart, False)
        self.tree.start_child(parent.path, spec)
        node = parent.make(spec)
        node.start()
        parent.children.append(node)
        self.compare()

    def compare(self):
        self.dispatcher.run()
        if not self.up:
            assert not self.tree.running
            assert self.dispatcher.alive() == []
            return
        assert self.tree.running
        views = self.tree.snapshot().walk()
        assert {view.path: view.epoch if view.alive else 0 for view in views} == self.model.epochs()

    def teardown(self):
        if not hasattr(self, "tree"):
            return
        assert self.tree.stop("now", 60).clean
        exits_are_exact(self.tree)


def exits_are_exact(tree):
    """Every incarnation that the history tells of ended exactly once, in order, and none came up after its end."""
    seen = {}
    for event in tree.events():
        if isinstance(event, Exited):
            assert event.epoch > seen.get(event.path, 0), event
            seen[event.path] = event.epoch
        elif isinstance(event, Started):
            assert event.epoch > seen.get(event.path, 0), event


class Chaos(RuleBasedStateMachine):
    """Anything may happen between any two steps."""

    @initialize(shape=shapes(), seed=st.integers(0, 10**6))
    def begin(self, shape, seed):
        self.dispatcher = Dispatcher(seed)
        self.rng = Random(seed)
        self.plan, self.replies, self.tokens = {}, [], []
        self.added = 0
        self.notices = {}
        self.counted = {}

        def worker(child_id, restart, significant):
            breaker = BreakerSpec(max_failures=2, reset_timeout=1, probe_time=1) if self.rng.random() < 0.3 else None
            policy = self.rng.choice((Policy.BLOCK, Policy.DROP_OLDEST, Policy.DROP_NEWEST))
            return ChildSpec(
                child_id,
                lambda context: Worker(context, self.plan),
                restart=restart,
                significant=significant,
                breaker=breaker,
                shutdown=self.rng.choice((0.5, 1.0, 2.0)),
                start_timeout=3.0,
                backoff=Backoff(base=self.rng.choice((0, 0.1)), cap=1, jitter=0.5),
                mailbox=MailboxSpec(2, policy, block_timeout=0),
                max_batch=2,
                poison_after=3,
            )

        self.worker = worker
        self.tree = self.dispatcher.tree(build(shape, worker))
        self.watched = self.paths()
        for path in self.watched:
            self.tree.watch(path, lambda died: self.notices.setdefault(died.path, []).append(died.epoch))
        self.tree.subscribe(self.count)
        self.tree.start()

    def count(self, event):
        if isinstance(event, Exited):
            self.counted.setdefault(event.path, []).append(event.epoch)

    def paths(self):
        return list(self.tree._services.places)

    def any_path(self):
        paths = self.paths()
        return self.rng.choice(paths) if paths else None

    @rule(count=st.integers(1, 12))
    def some_steps(self, count):
        for _ in range(count):
            self.dispatcher.step()

    @rule(seconds=st.sampled_from((0.05, 0.3, 1.0, 4.0)))
    def let_time_pass(self, seconds):
        self.dispatcher.clock.advance(seconds)

    @rule(what=st.sampled_from(("crash", "leave", "work")), lane=st.sampled_from(("tell", "offer")))
    def send(self, what, lane):
        path = self.any_path()
        if path:
            getattr(self.tree.ref(path), lane)(what)

    @rule()
    def ask(self):
        path = self.any_path()
        if path:
            reply = Reply()
            self.replies.append(reply)
            self.tree._services.places[path].mailbox.put_control("question", "", reply)

    @rule(what=st.sampled_from(("slow start", "slow exit", "fail")), amount=st.sampled_from((0, 1, 2, 5)))
    def plan_trouble(self, what, amount):
        path = self.any_path()
        if path:
            self.plan[what, path] = amount

    @rule(what=st.sampled_from(("terminate", "drain", "revive", "delete", "add")))
    def order(self, what):
        nodes = list(self.tree._warden.nodes.values())
        node = self.rng.choice(nodes)
        ids = [child.spec.id for child in node.state.children]
        if not ids:
            return
        child_id, token = self.rng.choice(ids), Reply()
        deadline = self.dispatcher.clock.monotonic_ns() + 2 * 10**9
        self.added += 1
        event = {
            "terminate": Terminate(child_id, "now", deadline, token),
            "drain": Terminate(child_id, "drain", deadline, token),
            "revive": Revive(child_id, token),
            "delete": Delete(child_id, token),
            "add": Add(self.worker(f"new{self.added}", "transient", False), token),
        }[what]
        heard = []

        def hear():
            heard.append(True)
            self.tree._warden.feed(node, event)

        if self.tree._warden.post(hear):
            self.tokens.append((token, heard))

    @invariant()
    def no_place_has_two_lives_and_every_message_is_accounted_for(self):
        if not hasattr(self, "tree"):
            return
        lives = [r.incarnation.life for r in self.dispatcher._runners if not r.incarnation.life.fenced]
        paths = [life.path for life in lives]
        assert len(paths) == len(set(paths))
        for place in self.tree._services.places.values():
            assert place.mailbox.counters().balanced

    @invariant()
    def no_defect_of_the_supervisors_has_surfaced(self):
        for event in self.tree.events() if hasattr(self, "tree") else ():
            assert getattr(event, "phase", "") != "supervisor", event.traceback_text

    def teardown(self):
        if not hasattr(self, "tree"):
            return
        mode = self.rng.choice(("drain", "now"))
        self.tree.stop(mode, 20)
        self.dispatcher.advance(600)
        assert not self.tree.running
        assert self.dispatcher.alive() == []
        for path, epochs in self.counted.items():
            assert len(epochs) == len(set(epochs)), (path, epochs)
            assert epochs == sorted(epochs)
        for path in self.watched:
            told = [epoch for epoch in self.notices[path] if epoch]
            assert told == self.counted.get(path, []), path
        assert all(reply.settled for reply in self.replies)
        assert all(token.settled for token, heard in self.tokens if heard)


QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def often(examples, steps):
    return settings(
        max_examples=1500 if LONG else examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=QUIET,
    )


@pytest.mark.timeout(3600 if LONG else 120)
def test_the_real_tree_is_what_the_model_says_after_every_action():
    run_state_machine_as_test(Lockstep, settings=often(150, 40))


@pytest.mark.timeout(3600 if LONG else 120)
def test_nothing_hangs_leaks_is_lost_or_told_twice_in_any_schedule_of_crashes_exits_and_orders():
    run_state_machine_as_test(Chaos, settings=often(150, 60))
