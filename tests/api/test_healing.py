"""Gaps are healed from history: a broken link, a session that was killed, history that lags, fails, or has nothing."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tickloom
from tickloom.actors.recorder.reader import LogReader
from tickloom.messages.control import Gap, Healed, Unhealed
from tickloom.messages.intake import Frames
from tickloom.scripts.emulator import Emulator
from tickloom.supervision.faults import FaultPlan, InjectedCrash

MNQ = "CON.F.US.MNQ.Z25"
NS = 1_000_000_000
FRAMES = {"1s": 1, "2s": 2, "1m": 60}
Start = Callable[..., tuple[Emulator, tickloom.Session]]


@pytest.fixture
def start(emulated: Callable[..., Any]) -> Start:
    """Start an emulator with options and make a session on it that soon asks for history."""
    return partial(emulated, session__timeframes=",".join(FRAMES), session__heal_delay_s=0.2)


def get(emulator: Emulator, path: str) -> Any:
    with urllib.request.urlopen(f"{emulator.api_url}{path}", timeout=30) as answer:
        return json.load(answer)


def chaos(emulator: Emulator, **switches: Any) -> None:
    body = json.dumps(switches).encode()
    request = urllib.request.Request(f"{emulator.api_url}/chaos", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def truth(emulator: Emulator, frame: str, first_ns: int) -> dict[int, tuple[float, float, float, float, int]]:
    """The market's own bars from a time on, whatever anyone was sent of them."""
    address = f"/truth/bars?contract={MNQ}&unit_seconds={FRAMES[frame]}&from_ns={first_ns}"
    bars = get(emulator, address)
    return {bar["t_ns"]: (bar["o"], bar["h"], bar["l"], bar["c"], bar["v"]) for bar in bars if bar["complete"]}


def rows(source: Any, frame: str) -> dict[int, dict[str, Any]]:
    table = source.table(MNQ, frame)
    stamps = table["open_time"].cast("int64").to_pylist()
    return dict(zip(stamps, table.to_pylist(), strict=True))


def prices(row: dict[str, Any]) -> tuple[float, float, float, float, int]:
    return (row["open"], row["high"], row["low"], row["close"], row["volume"])


def see(session: tickloom.Session, bars: int) -> None:
    stream = session.bars(MNQ, "1s")
    for _ in range(bars):
        next(stream)
    stream.close()


def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail(f"{what} did not come")


def healing(session: tickloom.Session) -> dict[str, int]:
    return session.statistics().counters.get("/feed/healing", {})


def records(log: Path, kind: type) -> list[Any]:
    with LogReader(log) as reader:
        return [n.item for n in reader.items() if not isinstance(n.item, Frames) and isinstance(n.item, kind)]


