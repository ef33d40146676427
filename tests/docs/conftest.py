"""What the tests of the documents share: a place where a piece of them can run."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tickloom.scripts.emulator import Emulator

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25")


@dataclass(frozen=True)
class Place:
    """A folder with an emulated gateway in reach, where blocks run."""

    folder: Path
    env: Mapping[str, str]

    def run(self, language: str, text: str) -> subprocess.CompletedProcess[str]:
        """Run bash or python."""
        shell = ["bash", "-euo", "pipefail", "-c", text]
        command = [sys.executable, "-W", "error", "-c", text] if language == "python" else shell
        return subprocess.run(
            command, cwd=self.folder, env=dict(self.env), capture_output=True, text=True, timeout=100, check=False
        )


@pytest.fixture(scope="session")
def gateway() -> Iterator[dict[str, str]]:
    """Environment variables that lead to an emulated gateway, with credentials."""
    key = secrets.token_urlsafe(16)
    with Emulator(CONTRACTS, rate=200, user="reader", key=key, options=["--no-rate-limits"]) as running:
        yield {
            "PROJECT_X_USERNAME": "reader",
            "PROJECT_X_API_KEY": key,
            "TICKLOOM__GATEWAY__API_URL": running.api_url,
            "TICKLOOM__GATEWAY__MARKET_HUB_URL": running.market_hub_url,
            "TICKLOOM__GATEWAY__USER_HUB_URL": running.user_hub_url,
        }


@pytest.fixture
def place(gateway: dict[str, str], tmp_path: Path) -> Place:
    """A folder of its own, a home of its own, and `tickloom` as a command."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("TICKLOOM", "PROJECT_X"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{usual['PATH']}"
    home = tmp_path / "home"
    home.mkdir()
    folder = tmp_path / "here"
    folder.mkdir()
    return Place(folder, usual | gateway | {"PATH": path, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")})


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a short demo."""
    folder = tmp_path_factory.mktemp("recorded")
    subprocess.run(
        [sys.executable, "-m", "tickloom", "demo", "--seconds", "3", "--dir", "made", "--dashboard", "off", "--json"],
        cwd=folder, env=os.environ | {"XDG_CONFIG_HOME": str(folder / "home")}, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    return folder / "made" / "log"
