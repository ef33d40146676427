"""The folder that an import fills: it must be free, or hold a log that may be replaced; never half of anything.

The log is made beside, as `.NAME.importing-PID`, and renamed when it is complete. One that is replaced is renamed to
`.NAME.replaced-PID` just before, and removed after. A process that is killed leaves these behind, and the next import
to the same place puts them in order: what was half done is removed, what lacked only the last rename gets it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from tickloom.actors.recorder.errors import ImportFault, LogInUse
from tickloom.actors.recorder.index import index_path
from tickloom.actors.recorder.lock import LOCK_NAME, DirectoryLock
from tickloom.actors.recorder.segment import number_of

_DAMAGED = re.compile(r"\.damaged(-\d+)?$")
_CHECKPOINT = re.compile(r"checkpoint-\d+\.tlcp")


def begin(target: Path, *, replace: bool) -> Path:
    """See that a log can be put at `target`, and return where to make it.

    Raises:
        ImportFault: see `check_target`; or imports that were killed left what only a person can tell apart.
    """
    if _tidy(target) and not replace:
        raise ImportFault(
            f"{target}: the import that was to replace it was killed at its last step; its log was complete and is in "
            "place now: look at it, or ask for it to be replaced"
        )
    check_target(target, replace=replace)
    return target.with_name(f".{target.name}.importing-{os.getpid()}")


def _tidy(target: Path) -> bool:
    """Put in order what killed imports left beside `target`; return whether one was finished."""
    if not target.name or not target.parent.is_dir():
        return False
    pattern = re.compile(rf"\.{re.escape(target.name)}\.(importing|replaced)-(\d+)")
    left: dict[str, dict[int, Path]] = {"importing": {}, "replaced": {}}
    for place in target.parent.iterdir():
        match = pattern.fullmatch(place.name)
        if match is not None and _is_left(place, int(match[2])):
            left[match[1]][int(match[2])] = place
    finished = False
    for pid, old in left["replaced"].items():
        new = left["importing"].pop(pid, None)
        if not target.exists():
            (new or old).rename(target)
            finished = new is not None
        elif new is not None:
            raise ImportFault(
                f"{old} and {new} are of an import that was killed while it replaced {target}, which is there again: "
                "keep what you need of the three, and remove the other two"
            )
        shutil.rmtree(old, ignore_errors=True)
    for new in left["importing"].values():
        shutil.rmtree(new, ignore_errors=True)
    return finished


def _is_left(place: Path, pid: int) -> bool:
    """Whether nobody works at `place` any more: its process is gone, and nobody holds its lock."""
    try:
        DirectoryLock(place).release()
    except (LogInUse, OSError):
        return False
    if pid == os.getpid() or sys.platform == "win32":  # a number that was ours before we were
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def check_target(target: Path, *, replace: bool) -> None:
    """See that a log can be put at `target`.

    Raises:
        ImportFault: it is a file, holds something (unless `replace`), or holds what is of no log.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise ImportFault(f"{target} is a file: name a new folder for the log")
    there = [path.name for path in target.iterdir()]
    if there and not replace:
        raise ImportFault(f"{target} is not empty: name a new folder, or ask for it to be replaced")
    foreign = [name for name in there if not _is_ours(target / name)]
    if foreign:
        raise ImportFault(f"{target} holds {foreign[0]!r}, which is of no log: it is not replaced; name a new folder")


def _is_ours(path: Path) -> bool:
    path = path.with_name(_DAMAGED.sub("", path.name))  # what `recover` set aside
    segment = path.with_suffix("") if path.suffix == index_path(path).suffix else path
    return path.name == LOCK_NAME or number_of(segment) is not None or _CHECKPOINT.fullmatch(path.name) is not None


def put(partial: Path, target: Path, *, replace: bool) -> None:
    """Rename a finished log into its place.

    Raises:
        ImportFault: see `check_target`.
        LogInUse: the log to replace is being written.
    """
    check_target(target, replace=replace)
    if target.exists() and any(target.iterdir()):
        lock = DirectoryLock(target)
        old = target.with_name(f".{target.name}.replaced-{os.getpid()}")
        try:
            target.rename(old)
            try:
                partial.rename(target)
            except BaseException:
                old.rename(target)
                raise
        finally:
            lock.release()
        shutil.rmtree(old)
        return
    if target.exists():
        target.rmdir()
    partial.rename(target)
