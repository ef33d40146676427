"""When each tick happened: one anchor per run of ticks, in memory that is bounded.

An anchor says that the ticks from `first` on were emitted from `stamp_ns` on. Trades within a run are 100 ns apart,
the resolution of the wire, but never leave the second the run began in, so a run lies in one second.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

STEP_NS = 100
SECOND_NS = 1_000_000_000


class StampLog:
    """The anchors of one contract; the oldest go once there are more than twice `window`."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._first = array("q")
        self._stamp = array("q")
        self.newest_ns = 0
        """The stamp of the last trade noted; later ones are never earlier."""

    def note(self, first: int, last_start: int, now_ns: int) -> int:
        """Note a run that begins with tick `first` and whose last trade begins with tick `last_start`.

        Returns the stamp of the run's first trade: `now_ns` on the wire's grid, or the newest stamp if that is later.
        """
        stamp = max(now_ns // STEP_NS * STEP_NS, self.newest_ns)
        self._first.append(first)
        self._stamp.append(stamp)
        self.newest_ns = self._within(stamp, last_start - first)
        if len(self._first) > 2 * self._window:
            del self._first[: self._window]
            del self._stamp[: self._window]
        return stamp

    @property
    def oldest(self) -> int:
        """The first tick whose stamp is still known (0 when none was noted)."""
        return self._first[0] if self._first else 0

    def stamps(self, starts: list[int], first: int) -> list[int]:
        """Return the stamps of the ticks `first`, `first + 1` … whose trades begin at `starts`."""
        stamps: list[int] = []
        at = bisect_right(self._first, first) - 1
        if at < 0:
            raise LookupError(f"tick {first} is older than the {self._window} runs that are kept")
        done, count = 0, len(starts)
        while done < count:
            base, stamp = self._first[at], self._stamp[at]
            end = min(count, self._first[at + 1] - first) if at + 1 < len(self._first) else count
            cap = stamp - stamp % SECOND_NS + SECOND_NS - STEP_NS
            if stamp + (starts[end - 1] - base) * STEP_NS <= cap:
                offset = stamp - base * STEP_NS
                stamps += [offset + start * STEP_NS for start in starts[done:end]]
            else:
                stamps += [min(cap, stamp + (start - base) * STEP_NS) for start in starts[done:end]]
            done, at = end, at + 1
        return stamps

    @staticmethod
    def _within(stamp: int, trades: int) -> int:
        return min(stamp - stamp % SECOND_NS + SECOND_NS - STEP_NS, stamp + trades * STEP_NS)
