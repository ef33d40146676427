"""Where the real ticks lie, and reading a log back as columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickloom.actors.recorder.care import verify
from tickloom.actors.recorder.reader import LogReader
from tickloom.messages.records import unroll

DATA = Path(__file__).resolve().parents[4].parent / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip("the real ticks are not here")
    return DATA


@pytest.fixture(scope="session")
def records():
    def read(log: Path) -> list[object]:
        assert verify(log).whole
        with LogReader(log) as reader:
            return list(unroll(reader.items()))

    return read


@pytest.fixture(scope="session")
def prints(records):
    def read(log: Path) -> list[object]:
        return [p for r in records(log) for p in getattr(r, "prints", ())]

    return read
