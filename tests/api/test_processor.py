"""A session that keeps to one processor."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import tickloom
from tickloom.supervision import keepable

linux = pytest.mark.skipif(sys.platform != "linux", reason="threads are kept to a processor under Linux only")


class Feed:
    """One print."""

    instruments = (tickloom.Instrument("OIL", 1, 100),)

    async def ticks(self) -> AsyncIterator[tickloom.Ticks]:
        """Yield it."""
        yield tickloom.Ticks("OIL", [time.time_ns()], [70.0], [1])
        await asyncio.Event().wait()


def threads_of(name: str) -> dict[str, set[int]]:
    """Return where each thread of a session may run, by its name."""
    found = [thread for thread in threading.enumerate() if thread.name.startswith(name)]
    return {thread.name: os.sched_getaffinity(thread.native_id or 0) for thread in found}


@linux
@pytest.mark.parametrize("crews", [True, False])
def test_all_threads_of_a_session_keep_to_the_processor_it_was_given_and_nobody_else_does(
    tmp_path: Path, crews: bool
) -> None:
    mine, chosen = os.sched_getaffinity(0), max(keepable())
    given = {"supervision.processor": chosen, "supervision.crews": crews, "recorder.dir": str(tmp_path / "log")}
    with tickloom.Session({"session.timeframes": ("1s", "1m"), **given}, source=Feed()) as session:
        bar = next(session.bars("OIL", "1s", partial=True))
        assert bar.volume > 0
        allowed = threads_of("tickloom-")
        assert any("recorder" in name for name in allowed)
        assert {frozenset(where) for where in allowed.values()} == {frozenset({chosen})}
        assert os.sched_getaffinity(0) == mine
    assert session.summary is not None
    assert session.summary.lost == 0


@linux
def test_a_processor_it_may_not_run_on_is_refused_by_name_before_anything_is_begun(tmp_path: Path) -> None:
    absent = max(keepable()) + 1
    log = tmp_path / "log"
    session = tickloom.Session({"supervision.processor": absent, "recorder.dir": str(log)}, source=Feed())
    with pytest.raises(tickloom.UsageError, match=rf"supervision.processor is {absent}: this process may run on .*-1"):
        session.start()
    assert not log.exists()
