"""A soak: a market of days driven through the tree of `tickloom.engine` in minutes, and held to the truth as it goes.

Real: the sequencer, every actor from validation to the Parquet files, their mailboxes and supervisors, crashes and
restarts. Virtual: time, which jumps with the market. Left out: sockets, the recorder and what heals gaps from history,
which have tests of their own; renewals and outages come as the records the connection would leave in the log.

Every stretch of virtual time the pipeline is let come to rest and all that became final is compared (`checking`). A
watchdog ends a soak in which nothing moves for `STALL_S` seconds of real time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from tickloom.actors.sequencer import Sequencer
from tickloom.actors.validation.fold import ValidationState
from tickloom.config.settings import Settings, settings_from
from tickloom.engine import Engine
from tickloom.messages.control import Beat
from tickloom.messages.intake import Intake
from tickloom.messages.market import NS
from tickloom.scripts.soaking.checking import Compared, compare, compare_files
from tickloom.scripts.soaking.clock import FlowingClock
from tickloom.scripts.soaking.market import SPAN_NS, SPAN_S, Chunk, Market
from tickloom.scripts.soaking.memory import Gauge, Memory
from tickloom.scripts.soaking.products import CALENDARS, CHANGE_NS, PRODUCTS, TIMEFRAMES, begins
from tickloom.scripts.soaking.truth import GRACE_NS, Truth
from tickloom.supervision import TreeStopped
from tickloom.supervision.testing import FaultPlan
from tickloom.wiring import (
    FINEST,
    HEALTH,
    HISTORY,
    LEDGER,
    PARQUET,
    PUBLISHER,
    STATISTICS,
    VALIDATION,
    Wires,
    timeframe_path,
)

STALL_S: Final = 60.0
"""Real time without progress after which a soak has come to a deadlock."""

PAUSE_S: Final = 0.0005
"""How long a full mailbox is left alone."""

LOOKS_S: Final = 600
"""Virtual time between two comparisons, at most; short soaks look more often."""

HOUR_S: Final = 3600

CRASHES_A_CHUNK: Final = 0.03
"""Average crashes at random; there is about one in three virtual minutes."""

POINTS: Final = ("before_fold", "after_fold", "before_commit", "after_commit", "on_emit")

MEMORY_PERCENT: Final = 5.0


class Stalled(Exception):
    """Nothing moved for too long: a deadlock, or an actor that is gone."""


class Progress(msgspec.Struct, frozen=True):
    """How far a soak is: share of its time (above 0), and prints so far."""

    share: float
    prints: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a soak came to. `failures` is empty when everything held; each is a sentence.

    `bars_compared` counts bars by digest, number by number, and in files; `crashes` are those planned that struck,
    `restarts` what supervisors did about it; `deadlocks` is 1 when the watchdog ended it.
    """

    hours: float
    rate: int
    seed: int
    ticks: int
    seconds: float
    ticks_per_second: float
    bars: int
    bars_compared: dict[str, int]
    rejected: dict[str, int]
    lost: int
    quarantined: int
    crashes: int
    restarts: int
    troubles: dict[str, int]
    strays: int
    gaps: int
    clock_changed: bool
    products: int
    timeframes: tuple[str, ...]
    subscriber_dropped: int
    deadlocks: int
    memory_mb: Memory
    digest: str
    complete: bool
    failures: tuple[str, ...]


