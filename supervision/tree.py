"""The tree: what an application holds. Starts, stops and shows a supervision tree, and gives out refs into it.

Every method may be called from any thread, and those that wait do so on the tree's clock. A tree runs once: to run
the same specification again, make another.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tickloom.supervision import events
from tickloom.supervision.bus import EventBus, Subscriber, Subscription
from tickloom.supervision.clocks import Clock, Latch, SystemClock, to_ns
from tickloom.supervision.deadletters import DeadLetters
from tickloom.supervision.deathwatch import Watch
from tickloom.supervision.errors import AskTimeout, NoSuchPlace, StartError, SupervisionError, TreeStopped
from tickloom.supervision.executor import Executor, ThreadExecutor
from tickloom.supervision.exits import Exit, ExitKind
from tickloom.supervision.faults import FaultPlan
from tickloom.supervision.life import current_life, wait
from tickloom.supervision.lifecycle import Phase
from tickloom.supervision.orders import Add, Delete, Input, Revive, Terminate
from tickloom.supervision.place import Memory
from tickloom.supervision.ref import Ref, Reply
from tickloom.supervision.registry import Node, join
from tickloom.supervision.services import Services, canonical
from tickloom.supervision.spec import ChildSpec, SupervisorSpec
from tickloom.supervision.views import ActorView, look
from tickloom.supervision.warden import Warden

MODES = ("drain", "now")
SPARE = 1.0
"""Seconds beyond a deadline that a caller waits for the supervising thread to say how it went."""


@dataclass(frozen=True)
class StopReport:
    """How a stop went: why the tree ended, who did not stop in time (paths), and what threads are left (names)."""

    exit: Exit
    overruns: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether everybody stopped in time and no thread is left."""
        return not self.overruns and not self.threads


