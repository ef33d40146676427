"""What a log says of the sessions that made it: the records they began with, and the settings a replay goes by."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from tickloom.actors.recorder.reader import LogReader
from tickloom.config.settings import InstrumentSettings, Settings, settings_from
from tickloom.config.timeframes import parse_timeframes
from tickloom.errors import UsageError
from tickloom.messages.control import AnyControl, Midway, SessionStarted, SessionStopped, Subscribed
from tickloom.messages.intake import Numbered, received
from tickloom.messages.market import NS, Instrument

HISTORY_ROWS = 5_000_000
"""Bars a replay keeps of each contract and timeframe: a batch job wants them all, within reason."""

HISTORY_MB = 4096
"""Memory all kept bars of a replay may take."""

HEAD_ITEMS = 64
"""How far into a log the start of its session is looked for: what `log recover` could not save stands before it."""


def starts_of(reader: LogReader, in_force: Iterable[AnyControl]) -> tuple[SessionStarted, ...]:
    """Return the starts of the log's sessions, oldest first, as far as the log still tells of them.

    Each session begins a segment, so the next segment's header knows of it, and what is `in_force` at the end does of
    the last.
    """
    found = told_of(reader, in_force)
    return tuple({each.recv_ns: each for each in found if isinstance(each, SessionStarted)}.values())


def told_of(reader: LogReader, in_force: Iterable[AnyControl]) -> Iterator[AnyControl]:
    """Yield what the segments' headers say was in force at their beginnings, and what is `in_force` at the end."""
    heads = (segment.header.context for segment in reader.segments if segment.header is not None)
    return (record for records in (*heads, in_force) for record in records)


def contracts_of(records: Iterable[object]) -> set[str]:
    """Return the contracts that records tell of: at a session's start, and those subscribed later on."""
    found: set[str] = set()
    for record in records:
        if isinstance(record, SessionStarted):
            found |= {each.contract for each in record.instruments}
        elif isinstance(record, Subscribed):
            found.add(record.contract)
    return found


def hold_stretch(reader: LogReader, from_ns: int | None, to_ns: int | None) -> None:
    """Hold that there is something of a log between two receipt stamps (ns UTC; None: open).

    Raises:
        UsageError: there is nothing, or the stretch ends before it begins.
        DamagedLog: it does not read back where the stretch begins.
    """
    if from_ns is not None and to_ns is not None and from_ns >= to_ns:
        raise UsageError(
            f"the stretch from {_spelled(from_ns)} to {_spelled(to_ns)} is empty: it ends before it begins"
        )
    within = reader.time_range
    if within is None or (from_ns is None and to_ns is None):
        return
    if next(reader.batches(("seq",), from_ns=from_ns, to_ns=to_ns), None) is None:
        log = f"the log is from {_spelled(within[0])} to {_spelled(within[1])}"
        raise UsageError(f"{reader.path} holds nothing in the stretch asked for: {log}")


