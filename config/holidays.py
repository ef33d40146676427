"""Holidays and early closes of exchanges, from `pandas_market_calendars`, written down as settings.

The package is asked once, by a command, and what it says becomes lines of a settings file: a session then needs no
package, changes nothing when the package is updated, and has its holidays in the log with the rest of its calendar.
Only `read` needs the package: `pip install 'tickloom[holidays]'`.

Source of the markets' names: pandas_market_calendars 5.5, `get_calendar_names()`.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tickloom.config.calendars import Calendar

MARKETS: Final[Mapping[str, str]] = {
    "cme_equity": "CME Globex Equity",
    "cme_metals": "CMEGlobex_Metals",
    "cme_energy": "CMEGlobex_Energy",
    "cme_fx": "CMEGlobex_FX",
    "cme_rates": "CME Globex Fixed Income",
    "cme_grains": "CMEGlobex_Grains",
    "cme_livestock": "CMEGlobex_Livestock",
}
"""The package's name for the market of each built-in calendar."""


class HolidaysError(Exception):
    """Holidays cannot be had. The sentence says why and what to do."""


class Schedule(msgspec.Struct, frozen=True):
    """What a source says of a stretch of days: the trading days, and when those that end early do (UTC)."""

    days: frozenset[dt.date]
    early: dict[dt.date, dt.datetime]


def apply(calendar: Calendar, schedule: Schedule, first: dt.date, last: dt.date) -> Calendar:
    """Return the calendar with the holidays and early closes of `first` to `last`.

    A holiday is one of the calendar's weekdays that is no trading day of the schedule. An early close counts if it lies
    within the calendar's hours of that trading day; one after its ordinary end is of no consequence.
    """
    zone = calendar.tz()
    closed = [day for day in _dates(first, last) if day.weekday() in calendar.trading_days and day not in schedule.days]
    early = {}
    for day, moment in schedule.early.items():
        local = moment.astimezone(zone)
        second = local.hour * 3600 + local.minute * 60 + local.second
        ends = max((s.close for s in calendar.sittings if day.weekday() in s.days), default=0)
        if first <= day <= last and local.date() == day and second < ends:
            early[day] = second
    return calendar.with_holidays(closed, early)


def read(market: str, first: dt.date, last: dt.date) -> Schedule:
    """Ask the package for a market's schedule.

    Raises:
        HolidaysError: it is not installed, or knows no such market; the sentence names the nearest.
    """
    try:
        import pandas_market_calendars as package
    except ModuleNotFoundError:
        raise HolidaysError(
            "holidays come from the package pandas_market_calendars: install it with pip install 'tickloom[holidays]'"
        ) from None
    known = package.get_calendar_names()
    if market not in known:
        raise HolidaysError(f"pandas_market_calendars knows no market '{market}'{_near(market, known)}")
    source: Any = package.get_calendar(market)
    table = source.schedule(first.isoformat(), last.isoformat())
    early = source.early_closes(table)
    return Schedule(
        frozenset(stamp.date() for stamp in table.index),
        {stamp.date(): close.to_pydatetime() for stamp, close in early["market_close"].items()},
    )


def render(name: str, calendar: Calendar, source: str) -> str:
    """Return the calendar as a table of a settings file."""
    plain = calendar.to_dict()
    lines = [f"# Holidays and early closes: {source}", f"[calendars.{_key(name)}]"]
    if calendar.title:
        lines.append(f"title = {_text(calendar.title)}")
    lines.append(f"zone = {_text(calendar.zone)}")
    lines.append("sittings = [")
    for sitting in plain["sittings"]:
        days = ", ".join(map(_text, sitting["days"]))
        lines.append(f'    {{ open = "{sitting["open"]}", close = "{sitting["close"]}", days = [{days}] }},')
    lines.append("]")
    if calendar.breaks:
        pauses = ", ".join(f'{{ open = "{b["open"]}", close = "{b["close"]}" }}' for b in plain["breaks"])
        lines.append(f"breaks = [{pauses}]")
    lines.append(f"holidays = [{', '.join(plain.get('holidays', ()))}]")
    closes = ", ".join(f'{day} = "{time}"' for day, time in plain.get("early_closes", {}).items())
    lines.append(f"early_closes = {{ {closes} }}" if closes else "early_closes = {}")
    return "\n".join(lines) + "\n"


def _dates(first: dt.date, last: dt.date) -> Iterable[dt.date]:
    return (first + dt.timedelta(days) for days in range((last - first).days + 1))


def _near(market: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(market, list(known), n=3, cutoff=0.3)
    return f": did you mean {', '.join(near)}?" if near else ""


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else _text(name)


def _text(value: str) -> str:
    return msgspec.json.encode(value).decode()  # a JSON string is a TOML basic string
