"""A tree whose every step is taken on purpose: one at a time, in an order that a seed decides.

Part of the testing kit. With the same seed the same steps are taken in the same order, so a failing schedule can be
run again. Each actor has a thread, because it may block in the middle of a handler, but there is one baton: whoever
has it runs, and gives it back after each turn and when it would block. When nobody can run, time jumps to the next
timer; when there is none, the schedule is `Stuck`: a deadlock was found.

    dispatcher = Dispatcher(seed=7)
    tree = dispatcher.tree(spec)
    tree.start()
    tree.ref("/adder").put(1)
    dispatcher.run()
    tree.stop()

Plain actors and folds only: the event loop of an `AsyncActor` would not give the baton back.
"""

from __future__ import annotations

import threading
from random import Random

from tickloom.supervision.actor import Actor, Next
from tickloom.supervision.clocks import NS, Waiter, to_ns
from tickloom.supervision.faults import FaultPlan
from tickloom.supervision.incarnation import Incarnation
from tickloom.supervision.life import Life, set_current_life
from tickloom.supervision.manual import ManualClock
from tickloom.supervision.spec import SupervisorSpec
from tickloom.supervision.tree import Tree
from tickloom.supervision.warden import Warden


class Stuck(AssertionError):
    """Somebody waits without a limit, and nobody and no timer is left to end it."""


class SteppedClock(ManualClock):
    """The dispatcher's clock: to wait is to let the others take steps."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def wait(self, waiter: Waiter, timeout: float | None) -> bool:
        """Let the others take steps until the waiter is woken; in the end let time jump."""
        return self._dispatcher.wait(waiter, timeout)


class _Runner:
    """One incarnation, in a thread that runs only while it has the baton."""

    def __init__(self, incarnation: Incarnation, dispatcher: Dispatcher) -> None:
        self.incarnation = incarnation
        self.over = False
        self.waiter: Waiter | None = None
        self.until_ns: int | None = None
        self._dispatcher = dispatcher
        self._go = threading.Lock()
        self._back = threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self.thread = threading.Thread(target=self._run, name=incarnation.place.path, daemon=True)
        self.thread.start()

    def ready(self, now_ns: int) -> bool:
        """Whether it could go on."""
        if self.waiter is None or self.waiter.ended:
            return True
        return self.until_ns is not None and self.until_ns <= now_ns

    def step(self) -> None:
        """Let it run until it gives the baton back. Called by whoever runs the dispatcher."""
        self._go.release()
        self._back.acquire()

    def pause(self, waiter: Waiter | None = None, until_ns: int | None = None) -> None:
        """Give the baton back, until the waiter is woken or the time has come. Called in its own thread."""
        self.waiter, self.until_ns = waiter, until_ns
        self._back.release()
        self._go.acquire()
        self.waiter = None

    def _run(self) -> None:
        self._go.acquire()
        set_current_life(self.incarnation.life)
        error: BaseException | None = None
        try:
            self._live()
        except BaseException as trouble:  # noqa: BLE001 - as in a thread of its own: it ends this actor and no other
            error = trouble
        finally:
            self.incarnation.conclude(error)
            self.over = True
            self._back.release()

    def _live(self) -> None:
        actor = self.incarnation.construct()
        if not isinstance(actor, Actor):
            raise TypeError(f"{actor.path}: the dispatcher runs Actor and FoldActor, not {type(actor).__name__}")
        actor._begin()
        self.pause()
        while (following := actor._turn()) is not Next.LEAVE:
            if following is Next.IDLE:
                self._dispatcher.clock.wait(actor._waiter, actor._patience())
                actor._waiter.reset()
            else:
                self.pause()


class Dispatcher:
    """Runs trees step by step, in an order that `seed` decides (None: always the first that can)."""

    inline = True

    def __init__(self, seed: int | None = None) -> None:
        self._rng = Random(seed) if seed is not None else None  # noqa: S311 - schedules, not secrets
        self._wardens: list[Warden] = []
        self._runners: list[_Runner] = []
        self._running: _Runner | None = None
        self.clock = SteppedClock(self)
        self.steps = 0

    def tree(self, spec: SupervisorSpec, *, faults: FaultPlan | None = None, name: str = "stepped") -> Tree:
        """Return a tree that this dispatcher runs."""
        return Tree(spec, name=name, clock=self.clock, rng=Random(0), faults=faults, executor=self)  # noqa: S311

    def step(self) -> bool:
        """Take one step of whoever can. False when nobody can without time going on."""
        now_ns = self.clock.monotonic_ns()
        choices: list[Warden | _Runner] = [warden for warden in self._wardens if warden.busy]
        choices += [runner for runner in self._runners if runner.ready(now_ns)]
        if not choices:
            return False
        chosen = choices[self._rng.randrange(len(choices))] if self._rng is not None else choices[0]
        self.steps += 1
        if isinstance(chosen, Warden):
            chosen.step()
            return True
        self._running = chosen
        try:
            chosen.step()
        finally:
            self._running = None
        if chosen.over:
            chosen.thread.join()
            self._runners.remove(chosen)
        return True

    def run(self, limit: int = 1_000_000) -> int:
        """Take steps until nobody can; returns how many.

        Raises:
            Stuck: there was no end to it after `limit` steps.
        """
        for count in range(limit):
            if not self.step():
                return count
        raise Stuck(f"no rest after {limit} steps")

    def advance(self, seconds: float) -> None:
        """Run; then let time pass, timer by timer, running after each."""
        self.run()
        until = self.clock.monotonic_ns() + to_ns(seconds)
        while (due := self._next_due_ns()) is not None and due <= until:
            self.clock.advance_to(due)
            self.run()
        self.clock.advance_to(until)
        self.run()

    def wait(self, waiter: Waiter, timeout: float | None) -> bool:
        """Let the others take steps until the waiter is woken, or `timeout` seconds have passed."""
        until = None if timeout is None else self.clock.monotonic_ns() + to_ns(timeout)
        runner = self._running
        if runner is not None and runner.thread is threading.current_thread():
            if not waiter.ended:
                runner.pause(waiter, until)
            waiter.expire()
            return waiter.block(None)
        while not waiter.ended:
            if self.step():
                continue
            due = self._next_due_ns()
            if until is not None and (due is None or due > until):
                self.clock.advance_to(until)
                waiter.expire()
            elif due is not None:
                self.clock.advance_to(due)
            else:
                raise Stuck(f"all wait, and no timer runs: {', '.join(self.alive()) or 'no actor'}")
        return waiter.block(None)

    def _next_due_ns(self) -> int | None:
        dues = [due for warden in self._wardens if (due := warden.next_due_ns()) is not None]
        dues += [runner.until_ns for runner in self._runners if runner.waiter and runner.until_ns is not None]
        return min(dues, default=None)

    # --- the executor's part ---

    def spawn(self, incarnation: Incarnation) -> None:
        """Let the incarnation take turns from now on."""
        self._runners.append(_Runner(incarnation, self))

    def relieve(self, life: Life) -> None:
        """Nothing to do: nobody has a thread."""

    def spawn_warden(self, name: str, warden: Warden) -> None:
        """Let the supervisors take steps from now on."""
        self._wardens.append(warden)

    def alive(self) -> list[str]:
        """Return the paths of the incarnations that take turns."""
        return sorted(runner.incarnation.place.path for runner in self._runners)

    def join(self, seconds: float) -> list[str]:
        """Run until nobody can; return who is left."""
        self.run()
        return self.alive()

    def seconds(self) -> float:
        """Return how far time has come."""
        return self.clock.monotonic_ns() / NS
