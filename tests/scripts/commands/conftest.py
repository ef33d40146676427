"""Commands in this process, in a folder of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tickloom.scripts.cli import run

MINUTES = 120
FIRST = 1_763_735_400


class Said(NamedTuple):
    """Exit code, lines on stdout, lines on stderr."""

    code: int
    out: list[str]
    err: list[str]

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        assert len(self.out) == 1, self
        found: dict[str, Any] = json.loads(self.out[0])
        return found


@pytest.fixture
def tickloom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run a command; keyword arguments are environment variables."""
    for name in list(os.environ):
        if name.startswith(("TICKLOOM", "PROJECT_X")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def say(*arguments: str, **env: str) -> Said:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        code = run(list(arguments))
        printed = capsys.readouterr()
        return Said(code, printed.out.splitlines(), printed.err.splitlines())

    return say


@pytest.fixture
def ticks(tmp_path: Path) -> Path:
    """Two hours of ticks of two per minute, in quarters, with sides: `ticks.csv`."""
    rows = [
        f"{FIRST + 30 * n},{100 + (n * 7 % 13) / 4},{n % 5},{'buy' if n % 2 else 'sell'}" for n in range(2 * MINUTES)
    ]
    file = tmp_path / "ticks.csv"
    file.write_text("\n".join(["when,last,qty,aggressor", *rows]) + "\n")
    return file


@pytest.fixture
def log(ticks: Path, tickloom: Callable[..., Said]) -> str:
    """The ticks as a log: `log`."""
    done = tickloom("import", str(ticks), "--log", "log", "--contract", "X", "--columns", COLUMNS, "--json")
    assert done.code == 0, done
    return "log"


COLUMNS = "time=when,price=last,size=qty,side=aggressor"
