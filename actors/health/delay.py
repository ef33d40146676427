"""How late a feed is, with the difference between two clocks taken out. Pure; all in ns.

A delay is receipt by our clock less stamp by the exchange's, so an offset between the two is in it. What is known of
the offset (ours minus theirs): the gateway's `Date` bounds it to a second or so (`ClockState`), and no print arrives
before it is sent, so it is no more than the least difference seen. Clocks are usually right, so an offset of 0 is
believed while it lies within the bounds; otherwise the one that fits the least difference best.
"""

from __future__ import annotations

from typing import Final

import msgspec

from tickloom.messages.market import NS
from tickloom.messages.reports import ClockState

WINDOW_NS: Final = 300 * NS
"""The least difference is that of the last one to two windows: clocks drift, and are set."""


class Differences(msgspec.Struct, frozen=True):
    """The least difference (receipt less stamp) in the window that began at `since_ns`, and in the one before."""

    since_ns: int
    least: int
    before: int | None = None

    @property
    def lowest(self) -> int:
        """Of both windows."""
        return self.least if self.before is None else min(self.least, self.before)


def seen(known: Differences | None, difference: int, now_ns: int) -> Differences:
    """Return what is known after another difference."""
    if known is None:
        return Differences(now_ns, difference)
    if now_ns - known.since_ns >= WINDOW_NS:
        return Differences(now_ns, difference, known.least)
    return known if difference >= known.least else msgspec.structs.replace(known, least=difference)


def offset(known: Differences | None, clock: ClockState | None) -> int:
    """Return the best estimate of our clock minus the exchange's."""
    least = None if known is None else known.lowest
    if clock is None or clock.low_ns <= 0 <= clock.high_ns:
        best = 0
    elif least is None:
        best = (clock.low_ns + clock.high_ns) // 2
    else:
        best = min(max(least, clock.low_ns), clock.high_ns)
    return best if least is None else min(best, least)
