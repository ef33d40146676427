"""A session that goes on with a log: after one that stopped in order, and after one that was cut off.

A copy of the log of a running session is what a crash would have left.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import tickloom
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.token.messages import CurrentToken
from tickloom.messages.control import AnyControl, Gap, SessionStarted, Subscribed, Unsubscribed
from tickloom.messages.intake import Frames
from tickloom.scripts.emulator import Emulator
from tickloom.wiring import CHECKPOINT, TOKEN

MNQ = "CON.F.US.MNQ.Z25"
EP = "CON.F.US.EP.Z25"
Make = Callable[..., tickloom.Session]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    for _ in range(1500):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail(f"{what} did not come")


def records(log: Path) -> list[tuple[int, AnyControl]]:
    with LogReader(log) as reader:
        return [(n.seq, n.item) for n in reader.items() if not isinstance(n.item, Frames)]


def test_a_session_goes_on_with_the_log_of_one_that_stopped_and_the_digest_is_that_of_the_whole_log(
    make_session: Make, tmp_path: Path
) -> None:
    with make_session() as first:
        next(first.bars(MNQ, "1s"))
    with LogReader(tmp_path / "log") as reader:
        last_seq, next_tick, prints = reader.last_seq, reader.next_tick, reader.prints
    with make_session() as second:
        stream = second.bars(MNQ, "1s")
        bar = next(stream)
        next(stream)  # publisher and history are told side by side: by the second bar the first is in the table
        [row] = second.table(MNQ, "1s", last=1).to_pylist()
    assert second.recovered is not None
    assert (second.recovered.last_seq, second.recovered.cut_off) == (last_seq, False)
    assert second.recovered.from_seq == last_seq, "the checkpoint of the stop stands for the whole log"
    assert row["close"] > 1000, "prices are points, though the instrument was learnt by the session before"
    assert bar.flags & tickloom.BarFlag.PARTIAL or bar.trades
    starts = [(seq, item) for seq, item in records(tmp_path / "log") if isinstance(item, SessionStarted)]
    assert [(seq, start.resumed) for seq, start in starts] == [(1, False), (last_seq + 1, False)]
    with LogReader(tmp_path / "log") as reader:
        frames = [n.item for n in reader.items(from_seq=last_seq + 1) if isinstance(n.item, Frames) and n.item.prints]
        assert frames[0].prints.first_tick == next_tick
        assert second.summary.ticks == reader.prints - prints, "the account is the session's own"
    assert (second.summary.lost, second.summary.gaps) == (0, 0)
    replayed = tickloom.replay(tmp_path / "log")
    assert replayed.digest == second.summary.digest != first.summary.digest
    assert replayed.summary.lost == 0


def test_a_session_goes_on_where_one_was_cut_off_and_flags_what_lies_in_between(
    make_session: Make, tmp_path: Path
) -> None:
    with make_session("first", session__timeframes="1s,1m,100t") as first:
        next(first.bars(MNQ, "1s"))
        wait_for(lambda: (first.synced_seq or 0) > 20, "a synced log")
        shutil.copytree(tmp_path / "first", tmp_path / "log")
    with LogReader(tmp_path / "log") as reader:
        last_seq, prints = reader.last_seq, reader.prints
    with make_session(session__timeframes="1s,1m,100t", session__contracts=(MNQ,)) as second:
        before = {bar.contract: bar for bar in second.latest(EP).bars.values()}
        wait_for(lambda: second.statistics().ticks > 50, "a few ticks")
    assert second.recovered is not None
    assert (second.recovered.last_seq, second.recovered.cut_off) == (last_seq, True)
    assert before[EP].trades > 0, "bars that were open can be read at once"
    after = [item for seq, item in records(tmp_path / "log") if seq > last_seq]
    assert isinstance(after[0], SessionStarted)
    assert after[0].resumed
    gaps = {item.contract: item for item in after if isinstance(item, Gap)}
    assert gaps.keys() == {MNQ, EP}, "the contract that is followed no longer has its gap too"
    assert all("without stopping" in gap.cause and gap.from_ns < gap.to_ns for gap in gaps.values())
    assert [item.contract for item in after if isinstance(item, Unsubscribed)] == [EP]
    assert [item.contract for item in after if isinstance(item, Subscribed)] == [MNQ]
    with LogReader(tmp_path / "log") as reader:
        assert second.summary.ticks == reader.prints - prints
    assert (second.summary.lost, second.summary.rejected, second.summary.gaps) == (0, 0, 2)
    replayed = tickloom.replay(tmp_path / "log")
    assert replayed.digest == second.summary.digest
    assert replayed.summary.lost == 0
    minutes = replayed.table(MNQ, "1m").to_pylist()
    assert len({row["open_time"] for row in minutes}) == len(minutes), "the open minute was gone on with, not doubled"
    for row in minutes:
        start, end = int(row["open_time"].timestamp() * 1e9), int(row["close_time"].timestamp() * 1e9)
        touched = gaps[MNQ].from_ns < end and gaps[MNQ].to_ns > start
        assert ("gap" in row["flags"].split("|")) == touched


def test_a_damaged_checkpoint_costs_a_warning_and_nothing_else(
    make_session: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with make_session() as first:
        next(first.bars(MNQ, "1s"))
    [checkpoint] = (tmp_path / "log").glob("checkpoint-*.tlcp")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-7])
    with caplog.at_level(logging.WARNING, logger="tickloom"), make_session() as second:
        next(second.bars(MNQ, "1s"))
    assert "checksum is wrong; the log itself is read instead" in caplog.text
    assert second.recovered is not None
    assert second.recovered.from_seq == 0
    assert tickloom.replay(tmp_path / "log").digest == second.summary.digest


def test_a_running_session_writes_checkpoints_and_no_secret_is_in_them(
    make_session: Make, tmp_path: Path, emulator: tuple[Emulator, str]
) -> None:
    _, key = emulator
    with make_session(recorder__checkpoint_s=1) as session:
        token = session._running().tree.ref(TOKEN).ask(CurrentToken()).reveal().encode()
        wait_for(lambda: any((tmp_path / "log").glob("checkpoint-*.tlcp")), "a checkpoint")
        during = [path.read_bytes() for path in (tmp_path / "log").glob("checkpoint-*.tlcp")]
        assert any(view.path == CHECKPOINT for view in session.tree().walk())
    [*_, last] = sorted((tmp_path / "log").glob("checkpoint-*.tlcp"))
    for data in (*during, last.read_bytes()):
        assert data.startswith(b"TLCP")
        assert key.encode() not in data
        assert token not in data
        assert token.split(b".")[0] not in data


def test_a_log_that_is_being_written_is_not_gone_on_with(make_session: Make) -> None:
    with make_session("same") as first:
        with pytest.raises(Exception, match="is being written by process"):
            make_session("same").start()
        next(first.bars(MNQ, "1s"))
    assert first.summary is not None
    assert first.summary.lost == 0
