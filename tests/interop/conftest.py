"""A real ASP.NET Core SignalR gateway, started for a test and stopped with it. It lies beside the repository."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).parents[2].parent / "shared" / "interop" / "run.sh"


class Gateway:
    """The running gateway: its address, its truth, its faults."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url

    def get(self, path: str) -> list[Any]:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
            return [json.loads(line) for line in answer.read().splitlines() if line.strip()]

    def chaos(self, **switches: Any) -> None:
        body = json.dumps(switches).encode()
        request = urllib.request.Request(f"{self.url}/chaos", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture
def start_gateway() -> Iterator[Callable[..., Gateway]]:
    """Start a gateway with settings as keyword arguments; it is stopped after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**settings: Any) -> Gateway:
        if not RUN.exists():
            pytest.fail(f"{RUN} is not there: the interop gateway lies in shared/interop beside the repository")
        words = [f"{name}={value}" for name, value in settings.items()]
        process = subprocess.Popen([str(RUN), "0", *words], stdout=subprocess.PIPE, env=os.environ)
        started.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line) if line.startswith(b"{") else {}
            if event.get("event") == "listening" or "url" in event:
                return Gateway(process, event["url"])
        raise AssertionError("the gateway ended before it listened")

    yield start
    for process in started:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
