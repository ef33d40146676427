"""`tickloom soak` from the command line: the report, where it goes, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tickloom.scripts.cli import run
from tickloom.scripts.commands import soak
from tickloom.scripts.soaking.run import Report, Soak

SHORT = ["soak", "--hours", "0.04", "--rate", "500", "--seed", "3"]


def test_a_soak_prints_its_report_as_the_last_line_and_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "soak.json"
    assert run([*SHORT, "--report", str(kept), "--json"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out.splitlines()[-1])
    assert report == json.loads(kept.read_text())
    assert (report["seed"], report["lost"], report["deadlocks"], report["failures"]) == (3, 0, 0, [])
    assert report["bars_compared"]["digest"] == report["bars"] > 0
    assert "prints a second" in printed.err


def test_what_did_not_hold_is_said_and_is_the_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoilt(Soak):
        def run(self) -> Report:
            self.truth.rejected["jump"] += 1  # injected, as far as the truth knows, and never refused
            return super().run()

    monkeypatch.setattr(soak, "Soak", Spoilt)
    assert run(SHORT) == 1
    assert "tickloom: rejected were" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_known_before_the_soak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["soak", "--report", str(tmp_path / "nowhere" / "soak.json")]) == 2
    assert "nowhere" in capsys.readouterr().err
