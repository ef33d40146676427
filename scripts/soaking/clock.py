"""The clock of a soak: time jumps with the market, and flows in between.

A tree whose actors wait for a moment (a backoff, a drain) needs time to pass also while the market waits for them, or
both would wait for ever. So this clock is the testing kit's manual one, moved on by the market, and by a pacemaker
that adds what has really passed.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final

from tickloom.supervision.testing import ManualClock

PACE_S: Final = 0.01
"""How often real time is added: a wait takes up to this much longer than it was meant to."""


class FlowingClock(ManualClock):
    """A manual clock that also runs at the pace of the real one, for as long as the `with` block lasts."""

    def __init__(self, start_ns: int) -> None:
        super().__init__(start_ns)
        self._origin_ns = start_ns
        self._over = threading.Event()
        self._pacemaker = threading.Thread(target=self._pace, name="soak-clock", daemon=True)

    def __enter__(self) -> FlowingClock:
        self._pacemaker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._pacemaker.join()

    def reach(self, wall_ns: int) -> None:
        """Move on to a moment of the market (ns UTC); not back."""
        self.advance_to(wall_ns - self._origin_ns)

    def _pace(self) -> None:
        last = time.monotonic()
        while not self._over.wait(PACE_S):
            now = time.monotonic()
            self.advance(now - last)
            last = now
