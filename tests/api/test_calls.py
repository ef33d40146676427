"""Calls from anywhere: threads, loops, both at once, too late, twice; each does its work or says why not."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import secrets
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import tickloom
from tickloom.scripts.emulator import Emulator
from tickloom.supervision.faults import FaultPlan
from tickloom.waiting import Pending

MNQ = "CON.F.US.MNQ.Z25"
EP = "CON.F.US.EP.Z25"
Make = Callable[..., tickloom.Session]


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("tickloom")]


def test_of_two_starts_at_once_one_starts_and_the_other_is_told(make_session: Make) -> None:
    session = make_session()
    outcomes: list[BaseException | None] = []
    together = threading.Barrier(2)

    def start() -> None:
        together.wait()
        try:
            session.start()
            outcomes.append(None)
        except tickloom.UsageError as error:
            outcomes.append(error)

    both = [threading.Thread(target=start) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(30)
    supervisors = [name for name in threads() if name.endswith("/supervisor")]
    session.stop()
    assert len(supervisors) == 1
    assert sorted(str(outcome) for outcome in outcomes) == ["None", "a session is started once: make another"]
    assert threads() == []


def test_a_start_that_came_to_nothing_can_be_tried_again(make_session: Make) -> None:
    with make_session():
        session = make_session()
        with pytest.raises(Exception, match=r"in use|another"):
            session.start()
    with session:
        assert next(session.bars(MNQ, "1s")).contract == MNQ


def test_a_thread_beside_the_loop_subscribes_when_it_calls(make_session: Make) -> None:
    async def main() -> tuple[str, ...]:
        async with make_session(session__contracts=(EP,)) as session:
            await asyncio.to_thread(session.subscribe, MNQ)  # nobody awaits what it returns: it has happened
            return session.contracts

    assert asyncio.run(main()) == (EP, MNQ)


def test_in_a_loop_a_call_is_under_way_also_when_nobody_awaits_it(make_session: Make) -> None:
    async def main() -> tuple[str, ...]:
        with make_session(session__contracts=(EP,)) as session:  # as in the cells of a notebook
            pending = session.subscribe(MNQ)
            async with asyncio.timeout(20):
                while MNQ not in session.contracts:
                    await asyncio.sleep(0.01)
            assert (await pending).contract == pending.result().contract == MNQ
            return session.contracts

    assert asyncio.run(main()) == (EP, MNQ)


def test_what_a_call_failed_with_is_raised_where_it_is_awaited_and_logged_where_it_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise tickloom.UsageError("no such contract")

    async def main() -> None:
        with pytest.raises(tickloom.UsageError, match="no such contract"):
            await Pending(fail)
        forgotten = Pending(fail)
        async with asyncio.timeout(5):
            while not forgotten._future.done():
                await asyncio.sleep(0.001)
        del forgotten
        gc.collect()

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == ["a call that nobody awaited failed"]
    with pytest.raises(tickloom.UsageError, match="no such contract"):
        Pending(fail)


def test_who_gives_up_waiting_does_not_call_the_work_off() -> None:
    go, done = threading.Event(), threading.Event()

    def work() -> int:
        go.wait(20)
        done.set()
        return 7

    async def main() -> int:
        pending = Pending(work)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(_of(pending))), 0.01)
        go.set()
        return await pending

    async def _of(pending: Pending[int]) -> int:
        return await pending

    assert asyncio.run(main()) == 7
    assert done.is_set()


def test_a_tree_that_ended_by_itself_gives_an_account_all_the_same(make_session: Make) -> None:
    plan = FaultPlan()
    plan.crash("/observers/ledger", "before_fold", nth=2, times=50)
    settings = {"flags__circuit_breaker": False, "supervision__max_restarts": 0, "supervision__backoff_base_s": 0.0}
    session = make_session(faults=plan, **settings)
    session.start()
    assert session._running().tree.wait(30) is not None, "it ended by itself"
    assert session.health().status == "unhealthy"
    summary = session.stop()
    assert session.stop() is summary
    assert summary.ticks > 0
    assert any("ended by itself" in sentence for sentence in session.unwritten)
    assert threads() == []


def test_a_contract_that_the_hub_refuses_is_a_matter_of_usage_and_not_of_a_lost_feed(tmp_path: Path) -> None:
    key = secrets.token_urlsafe(16)
    with Emulator((MNQ,), rate=100, user="tester", key=key) as gateway:
        body = json.dumps({"subscribe_error": 1}).encode()
        request = urllib.request.Request(f"{gateway.api_url}/chaos", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()
        config = {
            "gateway.api_url": gateway.api_url,
            "gateway.market_hub_url": gateway.market_hub_url,
            "gateway.user_hub_url": gateway.user_hub_url,
            "session.contracts": MNQ,  # a text is a list of one, as in the environment
            "session.timeframes": ("1s",),
        }
        session = tickloom.Session(config, credentials=tickloom.Credentials("tester", tickloom.Secret(key), "a test"))
        with pytest.raises(tickloom.UsageError, match=f"refused trades of {MNQ}"):
            session.start()
    assert session.summary is not None
    assert threads() == []


def test_bars_of_a_contract_that_nobody_follows_are_refused_and_not_waited_for(make_session: Make) -> None:
    with make_session(session__contracts=(EP,)) as session:
        for read in (
            lambda: session.bars("nope", "1s"),
            lambda: session.table("nope", "1s"),
            lambda: session.latest("nope"),
        ):
            with pytest.raises(tickloom.UsageError, match=f"'nope' is not followed.*followed: {EP}"):
                read()
        session.subscribe(MNQ)
        assert next(session.bars(MNQ, "1s")).contract == MNQ
        session.unsubscribe(MNQ)
        assert session.table(MNQ, "1s").num_rows >= 1, "what there was stays"


def test_a_table_has_the_open_bar_too_when_that_is_wanted(make_session: Make) -> None:
    with make_session() as session:
        next(session.bars(MNQ, "1s"))
        closed, both = session.table(MNQ, "1m"), session.table(MNQ, "1m", partial=True)
        last, none = session.table(MNQ, "1m", last=1, partial=True), session.table(MNQ, "1m", last=0, partial=True)
        with pytest.raises(tickloom.UsageError, match="last is -5"):
            session.table(MNQ, "1m", last=-5)
    assert both.num_rows == closed.num_rows + 1
    assert last["open_time"].to_pylist() == both["open_time"].to_pylist()[-1:]
    assert none.num_rows == 0


def test_a_forgotten_session_is_stopped_in_order_when_the_interpreter_ends(
    emulator: tuple[Emulator, str], make_session: Make, tmp_path: Path
) -> None:
    running, key = emulator
    code = f"""
import tickloom
session = tickloom.Session({{
    "gateway.api_url": "{running.api_url}", "gateway.market_hub_url": "{running.market_hub_url}",
    "gateway.user_hub_url": "{running.user_hub_url}", "session.contracts": ("{MNQ}",), "session.timeframes": "1s",
    "recorder.dir": "{tmp_path}/log"}})
class Sink:
    def on_bars(self, bars): pass
    def close(self): print("closed")
session.add_sink(Sink())
session.start()
print(next(session.bars("{MNQ}", "1s")).contract)
raise SystemExit(3)
"""
    env = {**os.environ, "PROJECT_X_USERNAME": "tester", "PROJECT_X_API_KEY": key}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40, env=env)
    assert (done.returncode, done.stdout.split(), done.stderr) == (3, [MNQ, "closed"], "")
    with make_session(session__contracts=(MNQ,), session__timeframes="1s") as session:
        assert session.recovered is not None
        assert not session.recovered.cut_off, "the one before stopped in order"
