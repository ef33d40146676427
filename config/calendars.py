"""Session calendars as values: when a market sits, in the words of its own wall clock.

A calendar is a zone, sittings, and breaks. Its **trading day** is the local date on which the day's sittings close,
so the sitting that begins on Sunday 17:00 in Chicago belongs to Monday. Three words, three meanings:

- a **sitting** is a stretch from open to close; intraday bars count from its open and end with its close;
- a **break** is a pause within a sitting (a lunch, a halt): the market is closed, but bars count on across it;
- between sittings the market is closed, and bars do not reach across.

Local times and the clock's changes: a time that the clock skips means the moment of the change; a time that comes
twice means its first coming. Nothing here reads a clock; the built-in calendars are in `calendars.toml` beside this
file. A calendar is plain data both ways (`Calendar.to_dict`, `calendar_from`), so the log holds what bars were
built with.

Holidays: `closed` and `early` are part of the value. Filling them from a package of exchange holidays is a function
from calendar to calendar, `Calendar.with_holidays`; nothing else needs to know where they came from.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

DAY: Final = 86_400
"""Seconds in a day of 24 hours."""

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FULL_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
UNKNOWN: Final = "utc"
"""The calendar of a contract whose product is not known."""


class CalendarError(ValueError):
    """A calendar that cannot be: one sentence with its name, the place in it, and what to do."""


@dataclass(frozen=True, slots=True)
class Sitting:
    """A stretch of trading: local `open` and `close` in seconds after midnight, on trading days `days` (0 is Monday).

    `close` is on the trading day's date, 24:00 included; when it is not later than `open`, the open is on the date
    before.
    """

    open: int
    close: int
    days: tuple[int, ...]

    @property
    def overnight(self) -> bool:
        """Whether it opens on the date before its trading day."""
        return self.close <= self.open

    @property
    def seconds(self) -> int:
        """Its length on a day on which the clock does not change."""
        return self.close - self.open + (DAY if self.overnight else 0)

    def start(self) -> int:
        """Its open in seconds after its trading day's midnight: negative when overnight."""
        return self.open - DAY if self.overnight else self.open

    def __str__(self) -> str:
        return f"{_clock(self.open)}-{_clock(self.close)}"


@dataclass(frozen=True, slots=True)
class Break:
    """A pause within a sitting, in local seconds after midnight; it may cross midnight with its sitting."""

    open: int
    close: int

    def __str__(self) -> str:
        return f"{_clock(self.open)}-{_clock(self.close)}"


