"""`tickloom top` beside a real session in another process: it finds it, looks at it, and says when it has gone."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tickloom.actors.recorder.care import inspect

MNQ = "CON.F.US.MNQ.Z25"
ADDRESS = re.compile(r"dashboard at (http://127\.0\.0\.1:(\d+)/\?token=(\S+))")

Launch = Callable[..., Any]


class Running:
    """A live session with a dashboard: its command, address, port and token."""

    def __init__(self, command: Any) -> None:
        self.command = command
        found = ADDRESS.search(command.wait_for("dashboard at"))
        assert found is not None
        self.address, self.port, self.token = found.groups()
        command.wait_for("the feed is up")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's configuration folder of their own: nobody else's sessions leave notes there."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def live(start: Launch, account: dict[str, str], home: Path) -> Callable[[], Running]:
    """Start a session."""

    def begin(*more: str) -> Running:
        arguments = ("live", MNQ, "--timeframes", "1s,1m", "--dashboard", "0", "--json", *more)
        return Running(start(*arguments, **account, XDG_CONFIG_HOME=str(home)))

    return begin


@pytest.fixture
def top(start: Launch, home: Path) -> Callable[..., Any]:
    return lambda *arguments: start("top", *arguments, XDG_CONFIG_HOME=str(home))


def test_it_finds_the_session_that_runs_and_tells_what_the_api_tells(
    live: Callable[[], Running], top: Launch, home: Path
) -> None:
    session = live()
    look = top("--json").result()
    assert (look["address"], look["health"]["status"]) == (f"127.0.0.1:{session.port}", "healthy")
    assert [each["contract"] for each in look["session"]["contracts"]] == [MNQ]
    assert look["timeframe"] == "1m"
    assert look["bars"][MNQ]["high"] >= look["bars"][MNQ]["low"] > 0
    assert "/pipeline/bars/1m" in json.dumps(look["tree"])
    assert session.token not in json.dumps(look)
    session.command.signal(signal.SIGINT)
    assert session.command.result()["lost"] == 0
    assert list((home / "tickloom" / "running").iterdir()) == []


def test_without_a_terminal_it_prints_a_line_a_look_until_the_session_has_gone(
    live: Callable[[], Running], top: Launch
) -> None:
    session = live()
    watching = top(session.address, "--every", "0.2", "--patience", "0.5")
    watching.wait_for_line(2)
    session.command.kill()
    assert watching.finish() == 4
    assert all(re.match(r"\d\d:\d\d:\d\d  healthy  [\d,]+ ticks  [\d,]+/s  ", line) for line in watching.out)
    assert len(watching.complaints) == 1
    assert f"the session has ended: nobody answers at 127.0.0.1:{session.port}" in watching.complaints[0]
    # it was killed and left its note, which leads nowhere
    again = top()
    assert again.finish() == 2
    assert "no session that serves its API is known to run" in again.complaints[0]


def test_it_ends_in_order_after_its_time_and_at_ctrl_c(live: Callable[[], Running], top: Launch) -> None:
    session = live()
    timed = top(session.port, "--every", "0.2", "--seconds", "0.5")
    stopped = top(session.port, "--every", "0.2")
    assert timed.finish() == 0
    assert timed.out
    stopped.wait_for_line(1)
    stopped.signal(signal.SIGINT)
    assert (stopped.finish(), stopped.err) == (0, [])


def test_it_is_not_let_in_with_a_wrong_token_and_asks_for_what_is_built(
    live: Callable[[], Running], top: Launch, start: Launch, tmp_path: Path
) -> None:
    session = live()
    cases = {
        3: top(f"http://127.0.0.1:{session.port}/?token=wrong-canary"),
        2: top(session.port, "--timeframe", "7m"),
        4: top("http://127.0.0.1:1/?token=x"),
    }
    stranger = start("top", session.port, XDG_CONFIG_HOME=str(tmp_path / "nobody"))
    for code, command in cases.items():
        assert (command.finish(), command.out) == (code, [])
        assert len(command.err) == 1
        assert "canary" not in command.err[0]
    assert "does not take this token" in cases[3].err[0]
    assert "built are: 1s, 1m" in cases[2].err[0]
    assert (stranger.finish(), "wants its token" in stranger.err[0]) == (3, True)


class Terminal:
    """A terminal of 100 columns and 40 lines with a command on it."""

    def __init__(self, arguments: list[str], cwd: Path, env: dict[str, str]) -> None:
        self.reader, writer = os.openpty()
        self.name = os.ttyname(writer)
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tickloom", *arguments],
            cwd=cwd, env=env | {"TERM": "xterm-256color"}, stdin=writer, stdout=writer, stderr=writer,
        )  # fmt: skip
        os.close(writer)
        self.text = ""

    def read_until(self, words: str) -> None:
        """Read what is on it until these words are."""
        while words not in self.text:
            assert select.select([self.reader], [], [], 30)[0], self.text
            self.text += os.read(self.reader, 65536).decode(errors="replace")

    def fill(self) -> None:
        """Let it take no more, as after Ctrl-S."""
        own = os.open(self.name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            while True:
                os.write(own, b".")
        except BlockingIOError:
            os.close(own)

    def end(self) -> int:
        code = self.process.wait(40)
        os.close(self.reader)
        return code


@pytest.fixture
def on_terminal(
    tmp_path: Path, clean_environment: dict[str, str], account: dict[str, str], home: Path
) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def begin(*arguments: str) -> Terminal:
        env = clean_environment | account | {"XDG_CONFIG_HOME": str(home)}
        env.pop("COLUMNS", None)
        env.pop("LINES", None)  # a test runner sets both; the terminal is what counts
        made.append(Terminal(list(arguments), tmp_path, env))
        return made[-1]

    yield begin
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def test_on_a_terminal_it_takes_the_screen_and_gives_it_back(
    live: Callable[[], Running], on_terminal: Callable[..., Terminal]
) -> None:
    session = live()
    seen = on_terminal("top", session.port)
    seen.read_until("finest")
    assert "\x1b[?1049h" in seen.text
    assert "healthy" in seen.text
    seen.process.send_signal(signal.SIGINT)
    seen.read_until("\x1b[?1049l")
    assert seen.end() == 0


def test_a_terminal_that_is_not_read_does_not_keep_a_session_from_ending_in_order(
    on_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    session = on_terminal("live", MNQ, "--record", "log")
    session.read_until("ticks")
    session.fill()
    session.process.send_signal(signal.SIGINT)
    assert session.end() == 0
    assert [segment.sealed for segment in inspect(tmp_path / "log").segments] == [True]
