"""A crew: several actors that share a thread and take turns. For stages of a pipeline that only compute.

Every actor has a thread of its own unless its `ChildSpec.crew` names a crew. What a crew saves are wake-ups: a
message that passes through ten actors of a crew wakes one thread, not ten, and waits for no hand-over of the
interpreter lock on its way. What it costs is that a member which computes for long holds up the others. Nothing else
changes: each member has its own place, mailbox, epoch, failures and restarts.

Theory of operation. One thread is on duty: it gives the turns, first come, first served; a turn is all of a member's
control messages and one batch. A member that has to wait in its turn, for room in a mailbox or for a reply, first
lets go of the duty. Another thread takes it over as soon as anybody is ready, and the member goes on in its own
thread when its wait is over. So nobody ever waits with another member's unfinished turn beneath it on the stack, and
whatever a waiting member waits for can happen, be it the work of other members or of outsiders: a crew can deadlock
only where the same actors with a thread each would. Threads that have no duty any more are kept for the next time,
at most `SPARES` of them.

What a member blocks on by other means (a file, a lock of its own) holds up the crew until the supervisor gives the
member up; then the others go on in another thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import get_ident

from tickloom.supervision.actor import AGAIN, LEAVE, RESTING, Actor, Next
from tickloom.supervision.clocks import Clock, Waiter
from tickloom.supervision.errors import StartError
from tickloom.supervision.incarnation import Incarnation
from tickloom.supervision.life import Life, set_current_life

Spawn = Callable[[Callable[[], None]], threading.Thread]
"""Starts a thread that runs a function."""

SPARES = 2
"""Most threads kept for when the one on duty has to wait; more are made when they are needed, and end after it."""


class _Shift:
    """One thread of a crew."""

    __slots__ = ("asleep", "ident", "member", "thread", "waiter")

    def __init__(self) -> None:
        self.waiter = Waiter()
        self.ident = 0
        """The thread's number, once it runs."""
        self.asleep = False
        """On duty, and waiting for somebody to be ready."""
        self.member: _Member | None = None
        """Whose turn it is in."""
        self.thread: threading.Thread | None = None

    def wake(self) -> None:
        self.waiter.wake()


class _Member:
    """One incarnation taking turns."""

    __slots__ = ("_actor", "_crew", "_incarnation", "given_up", "life", "shift")

    def __init__(self, crew: Crew, incarnation: Incarnation) -> None:
        self._crew = crew
        self._incarnation = incarnation
        self._actor: Actor | None = None
        self.life = incarnation.life
        self.given_up = False
        self.shift: _Shift | None = None
        """The thread of its latest turn."""

    def turn(self) -> Next:
        """Take one turn; LEAVE when that was the last. The thread is the member's until another one's turn."""
        set_current_life(self.life)
        try:
            actor = self._actor
            following = actor._turn() if actor is not None else self._first()
        except BaseException as error:  # noqa: BLE001 - ends here, whatever it is: reported as this actor's exit
            self._incarnation.conclude(error)
            return LEAVE
        if following is LEAVE:
            self._incarnation.conclude(None)
        return following

    def _first(self) -> Next:
        made = self._incarnation.construct()
        if not isinstance(made, Actor):
            raise StartError(
                f"{made.path}: a crew has Actor and FoldActor, not {type(made).__name__}: leave crew empty"
            )
        made._rouse = partial(self._crew.ready, self)  # called once for each time the actor went idle
        self._actor = made
        made._begin()
        return AGAIN


