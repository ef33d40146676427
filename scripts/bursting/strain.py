"""The session under strain, in a process of its own: memory capped, some of its actors slow, a subscriber that sleeps.

What is slow is slow by the testing kit's hook: a `FaultPlan` that dawdles where an actor is about to fold. The event
loop of the connection is watched from within: a callback that comes back every few milliseconds, and notes how late.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from tickloom import Session
from tickloom.config.sources import load
from tickloom.scripts import collecting
from tickloom.scripts.arenas import few_heaps
from tickloom.scripts.bursting.words import Box, Task, Word
from tickloom.supervision import ActorView
from tickloom.supervision.testing import FaultPlan
from tickloom.wiring import MARKET

EVERY_S: Final = 0.005
"""Pace of the heartbeat."""

TELL_S: Final = 0.1

BARS: Final = 1_000_000
"""Capacity of a subscriber that misses nothing."""

SWITCH_S: Final = 0.0005
"""As the command line sets it."""


class Heartbeat:
    """Beats in the event loop it is begun in, and notes how late each beat was.

    `worst_s` is by the clock on the wall, and `own_s` the share of a beat's lateness in which this process was running
    at all, on any core: what is beyond it the machine gave to others, and no code of ours held the loop up.
    """

    def __init__(self) -> None:
        self.beats = 0
        self.worst_s = self.own_s = 0.0
        self._due = self._cpu = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Begin to beat in the running loop. Called in its thread."""
        self._loop = asyncio.get_running_loop()
        self._arm()

    def forget(self) -> None:
        """Start counting anew: what was before is another story."""
        self.beats = 0
        self.worst_s = self.own_s = 0.0

    def _arm(self) -> None:
        assert self._loop is not None
        self._cpu = time.process_time()
        self._due = self._loop.time() + EVERY_S
        self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        assert self._loop is not None
        late = self._loop.time() - self._due
        self.beats += 1
        self.worst_s = max(self.worst_s, late)
        self.own_s = max(self.own_s, min(late, time.process_time() - self._cpu))
        self._arm()


class Strain(FaultPlan):
    """Makes actors slow, and begins the heartbeat in the loop of the market connection."""

    def __init__(self, delays: dict[str, float], heartbeat: Heartbeat) -> None:
        super().__init__()
        self._delays = delays
        self._heartbeat = heartbeat

    def pass_point(self, path: str, point: str, first: int = 0, count: int = 0) -> None:
        """Dawdle, in the actor's own thread, before each batch."""
        if point == "before_fold" and path in self._delays:
            time.sleep(self._delays[path])
        elif point == "start" and path == MARKET:
            self._heartbeat.begin()


def peaks() -> tuple[float, float, float]:
    """Return resident memory now, the most there was, and the most address space (MB)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    now, most, address = (int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM", "VmPeak"))
    return now, most, address


def strain(task: Task) -> None:
    """Run the session until stdin says so (or ends), and say how it goes."""
    limit = task.address_mb * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.setswitchinterval(SWITCH_S)
    few_heaps()
    heartbeat = Heartbeat()
    settings = load(overrides=dict(pair.split("=", 1) for pair in task.settings)).settings
    session = Session(settings, faults=Strain(task.delays, heartbeat))
    over = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(over,), name="parent", daemon=True).start()
    session.start()
    collecting.settle()
    sleeper = session.bars(capacity=task.subscriber_capacity)
    keeper = session.bars(capacity=BARS)
    base, _, _ = peaks()
    heartbeat.forget()
    while not over.wait(TELL_S):
        _say(Word(received=session.statistics().counters.get("validation", {}).get("received", 0)))
    beats, worst, own = heartbeat.beats, heartbeat.worst_s, heartbeat.own_s
    summary = session.stop()
    _, resident, address = peaks()
    _say(
        Word(
            received=summary.ticks,
            over=True,
            lost=summary.lost,
            rejected=summary.rejected,
            quarantined=summary.quarantined,
            gaps=summary.gaps,
            restarts=summary.restarts,
            bars=summary.bars,
            digest=summary.digest,
            base_mb=round(base, 1),
            resident_mb=round(resident, 1),
            address_mb=round(address, 1),
            beats=beats,
            stall_ms=round(worst * 1e3, 2),
            own_ms=round(own * 1e3, 2),
            boxes=tuple(box for view in session.tree().walk() if (box := _box(view)) is not None),
            published=sum(1 for _ in keeper),
            subscriber_dropped=sleeper.dropped,
            subscriber_held=sum(1 for _ in sleeper),
        )
    )


def _box(view: ActorView) -> Box | None:
    counters = view.counters
    if counters is None:
        return None
    dropped = counters.dropped_newest + counters.dropped_oldest + counters.refused + counters.discarded
    return Box(
        view.path, counters.put, counters.conflated, dropped, counters.high_water, counters.capacity, counters.balanced
    )


def _wait_for_the_end(over: threading.Event) -> None:
    sys.stdin.readline()
    over.set()


def _say(word: Word) -> None:
    try:
        os.write(1, msgspec.json.encode(word) + b"\n")
    except BrokenPipeError:
        os._exit(1)  # nobody is left to be told


if __name__ == "__main__":
    strain(msgspec.json.decode(sys.argv[1], type=Task))
