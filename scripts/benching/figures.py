"""What a benchmark says: a figure with its unit, a peer's beside it where there is one, and how both were measured.

A figure alone says more about the machine than about the program. So ours and the peer's are taken in turns within the
same minute, best of several rounds, and the machine with its load is part of the report.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

BUSY: Final = 0.5
"""Load on a core (from others, before we begin) from which figures are said to be disturbed."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement.

    Attributes:
        name: what was measured.
        unit: of both values.
        ours: our value.
        peer: what it is compared with; empty: nothing.
        theirs: its value; None: it is not installed, or there is no peer.
        more_is_better: which way the values are to be read.
        note: what has to be known to read them.
    """

    name: str
    unit: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    more_is_better: bool = True
    note: str = ""

    @property
    def times(self) -> float | None:
        """How many times better ours is; below 1 it is worse."""
        if not self.theirs or not self.ours:
            return None
        return self.ours / self.theirs if self.more_is_better else self.theirs / self.ours


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured. `load` is the system's load average of the last minute, by core; None: not known."""

    python: str
    system: str
    cores: int
    load: float | None
    versions: Mapping[str, str]

    @property
    def busy(self) -> bool:
        """Whether other work disturbed it."""
        return self.load is not None and self.load > BUSY


def machine(packages: Sequence[str]) -> Machine:
    """Return what this machine is, and the versions of the packages that are installed."""
    from importlib import metadata

    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] / cores if hasattr(os, "getloadavg") else None
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Machine(platform.python_version(), system, cores, None if load is None else round(load, 2), versions)
