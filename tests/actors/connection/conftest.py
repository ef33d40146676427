from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

GOLDEN = Path(__file__).parent / "golden"


class Golden(NamedTuple):
    """Frames as ASP.NET Core 9.0.7 sent them (the handshake reply is the first), and what its truth endpoint said."""

    frames: list[bytes]
    truth: dict

    @property
    def payloads(self) -> list[bytes]:
        return self.frames[1:]


@pytest.fixture(scope="session")
def golden():
    """Gives the golden frames of that name (captured from the interop gateway; a frame a line)."""

    def load(name: str) -> Golden:
        lines = (GOLDEN / f"{name}.frames").read_bytes().split(b"\n")[:-1]
        return Golden(lines, json.loads((GOLDEN / f"{name}.json").read_text()))

    return load