class Crew:
    """Actors that share a thread. Threads are there as long as the crew has members."""

    def __init__(self, spawn: Spawn, clock: Clock) -> None:
        self._spawn = spawn
        self._clock = clock
        self._lock = threading.Lock()
        self._members: set[_Member] = set()
        self._ready: deque[_Member] = deque()
        self._duty: _Shift | None = None
        """Who gives the turns; None while nobody does, because nobody was ready since it was let go of."""
        self._spares: list[_Shift] = []

    def add(self, incarnation: Incarnation) -> None:
        """Let the incarnation take turns from now on.

        Raises:
            RuntimeError: the system has no more threads.
        """
        member = _Member(self, incarnation)
        member.life.wait = partial(self._wait, member)
        with self._lock:
            self._members.add(member)
        try:
            self.ready(member)
        except RuntimeError:
            with self._lock:
                self._members.discard(member)
            raise

    def ready(self, member: _Member) -> None:
        """Give the member a turn. From any thread."""
        duty, queued = self._duty, False
        if duty is not None and duty.ident == get_ident():
            # from a turn, as most messages are: who is on duty looks here before it sleeps
            self._ready.append(member)
            if self._duty is duty:
                return
            queued = True  # the duty was taken from this thread meanwhile, by who may have looked here before
        with self._lock:
            if not queued:
                if member not in self._members:
                    return
                self._ready.append(member)
            try:
                roused = self._rouse()
            except RuntimeError:
                if member in self._ready:
                    self._ready.remove(member)
                raise
        if roused is not None:
            roused.wake()

    def relieve(self, life: Life) -> None:
        """The life was given up. If it is in a turn, the crew goes on without it and its thread.

        Raises:
            RuntimeError: the system has no more threads.
        """
        roused: list[_Shift] = []
        with self._lock:
            for member in self._members:
                if member.life is life:
                    break
            else:
                return
            shift = member.shift
            if shift is None or shift.member is not member:
                return  # not in a turn: it will be given one to leave in
            member.given_up = True
            self._members.discard(member)
            if self._duty is shift:
                self._duty = None
                roused = [each for each in (self._rouse() if self._ready else None,) if each is not None]
            roused += self._disband()
        for each in roused:
            each.wake()

    # --- with the lock held ---

    def _first_ready(self) -> _Member | None:
        """Return whose turn it is, of those that are still members."""
        while self._ready:
            member = self._ready.popleft()
            if member in self._members:
                return member
        return None

    def _rouse(self) -> _Shift | None:
        """See to it that somebody gives turns; returns a thread that is to be woken, once the lock is free."""
        duty = self._duty
        if duty is not None:
            if not duty.asleep:
                return None
            duty.asleep = False
            return duty
        if self._spares:
            self._duty = self._spares.pop()
            return self._duty
        shift = _Shift()
        self._duty = shift
        try:
            shift.thread = self._spawn(partial(self._work, shift))
        except RuntimeError:
            self._duty = None
            raise
        return None

    def _disband(self) -> list[_Shift]:
        """Let everybody go when there are no members; returns the threads to wake, once the lock is free."""
        if self._members:
            return []
        roused, self._spares = self._spares, []
        if self._duty is not None and self._duty.asleep:
            self._duty.asleep = False
            roused.append(self._duty)
        self._ready.clear()
        return roused

    # --- a thread of the crew ---

    def _work(self, shift: _Shift) -> None:
        thread = threading.current_thread()
        shift.ident = get_ident()
        following = RESTING
        while (member := self._next(shift, following)) is not None:
            member.life.thread = thread
            following = member.turn()
            while following is not LEAVE and member.given_up:  # to its end, here
                following = member.turn()

    def _next(self, shift: _Shift, following: Next) -> _Member | None:
        """End a turn, of which the member said what follows, and return who has the next one, once there is somebody.

        None: this thread is not needed any more.
        """
        while True:
            roused: Sequence[_Shift] = ()
            chosen: _Member | None = None
            wanted = True
            with self._lock:
                if following is RESTING and self._duty is shift and self._ready:  # nearly always
                    chosen = self._ready.popleft()
                    if chosen in self._members:
                        shift.member, chosen.shift = chosen, shift
                        return chosen
                    chosen = None
                if shift.member is not None:
                    roused = self._ended(shift, shift.member, following)
                if not self._members:
                    if self._duty is shift:
                        self._duty = None
                    wanted = False
                elif self._duty is None or self._duty is shift:
                    self._duty = shift
                    chosen = self._first_ready()
                    if chosen is not None:
                        shift.member, chosen.shift = chosen, shift
                    else:
                        shift.asleep = True
                elif len(self._spares) < SPARES:
                    self._spares.append(shift)
                else:
                    wanted = False
            for each in roused:
                each.wake()
            if chosen is not None or not wanted:
                return chosen
            set_current_life(None)
            self._clock.wait(shift.waiter, None)
            shift.waiter.reset()

    def _ended(self, shift: _Shift, member: _Member, following: Next) -> Sequence[_Shift]:
        """Take note of the end of a turn, with the lock held; returns the threads to wake, once the lock is free."""
        shift.member = None
        if following is LEAVE:
            self._members.discard(member)
            return self._disband()
        if following is AGAIN:
            self._ready.append(member)
            if self._duty is not None and self._duty is not shift and (other := self._rouse()) is not None:
                return (other,)
        return ()

    def _wait(self, member: _Member, waiter: Waiter, timeout: float | None) -> bool:
        """Wait, in a member's turn, until `waiter` is woken (True) or `timeout` seconds have passed (False)."""
        shift, roused = member.shift, None
        with self._lock:
            if self._duty is shift:
                self._duty = None
                if self._ready:
                    roused = self._hand_over(shift)
        if roused is not None:
            roused.wake()
        try:
            return self._clock.wait(waiter, timeout)
        finally:
            with self._lock:
                if self._duty is None and not member.given_up:
                    self._duty = shift  # nobody was ready meanwhile

    def _hand_over(self, shift: _Shift | None) -> _Shift | None:
        try:
            return self._rouse()
        except RuntimeError:  # no more threads: whoever is ready waits until this wait is over, or the next is ready
            self._duty = None
            return None
