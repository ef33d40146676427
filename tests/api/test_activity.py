"""Bars by activity of one stamp, and of stamps that go back, as a program sees them: each once, told apart by number."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

import tickloom
from tickloom.messages.market import Instrument


class OneStamp:
    """Eleven prints of size 2, nine of them at one instant, and two that come with earlier stamps."""

    instruments = (Instrument("OIL", 1, 100, name="made up", calendar="24/7"),)

    def __init__(self) -> None:
        now = time.time_ns()
        self.stamps = [*[now] * 7, now - 1000, now - 2000, now, now]
        self.awaited = threading.Event()

    async def ticks(self) -> AsyncIterator[tickloom.Ticks]:
        await asyncio.to_thread(self.awaited.wait, 20)
        count = len(self.stamps)
        yield tickloom.Ticks("OIL", self.stamps, [70 + at / 100 for at in range(count)], [2] * count)
        await asyncio.Event().wait()


def asked(session: tickloom.Session, path: str) -> Any:
    address, _, token = str(session.dashboard).partition("/?token=")
    request = urllib.request.Request(address + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.mark.parametrize("timeframe", ["3t", "5v"])
def test_bars_of_one_stamp_are_the_same_to_subscribers_tables_api_and_files(timeframe: str, tmp_path: Path) -> None:
    settings = {
        "session.timeframes": ("1s", timeframe),
        "sinks.out": str(tmp_path),
        "http.enabled": True,
        "http.port": 0,
    }
    source = OneStamp()
    with tickloom.Session(settings, source=source) as session:
        stream = session.bars("OIL", timeframe, partial=True, every=0.01)
        source.awaited.set()
        closed = [bar for bar in islice(stream, 4) if bar.final]
        shown = asked(session, f"/api/bars?contract=OIL&timeframe={timeframe}")["bars"]
        table = session.table("OIL", timeframe, partial=True)
    assert [(bar.number, bar.close, bar.trades) for bar in closed] == [(1, 7002, 3), (2, 7005, 3), (3, 7008, 3)]
    now = source.stamps[0]
    assert [bar.open_time - now for bar in closed] == [0, 0, -2000]
    assert shown["number"] == [1, 2, 3, 4]
    assert shown["closed"] == [True, True, True, False]
    for name in ("open_time", "close", "trades"):
        column = table[name].cast("int64") if name == "open_time" else table[name]
        assert shown[name] == column.to_pylist(), name
    (path,) = tmp_path.glob(f"bars/timeframe={timeframe}/contract=OIL/*.parquet")
    assert parquet.ParquetFile(path).read()["close"].to_pylist() == [70.02, 70.05, 70.08, 70.1]
    assert session.summary is not None
    assert session.summary.lost == 0


def test_a_session_that_goes_on_with_its_log_goes_on_counting(tmp_path: Path) -> None:
    settings = {"session.timeframes": ("1s", "3t"), "recorder.dir": str(tmp_path / "log")}
    numbers = []
    for _ in range(2):
        source = OneStamp()
        with tickloom.Session(settings, source=source) as session:
            stream = session.bars("OIL", "3t")
            source.awaited.set()
            numbers += [bar.number for bar in islice(stream, 3)]
    assert numbers == [1, 2, 3, 5, 6, 7], "the fourth was let go as partial"
