"""How a session begins on its log."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import tickloom
from tickloom.beginning import BREATH_S, open_log
from tickloom.messages.control import Beat
from tickloom.messages.intake import Numbered


def test_the_recorder_of_a_session_stands_back_between_the_parts_of_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    log = open_log(tickloom.Settings(), tmp_path / "log", 1)
    log.append([Numbered(1, Beat(recv_ns=1))], 0)
    log.close()
    assert len(slept) >= 6
    assert set(slept) == {BREATH_S}
