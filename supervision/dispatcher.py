"""A tree without threads: every turn of every actor, and of the supervisors, is a step somebody takes.

Part of the testing kit. With the same seed the same steps are taken in the same order, so a failing schedule can be
run again. What would block a thread (a put into a full mailbox, an ask) lets the others take steps meanwhile; when
nobody can, time jumps to the next timer, and when there is none the schedule is `Stuck`: a deadlock was found.

    dispatcher = Dispatcher(seed=7)
    tree = dispatcher.tree(spec)
    tree.start()
    tree.ref("/adder").put(1)
    dispatcher.run()

Plain actors and folds only: an `AsyncActor` needs its thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from tickloom.supervision.actor import Actor, Next
from tickloom.supervision.clocks import NS, Waiter, to_ns
from tickloom.supervision.faults import FaultPlan
from tickloom.supervision.incarnation import Incarnation
from tickloom.supervision.life import Life, current_life, set_current_life
from tickloom.supervision.manual import ManualClock
from tickloom.supervision.spec import SupervisorSpec
from tickloom.supervision.tree import Tree
from tickloom.supervision.warden import Warden


class Stuck(AssertionError):  # noqa: N818 - a finding about the schedule
    """Somebody waits without a limit, and nobody and no timer is left to end it."""


class SteppedClock(ManualClock):
    """The dispatcher's clock: to wait is to let the others take steps."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def wait(self, waiter: Waiter, timeout: float | None) -> bool:
        """Step the others until the waiter is woken; in the end let time jump."""
        return self._dispatcher.wait(waiter, timeout)


@dataclass(eq=False)
class _Runner:
    """One incarnation taking turns."""

    incarnation: Incarnation
    begun: bool = False
    asleep: bool = False
    in_turn: bool = False

    @property
    def actor(self) -> Any:
        return self.incarnation.actor

    def ready(self) -> bool:
        return not self.in_turn and (not self.asleep or self.actor._waiter.ended)

    def step(self) -> bool:
        """Take one turn; False when that was the last."""
        before = current_life()
        set_current_life(self.incarnation.life)
        self.in_turn = True
        try:
            return self._turn()
        except BaseException as error:
            if isinstance(error, (Stuck, KeyboardInterrupt)):
                raise
            self.incarnation.conclude(error)
            return False
        finally:
            self.in_turn = False
            set_current_life(before)

    def _turn(self) -> bool:
        if not self.begun:
            self.begun = True
            actor = self.incarnation.construct()
            if not isinstance(actor, Actor):
                raise TypeError(f"{actor.path}: the dispatcher runs Actor and FoldActor, not {type(actor).__name__}")
            actor._begin()
            return True
        if self.asleep:
            self.asleep = False
            self.actor._waiter.block(0)
            self.actor._waiter.reset()
        following = self.actor._turn()
        if following is Next.LEAVE:
            self.incarnation.conclude(None)
            return False
        self.asleep = following is Next.IDLE
        return True


class Dispatcher:
    """Runs trees step by step, in an order that `seed` decides (None: always the first that can)."""

    inline = True

    def __init__(self, seed: int | None = None) -> None:
        self._rng = Random(seed) if seed is not None else None  # noqa: S311 - schedules, not secrets
        self._wardens: list[Warden] = []
        self._runners: list[_Runner] = []
        self.clock = SteppedClock(self)
        self.steps = 0

    def tree(self, spec: SupervisorSpec, *, faults: FaultPlan | None = None, name: str = "stepped") -> Tree:
        """Return a tree that this dispatcher runs."""
        return Tree(spec, name=name, clock=self.clock, rng=Random(0), faults=faults, executor=self)  # noqa: S311

    def step(self) -> bool:
        """Take one step of whoever can. False when nobody can without time going on."""
        choices: list[Warden | _Runner] = [warden for warden in self._wardens if warden.busy]
        choices += [runner for runner in self._runners if runner.ready()]
        if not choices:
            return False
        chosen = choices[self._rng.randrange(len(choices))] if self._rng is not None else choices[0]
        self.steps += 1
        if isinstance(chosen, Warden):
            chosen.step()
        elif not chosen.step():
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
        return min(dues, default=None)

    # --- the executor's part ---

    def spawn(self, incarnation: Incarnation) -> None:
        """Let the incarnation take turns from now on."""
        self._runners.append(_Runner(incarnation))

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

    @property
    def lives(self) -> list[Life]:
        """The incarnations that take turns."""
        return [runner.incarnation.life for runner in self._runners]

    def seconds(self) -> float:
        """Return how far time has come."""
        return self.clock.monotonic_ns() / NS
