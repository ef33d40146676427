"""A timeframe that does not keep up: its mailbox folds, says so, and its bars are right to the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tickloom
from tickloom.actors.pressure.events import OverflowBegan, OverflowEnded
from tickloom.supervision import Failure
from tickloom.supervision.testing import FaultPlan

MNQ = "CON.F.US.MNQ.Z25"
SLOW = "/pipeline/bars/1s"
Make = Callable[..., tickloom.Session]
QUICK = {
    "pressure__interval_ms": 50,
    "pressure__recover_s": 0.2,
    "mailboxes__timeframe": 4,
    "mailboxes__sinks": 4,
    "pressure__ceiling": 1,
    "health__stuck_ms": 300,
}


def within(seconds: float, holds: Callable[[], bool]) -> None:
    """Wait until something holds that tells nobody when it does."""
    end, never = time.monotonic() + seconds, threading.Event()
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        never.wait(0.01)


def blamed(session: tickloom.Session, words: str) -> bool:
    return any(reason.startswith(words) for reason in session.health().reasons)


def test_behind_a_disk_that_hangs_deltas_fold_bars_are_right_and_flagged_and_the_overflow_is_told(
    make_session: Make, tmp_path: Path
) -> None:
    plan = FaultPlan()
    held, free = plan.hold("/observers/parquet", "before_fold", nth=3)
    began: list[OverflowBegan] = []
    ended: list[OverflowEnded] = []

    def listen(event: object) -> None:
        if isinstance(event, OverflowBegan) and event.path == SLOW:
            began.append(event)
        elif isinstance(event, OverflowEnded) and event.path == SLOW:
            ended.append(event)

    with make_session(faults=plan, sinks__out=str(tmp_path / "out"), **QUICK) as session:
        try:
            session.events(listen)
            for event in session.recent_events():
                listen(event)
            assert held.wait(20)
            within(20, lambda: bool(began))
            within(20, lambda: blamed(session, f"the mailbox of {SLOW} overflows: "))
            within(20, lambda: blamed(session, "/observers/parquet has had messages waiting and has handled none for "))
            assert session.health().status == "unhealthy"
            stream = session.bars(MNQ, "1s")
        finally:
            free.set()
        within(20, lambda: bool(ended))
        next(stream)
        counters = session.tree().find(SLOW).counters
        assert counters is not None
        assert counters.conflated > 0
        assert counters.balanced
    assert [event for event in session.recent_events() if isinstance(event, Failure)] == []
    assert {view.path: view.last_exit for view in session.tree().walk() if view.restarts} == {}
    assert ended[0].account.endswith(" merged")
    assert any("conflated" in words for words in session.table(MNQ, "1s")["flags"].to_pylist())
    summary = session.summary
    assert summary is not None
    assert (summary.lost, summary.quarantined, summary.restarts) == (0, 0, 0)
    replayed = tickloom.replay(tmp_path / "log")
    assert replayed.digest == summary.digest, "the flag is no part of the digest, and the values are those of the log"


@pytest.mark.parametrize("flow", ["updates", "trades"])
def test_short_memory_makes_flows_give_way_and_no_bar_shows_it(make_session: Make, tmp_path: Path, flow: str) -> None:
    yielded = threading.Event()
    with make_session(
        pressure__memory_mb=1, **{**QUICK, "mailboxes__timeframe": 64, "mailboxes__sinks": 64}
    ) as session:
        session.events(lambda event: yielded.set() if getattr(event, "flow", "") == flow else None)
        if any(getattr(event, "flow", "") == flow for event in session.recent_events()):
            yielded.set()
        assert yielded.wait(20)
        for bar, _ in zip(session.bars(MNQ, "1s"), range(2), strict=False):
            assert bar.trades
        health = session.health()
        assert flow in health.yielding
        assert any("the session's own bound" in reason for reason in health.reasons)
        assert session.tree().find("/recorder").capacity == 4096 // 16
        gauges = session.statistics().gauges["/observers/pressure"]
        assert gauges["halvings"] == 4
    assert session.summary is not None
    assert session.summary.lost == 0
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest
