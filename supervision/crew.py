"""A crew: several actors that share one thread and take turns. For stages of a pipeline that only compute.

Every actor has a thread of its own unless its `ChildSpec.crew` names a crew. What a crew saves are wake-ups: a
message that passes through ten actors of a crew wakes one thread, not ten, and waits for no hand-over of the
interpreter lock on its way. What it costs is that a member which takes long holds up the others. Nothing else
changes: each member has its own place, mailbox, epoch, failures and restarts.

Rules. A member takes one turn at a time (all its control messages, one batch), first come, first served. One that
waits for room in a mailbox lets the others take turns meanwhile, so members can put into each other's mailboxes; what
it waits for must not depend on a member that put to it, as in any pipeline. A member must not ask another one. A
member that is given up by its supervisor while it hangs keeps the thread; the others go on in a new one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from tickloom.supervision.actor import Actor, Next
from tickloom.supervision.clocks import NS, Clock, Waiter, to_ns
from tickloom.supervision.errors import StartError
from tickloom.supervision.incarnation import Incarnation
from tickloom.supervision.life import Life, current_life, set_current_life

Spawn = Callable[[Callable[[], None]], threading.Thread]
"""Starts a thread that runs a function."""


class _Member:
    """One incarnation taking turns."""

    __slots__ = ("_crew", "_incarnation", "in_turn", "life")

    def __init__(self, crew: Crew, incarnation: Incarnation) -> None:
        self._crew = crew
        self._incarnation = incarnation
        self.life = incarnation.life
        self.in_turn = False

    def wake(self) -> None:
        """Have a turn. Called by whoever brings something, once for each time the actor went idle."""
        self._crew.ready(self)

    def turn(self) -> Next:
        """Take one turn; LEAVE when that was the last."""
        before = current_life()
        set_current_life(self.life)
        try:
            following = self._turn()
        except BaseException as error:  # noqa: BLE001 - ends here, whatever it is: reported as this actor's exit
            self._incarnation.conclude(error)
            return Next.LEAVE
        finally:
            set_current_life(before)
        if following is Next.LEAVE:
            self._incarnation.conclude(None)
        return following

    def _turn(self) -> Next:
        actor = self._incarnation.actor
        if isinstance(actor, Actor):
            return actor._turn()
        made = self._incarnation.construct()
        if not isinstance(made, Actor):
            raise StartError(
                f"{made.path}: a crew has Actor and FoldActor, not {type(made).__name__}: leave crew empty"
            )
        made._rouse = self.wake
        made._begin()
        return Next.AGAIN


class Crew:
    """Actors that share a thread. The thread is there as long as the crew has members."""

    def __init__(self, spawn: Spawn, clock: Clock) -> None:
        self._spawn = spawn
        self._clock = clock
        self._lock = threading.Lock()
        self._members: set[_Member] = set()
        self._ready: deque[_Member] = deque()
        self._duty: Waiter | None = None
        """What the thread on duty sleeps on; None: there is no thread."""
        self._asleep = False
        self._thread: threading.Thread | None = None

    def add(self, incarnation: Incarnation) -> None:
        """Let the incarnation take turns from now on.

        Raises:
            RuntimeError: the system has no more threads.
        """
        member = _Member(self, incarnation)
        member.life.wait = self._wait
        with self._lock:
            self._members.add(member)
            if self._duty is None:
                try:
                    self._begin()
                except RuntimeError:
                    self._members.discard(member)
                    raise
            member.life.thread = self._thread
        self.ready(member)

    def ready(self, member: _Member) -> None:
        """Give the member a turn. From any thread."""
        with self._lock:
            self._ready.append(member)
        self._poke()

    def relieve(self, life: Life) -> None:
        """The life was given up. If it holds the thread, the others go on in another one.

        Raises:
            RuntimeError: the system has no more threads.
        """
        with self._lock:
            for member in self._members:
                if member.life is life and member.in_turn:
                    self._members.discard(member)
                    break
            else:
                return
            self._duty = None
            if self._members:
                self._begin()
                for other in self._members:
                    if not other.in_turn:
                        other.life.thread = self._thread

    def _begin(self) -> None:
        """Start a thread; the lock is held."""
        duty = Waiter()
        self._asleep = False
        self._thread = self._spawn(lambda: self._work(duty))
        self._duty = duty

    def _poke(self) -> None:
        with self._lock:
            duty = self._duty if self._asleep else None
            self._asleep = False
        if duty is not None:
            duty.wake()

    # --- the thread on duty ---

    def _work(self, duty: Waiter) -> None:
        while self._step(duty, None, None):
            pass

    def _step(self, duty: Waiter, until: Waiter | None, deadline_ns: int | None) -> bool:
        """Give one turn, or sleep until there is one to give. False when off duty.

        `until` ends the sleep as well, and so does `deadline_ns` of the monotonic clock.
        """
        with self._lock:
            if self._duty is not duty:
                return False
            if until is not None and until.ended:
                return True
            member = self._ready.popleft() if self._ready else None
            if member is not None:
                member.in_turn = True
            elif not self._members:
                self._duty = None
                return False
            else:
                self._asleep = True
        if member is not None:
            self._turn(member)
            return True
        left = None if deadline_ns is None else max(deadline_ns - self._clock.monotonic_ns(), 0) / NS
        self._clock.wait(duty, left)
        with self._lock:
            self._asleep = False
        duty.reset()
        return True

    def _turn(self, member: _Member) -> None:
        following = member.turn()
        while following is not Next.LEAVE and member not in self._members:  # given up meanwhile: to its end, here
            following = member.turn()
        with self._lock:
            member.in_turn = False
            if following is Next.LEAVE:
                self._members.discard(member)
            elif following is Next.AGAIN:
                self._ready.append(member)
        if following is Next.AGAIN:
            self._poke()  # of no effect in the thread on duty; else that one has a member back

    def _wait(self, waiter: Waiter, timeout: float | None) -> bool:
        """Wait, in a member's turn, until `waiter` is woken (True) or `timeout` seconds have passed (False)."""
        deadline_ns = None if timeout is None else self._clock.monotonic_ns() + to_ns(timeout)
        waiter.also = self._poke
        with self._lock:
            duty = self._duty if self._thread is threading.current_thread() else None
        while duty is not None and not waiter.ended:
            if deadline_ns is not None and self._clock.monotonic_ns() >= deadline_ns:
                break
            if not self._step(duty, waiter, deadline_ns):
                break
        left = None if deadline_ns is None else max(deadline_ns - self._clock.monotonic_ns(), 0) / NS
        return self._clock.wait(waiter, left)
