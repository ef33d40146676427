"""How much memory there is and is used, read from where the kernel says so. Nothing here is estimated or made up.

Each bound that applies to this process is a `Reading`: the control group's (version 2 or 1, the tightest of it and
those above it), the address space's (`RLIMIT_AS`), the machine's, and one of our own from the settings. What cannot be
read is left out, with a sentence that says why; a bound that does not exist is no reading at all.

Page cache that the kernel can take back at once (`inactive_file`) is not counted as used in a group: it is what
Kubernetes calls the working set (https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/).
Formats: https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

NO_LIMIT: Final = 2**60
"""A bound of version 1 above this means none: the kernel writes the largest number it has."""

OWN: Final = "the session's own bound"


class Reading(msgspec.Struct, frozen=True):
    """One bound on memory: whose, bytes used of it, and the bound in bytes."""

    source: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        """How much of the bound is used: 1.0 is all of it."""
        return self.used / self.limit

    def __str__(self) -> str:
        return f"{self.share:.0%} of {self.source} ({_size(self.used)} of {_size(self.limit)})"


class Memory(msgspec.Struct, frozen=True):
    """All bounds that could be read, this process's resident bytes (None: not known), and what is missing, in words."""

    readings: tuple[Reading, ...] = ()
    resident: int | None = None
    missing: tuple[str, ...] = ()

    @property
    def tightest(self) -> Reading | None:
        """The bound nearest to being reached; None when nothing could be read."""
        return max(self.readings, key=lambda reading: reading.share, default=None)


class MemoryProbe:
    """Reads memory each time it is asked: a few small files, for a few times a second.

    `root` is where the kernel's files are; `own_bytes` a bound of the session's own on the resident memory (0: none).
    """

    def __init__(self, own_bytes: int = 0, root: Path = Path("/")) -> None:
        self._root = root
        self._own = own_bytes

    def read(self) -> Memory:
        """Return what there is to know now."""
        readings: list[Reading] = []
        missing: list[str] = []
        status = _fields(self._root / "proc/self/status", missing, "this process's memory")
        resident, virtual = status.get("VmRSS"), status.get("VmSize")
        if self._own and resident is not None:
            readings.append(Reading(OWN, resident, self._own))
        space = _address_space(self._root / "proc/self/limits", missing)
        if space is not None and virtual is not None:
            readings.append(Reading("the address space (RLIMIT_AS)", virtual, space))
        readings.extend(self._groups(missing))
        machine = _fields(self._root / "proc/meminfo", missing, "the machine's memory")
        total, available = machine.get("MemTotal"), machine.get("MemAvailable")
        if total and available is not None:
            readings.append(Reading("the machine's memory", total - available, total))
        return Memory(tuple(readings), resident, tuple(missing))

    def _groups(self, missing: list[str]) -> Iterator[Reading]:
        """Yield the tightest bound of the control groups this process is in; none when they set no bound."""
        try:
            lines = (self._root / "proc/self/cgroup").read_text().splitlines()
        except OSError as error:
            missing.append(f"control groups cannot be read: {error.strerror or error}")
            return
        found: list[Reading] = []
        for line in lines:
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if number == "0" and not controllers:
                found += self._walk(self._root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                found += self._walk(self._root / "sys/fs/cgroup/memory", path, *names)
        if found:
            yield max(found, key=lambda reading: reading.share)

    def _walk(self, mount: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[Reading]:
        """Yield the bound of a group and of each above it. In a container its own group is the mount's root."""
        group = PurePosixPath("/", path)
        for each in (group, *group.parents):
            folder = mount / str(each).lstrip("/")
            bound, used = _number(folder / limit), _number(folder / usage)
            if bound is None or used is None or not 0 < bound < NO_LIMIT:
                continue
            reclaimable = _stat(folder / "memory.stat", cache)
            yield Reading("the control group's memory", max(used - reclaimable, 0), bound)


def _number(path: Path) -> int | None:
    """Return the number in a file; None when there is no such file, or it says `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _stat(path: Path, key: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [key]), 0)


def _fields(path: Path, missing: list[str], what: str) -> dict[str, int]:
    """Return the fields in kB of a file like `/proc/meminfo`, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        missing.append(f"{what} cannot be read from {path}: {error.strerror or error}")
        return {}
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return found


def _address_space(path: Path, missing: list[str]) -> int | None:
    """Return the soft limit of the address space in bytes; None when there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        missing.append(f"limits of this process cannot be read from {path}: {error.strerror or error}")
        return None
    for line in lines:
        if line.startswith("Max address space"):
            soft = line.removeprefix("Max address space").split()[0]
            return int(soft) if soft.isdigit() else None
    return None


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
