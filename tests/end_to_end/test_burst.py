"""More ticks than anybody can take, at once, at a session with slow actors and capped memory: the short form of
burst-test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tickloom.scripts.bursting import run as bursting
from tickloom.scripts.bursting.run import Failed, run

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc and capped")


@linux
def test_a_burst_leaves_every_bar_right_counts_what_gave_way_and_holds_up_no_loop(tmp_path: Path) -> None:
    # everything is checked inside: every bar in the files beside the gateway's own ticks, every mailbox's account,
    # the subscriber that sleeps, memory within its bound, the event loop
    report = run(100_000, tmp_path)
    assert report.ticks >= 100_000
    assert report.bars >= 20
    assert report.beats > 100
    assert report.published >= report.subscriber_dropped


@linux
def test_a_session_that_cannot_live_within_its_memory_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bursting, "RESIDENT_MB", 0)
    monkeypatch.setattr(bursting, "WAVES", 2)
    with pytest.raises(Failed, match="memory grew by"):
        run(40_000, tmp_path)


@linux
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_million_ticks_at_once(tmp_path: Path) -> None:
    report = run(2_000_000, tmp_path)
    assert report.subscriber_dropped > 0
