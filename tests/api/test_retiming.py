"""Timeframes that come and go while a session runs: their bars are those they would have had all along."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

import tickloom
from tickloom.actors.recorder.reader import LogReader
from tickloom.messages.control import TimeframesChanged
from tickloom.supervision.faults import FaultPlan
from tickloom.wiring import FINEST, VALIDATION, timeframe_path

MNQ = "CON.F.US.MNQ.Z25"
EP = "CON.F.US.EP.Z25"
Make = Callable[..., tickloom.Session]


def closed(session: tickloom.Session, timeframe: str, count: int, contract: str = MNQ) -> list[tickloom.Bar]:
    """Wait for so many bars to close."""
    stream = session.bars(contract, timeframe)
    return [next(stream) for _ in range(count)]


def rows(table: pa.Table) -> list[dict[str, Any]]:
    return table.to_pylist()


def files(out: Path, timeframe: str) -> list[dict[str, Any]]:
    table = ds.dataset(out / "bars" / f"timeframe={timeframe}", partitioning=None).to_table()
    return sorted(rows(table), key=lambda row: (row["contract"], row["open_time"]))


def test_a_timeframe_added_while_ticks_flow_has_the_bars_and_the_digest_it_would_have_had_from_the_start(
    make_session: Make, tmp_path: Path
) -> None:
    with make_session(sinks__out=str(tmp_path / "out")) as session:
        closed(session, "1s", 3)
        assert session.add_timeframe("2s").result() == "2s"
        assert session.timeframes == ("1s", "2s", "5s", "1m")
        table = session.table(MNQ, "2s")
        assert len(table), "the bars before it was added are there at once"
        closed(session, "2s", 2)
    assert session.summary is not None
    assert (session.summary.lost, session.summary.restarts) == (0, 0)
    replayed = tickloom.replay(tmp_path / "log", out=tmp_path / "replayed")
    assert replayed.digest == session.summary.digest
    assert replayed.summary.lost == 0
    assert rows(replayed.table(MNQ, "2s"))[: len(table)] == rows(table)
    assert files(tmp_path / "out", "2s") == files(tmp_path / "replayed", "2s")
    assert session.summary.bars == replayed.summary.bars
    tickloom.replay(tmp_path / "log", verify=True)


def test_timeframes_of_prints_and_of_days_are_added_as_well(make_session: Make, tmp_path: Path) -> None:
    with make_session() as session:
        closed(session, "1s", 2)
        for name in ("50t", "200v", "1d", "3m"):
            session.add_timeframe(name)
        closed(session, "50t", 2)
        tree = session.tree()
        assert {tree.find(timeframe_path(name)).epoch for name in session.timeframes} == {1}
    assert session.summary is not None
    assert session.summary.lost == 0
    assert session.timeframes == ("1s", "5s", "1m", "3m", "1d", "50t", "200v")
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest


def test_a_session_that_went_on_with_a_log_fills_a_timeframe_from_its_beginning(
    make_session: Make, tmp_path: Path
) -> None:
    with make_session() as first:
        closed(first, "1s", 2)
    with make_session(sinks__out=str(tmp_path / "out")) as session:
        closed(session, "1s", 2)
        session.add_timeframe("2s")
        closed(session, "2s", 1)
    assert session.summary is not None
    assert session.summary.lost == 0
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest


@pytest.mark.parametrize("path", [FINEST, VALIDATION, timeframe_path("2s")])
@pytest.mark.parametrize("point", ["before_commit", "on_emit"])
def test_a_crash_on_the_way_changes_nothing(make_session: Make, tmp_path: Path, path: str, point: str) -> None:
    faults = FaultPlan()
    with make_session(faults=faults) as session:
        closed(session, "1s", 2)
        past = 0
        if path != timeframe_path("2s"):
            view = session.tree().find(path)
            past = view.emitted if point == "on_emit" else view.counters.taken
        faults.crash(path, point, nth=past + 10)
        session.add_timeframe("2s")
        closed(session, "2s", 2)
    assert session.summary is not None
    assert (session.summary.lost, session.summary.restarts) == (0, 1)
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest


def test_a_session_killed_after_a_timeframe_was_added_is_gone_on_with(make_session: Make, tmp_path: Path) -> None:
    with make_session("first") as first:
        closed(first, "1s", 2)
        first.add_timeframe("2s")
        closed(first, "2s", 1)
        shutil.copytree(tmp_path / "first", tmp_path / "log")
    replayed = tickloom.replay(tmp_path / "log")
    assert len(replayed.table(MNQ, "2s"))
    with make_session(session__timeframes="1s,2s,5s,1m") as second:
        closed(second, "2s", 1)
    assert second.summary is not None
    assert second.summary.lost == 0
    assert tickloom.replay(tmp_path / "log").digest == second.summary.digest


def test_a_timeframe_that_is_removed_is_gone_and_its_files_stay(make_session: Make, tmp_path: Path) -> None:
    with make_session(sinks__out=str(tmp_path / "out"), session__lateness_ms=100) as session:
        closed(session, "5s", 2)
        stream = session.bars(MNQ, "5s")
        session.remove_timeframe("5s")
        assert list(stream) == [], "its streams end"
        assert session.timeframes == ("1s", "1m")
        with pytest.raises(tickloom.UsageError, match="5s is not built"):
            session.table(MNQ, "5s")
        assert session.tree().find("/pipeline/bars").children[0].path == timeframe_path("1s")
        closed(session, "1s", 2)
        with pytest.raises(tickloom.UsageError, match="5s was removed before, and its files hold its bars"):
            session.add_timeframe("5s")
    assert session.summary is not None
    assert session.summary.lost == 0
    assert files(tmp_path / "out", "5s")
    replayed = tickloom.replay(tmp_path / "log")
    assert replayed.digest == session.summary.digest
    with pytest.raises(tickloom.UsageError, match="5s is not built"):
        replayed.table(MNQ, "5s")


def test_a_timeframe_comes_and_goes_and_comes_again(make_session: Make, tmp_path: Path) -> None:
    with make_session() as session:
        closed(session, "1s", 1)
        for _ in range(2):
            session.add_timeframe("2s")
            closed(session, "2s", 1)
            session.remove_timeframe("2s")
        session.remove_timeframe("1s")
        session.add_timeframe("2s")
        session.add_timeframe("1s")
        closed(session, "1s", 1)
    assert session.summary is not None
    assert session.summary.lost == 0
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest
    with LogReader(tmp_path / "log") as reader:
        changes = [n.item.timeframes for n in reader.items() if isinstance(n.item, TimeframesChanged)]
    assert changes[0] == ("1s", "2s", "5s", "1m")
    assert changes[-1] == ("1s", "2s", "5s", "1m")
    assert len(changes) == 7


def test_without_a_log_a_timeframe_begins_now_and_says_that_its_first_bar_is_partial(make_session: Make) -> None:
    with make_session(recorder__dir="") as session:
        closed(session, "1s", 2)
        session.add_timeframe("2s")
        session.add_timeframe("50t")
        bars = closed(session, "2s", 2)
        closed(session, "50t", 1)
    assert session.summary is not None
    assert session.summary.lost == 0
    assert bars[0].flags & tickloom.BarFlag.PARTIAL
    assert not bars[1].flags & tickloom.BarFlag.PARTIAL


def test_what_cannot_be_added_or_removed_is_said_and_nothing_changes(make_session: Make) -> None:
    with make_session(session__timeframes="1s") as session:
        for name, words in (
            ("1s", "timeframe 1s is there already"),
            ("nonsense", "nonsense"),
            ("7h", "7h"),
        ):
            with pytest.raises(tickloom.UsageError, match=words):
                session.add_timeframe(name)
        with pytest.raises(tickloom.UsageError, match="timeframe 1s is the only one"):
            session.remove_timeframe("1s")
        with pytest.raises(tickloom.UsageError, match="5s is not built in this session: ask for one of 1s"):
            session.remove_timeframe("5s")
        assert session.timeframes == ("1s",)
    with pytest.raises(tickloom.UsageError, match="ended"):
        session.add_timeframe("5s")


def test_a_damaged_log_fills_nothing_and_the_session_goes_on(make_session: Make, tmp_path: Path) -> None:
    with make_session(recorder__batch_ms=1) as session:
        closed(session, "1s", 2)
        segment = min((tmp_path / "log").glob("*.arrows"))
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 1
        segment.write_bytes(data)
        with pytest.raises(tickloom.UsageError, match=r"timeframe 2s was not added: .*00000001.arrows"):
            session.add_timeframe("2s")
        assert session.timeframes == ("1s", "5s", "1m")
        closed(session, "1s", 2)
        assert {view.restarts for view in session.tree().walk()} == {0}
    assert session.summary is not None
    assert session.summary.lost == 0


def test_a_session_that_is_stopped_while_a_timeframe_is_being_filled_ends_in_order(make_session: Make) -> None:
    with make_session() as session:
        closed(session, "1s", 1)
        outcome: list[BaseException | str] = []

        def add() -> None:
            try:
                outcome.append(session.add_timeframe("2s").result())
            except tickloom.TickloomError as error:
                outcome.append(error)

        adding = threading.Thread(target=add)
        adding.start()
    adding.join(30)
    assert session.summary is not None
    assert session.summary.lost == 0
    assert len(outcome) == 1
    assert outcome[0] == "2s" or "ended" in str(outcome[0]) or "not added" in str(outcome[0])


def test_a_coroutine_awaits_it_and_its_loop_goes_on(make_session: Make) -> None:
    async def main() -> tuple[str, ...]:
        async with make_session() as session:
            bars = session.bars(MNQ, "1s")
            await anext(bars)
            assert await session.add_timeframe("2s") == "2s"
            await anext(session.bars(MNQ, "2s"))
            await session.remove_timeframe("1s")
            return session.timeframes

    assert asyncio.run(main()) == ("2s", "5s", "1m")
