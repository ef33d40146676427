"""A session whose disk is full, or stands still: it lives, health says so, and the log tells what it lacks."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import tickloom
from tickloom.actors.recorder.care import verify
from tickloom.actors.recorder.files import SystemFiles
from tickloom.actors.recorder.options import LogOptions
from tickloom.actors.recorder.reader import LogReader
from tickloom.messages.control import Gap

MNQ = "CON.F.US.MNQ.Z25"
Make = Callable[..., tickloom.Session]


class Disk:
    """Stands between the writer and the disk: full, or stuck, while it is told so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.free = threading.Event()
        self.free.set()
        write = SystemFiles.write

        def watched(files: SystemFiles, fd: int, data: memoryview) -> int:
            assert self.free.wait(60)
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(files, fd, data)

        monkeypatch.setattr(SystemFiles, "write", watched)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail(f"{what} did not come")


def bars(session: tickloom.Session, count: int) -> None:
    """Wait for so many more bars."""
    with session.bars(MNQ, "1s") as stream:
        for bar, _ in zip(stream, range(count), strict=False):
            assert bar.trades


def complains(session: tickloom.Session, of: str) -> Callable[[], bool]:
    return lambda: any(of in reason for reason in session.health().reasons)


def gaps(log: Path) -> list[Gap]:
    assert verify(log).whole
    with LogReader(log) as reader:
        return [n.item for n in reader.items() if isinstance(n.item, Gap)]


def test_a_full_disk_costs_nothing_while_memory_has_room(make_session: Make, tmp_path: Path, disk: Disk) -> None:
    with make_session() as session:
        bars(session, 1)
        disk.full = True
        wait_for(complains(session, "No space left"), "the alarm")
        bars(session, 2)
        disk.full = False
        wait_for(lambda: not complains(session, "No space left")(), "the all-clear")
        bars(session, 1)
    assert session.summary is not None
    assert (session.summary.lost, session.summary.restarts, session.unwritten) == (0, 0, ())
    assert gaps(tmp_path / "log") == []
    assert tickloom.replay(tmp_path / "log", verify=True).digest == session.summary.digest


def test_beyond_that_a_gap_says_what_the_log_lacks_and_the_bars_have_everything(
    make_session: Make, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickloom.beginning.LogOptions", partial(LogOptions, backlog_rows=200))
    with make_session() as session:
        bars(session, 1)
        disk.full = True
        wait_for(complains(session, "frames lost"), "the alarm")
        disk.full = False
        wait_for(lambda: not complains(session, "No space left")(), "the all-clear")
        bars(session, 1)
    assert session.summary is not None
    assert (session.summary.lost, session.summary.restarts) == (0, 0)
    found = gaps(tmp_path / "log")
    assert {gap.contract for gap in found} == {MNQ, "CON.F.US.EP.Z25"}
    assert all("the log could not be written (No space left" in gap.cause for gap in found)
    replayed = tickloom.replay(tmp_path / "log")
    assert replayed.summary.ticks < session.summary.ticks
    assert replayed.summary.lost == 0
    assert any("gap" in row["flags"] for row in replayed.table(MNQ, "1s").to_pylist())
    with pytest.raises(tickloom.LogDamagedError, match="a full disk took something"):
        tickloom.replay(tmp_path / "log", verify=True)


def test_a_disk_that_stands_still_does_not_hold_the_feed_up(make_session: Make, tmp_path: Path, disk: Disk) -> None:
    with make_session(mailboxes__recorder=8) as session:
        bars(session, 1)
        disk.free.clear()
        wait_for(complains(session, "goes on without the log"), "the alarm")
        bars(session, 2)
        disk.free.set()
        wait_for(lambda: not complains(session, "goes on without the log")(), "the all-clear")
        bars(session, 1)
    assert session.summary is not None
    assert (session.summary.lost, session.summary.restarts) == (0, 0)
    assert any("lacks" in words and "no room" in words for words in session.unwritten)
    found = gaps(tmp_path / "log")
    assert found
    assert all("the recorder had no room" in gap.cause for gap in found)
    assert tickloom.replay(tmp_path / "log").summary.ticks < session.summary.ticks
