"""Sessions against the emulator in a process of its own, over a real WebSocket."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tickloom
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import Beat, SessionStarted, SessionStopped, Subscribed
from tickloom.messages.intake import Frames, Intake, Numbered
from tickloom.messages.market import NS, Instrument, Prints
from tickloom.scripts.emulator import Emulator
from tickloom.supervision.faults import FaultPlan

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25")
TAPE_NS = 1_763_990_000 * NS
"""When a written tape begins."""


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


@pytest.fixture
def emulated(tmp_path: Path) -> Iterator[Callable[..., tuple[Emulator, tickloom.Session]]]:
    """Start an emulator of its own, with options, and make a session on it; both are stopped after the test.

    `on` makes a further session on an emulator that runs; keyword arguments are settings, `faults` is handed on.
    """
    running: list[Emulator] = []
    sessions: list[tickloom.Session] = []
    keys: dict[int, str] = {}

    def make(
        *options: str, rate: int = 300, on: Emulator | None = None, faults: FaultPlan | None = None, **settings: Any
    ) -> tuple[Emulator, tickloom.Session]:
        emulator = on
        if emulator is None:
            key = secrets.token_urlsafe(16)
            options = ("--steady", "--no-rate-limits", *options)
            emulator = Emulator(CONTRACTS[:1], rate=rate, user="tester", key=key, options=options)
            emulator.__enter__()
            running.append(emulator)
            keys[id(emulator)] = key
        config = {
            "gateway.api_url": emulator.api_url,
            "gateway.market_hub_url": emulator.market_hub_url,
            "gateway.user_hub_url": emulator.user_hub_url,
            "gateway.reconnect_base_s": 0.05,
            "session.contracts": CONTRACTS[:1],
            "recorder.dir": str(tmp_path / "log"),
            **{name.replace("__", "."): value for name, value in settings.items()},
        }
        credentials = tickloom.Credentials("tester", tickloom.Secret(keys[id(emulator)]), "the test")
        session = tickloom.Session(config, credentials=credentials, faults=faults)
        sessions.append(session)
        return emulator, session

    yield make
    for session in sessions:
        if session.started and session.summary is None:
            session.stop()
    for emulator in running:
        emulator.stop()


@pytest.fixture(scope="session")
def copy_log() -> Callable[[Path, Path], Path]:
    """Copy a log's folder into another folder."""

    def copy(log: Path, folder: Path) -> Path:
        return Path(shutil.copytree(log, folder / "copied"))

    return copy


@pytest.fixture(scope="session")
def write_tape() -> Callable[..., Path]:
    """Write a log to a folder: a print every tenth of a second, a beat every second, and the stop."""

    def write(folder: Path, seconds: int, **options: int) -> Path:
        instrument = Instrument(CONTRACTS[0], 1, 4)
        settings = tickloom.load_settings(overrides={"session.timeframes": "1s,5s"}).settings
        items: list[Numbered] = []

        def add(item: Intake) -> None:
            items.append(Numbered(len(items) + 1, item))

        add(SessionStarted(recv_ns=TAPE_NS, version="t", settings=settings.redacted(), instruments=(instrument,),
                           timeframes=("1s", "5s")))  # fmt: skip
        add(Subscribed(recv_ns=TAPE_NS, hub="market", connection=1, contract=CONTRACTS[0], instrument=instrument))
        for tick in range(seconds * 10):
            at = TAPE_NS + tick * NS // 10
            prints = Prints((CONTRACTS[0],), [0], [at], [25_000.0 + tick % 7 / 4], [1 + tick % 3], [0], [0], tick)
            add(Frames("market/1", [at], [0], None, prints))
            if tick % 10 == 9:
                add(Beat(recv_ns=at))
        add(SessionStopped(recv_ns=TAPE_NS + seconds * NS))
        with LogWriter(folder, session="t", options=LogOptions(**options)) as writer:
            for item in items:
                writer.append([item], 0)
        return folder

    return write
