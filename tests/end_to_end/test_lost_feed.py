"""A gateway that goes away under `tickloom live`: one that comes back is a gap, one that wants nobody any more an end."""

from __future__ import annotations

import json
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import tickloom
from tickloom.actors.recorder.reader import LogReader
from tickloom.messages.control import Connected, Disconnected
from tickloom.messages.intake import Frames
from tickloom.scripts.emulator import Emulator

MNQ = "CON.F.US.MNQ.Z25"
USER = "tester"
Start = Callable[..., Any]


@pytest.fixture
def serve() -> Iterator[Callable[..., Emulator]]:
    """Start an emulator: on a port of its own, or where another one was."""
    with ExitStack() as stack:

        def begin(key: str, port: int = 0) -> Emulator:
            options = ["--steady", "--no-rate-limits", "--port", str(port)]
            return stack.enter_context(Emulator((MNQ,), rate=200, user=USER, key=key, options=options))

        yield begin


def follow(start: Start, gateway: Emulator, key: str) -> Any:
    command = start(
        "live",
        MNQ,
        "--timeframes",
        "1s",
        "--record",
        "log",
        "--json",
        PROJECT_X_USERNAME=USER,
        PROJECT_X_API_KEY=key,
        TICKLOOM__GATEWAY__API_URL=gateway.api_url,
        TICKLOOM__GATEWAY__MARKET_HUB_URL=gateway.market_hub_url,
        TICKLOOM__GATEWAY__USER_HUB_URL=gateway.user_hub_url,
        TICKLOOM__GATEWAY__RECONNECT_BASE_S="0.05",
        TICKLOOM__GATEWAY__RECONNECT_CAP_S="0.5",
    )
    command.wait_for("the feed is up")
    return command


def links(log: Path) -> list[type]:
    """What became of the market hub's link, so far as it is on the disk."""
    if not any(log.glob("*.arrows")):
        return []
    with LogReader(log) as reader:
        items = (numbered.item for numbered in reader.items())
        return [type(item) for item in items if isinstance(item, Connected | Disconnected)]


def prints(log: Path) -> int:
    """How many prints are on the disk."""
    if not any(log.glob("*.arrows")):
        return 0
    with LogReader(log) as reader:
        items = (numbered.item for numbered in reader.items())
        return sum(len(item.prints) for item in items if isinstance(item, Frames) and item.prints is not None)


def wait_for(command: Any, log: Path, wanted: list[type], least: int = 0) -> None:
    """Wait until the log's links are these, and it has so many prints; the command must go on meanwhile."""
    pause, end = threading.Event(), time.monotonic() + 40
    while links(log) != wanted or prints(log) < least:
        assert command.process.poll() is None, command.err
        assert time.monotonic() < end, (links(log), prints(log), command.err)
        pause.wait(0.1)


def test_a_gateway_that_is_killed_and_comes_back_costs_a_gap_and_the_session_goes_on(
    start: Start, serve: Callable[..., Emulator], tmp_path: Path
) -> None:
    key = secrets.token_urlsafe(16)
    first = serve(key)
    port = urlsplit(first.api_url).port
    command = follow(start, first, key)
    first.stop()
    wait_for(command, tmp_path / "log", [Connected, Disconnected])
    serve(key, port)
    wait_for(command, tmp_path / "log", [Connected, Disconnected, Connected])
    command.signal(signal.SIGINT)
    summary = command.result()  # exit code 0
    assert summary["gaps"] >= 1
    assert summary["lost"] == 0
    assert tickloom.replay(tmp_path / "log").digest == summary["digest"]


def test_a_feed_that_is_lost_for_good_ends_the_command_with_its_summary_and_exit_code_4(
    start: Start, serve: Callable[..., Emulator], tmp_path: Path
) -> None:
    key = secrets.token_urlsafe(16)
    first = serve(key)
    port = urlsplit(first.api_url).port
    command = follow(start, first, key)
    wait_for(command, tmp_path / "log", [Connected], least=1)
    first.stop()
    serve("another key altogether", port)  # whoever is there now knows neither our token nor our key
    assert command.finish() == 4
    [complaint] = command.complaints
    assert "PROJECT_X_API_KEY" in complaint
    assert key not in "\n".join(command.err)
    [summary] = map(json.loads, command.out)
    assert summary["lost"] == 0
    assert summary["ticks"] > 0
    assert tickloom.replay(tmp_path / "log").digest == summary["digest"], "what had come is worked off and kept"
