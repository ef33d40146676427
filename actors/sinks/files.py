"""Writing Parquet files so that nobody ever sees half of one: a hidden file beside it, synced, then renamed."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_parquet(table: pa.Table, target: Path, compression: str = "zstd") -> None:
    """Write `table` to `target`, making folders as needed; an existing file of that name is replaced.

    Raises:
        OSError: the disk is full, or the folder cannot be written. The target is as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(table, hidden, compression=compression)
        with hidden.open("rb") as written:
            os.fsync(written.fileno())
        hidden.rename(target)
    finally:
        hidden.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
