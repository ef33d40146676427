"""A calendar laid out in absolute time: when sittings open and close, in ns UTC, and what the clock's changes did.

`Sessions` computes a calendar's sittings year by year (a year takes about a millisecond) and keeps the last few
years; the size of what it keeps does not depend on how long it runs. It belongs to one owner at a time: it is a
memo, not shared state. Everything that comes out is a function of the calendar and the time asked about.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections import OrderedDict
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from tickloom.config.calendars import DAY, Calendar, Sitting, within
from tickloom.config.timeframes import NS

FIRST_YEAR: Final = 1690
LAST_YEAR: Final = 2250
"""The years that int64 nanoseconds can hold, with room for the weeks around them."""

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: UTC arithmetic without tzinfo
_EPOCH_DAY = _EPOCH.toordinal()
_KEEP_YEARS = 16
# No zone's offset changes twice within this: the closest two in the tz database (2025b, all zones, all years) are
# 3.9 days apart (Africa/Freetown, 1939).
_STEP = 2 * DAY


class Session(msgspec.Struct, frozen=True):
    """One sitting of the trading day `day`: `[open, close)` in ns UTC; `breaks` are its pauses, each `[from, to)`."""

    open: int
    close: int
    day: dt.date
    breaks: tuple[tuple[int, int], ...] = ()


class Transition(msgspec.Struct, frozen=True):
    """A change of a zone's clock at `ts_ns`: its offset from UTC, in seconds, before and after."""

    ts_ns: int
    zone: str
    before: int
    after: int

    @property
    def forward(self) -> bool:
        """Whether the clock was put forward: local times are skipped (else they come twice)."""
        return self.after > self.before

    def __str__(self) -> str:
        moment = _EPOCH + dt.timedelta(seconds=self.ts_ns // NS)
        way = "forward" if self.forward else "back"
        minutes = abs(self.after - self.before) / 60
        local = moment + dt.timedelta(seconds=self.before)
        at = f"{local:%Y-%m-%d %H:%M:%S} local ({moment:%Y-%m-%dT%H:%M:%SZ})"
        return f"the clock of {self.zone} went {way} {minutes:g} min at {at}"


def _seconds(naive: dt.datetime) -> int:
    delta = naive - _EPOCH
    return delta.days * DAY + delta.seconds


def _offset_at(zone: ZoneInfo, second: int) -> int:
    offset = (_EPOCH + dt.timedelta(seconds=second)).replace(tzinfo=dt.UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return offset.days * DAY + offset.seconds


def _changes(zone: ZoneInfo, low: int, end: int) -> list[tuple[int, int, int]]:
    """The changes of the zone's offset within `(low, end]` (UTC seconds), as (moment, offset before, offset after)."""
    found = []
    before = _offset_at(zone, low)
    while low < end:
        high = min(low + _STEP, end)
        after = _offset_at(zone, high)
        if after != before:
            left, right = low, high
            while right - left > 1:
                middle = (left + right) // 2
                if _offset_at(zone, middle) == before:
                    left = middle
                else:
                    right = middle
            found.append((right, before, after))
        low, before = high, after
    return found


def transitions(zone: ZoneInfo, from_ns: int, to_ns: int) -> tuple[Transition, ...]:
    """Return the changes of the zone's clock within `(from_ns, to_ns]`, in order: each to be logged once."""
    changes = _changes(zone, from_ns // NS, to_ns // NS)
    return tuple(Transition(moment * NS, zone.key, before, after) for moment, before, after in changes)


class _Clock:
    """A zone's wall clock over some span: from local time to the moment."""

    def __init__(self, zone: ZoneInfo, first: int, last: int) -> None:
        changes = _changes(zone, first, last)
        offsets = [_offset_at(zone, first), *(after for _, _, after in changes)]
        starts = [first - 4 * DAY, *(moment for moment, _, _ in changes)]
        self._periods = list(zip(starts, [*starts[1:], last + 4 * DAY], offsets, strict=True))

    def moment(self, date: dt.date, second: int) -> int:
        """Return the moment (ns) at which the clock first shows `second` on `date`; if it skips it, the change's.

        `second` counts from midnight and may be negative.
        """
        local = (date.toordinal() - _EPOCH_DAY) * DAY + second
        for start, end, offset in self._periods:
            if local - offset < end:
                return max(local - offset, start) * NS
        raise AssertionError("the span ends days after the last date asked about")  # pragma: no cover


class Sessions:
    """A calendar's sittings in absolute time. Not shared between threads: each owner makes its own."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self._zone = calendar.tz()
        self._closed = frozenset(calendar.closed)
        self._early = dict(calendar.early)
        self._years: OrderedDict[int, tuple[Session, ...]] = OrderedDict()
        self._opens: list[int] = []
        self._around: tuple[Session, ...] = ()
        self._span = (0, 0)

    def of_year(self, year: int) -> tuple[Session, ...]:
        """Return the sittings of the trading days of `year`, in order."""
        known = self._years.get(year)
        if known is None:
            known = self._years[year] = self._lay_out(year)
            if len(self._years) > _KEEP_YEARS:
                self._years.popitem(last=False)
        self._years.move_to_end(year)
        return known

    def between(self, first: int, last: int) -> list[Session]:
        """Return the sittings of the trading days of the years `first` to `last`, both included."""
        return [session for year in range(first, last + 1) for session in self.of_year(year)]

    def at(self, ts_ns: int) -> Session | None:
        """Return the sitting that `ts_ns` lies in, breaks included; None between sittings."""
        session = self._last(ts_ns)
        return session if session is not None and ts_ns < session.close else None

    def is_open(self, ts_ns: int) -> bool:
        """Whether the market trades at `ts_ns`: within a sitting, and not in one of its breaks."""
        session = self.at(ts_ns)
        return session is not None and not any(start <= ts_ns < end for start, end in session.breaks)

    def next_open(self, ts_ns: int) -> int:
        """Return the next moment, at or after `ts_ns`, at which the market trades (`ts_ns` itself when it does).

        Raises:
            ValueError: the calendar has no further sitting within the year after.
        """
        session = self.at(ts_ns)
        while session is not None:
            pause = next((end for start, end in session.breaks if start <= ts_ns < end), None)
            if pause is None:
                return ts_ns
            ts_ns = pause
            session = self.at(ts_ns)
        self._cover(ts_ns)
        place = bisect_right(self._opens, ts_ns)
        if place == len(self._opens):
            raise ValueError(f"calendar '{self.calendar.name}' does not open within a year after {ts_ns} ns")
        return self.next_open(self._opens[place])

    def last_open(self, ts_ns: int) -> int | None:
        """Return the last moment before `ts_ns` at which the market trades.

        None: there is none since the beginning of the year before.
        """
        self._cover(ts_ns - 1)
        place, moment = bisect_right(self._opens, ts_ns - 1) - 1, ts_ns - 1
        while place >= 0:
            session = self._around[place]
            moment = min(moment, session.close - 1)
            for start, end in reversed(session.breaks):
                if start <= moment < end:
                    moment = start - 1
            if moment >= session.open:
                return moment
            place -= 1
        return None

    def trading_day(self, ts_ns: int) -> dt.date | None:
        """Return the trading day of the sitting that `ts_ns` lies in; None between sittings."""
        session = self.at(ts_ns)
        return session.day if session is not None else None

    def transitions(self, from_ns: int, to_ns: int) -> tuple[Transition, ...]:
        """Return the changes of the calendar's clock within `(from_ns, to_ns]`."""
        return transitions(self._zone, from_ns, to_ns)

    def _last(self, ts_ns: int) -> Session | None:
        self._cover(ts_ns)
        place = bisect_right(self._opens, ts_ns) - 1
        return self._around[place] if place >= 0 else None

    def _cover(self, ts_ns: int) -> None:
        if self._span[0] <= ts_ns < self._span[1]:
            return
        year = year_of(ts_ns)
        self._around = tuple(self.between(year - 1, year + 1))
        self._opens = [session.open for session in self._around]
        self._span = (year_start(year), year_start(year + 1))

    def _lay_out(self, year: int) -> tuple[Session, ...]:
        clock = _Clock(self._zone, year_start(year) // NS - 4 * DAY, year_start(year + 1) // NS + 4 * DAY)
        sittings, out = self.calendar.sittings, []
        date, step = dt.date(year, 1, 1), dt.timedelta(days=1)
        while date.year == year:
            if date not in self._closed:
                cut = clock.moment(date, self._early[date]) if date in self._early else None
                for sitting in sittings:
                    if date.weekday() in sitting.days:
                        opens = clock.moment(date, sitting.start())
                        closes = clock.moment(date, sitting.close)
                        closes = closes if cut is None else min(closes, cut)
                        if opens < closes:  # a zone may skip a whole day, an early close a whole sitting
                            out.append(Session(opens, closes, date, self._pauses(clock, sitting, date, closes)))
            date += step
        return tuple(sorted(out, key=lambda session: session.open))

    def _pauses(self, clock: _Clock, sitting: Sitting, date: dt.date, closes: int) -> tuple[tuple[int, int], ...]:
        out = []
        for pause in self.calendar.breaks:
            if within(pause, sitting):
                start = pause.open - (DAY if sitting.overnight and pause.open >= sitting.open else 0)
                length = pause.close - pause.open + (DAY if pause.close <= pause.open else 0)
                begin, end = clock.moment(date, start), clock.moment(date, start + length)
                if begin < min(end, closes):
                    out.append((begin, min(end, closes)))
        return tuple(sorted(out))


def year_of(ts_ns: int) -> int:
    """Return the UTC year of a moment.

    Raises:
        ValueError: a year outside 1690 to 2250, which no market's clock reaches.
    """
    year = (_EPOCH + dt.timedelta(seconds=ts_ns // NS)).year
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(f"time {ts_ns} ns lies in the year {year}: calendars hold {FIRST_YEAR} to {LAST_YEAR}")
    return year


def year_start(year: int) -> int:
    """Return the first moment of a UTC year, in ns."""
    return _seconds(dt.datetime(year, 1, 1)) * NS  # noqa: DTZ001 - naive UTC, as everywhere in this file
