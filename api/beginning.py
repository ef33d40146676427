"""How a session begins on its log: the writer, the first record, and what the session before it left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path

from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.config.calendars import Calendar
from tickloom.config.settings import Settings
from tickloom.messages.control import AnyControl, Gap, SessionStarted, Unsubscribed
from tickloom.messages.market import Instrument
from tickloom.recovery import Recovered
from tickloom.wiring import MS

BREATH_S = 50e-6
"""How long the recorder stands back, several times in a batch (s): whoever waits for the interpreter then has it at
once, and not at the next change of threads by force."""

CUT_OFF = "the process that recorded before ended without stopping"
"""The cause of the gaps between a session that was cut off and the one that goes on."""


def open_log(settings: Settings, directory: Path, began_ns: int) -> LogWriter:
    """Open the log in `directory` to be written, from its end on.

    Raises:
        LogError: it is in use, damaged, or not a log.
        OSError: the folder cannot be written.
    """
    r = settings.recorder
    options = LogOptions(
        batch_rows=r.batch_rows,
        batch_ns=r.batch_ms * MS,
        sync_ns=r.sync_ms * MS,
        segment_bytes=r.segment_mb * 1_048_576,
        segment_ns=r.segment_minutes * 60_000 * MS,
        retain_bytes=r.retention_mb * 1_048_576 or None,
        retain_ns=r.retention_hours * 3_600_000 * MS or None,
        compression=r.compression,
    )
    return LogWriter(directory, session=session_name(began_ns), options=options, pause=partial(time.sleep, BREATH_S))


def session_name(began_ns: int) -> str:
    """Return the name of a session that began then: it tells its files from those of others."""
    return f"{began_ns // MS}"


def started(
    settings: Settings, instruments: Mapping[str, Instrument], began_ns: int, recovered: Recovered | None
) -> SessionStarted:
    """Return the record a session begins with: all that a replay must know of it, with no secret in it."""
    calendars: dict[str, Calendar] = {}
    for contract in instruments:
        calendar = settings.calendar_for(contract)
        calendars[calendar.name] = calendar
    return SessionStarted(
        recv_ns=began_ns,
        version=metadata.version("tickloom"),
        settings=settings.redacted(),
        instruments=tuple(instruments.values()),
        timeframes=tuple(settings.session.timeframes),
        calendars={name: calendar.to_dict() for name, calendar in calendars.items()},
        resumed=recovered is not None and recovered.cut_off,
    )


def missing(instruments: Mapping[str, Instrument], recovered: Recovered | None) -> GapTracker:
    """Return what is missing of the contracts that were followed when a session was cut off, and are again."""
    tracker = GapTracker()
    for contract in instruments:
        if recovered is not None and recovered.cut_off and contract in recovered.states.reduce.followed:
            tracker.resume(contract, recovered.states.newest(contract), CUT_OFF)
    return tracker


def left_behind(
    instruments: Mapping[str, Instrument], began_ns: int, recovered: Recovered | None
) -> Iterator[AnyControl]:
    """Yield the end of each contract that a session followed which was cut off, and this one does not."""
    if recovered is None or not recovered.cut_off:
        return
    for contract in sorted(recovered.states.reduce.followed - instruments.keys()):
        newest = recovered.states.newest(contract)
        yield Gap(recv_ns=began_ns, contract=contract, from_ns=newest, to_ns=max(began_ns, newest + 1), cause=CUT_OFF)
        yield Unsubscribed(recv_ns=began_ns, contract=contract)
