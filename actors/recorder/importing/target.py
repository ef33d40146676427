"""The folder that an import fills: it must be free, or hold a log that may be replaced; never half of anything."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from tickloom.actors.recorder.errors import ImportFault
from tickloom.actors.recorder.index import index_path
from tickloom.actors.recorder.lock import LOCK_NAME, DirectoryLock
from tickloom.actors.recorder.segment import number_of

_CHECKPOINT = re.compile(r"checkpoint-\d+\.tlcp")


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
            partial.rename(target)
        finally:
            lock.release()
        shutil.rmtree(old)
        return
    if target.exists():
        target.rmdir()
    partial.rename(target)
