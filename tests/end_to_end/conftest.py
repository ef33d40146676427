"""The command line as real processes, against the emulator in a process of its own, and real ticks to import."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tickloom.scripts.emulator import Emulator

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25")
USER = "tester"
PATIENCE_S = 40.0
DATA = Path(__file__).parents[2].parent / "shared" / "data"


class Command:
    """A `tickloom` process. What it says is read as it comes; everything waits with a time-out, nothing sleeps."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tickloom", *arguments],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: dict[str, list[str]] = {"out": [], "err": []}
        self._said = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", self.process.stdout), ("err", self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._said:
                    self._lines[name].append(line.rstrip("\n"))
                    self._said.notify_all()
        with self._said:
            self._said.notify_all()

    @property
    def out(self) -> list[str]:
        """The lines on stdout so far."""
        return self._lines["out"]

    @property
    def err(self) -> list[str]:
        """The lines on stderr so far."""
        return self._lines["err"]

    @property
    def complaints(self) -> list[str]:
        """The lines on stderr that say what was wrong; the others are progress."""
        return [line for line in self.err if line.startswith(("tickloom: ", "gateway: "))]

    def wait_for(self, words: str) -> str:
        """Return the first line on stderr that holds `words`, waiting for it."""
        end = time.monotonic() + PATIENCE_S
        with self._said:
            while True:
                for line in self.err:
                    if words in line:
                        return line
                ended = self.process.poll() is not None and not any(reader.is_alive() for reader in self._readers)
                assert not ended, f"it ended with {self.process.returncode} and never said {words!r}: {self.err}"
                assert time.monotonic() < end, f"it never said {words!r}: {self.err}"
                self._said.wait(0.2)

    def wait_for_result(self) -> dict[str, Any]:
        """Return the JSON object it printed first, waiting for it; it goes on."""
        end = time.monotonic() + PATIENCE_S
        with self._said:
            while not self.out:
                assert self.process.poll() is None, self.err
                assert time.monotonic() < end, f"it printed nothing: {self.err}"
                self._said.wait(0.2)
        found: dict[str, Any] = json.loads(self.out[0])
        return found

    def wait_for_line(self, count: int) -> None:
        """Wait until it has printed so many lines on stdout; it goes on."""
        end = time.monotonic() + PATIENCE_S
        with self._said:
            while len(self.out) < count:
                assert self.process.poll() is None, self.err
                assert time.monotonic() < end, f"it printed {len(self.out)} lines: {self.err}"
                self._said.wait(0.2)

    def children(self) -> list[psutil.Process]:
        """Return the processes it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def finish(self) -> int:
        """Wait for its end and return its exit code."""
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return code

    def result(self) -> dict[str, Any]:
        """Wait for its end in order, and return the one JSON object it printed."""
        code = self.finish()
        assert code == 0, (code, self.err)
        assert len(self.out) == 1, self.out
        found: dict[str, Any] = json.loads(self.out[0])
        return found

    def kill(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.finish()


Launch = Callable[..., Command]


@pytest.fixture(scope="session", autouse=True)
def interrupts_reach_children() -> None:
    """Take back what a shell does to the jobs it runs in the background: there SIGINT is ignored, and inherited so."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def emulator() -> Iterator[tuple[Emulator, str]]:
    """One gateway for the whole run, and the key of its account."""
    key = secrets.token_urlsafe(16)
    with Emulator(CONTRACTS, rate=200, user=USER, key=key, options=["--steady", "--no-rate-limits"]) as running:
        yield running, key


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    """The environment without anything that is Tickloom's."""
    ours = ("TICKLOOM", "PROJECT_X", "GATEWAY_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture(scope="session")
def account(emulator: tuple[Emulator, str]) -> dict[str, str]:
    """Environment variables that lead to the gateway, with credentials."""
    gateway, key = emulator
    return {
        "PROJECT_X_USERNAME": USER,
        "PROJECT_X_API_KEY": key,
        "TICKLOOM__GATEWAY__API_URL": gateway.api_url,
        "TICKLOOM__GATEWAY__MARKET_HUB_URL": gateway.market_hub_url,
        "TICKLOOM__GATEWAY__USER_HUB_URL": gateway.user_hub_url,
    }


@pytest.fixture(scope="session")
def launch(clean_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Start `tickloom` in a folder with arguments; keyword arguments are environment variables."""
    started: list[Command] = []
    home = {"XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("home")), "COLUMNS": "200"}

    def begin(cwd: Path, *arguments: str, **env: str) -> Command:
        command = Command(arguments, cwd, clean_environment | home | env)
        started.append(command)
        return command

    yield begin
    for command in started:
        command.kill()


@pytest.fixture
def start(launch: Launch, tmp_path: Path) -> Iterator[Launch]:
    """Start `tickloom` in the test's own folder; it is gone when the test is over."""
    started: list[Command] = []

    def begin(*arguments: str, **env: str) -> Command:
        started.append(launch(tmp_path, *arguments, **env))
        return started[-1]

    yield begin
    for command in started:
        command.kill()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real ticks."""
    if not DATA.is_dir():
        pytest.skip(f"there are no real ticks at {DATA}")
    return DATA
