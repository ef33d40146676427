"""The shell around the supervisors' core: one thread that runs every supervisor of a tree.

Supervisors of a tree share a thread because none of them ever waits: what the core answers is either instantaneous
or has its end reported back as an event. No foreign code runs in this thread but conflate-free mailbox operations
and timers' calls, so it cannot be held up by an actor. Everything below happens in it, unless a method says
otherwise; other threads hand it work with `post`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from tickloom.supervision import events
from tickloom.supervision.breaker import Breaker
from tickloom.supervision.clocks import NS, Waiter, to_ns
from tickloom.supervision.core import step
from tickloom.supervision.deathwatch import DeathWatch
from tickloom.supervision.errors import ActorDead, TreeStopped
from tickloom.supervision.executor import Executor
from tickloom.supervision.exits import Exit, ExitKind
from tickloom.supervision.incarnation import Incarnation
from tickloom.supervision.life import Life
from tickloom.supervision.lifecycle import LIVE, Stage
from tickloom.supervision.orders import (
    Begin,
    CancelTimer,
    ChildDeclined,
    ChildExited,
    ChildFailed,
    ChildSucceeded,
    ChildUp,
    CloseChild,
    Command,
    Due,
    Exhausted,
    FenceChild,
    ForgetChild,
    Gone,
    Halt,
    Input,
    NotUp,
    Reply,
    SetBackoff,
    SetTimer,
    StartChild,
    StopChild,
    TimerKey,
    TurnBreaker,
    Up,
    WatchSuccess,
)
from tickloom.supervision.registry import Node, Registry, join
from tickloom.supervision.services import Services
from tickloom.supervision.spec import SupervisorSpec
from tickloom.supervision.timers import Timers


class Warden:
    """Runs the supervisors of one tree."""

    def __init__(self, spec: SupervisorSpec, services: Services, executor: Executor) -> None:
        self._services = services
        services.warden = self
        self._clock = services.clock
        self._executor = executor
        self._lock = threading.Lock()
        self._posts: deque[Callable[[], object]] = deque()
        self._agenda: deque[tuple[Node, Input]] = deque()
        self._waiter = Waiter()
        self._asleep = False
        self._timers = Timers()
        self._over = False
        self._registry = registry = Registry(spec, services)
        self.nodes = registry.nodes
        self.root = registry.root
        self.deaths = DeathWatch(registry, services.bus, self.post)
        self.overruns: dict[str, int] = {}
        self.on_up: Callable[[], object] = lambda: None
        self.on_end: Callable[[Exit], object] = lambda exit_: None

    # --- from any thread ---

    def post(self, work: Callable[[], object]) -> bool:
        """Have `work` done by the supervising thread. False when the tree is over: nobody will do it."""
        with self._lock:
            if self._over:
                return False
            self._posts.append(work)
            wake, self._asleep = self._asleep, False
        if wake:
            self._waiter.wake()
        return True

    def up(self, path: str, epoch: int) -> None:
        """Report: the incarnation is up."""
        self.post(partial(self._up, path, epoch))

    def succeeded(self, path: str, epoch: int) -> None:
        """Report: the incarnation did something well."""
        self.post(lambda: self._tell_parent(path, partial(ChildSucceeded, epoch=epoch)))

    def ended(self, path: str, life: Life, exit_: Exit, *, up: bool, declined: bool) -> None:
        """Report: the incarnation is over."""
        self.post(partial(self._ended, path, life, exit_, up=up, declined=declined))

    def call_later(self, seconds: float, call: Callable[[], object]) -> Callable[[], None]:
        """Call `call` in the supervising thread after `seconds`; returns what cancels it."""
        key = object()
        at_ns = self._clock.monotonic_ns() + to_ns(max(seconds, 0.0))
        self.post(lambda: self._timers.set(key, at_ns, call))

        def cancel() -> None:
            self.post(lambda: self._timers.cancel(key))

        return cancel

    # --- the loop ---

    def run(self) -> None:
        """Work until the tree is over. The body of the supervising thread."""
        while True:
            if self.step():
                continue
            with self._lock:
                if self._posts:
                    continue
                if self._over:
                    return
                self._asleep = True
            due = self._timers.next_ns()
            timeout = None if due is None else max(due - self._clock.monotonic_ns(), 0) / NS
            self._clock.wait(self._waiter, timeout)
            with self._lock:
                self._asleep = False
            self._waiter.reset()

    def step(self) -> bool:
        """Do one thing: a due timer, or else a post. False when there is nothing to do."""
        work = self._timers.pop_due(self._clock.monotonic_ns())
        if work is None:
            with self._lock:
                work = self._posts.popleft() if self._posts else None
        if work is None:
            return False
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a defect in here must not take the tree's supervision down: told
            self._services.failed("/", 0, "supervisor", error)
        while self._agenda:
            node, event = self._agenda.popleft()
            try:
                node.state, commands = step(node.state, event, self._clock.monotonic_ns())
                for command in commands:
                    self._do(node, command)
            except Exception as error:  # noqa: BLE001 - as above
                self._services.failed(node.path, node.epoch, "supervisor", error)
        return True

    @property
    def busy(self) -> bool:
        """Whether there is something to do at once."""
        due = self._timers.next_ns()
        return bool(self._posts) or (due is not None and due <= self._clock.monotonic_ns())

    def end(self) -> None:
        """The root is gone: take no more posts."""
        with self._lock:
            self._over = True

    def next_due_ns(self) -> int | None:
        """Return when the next timer is due."""
        return self._timers.next_ns()

    # --- work ---

    def feed(self, node: Node, event: Input) -> None:
        """Let a supervisor hear an event, after those it has yet to hear."""
        self._agenda.append((node, event))

    def begin(self) -> None:
        """Start the root."""
        self.root.epoch += 1
        self.feed(self.root, Begin())

    def halt(self, mode: str, deadline_ns: int) -> None:
        """Stop the root for good."""
        if self.root.state.stage is Stage.IDLE:
            self._root_gone(Exit(ExitKind.SHUTDOWN, detail="stopped before it started"))
        else:
            self.feed(self.root, Halt(mode, deadline_ns, final=True))

    def _up(self, path: str, epoch: int) -> None:
        place = self._services.places.get(path)
        if place is not None and place.epoch == epoch and place.life is not None:
            self._publish_started(path, epoch)
            self._tell_parent(path, partial(ChildUp, epoch=epoch))

    def _ended(self, path: str, life: Life, exit_: Exit, *, up: bool, declined: bool) -> None:
        place = self._services.places.get(path)
        if place is None or place.life is not life:
            self._services.bus.publish(events.Straggler(path=path, at_ns=self._clock.wall_ns(), epoch=life.epoch))
            return
        place.end(life.epoch, exit_)
        self._died(path, life.epoch, exit_)
        if declined:
            self._tell_parent(path, partial(ChildDeclined, epoch=life.epoch))
        elif up:
            self._tell_parent(path, partial(ChildExited, epoch=life.epoch, exit=exit_))
        else:
            self._tell_parent(path, partial(ChildFailed, epoch=life.epoch, exit=exit_))

    def _tell_parent(self, path: str, event: Callable[[str], Input]) -> None:
        parent, _, child_id = path.rpartition("/")
        node = self.nodes.get(parent or "/")
        if node is not None:
            self.feed(node, event(child_id))

    def _died(self, path: str, epoch: int, exit_: Exit) -> None:
        self._services.bus.publish(events.Exited(path=path, at_ns=self._clock.wall_ns(), epoch=epoch, exit=exit_))
        self.deaths.died(path, epoch, exit_)

    def _publish_started(self, path: str, epoch: int) -> None:
        self._services.bus.publish(events.Started(path=path, at_ns=self._clock.wall_ns(), epoch=epoch))

    # --- commands ---

    def _do(self, node: Node, command: Command) -> None:
        match command:
            case StartChild():
                self._start(node, command)
            case StopChild():
                self._stop(node, command)
            case FenceChild():
                self._fence(join(node.path, command.id), command.epoch, command.doing)
            case CloseChild():
                self._registry.close(join(node.path, command.id), command.reason)
            case ForgetChild():
                self._registry.forget(join(node.path, command.id))
            case SetTimer():
                self._timers.set((node.path, command.key), command.at_ns, partial(self._due, node, command.key))
            case SetBackoff():
                self._back_off(node, command)
            case CancelTimer():
                self._timers.cancel((node.path, command.key))
            case TurnBreaker():
                self._turn_breaker(node, command)
            case WatchSuccess():
                place = self._services.places.get(join(node.path, command.id))
                if place is not None and place.epoch == command.epoch:
                    place.wants_success = True
            case Exhausted():
                self._services.bus.publish(
                    events.IntensityExceeded(
                        path=node.path,
                        at_ns=self._clock.wall_ns(),
                        child=join(node.path, command.id),
                        intensity=node.spec.intensity,
                        period=node.spec.period,
                    )
                )
            case Reply():
                if command.error is None:
                    command.token.set(None)
                else:
                    command.token.fail(command.error)
            case Up():
                self._publish_started(node.path, node.epoch)
                if node.parent is None:
                    self.on_up()
                else:
                    self.feed(node.parent, ChildUp(node.id, node.epoch))
            case Gone():
                self._supervisor_gone(node, command.exit, ChildExited)
            case NotUp():
                self._supervisor_gone(node, command.exit, ChildFailed)

    def _due(self, node: Node, key: TimerKey) -> None:
        self.feed(node, Due(key))

    def _start(self, node: Node, command: StartChild) -> None:
        path, spec = join(node.path, command.spec.id), command.spec
        if isinstance(spec.start, SupervisorSpec):
            child = self.nodes.get(path) or self._registry.grow(path, spec.start, node, spec.id)
            self._registry.renew(child)
            child.epoch = command.epoch
            self.feed(child, Begin())
            return
        place = self._services.places.get(path) or self._registry.add_place(path, spec)
        known = node.child(spec.id)
        state = known.breaker.state if known is not None and known.breaker is not None else Breaker.CLOSED
        if place.breaker is not state:  # started anew by hand, or with its supervisor: so is its breaker
            place.breaker = state
            place.mailbox.breaker_closed()
        life = place.begin(command.epoch)
        try:
            self._executor.spawn(Incarnation(place, life, self))
        except RuntimeError as error:
            self._services.failed(path, command.epoch, "start", error)
            self._ended(path, life, Exit(ExitKind.CRASH, error, "no thread to be had"), up=False, declined=False)

    def _stop(self, node: Node, command: StopChild) -> None:
        path = join(node.path, command.id)
        child = self.nodes.get(path)
        if child is not None:
            self.feed(child, Halt(command.mode, command.deadline_ns, command.final))
            return
        place = self._services.places[path]
        life = place.life
        if life is None or life.epoch != command.epoch:
            return
        if command.final and command.mode == "drain":
            place.mailbox.drain("stopping")
        elif command.final:
            place.mailbox.bar("stopping")
        if life.stop != "now":
            life.stop = command.mode
        if command.mode == "now":
            life.interrupt()
        place.mailbox.wake_owner()

    def _fence(self, path: str, epoch: int, doing: str) -> None:
        """Give up the incarnation, or all below the supervisor, and the supervisor with them."""
        exit_ = Exit(ExitKind.OVERRUN, detail=f"did not {doing} in time")
        place, child = self._services.places.get(path), self.nodes.get(path)
        if place is not None:
            life = place.life
            if life is None or life.epoch != epoch:
                return
            life.fenced = True
            self.overruns[path] = epoch
            place.end(epoch, exit_)
            at = life.hand_back()
            if at is not None and at.answer is not None:
                at.answer.fail(ActorDead(f"{path} was given up while it handled the message"))
            life.interrupt()
            self._executor.relieve(life)
        elif child is not None:
            for grandchild in child.state.children:
                if grandchild.phase in LIVE:
                    self._fence(join(path, grandchild.spec.id), grandchild.epoch, doing)
                for token in (grandchild.token, grandchild.start_token):
                    if token is not None:
                        token.fail(TreeStopped(f"{path}, the child's supervisor, did not {doing} in time"))
            self._registry.renew(child)
            child.last_exit = (epoch, exit_)
        self._services.bus.publish(events.Overrun(path=path, at_ns=self._clock.wall_ns(), epoch=epoch, doing=doing))
        self._died(path, epoch, exit_)

    def _back_off(self, node: Node, command: SetBackoff) -> None:
        child = node.child(command.key.id)
        if child is None:
            return
        delay = child.spec.backoff.delay(command.attempt, self._services.rng)
        self._timers.set(
            (node.path, command.key), self._clock.monotonic_ns() + to_ns(delay), partial(self._due, node, command.key)
        )
        self._services.bus.publish(
            events.Restarting(
                path=join(node.path, command.key.id),
                at_ns=self._clock.wall_ns(),
                epoch=command.key.epoch,
                attempt=command.attempt,
                delay=delay,
            )
        )

    def _turn_breaker(self, node: Node, command: TurnBreaker) -> None:
        path = join(node.path, command.id)
        child = node.child(command.id)
        place = self._services.places.get(path)
        if place is not None and child is not None and child.spec.breaker is not None:
            spec = child.spec.breaker
            place.breaker = command.after
            if command.after is Breaker.OPEN:
                place.mailbox.breaker_open(refuse=spec.while_open == "refuse", probe=spec.probe)
            elif command.after is Breaker.HALF_OPEN:
                place.mailbox.breaker_half_open(spec.probe)
            else:
                place.mailbox.breaker_closed()
        self._services.bus.publish(
            events.BreakerChanged(
                path=path,
                at_ns=self._clock.wall_ns(),
                before=command.before.value,
                after=command.after.value,
                cause=command.cause,
            )
        )

    def _supervisor_gone(self, node: Node, exit_: Exit, event: type[ChildExited] | type[ChildFailed]) -> None:
        node.last_exit = (node.epoch, exit_)
        self._died(node.path, node.epoch, exit_)
        if node.parent is None:
            self._root_gone(exit_)
        else:
            self.feed(node.parent, event(node.id, node.epoch, exit_))

    def _root_gone(self, exit_: Exit) -> None:
        for place in list(self._services.places.values()):
            place.close("stopped")
        self.on_end(exit_)
