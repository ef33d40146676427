"""Faults on purpose: a plan of where and when actors of a real tree crash, hang or are held up.

Part of the testing kit, and in a file of its own because the actors consult it. A tree without a plan pays one `is
None` per batch. The points an actor passes are named in `POINTS`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

POINTS = (
    "start",
    "before_batch",
    "after_batch",
    "before_fold",
    "after_fold",
    "before_commit",
    "after_commit",
    "on_emit",
    "on_control",
    "on_exit",
)
"""Where faults can strike, in the order an actor passes.

`start` before `on_start`; `before_batch`/`after_batch` around `on_batch` of an `Actor` or `AsyncActor`; the fold and
commit points in a `FoldActor`; `on_emit` before each output; `on_control` before each control message; `on_exit` before
the hook of that name.
"""


class InjectedCrash(Exception):
    """The default error of a planned crash."""


@dataclass
class Fault:
    """One planned fault. `struck` counts how often it did strike."""

    path: str
    point: str
    act: Callable[[], None]
    nth: int
    times: int
    struck: int = 0


@dataclass
class FaultPlan:
    """Which faults strike where. Thread-safe; faults may be added while the tree runs.

    Messages are counted from 1 over the whole life of a place, restarts included, and a message that is handed over
    again keeps its number: a crash planned for message 5, three times, strikes three incarnations at message 5.
    `on_emit` counts outputs, `start`, `on_control` and `on_exit` their own passes.
    """

    _faults: list[Fault] = field(default_factory=list)
    _passes: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _random: tuple[Random, float, Callable[[str], bool]] | None = None
    crashes: int = 0

    def crash(
        self,
        path: str,
        point: str = "before_batch",
        *,
        nth: int = 1,
        times: int = 1,
        error: BaseException | None = None,
    ) -> Fault:
        """Crash the actor at `path` when it passes `point` with message number `nth`, the first `times` times."""

        def act() -> None:
            self.crashes += 1
            if error is not None:
                raise error
            raise InjectedCrash(f"planned at {point} of {path}, message {nth}")

        return self._add(Fault("/" + path.strip("/"), point, act, nth, times))

    def hold(
        self, path: str, point: str = "before_batch", *, nth: int = 1, times: int = 1
    ) -> tuple[threading.Event, threading.Event]:
        """Hold the actor up at `point`: returns (reached, release). It goes on once `release` is set."""
        reached, release = threading.Event(), threading.Event()

        def act() -> None:
            reached.set()
            release.wait()

        self._add(Fault("/" + path.strip("/"), point, act, nth, times))
        return reached, release

    def call(self, path: str, point: str, act: Callable[[], None], *, nth: int = 1, times: int = 1) -> Fault:
        """Call `act` in the actor's thread at `point`."""
        return self._add(Fault("/" + path.strip("/"), point, act, nth, times))

    def crash_randomly(self, rng: Random, probability: float, where: Callable[[str], bool] = lambda path: True) -> None:
        """From now on crash any actor for whose path `where` holds, at any point but exit, with this probability."""
        with self._lock:
            self._random = (rng, probability, where)

    def calm(self) -> None:
        """No more faults of any kind."""
        with self._lock:
            self._random = None
            self._faults.clear()

    def pass_point(self, path: str, point: str, first: int = 0, count: int = 0) -> None:
        """Called by an actor at `point`, with messages `first` to `first + count` (from 0), or none to count passes."""
        with self._lock:
            if not count:
                first = self._passes[path, point]
                self._passes[path, point] += 1
                count = 1
            due = None
            for fault in self._faults:
                if (
                    fault.path == path
                    and fault.point == point
                    and fault.struck < fault.times
                    and first < fault.nth <= first + count
                ):
                    fault.struck += 1
                    due = fault
                    break
            dice = self._random
            struck = dice is not None and point != "on_exit" and dice[2](path) and dice[0].random() < dice[1]
        if due is not None:
            due.act()
        elif struck:
            self.crashes += 1
            raise InjectedCrash(f"at random at {point} of {path}")

    def _add(self, fault: Fault) -> Fault:
        if fault.point not in POINTS:
            raise ValueError(f"there is no fault point {fault.point!r}; they are {', '.join(POINTS)}")
        with self._lock:
            self._faults.append(fault)
        return fault
