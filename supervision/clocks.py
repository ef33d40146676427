"""Time as a parameter: the clock protocol, the system's clock, and the one way a thread waits.

This is the only module of supervision that reads the machine's clocks. Every wait in the package is a `Waiter`
handed to `Clock.wait`, so a manual clock (see `tickloom.supervision.testing`) can decide when time has run out.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

NS = 1_000_000_000
"""Nanoseconds in a second."""


def to_ns(seconds: float) -> int:
    """Return `seconds` as whole nanoseconds."""
    return round(seconds * NS)


class Waiter:
    """One thread waits, once; any thread wakes it; the first of wake and expiry wins, and later ones are told so.

    Two raw locks and no condition variable: an uncontended wake costs two lock operations.
    """

    __slots__ = ("_gate", "_once", "expired")

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()
        self._once = threading.Lock()
        self.expired = False

    def wake(self) -> bool:
        """End the wait. False when it had been ended already."""
        if not self._once.acquire(blocking=False):
            return False
        self._gate.release()
        return True

    def expire(self) -> bool:
        """End the wait as timed out. False when it had been ended already."""
        if not self._once.acquire(blocking=False):
            return False
        self.expired = True
        self._gate.release()
        return True

    @property
    def ended(self) -> bool:
        """Whether the wait is over (woken or expired)."""
        return self._once.locked()

    def block(self, timeout: float | None) -> bool:
        """Block the calling thread in real time; True when woken, False when `timeout` seconds ran out."""
        if timeout is None:
            self._gate.acquire()
        elif not self._gate.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX)):
            if self._once.acquire(blocking=False):
                self.expired = True
                return False
            self._gate.acquire()
        return not self.expired

    def reset(self) -> None:
        """Make an ended and waited-for waiter ready for its next wait. Only its owner may call this."""
        self.expired = False
        self._once.release()


class Latch:
    """Set once, waited for by any number of threads, before or after."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: list[Waiter] = []
        self.is_set = False

    def set(self) -> None:
        """Let everybody go on who waits, or will."""
        with self._lock:
            self.is_set = True
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.wake()

    def wait(self, clock: Clock, timeout: float | None) -> bool:
        """Wait by `clock` until it is set; False when `timeout` seconds ran out first."""
        with self._lock:
            if self.is_set:
                return True
            waiter = Waiter()
            self._waiters.append(waiter)
        clock.wait(waiter, timeout)
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            return self.is_set


class Clock(Protocol):
    """What supervision needs of time."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back; only differences mean anything."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""
        ...

    def wait(self, waiter: Waiter, timeout: float | None) -> bool:
        """Block until `waiter` is woken (True) or `timeout` seconds of this clock have passed (False)."""
        ...


class SystemClock:
    """The machine's clocks: asked at every turn, so without a call of our own between."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    wall_ns = staticmethod(time.time_ns)

    def wait(self, waiter: Waiter, timeout: float | None) -> bool:
        """Block in real time."""
        return waiter.block(timeout)
