"""Prints that break a timeframe's bar: withheld from that timeframe alone, counted once, and in no account as lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import tickloom
from tickloom.actors.bars.deltas import LIMIT
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.writer import LogWriter
from tickloom.messages.control import Quarantined, SessionStarted, SessionStopped
from tickloom.messages.intake import Frames, Intake, Numbered
from tickloom.messages.market import NS, Instrument, Prints

T0 = 1_709_899_200 * NS
FITTING = LIMIT // 10**18
"""Prints of 10^18 tick-lots each that fit into one bar."""


def written(folder: Path, prints: int) -> Path:
    """Write a log with a print a second, each of which fits into a bar, and all but so many too many for one."""
    settings = tickloom.load_settings(overrides={"session.timeframes": "1s"}).settings
    instrument = Instrument("X", 1, 100)
    items: list[Intake] = [
        SessionStarted(recv_ns=T0, version="t", settings=settings.redacted(), instruments=(instrument,),
                       timeframes=("1s",))
    ]  # fmt: skip
    for tick in range(prints):
        at = T0 + tick * NS
        items.append(Frames("market/1", [at], [0], None, Prints(("X",), [0], [at], [1e10], [10**6], [0], [0], tick)))
    items.append(SessionStopped(recv_ns=T0 + prints * NS))
    with LogWriter(folder, session="t") as log:
        for number, item in enumerate(items, 1):
            log.append([Numbered(number, item)], 0)
    return folder


@pytest.mark.parametrize("crews", [True, False])
def test_prints_that_one_timeframe_withholds_are_quarantined_and_not_lost_and_the_others_have_them(
    tmp_path: Path, crews: bool
) -> None:
    log = written(tmp_path / "log", 12)
    settings = tickloom.load_settings(overrides={"supervision.crews": crews}).settings
    result = tickloom.replay(log, timeframes=["1s", "5s", "1m", "1h", "12t"], settings=settings)
    assert result.table("X", "1s").num_rows == 12
    for timeframe in ("1m", "1h"):
        (bar,) = result.table("X", timeframe).to_pylist()
        assert (bar["trades"], bar["flags"]) == (FITTING, "partial"), "the first prints fit"
    summary = result.summary
    assert (summary.ticks, summary.rejected, summary.lost) == (12, 0, 0)
    assert summary.quarantined == 12 - FITTING, "once, though three timeframes withhold them"


class Huge:
    """A source of twelve such prints, a second apart, once it is told to go; then it waits for the session's end."""

    instruments = (Instrument("X", 1, 100),)

    def __init__(self) -> None:
        self.go = threading.Event()

    async def ticks(self) -> AsyncIterator[tickloom.Ticks]:
        await asyncio.to_thread(self.go.wait)
        began = time.time_ns() // NS - 20
        for second in range(12):
            yield tickloom.Ticks("X", [(began + second) * NS], [1e10], [10**6])
        await asyncio.Event().wait()


def go(session: tickloom.Session, source: Huge) -> None:
    """Let the prints come, and wait until the bars of all of them have closed."""
    stream = session.bars("X", "1s")
    source.go.set()
    for _ in range(12):
        next(stream)


def test_what_a_session_withholds_is_noted_in_its_log_and_counted_by_a_timeframe_that_is_added_later(
    tmp_path: Path,
) -> None:
    source = Huge()
    config = {"session.timeframes": "1s,12t", "recorder.dir": str(tmp_path / "log")}
    with tickloom.Session(config, source=source) as session:
        go(session, source)
        session.add_timeframe("13t").result()
    summary = session.summary
    assert summary is not None
    assert (summary.ticks, summary.lost, summary.quarantined) == (12, 0, 12 - FITTING)
    assert [session.table("X", name).num_rows for name in ("1s", "12t", "13t")] == [12, 1, 1]
    with LogReader(tmp_path / "log") as reader:
        notes = [each.item for each in reader.items() if isinstance(each.item, Quarantined)]
    assert {note.actor for note in notes} == {"/pipeline/bars/12t"}
    again = tickloom.replay(tmp_path / "log").summary
    assert (again.digest, again.lost, again.quarantined) == (summary.digest, 0, 12 - FITTING)


def test_a_timeframe_that_was_removed_takes_its_account_with_it(tmp_path: Path) -> None:
    source = Huge()
    with tickloom.Session({"session.timeframes": "1s,12t"}, source=source) as session:
        go(session, source)
        session.remove_timeframe("12t").result()
    assert session.summary is not None
    assert (session.summary.lost, session.summary.quarantined) == (0, 0)
