"""Writing Parquet files so that nobody ever sees half of one: in a hidden folder first, synced, then renamed.

That folder, `OUT/.unfinished`, is beside those that readers are pointed at, so what a process leaves in it that dies
while it writes is in no reader's way. What is being written is locked, and the system releases the lock when the
process ends, however it ends: so what can be locked in there was left behind, and goes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tickloom.actors.recorder.lock import try_lock

UNFINISHED = ".unfinished"
"""The folder below the output folder for what is not whole yet."""


def write_parquet(table: pa.Table, out: Path, name: str, compression: str = "zstd") -> None:
    """Write `table` to the file `name` below `out`, making folders as needed; an existing file of that name is
    replaced.

    Raises:
        OSError: the disk is full, or the folder cannot be written. The file is as it was.
    """
    target = out / name
    target.parent.mkdir(parents=True, exist_ok=True)
    (out / UNFINISHED).mkdir(exist_ok=True)
    hidden = out / UNFINISHED / f"{target.name}.{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        with hidden.open("wb") as file:
            hold(file.fileno())
            pq.write_table(table, file, compression=compression)
            file.flush()
            os.fsync(file.fileno())
            hidden.rename(target)
    finally:
        hidden.unlink(missing_ok=True)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """See to it that the names in a folder outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hold(descriptor: int) -> None:
    """Show others that what is open there is being written. Where a file system has no locks, nobody sweeps either."""
    with contextlib.suppress(OSError):
        try_lock(descriptor)


def sweep(out: Path) -> None:
    """Remove what processes that have ended left unfinished, as far as that can be done, and the folder if nothing else
    is in it."""
    with contextlib.suppress(OSError):  # there is none
        for path in list((out / UNFINISHED).iterdir()):
            with contextlib.suppress(OSError):  # it was finished meanwhile, or cannot be locked or removed
                _sweep(path)
    tidy(out)


def tidy(out: Path) -> None:
    """Remove the folder for what is unfinished if nothing is in it."""
    with contextlib.suppress(OSError):
        (out / UNFINISHED).rmdir()


def _sweep(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        if not try_lock(descriptor):
            return
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