class Tree:
    """A supervision tree. `name` begins the name of each of its threads; `accounting`: views say what actors hold;
    `processor` is the one its threads keep to (one of `keepable`; None: any).
    """

    def __init__(
        self,
        spec: SupervisorSpec,
        *,
        name: str = "tickloom",
        clock: Clock | None = None,
        rng: Random | None = None,
        faults: FaultPlan | None = None,
        executor: Executor | None = None,
        accounting: bool = True,
        processor: int | None = None,
    ) -> None:
        self.spec = spec
        self.name = name
        self.clock: Clock = clock or SystemClock()
        self._executor: Executor = executor or ThreadExecutor(name, processor)
        self._bus = EventBus(name, self.clock, inline=self._executor.inline)
        self._services = Services(name, self.clock, rng or Random(), self._bus, faults)  # noqa: S311 - jitter, not secrets
        self._services.accounting = accounting
        self._warden = Warden(spec, self._services, self._executor)
        self._warden.on_up = self._came_up
        self._warden.on_end = self._ended
        self._started = Reply()
        self._over = Latch()
        self._exit: Exit | None = None
        self._begun = False
        self._waiting: list[Reply] = []
        self._lock = threading.Lock()
        self._at_exit: Callable[[], None] | None = None

    # --- life ---

    def start(self, timeout: float = 60.0) -> None:
        """Start everything, in order, and return when all of it is up.

        Raises:
            StartError: a child failed to start, which the sentence names, or the start took longer than `timeout`
                seconds. Whatever had started is stopped again.
            TreeStopped: the tree was started before.
        """
        self._no_actor("start")
        with self._lock:
            if self._begun:
                raise TreeStopped(f"{self.name}: a tree is started once; make another")
            self._begun = True
        self._at_exit = _stop_at_exit(self)
        self._executor.spawn_warden(f"{self.name}/supervisor", self._warden)
        self._warden.post(self._warden.begin)
        if not self.clock.wait(self._started.waiter, timeout):
            views = [view for view in self.snapshot().walk() if not view.children]
            slow = [view.path for view in views if view.state == Phase.STARTING.value]
            self.stop("now")
            raise StartError(f"{self.name}: not up after {timeout:g} s; still starting: {', '.join(slow) or 'nothing'}")
        try:
            self._started.result()
        except StartError:
            self._finish(SPARE)
            raise

    def stop(self, mode: str = "drain", timeout: float | None = None) -> StopReport:
        """Stop everything, in reverse order, within `timeout` seconds for the whole tree; return how it went.

        `drain`: what was queued when a child's turn comes is handled first. `now`: it becomes dead letters. The default
        time is the longest shutdown time in the tree. Stopping again is harmless and returns the same.

        Raises:
            SupervisionError: called by an actor of this tree, which would wait for itself: use `request_stop`.
        """
        self._no_actor("stop")
        timeout = self.spec.stop_seconds if timeout is None else timeout
        if not self._begun:
            with self._lock:
                self._begun = True
            self._warden.halt(mode, 0)
            return self._report()
        self.request_stop(mode, timeout)
        self._over.wait(self.clock, timeout + SPARE)
        return self._finish(SPARE)

    def request_stop(self, mode: str = "drain", timeout: float | None = None) -> None:
        """Begin to stop, and return at once. For actors, signal handlers, and whoever must not wait."""
        if mode not in MODES:
            raise ValueError(f"{self.name}: mode must be drain or now, not {mode!r}")
        timeout = self.spec.stop_seconds if timeout is None else timeout
        deadline = self.clock.monotonic_ns() + to_ns(timeout)
        self._warden.post(lambda: self._warden.halt(mode, deadline))

    def wait(self, timeout: float | None = None) -> Exit | None:
        """Wait until the tree has ended and return the cause; None when `timeout` seconds ran out first."""
        self._no_actor("wait")
        self._over.wait(self.clock, timeout)
        return self._exit

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._begun and self._exit is None

    def __enter__(self) -> Tree:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- refs, events, watches ---

    def ref(self, path: str) -> Ref:
        """Return the ref of the actor at `path`, also before the start.

        Raises:
            NoSuchPlace: the specification has no actor there.
        """
        return Ref(self._services.find(path))

    def subscribe(self, subscriber: Subscriber) -> Subscription:
        """Tell a callback, or a ref on its control lane, every event from now on. See `bus` for what may be missed."""
        return self._bus.subscribe(subscriber)

    def watch(self, path: str, subscriber: Subscriber) -> Watch:
        """Tell a callback or a ref `Died`, once for each death at `path`; at once, too, when it is dead by now.

        Raises:
            NoSuchPlace: there is no child at `path`.
        """
        path = canonical(path)
        if path not in self._services.places and path not in self._warden.nodes:
            raise NoSuchPlace(f"{self.name}: there is no child at {path}")
        return self._warden.deaths.watch(path, subscriber)

    def events(self) -> list[events.Event]:
        """Return the last events, oldest first."""
        return self._bus.history()

    @property
    def dead_letters(self) -> DeadLetters:
        """The dead letters."""
        return self._services.dead_letters

    # --- children by hand ---

    def start_child(self, parent: str, spec: ChildSpec, timeout: float = 60.0) -> Ref | None:
        """Add a child to the supervisor at `parent` and start it; returns its ref (None for a supervisor).

        Raises:
            AlreadyStarted: a child with this id runs. AlreadyPresent: one is there, but does not run.
            StartError: it failed to start, and was not added.
            SpecError: this supervisor cannot have such a child.
            NoSuchPlace: there is no supervisor at `parent`.
        """
        node = self._node(parent)
        self._command(node, lambda token: Add(spec, token), timeout)
        place = self._services.places.get(join(node.path, spec.id))
        return Ref(place) if place is not None else None

    def terminate_child(self, path: str, mode: str = "now", timeout: float | None = None) -> None:
        """Stop a child and keep its specification (a temporary child's goes). `mode` and `timeout` as for `stop`.

        Messages to it are refused until it is started again with `restart_child`.

        Raises:
            NoSuchPlace: there is no such child.
        """
        if mode not in MODES:
            raise ValueError(f"{self.name}: mode must be drain or now, not {mode!r}")
        node, child_id = self._parent_of(path)
        child = node.child(child_id)
        seconds = timeout if timeout is not None else child.spec.stop_seconds if child is not None else 0.0
        deadline = self.clock.monotonic_ns() + to_ns(seconds)
        self._command(node, lambda token: Terminate(child_id, mode, deadline, token), seconds + SPARE)

    def settle(self, path: str, timeout: float, *, every: float = 0.001) -> bool:
        """Wait until the actor at `path` has handled all data put so far; False: `timeout` came first.

        Its outputs are out then, too, and it goes on. Crashes, backoff and an open breaker are waited for: what it left
        is handled by the incarnation that comes after. Looks every `every` seconds of the tree's clock.

        Raises:
            NoSuchPlace: there is no actor at `path`.
        """
        self._no_actor("settle")
        place = self._services.find(path)
        deadline = self.clock.monotonic_ns() + to_ns(timeout)
        while not (place.mailbox.idle and place.emitted_all):
            if self.clock.monotonic_ns() >= deadline:
                return False
            wait(self.clock, Reply().waiter, every)
        return True

    def drain(self, path: str, timeout: float | None = None) -> None:
        """Stop the child at `path` after it has handled everything queued: `terminate_child` with mode `drain`."""
        self.terminate_child(path, "drain", timeout)

    def restart_child(self, path: str, timeout: float = 60.0) -> None:
        """Start a child again that was terminated, has finished, or declined.

        Raises:
            ChildRunning: it runs, or is coming back by itself.
            StartError: it failed to start; its specification stays.
            NoSuchPlace: there is no such child.
        """
        node, child_id = self._parent_of(path)
        self._command(node, lambda token: Revive(child_id, token), timeout)

    def delete_child(self, path: str) -> None:
        """Remove the specification, and the memory, of a child that does not run.

        Raises:
            ChildRunning: it runs, or is coming back by itself: terminate it first.
            NoSuchPlace: there is no such child.
        """
        node, child_id = self._parent_of(path)
        self._command(node, lambda token: Delete(child_id, token), 60.0)

    def child_spec(self, path: str) -> ChildSpec:
        """Return a child's specification as it was given.

        Raises:
            NoSuchPlace: there is no such child.
        """
        node, child_id = self._parent_of(path)
        child = node.child(child_id)
        if child is None:
            raise NoSuchPlace(f"{self.name}: there is no child at {canonical(path)}")
        return child.spec

    def resize(self, path: str, capacity: int, *, max_bytes: int | None = None, max_batch: int | None = None) -> None:
        """Change the bound of an actor's mailbox while it runs. The change is an event.

        `max_bytes` changes the bound in bytes of a mailbox that has one, `max_batch` how many messages its actor is
        handed at once from now on.

        Raises:
            NoSuchPlace: there is no actor at `path`.
        """
        place = self._services.find(path)
        before = place.mailbox.counters().capacity
        place.mailbox.resize(capacity, max_bytes)
        if max_batch is not None:
            place.max_batch = max(max_batch, 1)
        self._bus.publish(
            events.CapacityChanged(path=place.path, at_ns=self.clock.wall_ns(), before=before, after=capacity)
        )

    # --- looking ---

    def snapshot(self) -> ActorView:
        """Return what the tree looks like now. Stops nothing, waits for nothing."""
        return look(self._warden, self._services)

    def recall(self, path: str) -> Any:
        """Return what the actor at `path` committed last (`NOTHING`: it never did), also after it has ended.

        What is committed is a value that nobody changes, so reading it waits for nobody and disturbs nobody.

        Raises:
            NoSuchPlace: there is no actor at `path`.
        """
        return self._services.find(path).memory.state

    def seed(self, path: str, state: Any) -> None:
        """Let the actor at `path` begin with `state`, as if one before it had committed that. Before the start only.

        Raises:
            NoSuchPlace: there is no actor at `path`.
            SupervisionError: the tree was started; what an actor has is its own from then on.
        """
        place = self._services.find(path)
        with self._lock:
            if self._begun:
                raise SupervisionError(f"{place.path}: a state can be given before the start only")
            place.memory = Memory(state)

    def threads(self) -> list[str]:
        """Return the names of the tree's threads that are alive."""
        return self._executor.alive()

    # --- inside ---

    def _came_up(self) -> None:
        self._started.set(None)

    def _ended(self, exit_: Exit) -> None:
        self._exit = exit_
        if exit_.kind is ExitKind.CRASH:
            self._started.fail(exit_.cause if isinstance(exit_.cause, StartError) else StartError(str(exit_)))
        else:
            self._started.fail(StartError(f"{self.name} was stopped before it was up"))
        self._warden.end()
        self._over.set()
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for reply in waiting:
            reply.fail(TreeStopped(f"{self.name}: the tree has stopped"))

    def _finish(self, seconds: float) -> StopReport:
        threads = tuple(self._executor.join(seconds))
        self._bus.close(seconds)
        if self._at_exit is not None:
            atexit.unregister(self._at_exit)
            self._at_exit = None
        return self._report(threads)

    def _report(self, threads: tuple[str, ...] = ()) -> StopReport:
        exit_ = self._exit or Exit(ExitKind.OVERRUN, detail="the supervising thread did not say in time")
        return StopReport(exit_, tuple(self._warden.overruns), threads)

    def _command(self, node: Node, event: Callable[[Any], Input], timeout: float) -> None:
        self._no_actor("command")
        token = Reply()
        if not self.running or not self._warden.post(lambda: self._warden.feed(node, event(token))):
            raise TreeStopped(f"{self.name}: the tree does not run")
        self._on_over(token)
        wait(self.clock, token.waiter, timeout)
        token.fail(AskTimeout(f"{node.path}: not done within {timeout:g} s"))
        token.result()

    def _on_over(self, reply: Reply) -> None:
        with self._lock:
            self._waiting = [other for other in self._waiting if not other.settled]
            self._waiting.append(reply)
            over = self._over.is_set
        if over:
            reply.fail(TreeStopped(f"{self.name}: the tree has stopped"))

    def _node(self, path: str) -> Node:
        node = self._warden.nodes.get(canonical(path))
        if node is None:
            raise NoSuchPlace(f"{self.name}: there is no supervisor at {canonical(path)}")
        return node

    def _parent_of(self, path: str) -> tuple[Node, str]:
        parent, _, child_id = canonical(path).rpartition("/")
        return self._node(parent), child_id

    def _no_actor(self, what: str) -> None:
        life = current_life()
        if life is not None and self._services.places.get(life.path) is not None:
            place = self._services.places[life.path]
            if place.mailbox is life.mailbox:
                raise SupervisionError(f"{life.path}: an actor cannot {what} its own tree and wait; use request_stop")


def _stop_at_exit(tree: Tree) -> Callable[[], None]:
    """Have the tree stopped in order when the interpreter ends, if it is still there."""
    known = weakref.ref(tree)

    def stop() -> None:
        held = known()
        if held is not None and held.running:
            with contextlib.suppress(SupervisionError):
                held.stop("now")

    atexit.register(stop)
    return stop
