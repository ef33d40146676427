"""What goes wrong in a soak, and when: by seed, so that the same soak can be run again.

Each kind of trouble comes round about every so often; a short soak shrinks the intervals, so that each kind comes at
least twice. Crashes of actors are not in here: they strike where threads happen to be (`run`), which no bar may show.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from tickloom.messages.market import NS

INTERVALS: Final = {
    "outage": 2400 * NS,
    "renewal": 3000 * NS,
    "burst": 900 * NS,
    "trickle": 3600 * NS,
    "move": 1800 * NS,
    "malformed": 600 * NS,
}
"""Average time between two of a kind. An outage loses everything for 1 to 20 s; a renewal opens a new connection before
the old one goes; a burst has a chunk's ticks within half a second; a trickle is a chunk in frames of 1 to 64 prints, as
they come live; a move is a jump of prices that is real; a malformed element could not be decoded."""

BAD: Final = (
    "not_finite", "off_grid", "size_negative", "size_large", "future", "late", "jump", "unknown_contract",
)  # fmt: skip
"""Rows that validation must refuse, by the reason it must give."""

BAD_A_CHUNK: Final = 1.5
STRAYS_A_CHUNK: Final = 1.0
"""Average numbers of bad rows, and of good rows that come out of order."""

STRAY_NS: Final = (100_000_000, 600_000_000, 3 * NS, 9 * NS)
"""How far behind their time strays come: within the grace, and beyond it within the lateness allowed."""

OUTAGE_NS: Final = (1 * NS, 20 * NS)


class Troubles(msgspec.Struct, frozen=True):
    """What goes wrong in a chunk. `outage` is `[from, to)` in ns; it may reach into the chunks after."""

    kinds: frozenset[str]
    bad: tuple[str, ...] = ()
    strays: tuple[int, ...] = ()
    outage: tuple[int, int] | None = None


class Schedule:
    """Says, chunk by chunk, what goes wrong. Chunks are asked for in order."""

    def __init__(self, seed: int, begin_ns: int, end_ns: int, span_ns: int) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._span = span_ns
        # the ends are left alone: a trouble shows in what comes after it
        self._calm = (begin_ns + 2 * span_ns, end_ns - 5 * span_ns)
        self._every = {name: min(each, (end_ns - begin_ns) // 4) for name, each in INTERVALS.items()}
        self._due = {name: begin_ns + self._wait(name) for name in INTERVALS}
        self._out_until = 0

    def _wait(self, name: str) -> int:
        return int(self._every[name] * self._rng.uniform(0.5, 1.5))

    def at(self, start_ns: int) -> Troubles:
        """Return what goes wrong in the chunk that begins at `start_ns`."""
        rng = self._rng
        if not self._calm[0] <= start_ns < self._calm[1] or start_ns < self._out_until:
            return Troubles(frozenset())
        due = [name for name, moment in self._due.items() if start_ns >= moment]
        if "outage" in due:
            due = ["outage"]  # the others come in the chunk after
        for name in due:
            self._due[name] = start_ns + self._wait(name)
        kinds = frozenset(due)
        if "outage" in kinds:
            begin = start_ns + int(rng.integers(0, self._span))
            end = min(begin + int(rng.integers(*OUTAGE_NS)), self._calm[1] + 2 * self._span)
            self._out_until = end + self._span
            return Troubles(kinds, outage=(begin, end))
        bad = tuple(BAD[at] for at in rng.integers(0, len(BAD), rng.poisson(BAD_A_CHUNK)))
        strays = tuple(STRAY_NS[at] for at in rng.integers(0, len(STRAY_NS), rng.poisson(STRAYS_A_CHUNK)))
        return Troubles(kinds, bad, strays)
