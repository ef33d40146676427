"""How an incarnation gets to run: in a thread of its own, named by its path, or in its crew's.

The testing kit has another way.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tickloom.supervision.crew import Crew
from tickloom.supervision.incarnation import Incarnation
from tickloom.supervision.life import Life

if TYPE_CHECKING:
    from tickloom.supervision.warden import Warden


class Executor(Protocol):
    """Runs incarnations, and the supervising loop."""

    inline: bool
    """Whether everything happens in the caller's thread, step by step."""

    def spawn(self, incarnation: Incarnation) -> None:
        """Run the incarnation. Must not wait for it."""
        ...

    def relieve(self, life: Life) -> None:
        """The life was given up: whoever shares its thread must not wait for it."""
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


def keepable() -> frozenset[int]:
    """Return the processors that threads of this process can be kept to; none where the system does not do that."""
    return frozenset(os.sched_getaffinity(0)) if sys.platform == "linux" else frozenset()


class ThreadExecutor:
    """A daemon thread for each incarnation, or for each crew: an embedding program can always end.

    `processor`: the one that all of them keep to; None: any. See `keepable`.
    """

    inline = False

    def __init__(self, name: str, processor: int | None = None) -> None:
        self._name = name
        self._processor = processor
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._crews: dict[str, Crew] = {}

    def spawn(self, incarnation: Incarnation) -> None:
        """Start the incarnation's thread, or let it take turns in its crew's.

        Raises:
            RuntimeError: the system has no more threads.
        """
        place = incarnation.place
        name = place.spec.crew
        if not name:
            incarnation.life.thread = self._spawn(self._name + place.path, incarnation.run)
            return
        crew = self._crews.get(name)
        if crew is None:
            crew = self._crews[name] = Crew(partial(self._spawn, f"{self._name}/crew/{name}"), place.services.clock)
        crew.add(incarnation)

    def relieve(self, life: Life) -> None:
        """Let the others of its crew, if it has one, go on in another thread."""
        for crew in self._crews.values():
            crew.relieve(life)

    def spawn_warden(self, name: str, warden: Warden) -> None:
        """Start the supervising thread."""
        self._spawn(name, warden.run)

    def _spawn(self, name: str, body: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                if self._processor is not None:
                    os.sched_setaffinity(0, {self._processor})
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
