from __future__ import annotations

import subprocess
import sys

import pytest

from tickloom.actors.recorder.errors import LogInUse
from tickloom.actors.recorder.lock import DirectoryLock
from tickloom.actors.recorder.writer import LogWriter

HOLDER = """
import sys
from tickloom.actors.recorder.lock import DirectoryLock
from pathlib import Path
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate(timeout=20)


def test_another_process_is_named(holder, tmp_path):
    with pytest.raises(LogInUse, match=f"process {holder.pid}: stop it, or write to another directory") as caught:
        LogWriter(tmp_path, session="s")
    assert caught.value.pid == holder.pid


def test_a_killed_process_leaves_no_lock(holder, tmp_path):
    holder.kill()
    holder.wait(timeout=20)
    DirectoryLock(tmp_path).release()


def test_within_a_process_there_is_one_holder_too(tmp_path):
    lock = DirectoryLock(tmp_path)
    with pytest.raises(LogInUse):
        DirectoryLock(tmp_path)
    lock.release()
    lock.release()
    DirectoryLock(tmp_path).release()
