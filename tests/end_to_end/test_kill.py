"""Sessions that are killed with SIGKILL while they record, and the one that goes on: the short form of kill-test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tickloom.scripts.killing import run


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_killed_sessions_lose_nothing_that_was_on_the_disk_and_the_next_one_goes_on_to_the_same_bars(
    tmp_path: Path,
) -> None:
    # everything is checked inside: a whole log, no number missing, gaps where sessions were cut off and flags on the
    # bars they touch, every bar once and equal to plain arithmetic on the prints, one digest live and replayed
    report = run(2, tmp_path / "log", rate=400, seed=7, longest_s=0.8)
    assert report.kills == 2
    assert report.gaps >= 4, "two contracts, two cuts"
    assert report.prints > 100


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_hundreds_of_kills_under_load_change_no_bar(tmp_path: Path) -> None:
    report = run(200, tmp_path / "log", rate=2000, seed=1)
    assert report.kills == 200
    assert report.gaps >= 400