@dataclass(frozen=True, slots=True)
class Calendar:
    """A market's hours. Build one from plain data with `calendar_from`, or take one by name with `find_calendar`.

    `closed` are trading days without a sitting; `early` pairs a trading day with the local second at which it ends.

    Raises:
        CalendarError: an unknown zone, no sitting, overlapping sittings, or a break outside the sittings.
    """

    name: str
    zone: str
    sittings: tuple[Sitting, ...]
    breaks: tuple[Break, ...] = ()
    closed: tuple[dt.date, ...] = ()
    early: tuple[tuple[dt.date, int], ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        zone_of(self.zone, f"calendar '{self.name}'")
        if not any(sitting.days for sitting in self.sittings):
            raise CalendarError(
                f'calendar \'{self.name}\' has no sitting: give it one, like {{ open = "17:00", close = "16:00" }}'
            )
        self._check_overlap()
        for pause in self.breaks:
            if not any(within(pause, sitting) for sitting in self.sittings):
                raise CalendarError(f"calendar '{self.name}': break {pause} does not lie within a sitting")

    def _check_overlap(self) -> None:
        """Refuse overlaps. Without one, trading days cannot interleave either: an overnight sitting spans midnight."""
        week = sorted(
            (day * DAY + sitting.start(), day * DAY + sitting.close, day, sitting)
            for sitting in self.sittings
            for day in sitting.days
        )
        first_open, first_close, first_day, first = week[0]
        ring = [*week, (first_open + 7 * DAY, first_close + 7 * DAY, first_day + 7, first)]
        for (_, close, day, before), (start, _, next_day, after) in pairwise(ring):
            if start < close:
                raise CalendarError(
                    f"calendar '{self.name}': sittings {before} and {after} overlap ({WEEKDAYS[day % 7]}, "
                    f"{WEEKDAYS[next_day % 7]}): let one end before the next begins"
                )

    @property
    def trading_days(self) -> tuple[int, ...]:
        """The weekdays that are trading days (0 is Monday), holidays aside."""
        return tuple(sorted({day for sitting in self.sittings for day in sitting.days}))

    def tz(self) -> ZoneInfo:
        """The zone itself."""
        return zone_of(self.zone, f"calendar '{self.name}'")

    def with_holidays(self, closed: Iterable[dt.date], early: Mapping[dt.date, int] | None = None) -> Calendar:
        """Return this calendar with these further closed trading days and early closes (local seconds after midnight).

        The seam for holiday packages: whatever knows holidays fills this in, and the result goes into the log as it
        is.
        """
        merged = dict(self.early) | dict(early or {})
        days = tuple(sorted(set(self.closed) | set(closed)))
        return dataclasses.replace(self, closed=days, early=tuple(sorted(merged.items())))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, in the form of the settings file; `calendar_from` reads it back."""
        plain: dict[str, Any] = {
            "zone": self.zone,
            "sittings": [
                {"open": _clock(s.open), "close": _clock(s.close), "days": [WEEKDAYS[day] for day in s.days]}
                for s in self.sittings
            ],
        }
        if self.breaks:
            plain["breaks"] = [{"open": _clock(b.open), "close": _clock(b.close)} for b in self.breaks]
        if self.closed:
            plain["holidays"] = [day.isoformat() for day in self.closed]
        if self.early:
            plain["early_closes"] = {day.isoformat(): _clock(second) for day, second in self.early}
        if self.title:
            plain["title"] = self.title
        return plain


def within(pause: Break, sitting: Sitting) -> bool:
    """Whether a break lies within a sitting, both by the wall clock."""
    start, end = _span(pause, sitting)
    return start >= 0 and end <= sitting.seconds


def _span(pause: Break, sitting: Sitting) -> tuple[int, int]:
    """Return where a break begins and ends, in seconds from a sitting's open by the wall clock."""
    length = pause.close - pause.open + (DAY if pause.close <= pause.open else 0)
    offset = pause.open - sitting.start()
    offset -= DAY if offset >= DAY else 0
    return offset, offset + length


def zone_of(name: str, where: str) -> ZoneInfo:
    """Return the zone of that IANA name.

    Raises:
        CalendarError: there is none; the message names `where` and the nearest that exists.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        known = available_timezones()
    if not known:
        raise CalendarError(f"{where}: this system has no time zone data: run `pip install tzdata`")
    lowered = {zone.lower(): zone for zone in known}
    by_city = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known, reverse=True)}
    text = str(name).lower().replace(" ", "_")
    close = difflib.get_close_matches(text, lowered, n=1, cutoff=0.75)
    city = difflib.get_close_matches(text.rpartition("/")[2], by_city, n=1, cutoff=0.75)
    near = lowered[close[0]] if close else by_city[city[0]] if city else "UTC"
    raise CalendarError(f"{where}: zone '{name}' is unknown: did you mean '{near}'?")


_KEYS = ("title", "zone", "days", "sittings", "breaks", "holidays", "early_closes")


def calendar_from(name: str, table: Mapping[str, Any], *, recorded: bool = False) -> Calendar:
    """Build a calendar from plain data: a `[calendars.NAME]` table of the settings, or what `to_dict` returned.

    Keys: `zone`; `sittings`, a list of `{open, close, days}`; `days`, for sittings that name none (default: all
    seven); `breaks`, `holidays`, `early_closes`, `title`. Times are "17:00" or "17:00:30"; a day ends at "24:00".
    One that was `recorded` in a log stands as it is: bars were built with it, sensible or not.

    Raises:
        CalendarError: what is wrong, where.
    """
    where = f"calendar '{name}'"
    for key in table:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1, cutoff=0)[0]
            raise CalendarError(f"{where}: '{key}' is unknown: did you mean '{near}'?")
    if not isinstance(zone := table.get("zone"), str):
        raise CalendarError(f'{where} lacks its zone: write zone = "America/Chicago" (an IANA name)')
    days = _days(table.get("days", list(WEEKDAYS)), where)
    sittings = []
    for entry in _tables(table.get("sittings", ()), f"{where}: sittings", ("open", "close", "days")):
        own = _days(entry["days"], where) if "days" in entry else days
        opens, closes = _second(entry.get("open"), where), _second(entry.get("close"), where)
        if closes == 0:
            closes = DAY  # written "00:00", meant is the end of that day
        if opens == DAY:
            opens = 0
        sittings.append(Sitting(opens, closes, own))
    breaks = [
        Break(_second(entry.get("open"), where), _second(entry.get("close"), where))
        for entry in _tables(table.get("breaks", ()), f"{where}: breaks", ("open", "close"))
    ]
    early_table = table.get("early_closes", {})
    if not isinstance(early_table, Mapping):
        raise CalendarError(f'{where}: early_closes is a table of date = time, like {{ 2025-11-28 = "12:15" }}')
    early = sorted((_date(day, where), _second(time, where)) for day, time in early_table.items())
    closed = sorted({_date(day, where) for day in _list(table.get("holidays", ()), f"{where}: holidays")})
    calendar = Calendar(
        name, zone, tuple(sittings), tuple(breaks), tuple(closed), tuple(early), title=str(table.get("title", ""))
    )
    if not recorded:
        _check_sense(calendar, where)
    return calendar


def _check_sense(calendar: Calendar, where: str) -> None:
    """Refuse what can be laid out in time and yet cannot be meant: somebody mistyped it."""
    for sitting in calendar.sittings:
        if not sitting.days:
            raise CalendarError(f"{where}: sitting {sitting} is on no day: name its days, or leave it out")
        pauses = sorted((*_span(pause, sitting), str(pause)) for pause in calendar.breaks if within(pause, sitting))
        for (_, end, before), (start, _, after) in pairwise(pauses):
            if start < end:
                raise CalendarError(f"{where}: breaks {before} and {after} overlap: let one end before the next begins")
        if sum(end - start for start, end, _ in pauses) == sitting.seconds:
            named = " and ".join(each for *_, each in pauses)
            raise CalendarError(f"{where}: break {named} takes all of sitting {sitting}: leave the sitting out")
    for day, second in calendar.early:
        on_day = [sitting for sitting in calendar.sittings if day.weekday() in sitting.days]
        if not on_day:
            continue
        hours = ", ".join(map(str, on_day))
        if second > max(sitting.close for sitting in on_day):
            raise CalendarError(
                f"{where}: early close {_clock(second)} on {day} is later than that day's regular one ({hours})"
            )
        if second <= min(sitting.start() for sitting in on_day):
            raise CalendarError(
                f"{where}: early close {_clock(second)} on {day} is not after that day's open ({hours}): "
                "a day without trading is one of its holidays"
            )


def _list(value: Any, where: str) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    raise CalendarError(f"{where} is a list, not {value!r}")


def _tables(value: Any, where: str, keys: tuple[str, ...]) -> list[Mapping[str, Any]]:
    entries = _list(value, where)
    for entry in entries:
        if not isinstance(entry, Mapping) or not set(entry) <= set(keys) or not {"open", "close"} <= set(entry):
            raise CalendarError(f"{where}: {entry!r} is not a table of {', '.join(keys)}")
    return entries


def _days(value: Any, where: str) -> tuple[int, ...]:
    names = (*WEEKDAYS, *FULL_WEEKDAYS)
    days = set()
    for day in _list(value, f"{where}: days"):
        name = str(day).lower()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0)[0]
            raise CalendarError(f"{where}: day {day!r} is unknown: did you mean '{near}'?")
        days.add(names.index(name) % len(WEEKDAYS))
    return tuple(sorted(days))


_TIME = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def _second(value: Any, where: str) -> int:
    match = _TIME.fullmatch(value.isoformat() if isinstance(value, dt.time) else str(value).strip())
    hour, minute, second = (int(part or 0) for part in match.groups()) if match else (99, 0, 0)
    total = hour * 3600 + minute * 60 + second
    if total > DAY or minute > 59 or second > 59:
        raise CalendarError(f'{where}: time {value!r} is not a time of day: write it like "17:00"')
    return total


def _date(value: Any, where: str) -> dt.date:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    try:
        return dt.date.fromisoformat(str(value))
    except ValueError:
        raise CalendarError(f"{where}: {value!r} is not a date: write it like 2025-12-25") from None


def _clock(second: int) -> str:
    text = f"{second // 3600:02d}:{second // 60 % 60:02d}"
    return f"{text}:{second % 60:02d}" if second % 60 else text


@lru_cache(maxsize=1)
def _data() -> tuple[dict[str, Calendar], dict[str, str]]:
    """The package's own calendars and the product roots. Constants, read once."""
    table = tomllib.loads(resources.files(__package__).joinpath("calendars.toml").read_text("utf-8"))
    calendars = {name: calendar_from(name, entry) for name, entry in table["calendars"].items()}
    return calendars, {root: name for name, roots in table["roots"].items() for root in roots}


def builtin_calendars() -> dict[str, Calendar]:
    """Return the calendars that come with the package, by name."""
    return dict(_data()[0])


def find_calendar(name: str, custom: Mapping[str, Calendar] | None = None) -> Calendar:
    """Return the calendar of that name: a custom one, else a built-in one, else `24/7@<zone>`.

    Raises:
        CalendarError: there is none; the message names the nearest.
    """
    known = _data()[0] | dict(custom or {})
    if name in known:
        return known[name]
    around, at, zone = name.partition("@")
    if at and around == "24/7":
        zone_of(zone, f"calendar '{name}'")
        return dataclasses.replace(known["24/7"], name=name, zone=zone, title=f"Around the clock, days of {zone}")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0)
    raise CalendarError(f"calendar '{name}' is unknown: did you mean '{near[0]}'?")


_EXPIRY = re.compile(r"(.+?)[FGHJKMNQUVXZ]\d{1,2}")


def product_root(contract: str) -> str:
    """Return the product's root: `ENQ` of `CON.F.US.ENQ.U25` and of `F.US.ENQ`, `ES` of `ESZ5`, else the text."""
    parts = contract.strip().upper().split(".")
    if len(parts) >= 3:
        return parts[-2] if parts[0] == "CON" else parts[-1]
    if contract.strip().upper() in _data()[1]:
        return contract.strip().upper()
    match = _EXPIRY.fullmatch(parts[0])
    return match[1] if match else parts[0]


def calendar_name(contract: str) -> str:
    """Return the name of the calendar that a contract's product follows; `utc` when the product is not known."""
    return _data()[1].get(product_root(contract), UNKNOWN)
