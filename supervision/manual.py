"""A clock that stands still until it is moved by hand. Works with real threads: those that wait are woken in time.

Part of the testing kit (`tickloom.supervision.testing`).
"""

from __future__ import annotations

import heapq
import threading

from tickloom.supervision.clocks import NS, Waiter, to_ns

EPOCH_NS = 1_700_000_000 * NS
"""The wall clock of a new manual clock: some second of November 2023."""


class ManualClock:
    """Monotonic and wall time that only `advance` moves. Thread-safe."""

    def __init__(self, start_ns: int = EPOCH_NS) -> None:
        self._lock = threading.Condition()
        self._wall_offset_ns = start_ns
        self._now_ns = 0
        self._number = 0
        self._sleepers: list[tuple[int, int, Waiter]] = []

    def monotonic_ns(self) -> int:
        """Nanoseconds since this clock was made."""
        return self._now_ns

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, as set."""
        return self._wall_offset_ns + self._now_ns

    def wait(self, waiter: Waiter, timeout: float | None) -> bool:
        """Block until the waiter is woken (True), or this clock was advanced by `timeout` seconds (False)."""
        entry = None
        if timeout is not None:
            with self._lock:
                self._number += 1
                entry = (self._now_ns + to_ns(max(timeout, 0.0)), self._number, waiter)
                heapq.heappush(self._sleepers, entry)
                self._lock.notify_all()
            if timeout <= 0:
                self.advance(0)
        waiter.block(None)
        if entry is not None:
            with self._lock:
                if entry in self._sleepers:
                    self._sleepers.remove(entry)
                    heapq.heapify(self._sleepers)
        return not waiter.expired

    def wait_for_sleepers(self, count: int, timeout: float = 10.0) -> None:
        """Wait, in real time, until at least `count` threads wait for a moment of this clock.

        Before that, advancing it might come too early for them.

        Raises:
            AssertionError: they do not within `timeout` seconds.
        """
        with self._lock:
            if not self._lock.wait_for(lambda: len(self._sleepers) >= count, timeout):
                raise AssertionError(f"{len(self._sleepers)} of {count} threads wait for this clock")

    def advance(self, seconds: float) -> None:
        """Move time on, and end the waits whose time that was. Returns without waiting for what they do then."""
        with self._lock:
            self._now_ns += to_ns(seconds)
            due = []
            while self._sleepers and self._sleepers[0][0] <= self._now_ns:
                due.append(heapq.heappop(self._sleepers)[2])
        for waiter in due:
            waiter.expire()

    def advance_to(self, at_ns: int) -> None:
        """Move time on to a monotonic nanosecond; not back."""
        self.advance(max(at_ns - self._now_ns, 0) / NS)
