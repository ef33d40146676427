"""Files that nobody sees half of, and what is left of those whose writer died."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tickloom.actors.sinks.files import UNFINISHED, sweep, write_parquet

TABLE = pa.table({"number": [1, 2, 3]})
NAME = "bars/timeframe=1m/contract=X/a.parquet"

KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from tickloom.actors.sinks.files import write_parquet

def half(table, file, **options):
    file.write(b"PAR1, and no more")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

pq.write_table = half
write_parquet(pa.table({"number": [1]}), Path(sys.argv[1]), sys.argv[2])
"""


def everything(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir())


def test_what_a_killed_process_leaves_is_in_no_readers_folder_and_goes_with_the_next_start(tmp_path: Path) -> None:
    write_parquet(TABLE, tmp_path, NAME)
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path, NAME.replace("a.", "b.")], timeout=50, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [each for each in everything(tmp_path) if not each.startswith(UNFINISHED)] == [NAME]
    assert len(everything(tmp_path)) == 2
    sweep(tmp_path)
    assert everything(tmp_path) == [NAME]
    assert not (tmp_path / UNFINISHED).exists()


def test_what_somebody_still_writes_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    write: Callable[..., None] = pq.write_table

    def slow(table: pa.Table, file: Any, **options: Any) -> None:
        begun.set()
        assert go_on.wait(20)
        write(table, file, **options)

    monkeypatch.setattr(pq, "write_table", slow)
    writer = threading.Thread(target=write_parquet, args=(TABLE, tmp_path, NAME))
    writer.start()
    assert begun.wait(20)
    sweep(tmp_path)
    go_on.set()
    writer.join(20)
    assert pq.ParquetFile(tmp_path / NAME).read().equals(TABLE)
    assert everything(tmp_path) == [NAME]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(TABLE, tmp_path, NAME)

    def full(table: pa.Table, file: Any, **options: Any) -> None:
        file.write(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        write_parquet(TABLE.slice(1), tmp_path, NAME)
    assert pq.ParquetFile(tmp_path / NAME).read().equals(TABLE)
    assert everything(tmp_path) == [NAME]