def _spelled(ns: int) -> str:
    """Return ns UTC as it can be asked for again; what no calendar has stays a number."""
    try:
        when = datetime.fromtimestamp(ns // NS, UTC)
    except (OverflowError, OSError, ValueError):
        return f"{ns} ns"
    return f"{when:%Y-%m-%dT%H:%M:%S}.{ns % NS // 1000:06d}Z"


def session_start(
    reader: LogReader, before: Iterable[AnyControl], in_force: Iterable[AnyControl], from_ns: int | None
) -> SessionStarted:
    """Return the start of the last session in a range, with the calendars and instruments of all.

    A session that goes on with a log folds all of it by its own settings, so those are the ones that give its bars.

    Args:
        reader: the log.
        before: what is in force where the range begins.
        in_force: what is where it ends.
        from_ns: receipt stamp (ns UTC) at which it begins; None: with the log.

    Raises:
        UsageError: the log tells of no session, or holds nothing.
        DamagedLog: it does not read back.
    """
    started = [record for record in before if isinstance(record, SessionStarted)]
    if not started and from_ns is None:
        head = itertools.islice(reader.items(max_rows=4096), HEAD_ITEMS)
        started = list(itertools.islice((n.item for n in head if isinstance(n.item, SessionStarted)), 1))
    known = starts_of(reader, in_force)
    started += [record for record in in_force if isinstance(record, SessionStarted)] or list(known[:1])
    if not started:
        if reader.last_seq is None:
            raise UsageError(f"{reader.path} holds nothing: its session ended before anything was written")
        raise UsageError(f"{reader.path} does not begin with the start of a session: replay it from its first segment")
    calendars: dict[str, object] = {}
    instruments: dict[str, Instrument] = {}
    for start in (started[0], *known, started[-1]):
        calendars |= settings_from({"calendars": start.calendars}, ignore_unknown=True).calendars
        instruments |= {each.contract: each for each in start.instruments}
    return msgspec.structs.replace(started[-1], calendars=calendars, instruments=tuple(instruments.values()))


def known_before(records: Sequence[AnyControl], first: Numbered, from_ns: int | None = None) -> list[Numbered]:
    """Return what is to be folded ahead of `first`, the first item of a log, or of a part of it, that is.

    That is what is in force there, and, where a session is begun in its middle, that it is. All has a number below that
    of the item: each record has had one of its own, and so has what was left out.

    Args:
        records: what is in force before the item.
        first: the item.
        from_ns: receipt stamp (ns UTC) before which all was left out; None: that of the item.
    """
    told: list[AnyControl] = list(records)
    stopped = any(isinstance(record, SessionStopped) for record in records)
    if records and not stopped and first.seq - 1 > len(records):
        told.append(Midway(recv_ns=received(first, 0) if from_ns is None else from_ns))
    return [Numbered(number, record) for number, record in enumerate(told, start=first.seq - len(told))]


def settings_of(
    started: SessionStarted, given: Settings | None = None, timeframes: Iterable[str] | None = None
) -> Settings:
    """Return the settings to replay by: the session's own, or those `given`, with the calendars that are in the log.

    Raises:
        SettingsError, TimeframeError: what is asked for makes no sense.
    """
    settings = given or settings_from(started.settings, ignore_unknown=True)
    recorded = settings_from({"calendars": started.calendars}, ignore_unknown=True).calendars
    calendars = {**settings.calendars, **recorded}
    session = settings.session
    usual = started.timeframes if given is None and started.timeframes else session.timeframes
    wanted = tuple(str(t) for t in parse_timeframes(usual if timeframes is None else timeframes))
    history = msgspec.structs.replace(settings.history, rows=HISTORY_ROWS, megabytes=HISTORY_MB)
    return settings.replace(
        calendars=calendars,
        # the calendars that bars were built with, also where the settings of the recording knew nothing of the contract
        instruments=with_calendars(settings, started.instruments),
        session=msgspec.structs.replace(session, timeframes=wanted),
        history=history,
    )


def going_on(settings: Settings, reader: LogReader, followed: Container[str]) -> Settings:
    """Return the settings of a session that goes on with a log.

    What the sessions before it followed and it does not keeps the calendar it had, as in a replay.
    """
    calendars: dict[str, object] = {}
    instruments: dict[str, Instrument] = {}
    for start in starts_of(reader, reader.context()):
        calendars |= settings_from({"calendars": start.calendars}, ignore_unknown=True).calendars
        instruments |= {each.contract: each for each in start.instruments if each.contract not in followed}
    left = [
        each for each in instruments.values() if each.calendar not in ("", settings.calendar_for(each.contract).name)
    ]
    if not left:
        return settings
    needed = {each.calendar: calendars[each.calendar] for each in left if each.calendar in calendars}
    return settings.replace(calendars=needed | settings.calendars, instruments=with_calendars(settings, left))


def with_calendars(settings: Settings, instruments: Iterable[Instrument]) -> dict[str, InstrumentSettings]:
    """Return the settings' instruments with the calendars that `instruments` name, where the settings name none."""
    named = {
        each.contract: msgspec.structs.replace(settings.instrument_for(each.contract), calendar=each.calendar)
        for each in instruments
        if each.calendar and not settings.instrument_for(each.contract).calendar
    }
    return settings.instruments | named
