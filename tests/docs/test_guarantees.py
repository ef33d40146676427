"""Every promise names a test, and that test is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| (?!promise|---)(.+) \| (.+) \|$", (ROOT / "docs" / "guarantees.md").read_text(), re.MULTILINE)


def test_every_promise_names_a_test_that_is_there() -> None:
    assert len(ROWS) > 40
    missing = []
    for promise, where in ROWS:
        found = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", where)
        assert found, f"{promise}: {where}"
        file, name = found.groups()
        if not (ROOT / file).exists() or f"def {name}(" not in (ROOT / file).read_text():
            missing.append(where)
    assert missing == []
