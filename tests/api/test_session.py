"""A session embedded in a program: with a loop or without, alone or beside another, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import tickloom

MNQ = "CON.F.US.MNQ.Z25"
GOLD = "CON.F.US.GCE.Z25"
Make = Callable[..., tickloom.Session]


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("tickloom")]


def test_bars_come_in_a_plain_thread_and_nothing_is_left_behind(make_session: Make) -> None:
    before = (signal.getsignal(signal.SIGINT), len(psutil.Process().open_files()))
    with make_session() as session:
        bars = [bar for bar, _ in zip(session.bars(MNQ, "1s"), range(2), strict=False)]
        table = session.table(MNQ, "1s", last=1)
        health, statistics, tree = session.health(), session.statistics(), session.tree()
    summary = session.summary
    assert summary is not None
    assert [bar.contract for bar in bars] == [MNQ, MNQ]
    assert bars[1].open_time - bars[0].open_time == 1_000_000_000
    assert table.column_names[:3] == ["contract", "open_time", "close_time"]
    assert table.num_rows == 1
    assert health.links == {"market": "up"}
    assert statistics.ticks > 0
    assert {"/pipeline/bars/1s", "/recorder", "/feed/market"} <= {view.path for view in tree.walk()}
    assert (summary.lost, summary.rejected, summary.gaps) == (0, 0, 0)
    assert threads() == []
    assert (signal.getsignal(signal.SIGINT), len(psutil.Process().open_files())) == before


def test_bars_come_in_an_event_loop_that_goes_on_meanwhile(make_session: Make) -> None:
    async def main() -> tuple[list[tickloom.Bar], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        seen: list[tickloom.Bar] = []
        async with make_session() as session:
            await session.subscribe(MNQ)
            async for bar in session.bars(MNQ, "1s"):
                seen.append(bar)
                if len(seen) == 2:
                    break
        ticking.cancel()
        return seen, ticks

    bars, ticks = asyncio.run(main())
    assert len(bars) == 2
    assert ticks > 50, "the loop was not held up"
    assert threads() == []


def test_updates_of_open_bars_are_marked_as_such(make_session: Make) -> None:
    with make_session() as session:
        stream = session.bars(MNQ, "1m", partial=True)
        updates = [bar for bar, _ in zip(stream, range(3), strict=False)]
        stream.close()
    assert all(not bar.final for bar in updates)
    volumes = [bar.volume for bar in updates]
    assert volumes == sorted(volumes)


def test_a_contract_can_be_added_while_it_runs(make_session: Make) -> None:
    with make_session(session__contracts=("CON.F.US.EP.Z25",)) as session:
        assert session.contracts == ("CON.F.US.EP.Z25",)
        session.subscribe(MNQ)
        bar = next(session.bars(MNQ, "1s"))
    assert bar.contract == MNQ
    assert session.summary is not None
    assert session.summary.lost == 0


def test_a_contract_that_was_given_up_can_be_followed_again(make_session: Make) -> None:
    with make_session() as session:
        session.unsubscribe(MNQ)
        assert MNQ not in session.contracts
        session.subscribe(MNQ)
        assert MNQ in session.contracts
        assert next(session.bars(MNQ, "1s")).contract == MNQ


def test_an_unknown_contract_is_refused_with_those_that_come_near(make_session: Make) -> None:
    session = make_session(session__contracts=("CON.F.US.MNQ.Z99",))
    with pytest.raises(tickloom.UsageError, match=r"CON\.F\.US\.MNQ\.Z99 is unknown.*CON\.F\.US\.MNQ\.Z25"):
        session.start()
    assert threads() == []


def test_a_timeframe_that_is_not_built_is_refused_with_those_that_are(make_session: Make) -> None:
    with make_session() as session, pytest.raises(tickloom.UsageError, match=r"15m is not built.*1s, 5s, 1m"):
        session.table(MNQ, "15m")


def test_two_sessions_live_side_by_side(make_session: Make) -> None:
    with make_session("one") as one, make_session("two", session__timeframes="1s") as two:
        for session in (one, two):
            assert next(session.bars(MNQ, "1s")).contract == MNQ
        assert two.timeframes == ("1s",)
    assert one.summary is not None
    assert two.summary is not None
    assert (one.summary.lost, two.summary.lost) == (0, 0)


def test_two_sessions_cannot_write_the_same_log(make_session: Make) -> None:
    with make_session("same"):
        other = make_session("same")
        with pytest.raises(Exception, match=r"in use|another"):
            other.start()


def test_an_exception_in_the_block_stops_the_session_in_order(make_session: Make, tmp_path: Path) -> None:
    session = make_session()

    def fail() -> None:
        with session:
            next(session.bars(MNQ, "1s"))
            raise RuntimeError("the strategy failed")

    with pytest.raises(RuntimeError, match="the strategy failed"):
        fail()
    assert session.summary is not None
    assert session.summary.lost == 0
    assert threads() == []
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest


def test_a_program_that_forgets_to_stop_ends_all_the_same(emulator: tuple, tmp_path: Path) -> None:
    import subprocess
    import sys

    running, key = emulator
    code = f"""
import tickloom
session = tickloom.Session({{
    "gateway.api_url": "{running.api_url}", "gateway.market_hub_url": "{running.market_hub_url}",
    "gateway.user_hub_url": "{running.user_hub_url}", "session.contracts": ("{MNQ}",), "session.timeframes": "1s",
    "recorder.dir": "{tmp_path}/log"}})
session.start()
print(next(session.bars("{MNQ}", "1s")).contract)
"""
    env = {**os.environ, "PROJECT_X_USERNAME": "tester", "PROJECT_X_API_KEY": key}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40, env=env)
    assert (done.returncode, done.stdout.strip()) == (0, MNQ), done.stderr


@pytest.mark.parametrize("crews", [True, False])
def test_crews_are_a_matter_of_threads_and_of_no_bar(make_session: Make, tmp_path: Path, crews: bool) -> None:
    with make_session(supervision__crews=crews) as session:
        next(session.bars(MNQ, "1s"))
        pipeline = [view.thread for view in session.tree().find("/pipeline").walk() if view.thread is not None]
    summary = session.summary
    assert summary is not None
    assert len(set(pipeline)) == (1 if crews else 5)
    assert summary.lost == 0
    assert tickloom.replay(tmp_path / "log").digest == summary.digest
