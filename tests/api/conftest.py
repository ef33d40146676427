"""Sessions against the emulator in a process of its own, over a real WebSocket."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tickloom
from tickloom.scripts.emulator import Emulator

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25")


@pytest.fixture(scope="session")
def emulator() -> Iterator[tuple[Emulator, str]]:
    """One emulator for the whole run, and the key of its account."""
    key = secrets.token_urlsafe(16)
    with Emulator(CONTRACTS, rate=400, user="tester", key=key, options=["--steady", "--no-rate-limits"]) as running:
        yield running, key


@pytest.fixture
def make_session(emulator: tuple[Emulator, str], tmp_path: Path) -> Iterator[Callable[..., tickloom.Session]]:
    """Make sessions on the emulator; keyword arguments are settings, `faults` is handed on."""
    running, key = emulator
    made: list[tickloom.Session] = []

    def make(name: str = "log", **settings: Any) -> tickloom.Session:
        faults = settings.pop("faults", None)
        config = {
            "gateway.api_url": running.api_url,
            "gateway.market_hub_url": running.market_hub_url,
            "gateway.user_hub_url": running.user_hub_url,
            "session.contracts": CONTRACTS,
            "session.timeframes": "1s,5s,1m",
            "recorder.dir": str(tmp_path / name),
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
        credentials = tickloom.Credentials("tester", tickloom.Secret(key), "the test")
        session = tickloom.Session(config, credentials=credentials, faults=faults)
        made.append(session)
        return session

    yield make
    for session in made:
        if session.summary is None and session.started:
            session.stop()


@pytest.fixture(scope="session")
def copy_log() -> Callable[[Path, Path], Path]:
    """Copy a log's folder into another folder."""

    def copy(log: Path, folder: Path) -> Path:
        return Path(shutil.copytree(log, folder / "copied"))

    return copy
