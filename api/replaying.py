"""Replay: a recorded message log through the same folds in the same tree, with the log's clock instead of ours.

The thread that calls is the source: it reads the log and puts each item into validation's mailbox, waiting for
room, so the log is read as fast as the bars are built and no faster. Nothing of the pipeline knows whether it runs
live.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from tickloom.actors.recorder.reader import LogReader
from tickloom.config.settings import InstrumentSettings, Settings, settings_from
from tickloom.config.timeframes import parse_timeframes
from tickloom.engine import Engine
from tickloom.errors import UsageError
from tickloom.messages.bars import Bar
from tickloom.messages.control import AnyControl, Gap, SessionStarted, SessionStopped
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Instrument
from tickloom.pacing import paced
from tickloom.preflight import check_folders
from tickloom.summary import Summary
from tickloom.supervision.faults import FaultPlan
from tickloom.verifying import Verifier
from tickloom.wiring import VALIDATION, Wires

HISTORY_ROWS = 5_000_000
"""Bars a replay keeps of each contract and timeframe: a batch job wants them all, within reason."""

HEAD_ITEMS = 64
"""How far into a log the start of its session is looked for."""

HISTORY_MB = 4096
"""Memory all kept bars of a replay may take."""

_numbers = itertools.count(1)


class Replay:
    """What a replay made: the account, and the bars."""

    def __init__(self, engine: Engine, summary: Summary, cancelled: bool) -> None:
        self._engine = engine
        self.summary = summary
        self.cancelled = cancelled

    @property
    def digest(self) -> str:
        """SHA-256 over the final bars: equal to that of the session that recorded the log."""
        return self.summary.digest

    @property
    def contracts(self) -> tuple[str, ...]:
        """The contracts that have bars."""
        return tuple(dict.fromkeys(contract for contract, _ in self._engine.history().windows))

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """What the log says of each contract."""
        return self._engine.history().instruments

    def table(self, contract: str, timeframe: str, last: int | None = None) -> pa.Table:
        """Return the bars as an Arrow table, oldest first; columns as in `Session.table`.

        Raises:
            UsageError: the timeframe was not built.
        """
        return self._engine.table(contract, timeframe, last)


def replay(
    log: str | Path,
    *,
    timeframes: Iterable[str] | None = None,
    speed: float = float("inf"),
    from_ns: int | None = None,
    to_ns: int | None = None,
    out: str | Path | None = None,
    verify: bool = False,
    settings: Settings | None = None,
    on_bar: Callable[[Bar], None] | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    faults: FaultPlan | None = None,
    batch_rows: int = 65_536,
) -> Replay:
    """Replay a log to bars.

    Args:
        log: its folder, or one segment.
        timeframes: what to build; by default what the recorded session built.
        speed: a factor on the time between receipts; infinite: as fast as possible.
        from_ns, to_ns: receipt stamps (ns UTC) between which to replay.
        out: folder for Parquet files.
        verify: decode the raw frames again, and compare with the columns that were recorded.
        settings: others than the recorded session's.
        on_bar: called with every final bar, in this thread, after the replay.
        progress: called now and then with the share done, 0 to 1.
        cancelled: asked now and then; True ends the replay in order.
        faults: faults to inject, for tests.

    Raises: NoLog: there is no log at that place. DamagedLog: it does not read back. The sentence says where;
    nothing was lost by looking. UsageError: something asked for makes no sense, or with `verify`, the frames say
    something else than the columns.
    """
    folder = Path(out) if out is not None else None
    check_folders({"output": folder})
    with LogReader(log) as reader:
        before = reader.context(from_ns=from_ns) if from_ns is not None else ()
        started = _last_start(reader, to_ns, _first_start(reader, before))
        chosen = _settings(started, settings, timeframes)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        wires = Wires(settings=chosen, session=f"{started.recv_ns // 1_000_000}", out=folder)
        engine = Engine(wires, name=f"tickloom-replay-{next(_numbers)}", faults=faults)
        try:
            engine.start()
            began = time.monotonic()
            feed = _Feed(engine, cancelled, progress, reader)
            feed.context(before)
            items = reader.items(raw=verify, from_ns=from_ns, to_ns=to_ns, max_rows=batch_rows)
            checked = Verifier(str(log)).check(items) if verify else items
            feed.run(checked if speed == float("inf") else paced(checked, speed, cancelled))
            feed.end()
            engine.drain()
            summary = engine.summary(
                received=feed.prints,
                seconds=time.monotonic() - began,
                gaps=feed.gaps,
                log=str(log),
                out=str(out) if out is not None else None,
                latency=False,
            )
        finally:
            engine.stop()
    if engine.unwritten:
        raise UsageError(engine.unwritten[0])
    return Replay(engine, summary, feed.was_cancelled)


class _Feed:
    """Puts the items of a log into validation."""

    def __init__(
        self,
        engine: Engine,
        cancelled: Callable[[], bool],
        progress: Callable[[float], None] | None,
        reader: LogReader,
    ) -> None:
        self._validation = engine.tree.ref(VALIDATION)
        self._cancelled = cancelled
        self._progress = progress
        self._total = max((reader.last_seq or 0) - (reader.first_seq or 0), 1)
        self._first_seq = reader.first_seq or 0
        self._last: Numbered | None = None
        self._before: tuple[AnyControl, ...] = ()
        self.prints = 0
        self.gaps = 0
        self.was_cancelled = False

    def context(self, records: Iterable[AnyControl]) -> None:
        """Put what was in force before the first item ahead of it."""
        self._before = tuple(records)

    def run(self, items: Iterable[Numbered]) -> None:
        """Put every item."""
        for count, numbered in enumerate(items):
            if not count:
                # each of them has had a number of its own below this one, so there is room
                for number, record in enumerate(self._before, start=numbered.seq - len(self._before)):
                    self._validation.put(Numbered(number, record), sender="replay")
            if self._cancelled():
                self.was_cancelled = True
                return
            item = numbered.item
            if isinstance(item, Frames):
                self.prints += (len(item.prints) if item.prints else 0) + sum(bad.prints for bad in item.malformed)
            elif isinstance(item, Gap):
                self.gaps += 1
            self._validation.put(numbered, sender="replay")
            self._last = numbered
            if self._progress is not None and count % 16 == 0:
                self._progress((numbered.seq - self._first_seq) / self._total)

    def end(self) -> None:
        """Stop the session where the log ends, if it was cut off."""
        last = self._last
        if last is not None and not isinstance(last.item, SessionStopped):
            stopped = SessionStopped(recv_ns=_recv_ns(last.item), reason="the log ends here")
            self._validation.put(Numbered(last.last_seq + 1, stopped), sender="replay")
        if self._progress is not None and not self.was_cancelled:
            self._progress(1.0)


def _recv_ns(item: Any) -> int:
    return int(item.recv_ns[0]) if isinstance(item, Frames) else int(item.recv_ns)


def _first_start(reader: LogReader, before: Iterable[AnyControl]) -> SessionStarted:
    """Return the record that says with which settings the session ran."""
    # a log whose beginning retention removed says in its first segment's head what was in force there
    head = reader.context(from_seq=reader.first_seq) if reader.first_seq is not None else ()
    for record in (*before, *head):
        if isinstance(record, SessionStarted):
            return record
    # what `log recover` could not save stands before it as a gap
    for numbered in itertools.islice(reader.items(max_rows=4096), HEAD_ITEMS):
        if isinstance(numbered.item, SessionStarted):
            return numbered.item
    if reader.last_seq is None:
        raise UsageError(f"{reader.path} holds nothing: its session ended before anything was written")
    raise UsageError(f"{reader.path} does not begin with the start of a session: replay it from its first segment")


def _last_start(reader: LogReader, to_ns: int | None, first: SessionStarted) -> SessionStarted:
    """Return the start of the last session in the range, with the calendars of all: the settings that replay it all.

    A session that goes on with a log folds all of it by its own settings, so those are the ones that give its bars.
    """
    heads = (segment.header.context for segment in reader.segments if segment.header is not None)
    in_force = reader.context(from_ns=to_ns) if to_ns is not None else reader.context()
    starts = [record for records in (*heads, in_force) for record in records if isinstance(record, SessionStarted)]
    last = next((record for record in in_force if isinstance(record, SessionStarted)), first)
    calendars: dict[str, object] = {}
    instruments: dict[str, Instrument] = {}
    for start in (first, *starts):
        calendars |= start.calendars
        instruments |= {each.contract: each for each in start.instruments}
    return msgspec.structs.replace(last, calendars=calendars, instruments=tuple(instruments.values()))


def _settings(started: SessionStarted, given: Settings | None, timeframes: Iterable[str] | None) -> Settings:
    settings = given or settings_from(started.settings, ignore_unknown=True)
    calendars = {**settings.calendars, **started.calendars}
    session = settings.session
    wanted = session.timeframes if timeframes is None else tuple(str(t) for t in parse_timeframes(timeframes))
    history = msgspec.structs.replace(settings.history, rows=HISTORY_ROWS, megabytes=HISTORY_MB)
    # the calendars that bars were built with, also where the settings of the recording knew nothing of the contract
    instruments = {
        each.contract: InstrumentSettings(calendar=each.calendar)
        for each in started.instruments
        if not settings.instrument_for(each.contract).calendar
    }
    return settings.replace(
        calendars=calendars,
        instruments=instruments | settings.instruments,
        session=msgspec.structs.replace(session, timeframes=wanted),
        history=history,
    )
