"""What makes a replay the same as the session: no core reads a clock or rolls dice. Ruff holds it; this holds ruff."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORES = sorted(
    str(path.relative_to(ROOT))
    for path in [
        *ROOT.glob("actors/**/fold.py"),
        *ROOT.glob("actors/**/core.py"),
        *ROOT.glob("actors/bars/*.py"),
        *ROOT.glob("messages/*.py"),
        *ROOT.glob("actors/recorder/*.py"),
        *ROOT.glob("actors/checkpoint/*.py"),
        ROOT / "supervision" / "core.py",
        ROOT / "actors" / "connection" / "decode.py",
    ]
)


def complaints(path: str, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", path, "-"],
        input=code, capture_output=True, text=True, cwd=ROOT, timeout=50,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_there_are_cores_to_guard() -> None:
    assert {"actors/bars/fold.py", "actors/validation/fold.py", "actors/recorder/writer.py"} <= set(CORES)
    assert all((ROOT / path).exists() for path in CORES)


@pytest.mark.parametrize(
    "code",
    [
        "import time\nnow = time.time_ns()\n",
        "from time import monotonic\nnow = monotonic()\n",
        "from datetime import UTC, datetime\nnow = datetime.now(UTC)\n",
        "import random\ndice = random.random()\n",
        "import time\n\n\ndef fold(now=time.monotonic):\n    return now()\n",
    ],
)
def test_a_clock_or_dice_in_a_core_does_not_pass_the_lint(code: str) -> None:
    words = complaints("actors/bars/fold.py", code)
    assert "TID251" in words
    assert "passed in" in words


def test_no_core_reads_a_clock_and_none_is_excepted() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "TID251", *CORES],
        capture_output=True, text=True, cwd=ROOT, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    for pattern, ignored in lint["per-file-ignores"].items():
        if "TID251" in ignored:
            excepted = {str(path.relative_to(ROOT)) for each in spelled_out(pattern) for path in ROOT.glob(each)}
            assert excepted.isdisjoint(CORES), f"{pattern} excepts a core from the rule"


def spelled_out(pattern: str) -> list[str]:
    """`a/{b,c}.py` is `a/b.py` and `a/c.py`."""
    head, brace, rest = pattern.partition("{")
    choices, _, tail = rest.partition("}")
    return [head + choice + tail for choice in choices.split(",")] if brace else [pattern]
