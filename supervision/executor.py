"""How an incarnation gets to run: a thread of its own, named by its path. The testing kit has another way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tickloom.supervision.incarnation import Incarnation

if TYPE_CHECKING:
    from tickloom.supervision.warden import Warden


class Executor(Protocol):
    """Runs incarnations, and the supervising loop."""

    inline: bool
    """Whether everything happens in the caller's thread, step by step."""

    def spawn(self, incarnation: Incarnation) -> None:
        """Run the incarnation. Must not wait for it."""
        ...

    def spawn_warden(self, name: str, warden: Warden) -> None:
        """Run the supervisors. Must not wait for them."""
        ...

    def alive(self) -> list[str]:
        """Return the names of the threads that still run."""
        ...

    def join(self, seconds: float) -> list[str]:
        """Wait for all threads to end; return the names of those that have not."""
        ...


class ThreadExecutor:
    """A daemon thread for each incarnation: an embedding program can always end."""

    inline = False

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def spawn(self, incarnation: Incarnation) -> None:
        """Start the incarnation's thread.

        Raises:
            RuntimeError: the system has no more threads.
        """
        incarnation.life.thread = self._spawn(self._name + incarnation.place.path, incarnation.run)

    def spawn_warden(self, name: str, warden: Warden) -> None:
        """Start the supervising thread."""
        self._spawn(name, warden.run)

    def _spawn(self, name: str, body: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                body()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._threads.discard(thread)
            raise
        return thread

    def alive(self) -> list[str]:
        """Return the names of the threads that still run."""
        with self._lock:
            return sorted(thread.name for thread in self._threads)

    def join(self, seconds: float) -> list[str]:
        """Wait for all threads to end; return the names of those that have not."""
        until = time.monotonic() + seconds
        while True:
            with self._lock:
                threads = [thread for thread in self._threads if thread is not threading.current_thread()]
            if not threads or time.monotonic() > until:
                return sorted(thread.name for thread in threads)
            threads[0].join(max(until - time.monotonic(), 0.0))
            if threads[0].is_alive():
                for other in threads[1:]:
                    other.join(0)
            else:
                with self._lock:
                    self._threads.discard(threads[0])