def compare(emulator: Emulator, source: Any, first_ns: int) -> dict[str, int]:
    """Compare every bar with the market's own, from the first whole one on; return how many were healed."""
    healed = {}
    for frame, seconds in FRAMES.items():
        width = seconds * NS
        expected = truth(emulator, frame, -(-first_ns // width) * width)
        ours = {at: row for at, row in rows(source, frame).items() if at in expected and "partial" not in row["flags"]}
        last = max(ours, default=0)
        assert ours.keys() == {at for at in expected if at <= last}, f"no {frame} bar is missing"
        for at, row in ours.items():
            assert "gap" not in row["flags"]
            assert prices(row) == expected[at], (frame, at, row)
        healed[frame] = sum("healed" in row["flags"] for row in ours.values())
    return healed


def test_a_link_that_breaks_is_healed_and_the_bars_are_the_markets_own(start: Start, tmp_path: Path) -> None:
    emulator, session = start()
    with session:
        see(session, 2)
        first_ns = next(iter(rows(session, "1s"))) + NS
        chaos(emulator, refuse_upgrade=2.5)
        chaos(emulator, abort="tcp")
        until(lambda: healing(session).get("healed", 0) >= 1, "history")
        see(session, 2)
    summary = session.summary
    assert summary is not None
    assert (summary.gaps, summary.lost) == (1, 0)
    [gap] = records(tmp_path / "log", Gap)
    assert gap.to_ns - gap.from_ns > 2 * NS
    healed = compare(emulator, session, first_ns)
    assert healed["1s"] >= 3
    assert healed["2s"] >= 1
    replayed = tickloom.replay(tmp_path / "log")
    assert replayed.digest == summary.digest
    assert compare(emulator, replayed, first_ns) == healed


def test_a_connection_that_crashes_is_healed_and_the_bars_are_the_markets_own(start: Start, tmp_path: Path) -> None:
    plan = FaultPlan()
    for nth in (3, 6, 9):
        plan.crash("/feed/market", "on_control", nth=nth)
    emulator, session = start(faults=plan)
    with session:
        see(session, 2)
        first_ns = next(iter(rows(session, "1s"))) + NS
        for crash in range(1, 4):
            while plan.crashes < crash:
                with suppress(InjectedCrash):  # the asker is told
                    session.unsubscribe("CON.F.US.EP.Z25")
            until(lambda wanted=crash: healing(session).get("healed", 0) >= wanted, "history")  # type: ignore[misc]
        see(session, 2)
    summary = session.summary
    assert summary is not None
    assert plan.crashes == 3
    assert (summary.gaps, summary.lost) == (3, 0)
    assert compare(emulator, session, first_ns)["1s"] >= 3
    assert tickloom.replay(tmp_path / "log").digest == summary.digest


def test_history_that_lags_and_fails_for_a_while_heals_all_the_same(start: Start, tmp_path: Path) -> None:
    emulator, session = start()
    chaos(emulator, history_lag_s=3, history_fail=2, history_fail_status=429, retry_after_s=0.5)
    with session:
        see(session, 2)
        first_ns = next(iter(rows(session, "1s"))) + NS
        chaos(emulator, abort="tcp")
        until(lambda: healing(session).get("healed", 0) >= 1, "history")
        see(session, 1)
    assert session.summary is not None
    assert session.summary.lost == 0
    assert healing(session)["asked"] > 1, "what had not come yet was not taken for nothing"
    assert compare(emulator, session, first_ns)["1s"] >= 1
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest


def test_what_history_will_not_give_stays_flagged_and_says_why(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    emulator, session = start()
    chaos(emulator, history_error=1)
    with session:
        see(session, 2)
        chaos(emulator, abort="tcp")
        until(lambda: healing(session).get("unhealed", 0) >= 1, "an end")
        see(session, 1)
    [given_up] = records(tmp_path / "log", Unhealed)
    assert "knows no such contract" in given_up.reason
    assert f"{MNQ} from {given_up.from_ns} to {given_up.to_ns} ns stays flagged as a gap" in caplog.text
    flagged = {at for at, row in rows(session, "1s").items() if "gap" in row["flags"]}
    assert flagged
    assert all(given_up.from_ns <= at < given_up.to_ns for at in flagged)
    assert not any("healed" in row["flags"] for row in rows(session, "1s").values())
    assert session.summary is not None
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest


def test_a_practice_account_asks_for_no_live_data_and_a_live_account_does(start: Start, tmp_path: Path) -> None:
    emulator, session = start(gateway__live=True)
    with session:
        see(session, 2)
        chaos(emulator, abort="tcp")
        until(lambda: healing(session).get("asked", 0) >= 2, "questions")
    assert records(tmp_path / "log", Healed) == [], "the emulator has no live data for anyone"
    emulator, session = start(on=emulator, recorder__dir=str(tmp_path / "other"))
    with session:
        see(session, 2)
        chaos(emulator, abort="tcp")
        until(lambda: healing(session).get("healed", 0) >= 1, "history")
    assert {record.source for record in records(tmp_path / "other", Healed)} == {"retrieveBars, live=false"}


def test_without_healing_a_gap_is_flagged_and_nobody_is_asked(start: Start, tmp_path: Path) -> None:
    emulator, session = start(session__heal_gaps=False)
    with session:
        with pytest.raises(LookupError):
            session.tree().find("/feed/healing")
        see(session, 2)
        chaos(emulator, abort="tcp")
        until(lambda: records(tmp_path / "log", Gap) != [], "the gap")
        see(session, 2)
    assert any("gap" in row["flags"] for row in rows(session, "1s").values())
    assert records(tmp_path / "log", Healed) == []
    assert session.summary is not None
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest


def test_the_time_in_which_no_process_ran_is_healed_when_the_next_goes_on(start: Start, tmp_path: Path) -> None:
    emulator, first = start(recorder__dir=str(tmp_path / "first"))
    with first:
        see(first, 2)
        first_ns = next(iter(rows(first, "1s"))) + NS
        synced = first.synced_seq or 0
        until(lambda: (first.synced_seq or 0) > synced, "a synced log")
        shutil.copytree(tmp_path / "first", tmp_path / "log")  # what a crash would have left
    last = f"/truth/last?contract={MNQ}"
    began = get(emulator, last)["t_ns"]
    until(lambda: get(emulator, last)["t_ns"] > began + 1.5 * NS, "more of the market")
    _, second = start(on=emulator)
    with second:
        until(lambda: healing(second).get("healed", 0) >= 1, "history")
        see(second, 1)
    assert second.recovered is not None
    assert second.recovered.cut_off
    assert second.summary is not None
    assert (second.summary.gaps, second.summary.lost) == (1, 0)
    replayed = tickloom.replay(tmp_path / "log")
    assert replayed.digest == second.summary.digest
    assert compare(emulator, replayed, first_ns)["1s"] >= 2, "with the bars of before, of between, and of after"


def test_a_killed_session_that_waited_for_history_is_healed_by_the_next(start: Start, tmp_path: Path) -> None:
    emulator, first = start(recorder__dir=str(tmp_path / "first"))
    chaos(emulator, history_fail=1_000_000)
    with first:
        see(first, 2)
        first_ns = next(iter(rows(first, "1s"))) + NS
        chaos(emulator, abort="tcp")
        until(lambda: healing(first).get("asked", 0) >= 1, "a question")
        synced = first.synced_seq or 0
        until(lambda: (first.synced_seq or 0) > synced, "a synced log")
        shutil.copytree(tmp_path / "first", tmp_path / "log")
    chaos(emulator, history_fail=0)
    _, second = start(on=emulator)
    with second:
        until(lambda: healing(second).get("healed", 0) >= 2, "history of both gaps")
        see(second, 1)
    assert second.summary is not None
    replayed = tickloom.replay(tmp_path / "log")
    assert replayed.digest == second.summary.digest
    assert [record.cause for record in records(tmp_path / "log", Gap)][1:] != []
    assert compare(emulator, replayed, first_ns)["1s"] >= 2
