"""Helpers for the configuration tests: instants from wall-clock text, calendars of four zones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from zoneinfo import ZoneInfo

import hypothesis
import pytest

from tickloom.config.calendars import Calendar, calendar_from, find_calendar

NS = 1_000_000_000

# No test of ours is timed: how long an example takes says how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]


def instant(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """`2024-03-10 01:59` on the zone's wall clock, as ns UTC. `fold=1` is its second coming."""
    moment = dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(moment.timestamp()) * NS


@pytest.fixture
def at() -> Callable[..., int]:
    return instant


@pytest.fixture
def clock() -> Callable[..., str]:
    """Shows ns UTC on a zone's wall clock, with its offset."""

    def show(ts_ns: int, zone: str = "UTC") -> str:
        return dt.datetime.fromtimestamp(ts_ns // NS, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %z")

    return show


def calendars_of_four_zones() -> dict[str, list[Calendar]]:
    """Calendars with one and two sittings, overnight and by day, around the clock, both hemispheres."""
    new_york = {"zone": "America/New_York", "days": WORKDAYS, "sittings": [{"open": "18:00", "close": "17:00"}]}
    london = {"zone": "Europe/London", "days": WORKDAYS, "sittings": [{"open": "01:00", "close": "23:00"}]}
    sydney = {
        "zone": "Australia/Sydney",
        "days": WORKDAYS,
        "sittings": [{"open": "17:10", "close": "07:00"}, {"open": "09:50", "close": "16:30"}],
    }
    return {
        "America/Chicago": [find_calendar(name) for name in ("cme_equity", "cme_grains", "24/7@America/Chicago")],
        "America/New_York": [calendar_from("new_york", new_york), find_calendar("24/7@America/New_York")],
        "Europe/London": [calendar_from("london", london), find_calendar("24/7@Europe/London")],
        "Australia/Sydney": [calendar_from("sydney", sydney), find_calendar("24/7@Australia/Sydney")],
    }


@pytest.fixture
def four_zones() -> dict[str, list[Calendar]]:
    return calendars_of_four_zones()
