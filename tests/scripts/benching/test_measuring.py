"""The benchmarks measure what they say: the same ticks on both sides, every message through, bars that agree."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tickloom.scripts.benching import handover, replay


def test_replay_and_polars_come_to_the_same_bars(tmp_path: Path) -> None:
    wall, cpu = replay.measure(tmp_path, ticks=20_000, rounds=1)
    assert wall.theirs is not None
    assert cpu.theirs is not None
    assert min(wall.ours, cpu.ours, wall.theirs, cpu.theirs) > 0
    assert "20,000 ticks of a random walk" in wall.note


def test_sides_that_do_not_agree_are_a_defect_and_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_polars", lambda columns: lambda: 7)
    with pytest.raises(replay.UnequalBars, match="polars to 7"):
        replay.measure(tmp_path, ticks=5_000, rounds=1)


def test_without_polars_there_is_no_peer_and_the_note_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "polars" else found(name, *more)
    )
    wall, _ = replay.measure(tmp_path, ticks=5_000, rounds=1)
    assert (wall.theirs, wall.times) == (None, None)
    assert "pip install polars" in wall.note


def test_every_message_comes_through_both_chains() -> None:
    (figure,) = handover.measure(messages=3_000, rounds=1)
    assert figure.theirs is not None
    assert min(figure.ours, figure.theirs) > 0
    assert not figure.more_is_better
