"""A timeframe that does not keep up: its mailbox folds, says so, and its bars are right to the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import tickloom
from tickloom.actors.pressure.events import OverflowBegan, OverflowEnded
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


def test_behind_a_disk_that_hangs_deltas_fold_bars_are_right_and_flagged_and_the_overflow_is_told(
    make_session: Make, tmp_path: Path
) -> None:
    plan = FaultPlan()
    held, free = plan.hold("/observers/parquet", "before_fold", nth=3)
    said: dict[str, list[str]] = {}
    began, ended, degraded, stuck = (threading.Event() for _ in range(4))

    def listen(event: object) -> None:
        if isinstance(event, OverflowBegan | OverflowEnded):
            said.setdefault(event.path, []).append(f"{type(event).__name__}: {event.account}")
            if event.path == SLOW and isinstance(event, OverflowBegan):
                began.set()
            elif event.path == SLOW:
                ended.set()

    def blame(reasons: tuple[str, ...]) -> None:
        if any("overflows" in reason for reason in reasons):
            degraded.set()
        if any(reason.startswith("/observers/parquet has had messages waiting") for reason in reasons):
            stuck.set()

    try:
        with make_session(faults=plan, sinks__out=str(tmp_path / "out"), **QUICK) as session:
            session.on_health(lambda health: blame(health.reasons))
            session.events(listen)
            for event in session.recent_events():
                listen(event)
            assert held.wait(20)
            assert began.wait(20), "told while it lasts"
            blame(session.health().reasons)
            assert degraded.wait(20)
            assert stuck.wait(20), "and that an actor stands"
            assert session.health().status == "unhealthy"
            stream = session.bars(MNQ, "1s")
            free.set()
            assert ended.wait(30), "and when it is over"
            next(stream)
            counters = session.tree().find(SLOW).counters
            assert counters is not None
            assert counters.conflated > 0
            assert counters.balanced
    finally:
        free.set()
    assert any("conflated" in words for words in session.table(MNQ, "1s")["flags"].to_pylist())
    first, last = said[SLOW][:2]
    assert first.startswith("OverflowBegan: ")
    assert last.startswith("OverflowEnded: ")
    assert last.endswith(" merged")
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
