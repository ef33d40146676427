"""The memory of this process, read from the kernel, and how flat it stayed."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final

import msgspec

MB: Final = 1_000_000
_STATM = Path("/proc/self/statm")


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Resident memory over a soak, in MB. `hourly` are means of each stretch; the first one is warm-up.

    `change_percent` is from the second stretch to the last; None where the system does not say, or there is one only.
    """

    hourly: tuple[float, ...] = ()
    peak: float | None = None
    change_percent: float | None = None


def resident_mb() -> float | None:
    """Return the resident memory of this process now; None where the kernel has no `/proc`."""
    try:
        return int(_STATM.read_text().split()[1]) * mmap.PAGESIZE / MB
    except OSError:
        return None


class Gauge:
    """Samples resident memory, and sums stretches up."""

    def __init__(self) -> None:
        self._now: list[float] = []
        self._means: list[float] = []
        self._peak = 0.0

    def sample(self) -> None:
        """Look once."""
        found = resident_mb()
        if found is not None:
            self._now.append(found)
            self._peak = max(self._peak, found)

    def turn(self) -> None:
        """End a stretch."""
        if self._now:
            self._means.append(sum(self._now) / len(self._now))
        self._now = []

    def result(self) -> Memory:
        """Return what was seen."""
        means = self._means
        change = (means[-1] / means[1] - 1) * 100 if len(means) > 2 else None
        return Memory(
            hourly=tuple(round(mean, 1) for mean in means),
            peak=round(self._peak, 1) if self._peak else None,
            change_percent=round(change, 2) if change is not None else None,
        )
