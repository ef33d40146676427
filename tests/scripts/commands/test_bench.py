"""`tickloom bench`: a report with machine, figures and method, as text and as JSON, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tickloom.scripts.commands import bench

Tickloom = Callable[..., Any]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little of everything: what is tested is the report."""
    monkeypatch.setattr(bench, "QUICK", bench.Size(ticks=20_000, messages=2_000, seconds=0.5, rounds=1))


def test_the_report_has_machine_figures_peers_and_method(tickloom: Tickloom, tmp_path: Path) -> None:
    done = tickloom("bench", "--quick", "--json", "--rate", "500")
    assert done.code == 0
    assert {"python", "system", "cores", "load", "busy"} <= set(done.json["machine"])
    figures = {each["name"]: each for each in done.json["figures"]}
    assert figures["replay, a second"]["times"] == pytest.approx(
        figures["replay, a second"]["ours"] / figures["replay, a second"]["theirs"]
    )
    assert figures["live: lost"]["ours"] == 0
    assert figures["live: delivered"]["ours"] > 250
    assert all(each["note"] for each in figures.values())
    assert list(tmp_path.iterdir()) == []


def test_a_part_can_be_measured_alone_and_the_text_names_the_peer(tickloom: Tickloom) -> None:
    done = tickloom("bench", "--quick", "--only", "handover")
    assert done.code == 0
    assert done.err == ["measuring handover"]
    assert any("pykka, queue.Queue(1024): " in line and "ratio " in line for line in done.out)
    assert not any("replay" in line for line in done.out)
