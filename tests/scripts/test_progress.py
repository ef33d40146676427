"""Progress: a bar with rate and time left on a terminal, a line now and then elsewhere, nothing of what is over at once."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import sys
import termios

import pytest

from tickloom.scripts.progress import LINE_S, rate, shown


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_elsewhere_it_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with shown("import", "ticks", now=clock) as told:
        for done in range(0, 1_001, 50):
            told(done, 1_000)
            clock.at += 1.0
    assert capsys.readouterr().err.splitlines() == [
        "import 25%  50 ticks/s  0:00:15 left",
        "import 50%  50 ticks/s  0:00:10 left",
        "import 75%  50 ticks/s  0:00:05 left",
    ]


def test_what_is_over_at_once_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with shown("check", "rows", now=clock) as told:
        told(0, 10)
        clock.at += LINE_S
        told(10, 10)
        told(0, 0)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_it_is_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    clock = Clock()
    text = ""
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with shown("replay", "bytes", now=clock) as told:
            for done in range(5):
                told(done * 2_500_000, 20_000_000)
                clock.at += 1.0
        monkeypatch.undo()
        while select.select([reader], [], [], 1)[0]:
            text += os.read(reader, 65536).decode()
    os.close(reader)
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "\n").split("replay")[-1]
    assert " 50 %" in last
    assert "2.5 MB/s" in last
    assert "0:00:04" in last


def test_rates_are_in_words() -> None:
    assert (rate(2_500_000, "bytes"), rate(1_234.4, "ticks")) == ("2.5 MB/s", "1,234 ticks/s")