def settings(out: Path) -> Settings:
    """Return the settings of a soak: the defaults, but for bounds that fit batches of many thousand prints."""
    return settings_from(
        {
            "session": {"timeframes": list(TIMEFRAMES), "grace_ms": GRACE_NS // 1_000_000, "heal_gaps": False},
            "mailboxes": {"validation": 2, "bars": 2, "timeframe": 16, "sinks": 256},
            "history": {"rows": 700},
            "sinks": {"out": str(out), "roll_minutes": 15},
            "calendars": CALENDARS,
            "instruments": {product.contract: {"calendar": product.calendar} for product in PRODUCTS},
        }
    )


class Soak:
    """One soak. `run` drives it; everything it makes is in `out`, bars and rejects as Parquet files.

    `plan` is the plan of its crashes; faults put into it beforehand strike as well. With `crew` actors share threads,
    as in a live session; without it each has its own, as in a replay.
    """

    def __init__(
        self,
        out: Path,
        *,
        hours: float = 48.0,
        rate: int = 10_000,
        seed: int = 0,
        progress: Callable[[Progress], None] = lambda progress: None,
        cancelled: Callable[[], bool] = lambda: False,
        stall_s: float = STALL_S,
        crew: bool = False,
    ) -> None:
        self._stall_s = stall_s
        self.hours, self.rate, self.seed = hours, rate, seed
        self._out = out
        length = max(round(hours * HOUR_S) // SPAN_S, 24) * SPAN_NS
        self._begin = begins(length)
        self._end = self._begin + length
        self._progress, self._cancelled = progress, cancelled
        self._market = Market(seed, self._begin, self._end, rate)
        self.truth = Truth(self._market.hours, TIMEFRAMES, self._begin)
        self.plan = FaultPlan()
        self._clock = FlowingClock(self._begin)
        self._engine = Engine(
            Wires(settings=settings(out), session="soak", out=out, crew=crew),
            name="soak",
            clock=self._clock,
            faults=self.plan,
        )
        tree = self._engine.tree
        self._sequencer = Sequencer([tree.ref(VALIDATION)])
        self._listeners = [tree.ref(path) for path in (STATISTICS, HEALTH, PARQUET)]
        self._flow = [VALIDATION, FINEST, *map(timeframe_path, TIMEFRAMES), LEDGER, HISTORY, PARQUET, PUBLISHER]
        self._compared = Compared()
        self._gauge = Gauge()
        self._troubles: Counter[str] = Counter()
        self._strays = 0
        self._idle = threading.Event()  # never set: waiting for it is a pause
        self._now = self._begin

    def run(self) -> Report:
        """Drive it to its end, or until it is cancelled, and return what it came to."""
        deadlocks = 0
        failures: list[str] = []
        engine = self._engine
        began = time.monotonic()
        with self._clock:
            try:
                engine.start()
                self._crashes()
                stalled = engine.stream("", "", partial=True, capacity=1000)  # a subscriber that never reads
                try:
                    self._drive()
                    self._finish()
                except (Stalled, TreeStopped) as stall:
                    deadlocks = 1
                    failures.append(str(stall))
                seconds = time.monotonic() - began
                report = self._report(seconds, stalled.dropped, deadlocks, failures)
            finally:
                engine.stop()
        return report

    # -- driving ----------------------------------------------------------------------------------------------

    def _drive(self) -> None:
        look_ns = min(LOOKS_S * NS, (self._end - self._begin) // 6 // SPAN_NS * SPAN_NS)
        hour_ns = HOUR_S * NS if look_ns == LOOKS_S * NS else 2 * look_ns
        for record in self._market.started():
            self._put(record)
        for chunk in self._market.chunks():
            self._chunk(chunk)
            since = chunk.end_ns - self._begin
            if since % look_ns == 0:
                self._gauge.sample()
                self._rest()
                self.truth.settle(chunk.end_ns)
                compare(self._engine, self.truth, self._compared)
            elif since % (look_ns // 4 // SPAN_NS * SPAN_NS or SPAN_NS) == 0:
                self._gauge.sample()
            if since % hour_ns == 0:
                self._gauge.turn()
            if since % (12 * SPAN_NS) == 0:
                self._progress(Progress(since / (self._end - self._begin), self.truth.prints))
            if self._cancelled():
                break

    def _chunk(self, chunk: Chunk) -> None:
        self._clock.reach(chunk.end_ns)
        self._now = chunk.end_ns
        for item in chunk.items:
            self._put(item)
        self.truth.add(chunk)
        self._troubles.update(chunk.kinds)
        self._strays += len(chunk.strays)
        beat = Beat(recv_ns=chunk.end_ns)
        self._put(beat)
        for listener in self._listeners:
            listener.offer(beat)

    def _put(self, item: Intake) -> None:
        """Hand an item to the sequencer, waiting for room, but not for ever."""
        if self._sequencer.offer(item):
            return
        give_up = time.monotonic() + self._stall_s
        while not self._sequencer.offer(item):
            if time.monotonic() > give_up:
                raise Stalled(f"validation took nothing for {self._stall_s:g} s of real time: {self._who()}")
            self._idle.wait(PAUSE_S)

    def _rest(self) -> None:
        """Let everything that is under way arrive."""
        for path in self._flow:
            if not self._engine.tree.settle(path, self._stall_s):
                raise Stalled(f"{path} did not come to rest within {self._stall_s:g} s: {self._who()}")

    def _who(self) -> str:
        """Return who has something waiting, and what went wrong there last."""
        views = [view for view in self._engine.view().walk() if view.kind != "supervisor" and view.depth]
        causes = {view.path: f" ({view.last_failure.cause})" for view in views if view.last_failure is not None}
        return ", ".join(f"{v.path} {v.state} with {v.depth} waiting{causes.get(v.path, '')}" for v in views)

    def _finish(self) -> None:
        self._market_stop()
        self._rest()
        self._engine.drain()
        self.truth.settle(self._now, stop=True)
        compare(self._engine, self.truth, self._compared)
        compare_files(self._out, self.truth, self._compared)

    def _market_stop(self) -> None:
        self._put(self._market.stopped(self._now))

    def _crashes(self) -> None:
        """Plan crashes: each actor of the flow once, early and at a point of its own; then any of them, at random."""
        rng = Random(self.seed)  # noqa: S311 - moments, not secrets
        for path in self._flow:
            points = ("before_batch", "after_batch") if path == PUBLISHER else POINTS[: 3 if path in _SILENT else 5]
            self.plan.crash(path, rng.choice(points), nth=rng.randrange(4, 20))
        passes = 6 * len(self._flow)
        self.plan.crash_randomly(rng, CRASHES_A_CHUNK / passes, lambda path: path in self._flow)

    # -- the account ------------------------------------------------------------------------------------------

    def _report(self, seconds: float, dropped: int, deadlocks: int, failures: list[str]) -> Report:
        engine, truth = self._engine, self.truth
        summary = engine.summary(
            received=truth.prints, seconds=seconds, gaps=truth.gaps, log=None, out=str(self._out), latency=False
        )
        counts = (engine.committed(VALIDATION) or ValidationState()).counts
        memory = self._gauge.result()
        compared = self._compared
        bars = sum(series.bars for series in truth.series.values())
        if not deadlocks:
            failures += compared.wrong
            failures += engine.unwritten
            if counts.rejected != dict(truth.rejected):
                failures.append(f"rejected were {counts.rejected}, and injected {dict(truth.rejected)}")
            if counts.received != truth.prints:
                failures.append(f"validation received {counts.received} prints of {truth.prints}")
            if summary.lost or summary.quarantined:
                failures.append(f"{summary.lost} prints are lost, {summary.quarantined} in quarantine")
            if not bars == summary.bars == compared.by_digest == compared.by_value == compared.in_files:
                failures.append(f"{bars} bars are true, and {summary.bars} were made")
        if memory.change_percent is not None and memory.change_percent > MEMORY_PERCENT and self.hours >= 2:
            failures.append(f"memory grew by {memory.change_percent:.1f} %")
        return Report(
            hours=round((self._now - self._begin) / NS / HOUR_S, 4),
            rate=self.rate,
            seed=self.seed,
            ticks=truth.prints,
            seconds=round(seconds, 2),
            ticks_per_second=round(truth.prints / seconds, 1),
            bars=summary.bars,
            bars_compared={"digest": compared.by_digest, "values": compared.by_value, "files": compared.in_files},
            rejected=dict(sorted(counts.rejected.items())),
            lost=summary.lost,
            quarantined=summary.quarantined,
            crashes=self.plan.crashes,
            restarts=engine.restarts,
            troubles=dict(sorted(self._troubles.items())),
            strays=self._strays,
            gaps=truth.gaps,
            clock_changed=self._begin < CHANGE_NS < self._now,
            products=len(PRODUCTS),
            timeframes=tuple(TIMEFRAMES),
            subscriber_dropped=dropped,
            deadlocks=deadlocks,
            memory_mb=memory,
            digest=summary.digest,
            complete=self._now == self._end,
            failures=tuple(failures),
        )


_SILENT: Final = (LEDGER, HISTORY, PARQUET)
"""Actors with few outputs or none: a point that is passed when there is an output might never be reached."""
