"""Holidays: from the exchange package into a settings file, and from there into the sessions."""

from __future__ import annotations

import builtins
import datetime as dt
import tomllib
from zoneinfo import ZoneInfo

import pytest

from tickloom.config.calendars import builtin_calendars, calendar_from, find_calendar
from tickloom.config.holidays import MARKETS, HolidaysError, Schedule, apply, read, render
from tickloom.config.sessions import Sessions

CHICAGO = ZoneInfo("America/Chicago")
FIRST, LAST = dt.date(2025, 1, 1), dt.date(2026, 12, 31)
THANKSGIVING, FRIDAY_AFTER = dt.date(2025, 11, 27), dt.date(2025, 11, 28)


def ns(day: dt.date, hour: int, minute: int = 0) -> int:
    return int(dt.datetime(day.year, day.month, day.day, hour, minute, tzinfo=CHICAGO).timestamp()) * 1_000_000_000


def filled(name: str):
    return apply(find_calendar(name), read(MARKETS[name], FIRST, LAST), FIRST, LAST)


def test_a_day_the_schedule_leaves_out_is_a_holiday_and_one_that_ends_early_ends_early():
    days = frozenset({dt.date(2025, 11, 24), dt.date(2025, 11, 25), dt.date(2025, 11, 28)})
    noon = dt.datetime(2025, 11, 28, 18, 15, tzinfo=dt.UTC)
    after_hours = dt.datetime(2025, 11, 25, 23, 0, tzinfo=dt.UTC)
    schedule = Schedule(days, {FRIDAY_AFTER: noon, dt.date(2025, 11, 25): after_hours})
    calendar = apply(find_calendar("cme_equity"), schedule, dt.date(2025, 11, 24), dt.date(2025, 11, 30))
    assert calendar.closed == (dt.date(2025, 11, 26), THANKSGIVING)
    assert calendar.early == ((FRIDAY_AFTER, 12 * 3600 + 15 * 60),)


@pytest.mark.parametrize("name", MARKETS)
def test_every_builtin_market_has_its_holidays(name):
    calendar = filled(name)
    assert dt.date(2025, 12, 25) in calendar.closed
    assert len(calendar.closed) >= 4
    assert all(FIRST <= day <= LAST and day.weekday() < 5 for day in calendar.closed)


def test_all_builtin_calendars_that_an_exchange_keeps_have_a_market():
    assert set(MARKETS) == set(builtin_calendars()) - {"24/7", "utc"}


def test_the_sessions_follow():
    before, after = Sessions(find_calendar("cme_equity")), Sessions(filled("cme_equity"))
    one, eleven = ns(FRIDAY_AFTER, 13), ns(FRIDAY_AFTER, 11)
    assert before.is_open(one)
    assert not after.is_open(one), "the Friday after Thanksgiving ends at 12:15"
    assert after.is_open(eleven)
    assert not after.is_open(ns(dt.date(2025, 12, 25), 10))
    assert after.is_open(ns(dt.date(2025, 12, 26), 10))


def test_grains_do_not_trade_on_the_days_after_which_equities_end_early():
    assert THANKSGIVING in filled("cme_grains").closed
    assert THANKSGIVING not in filled("cme_equity").closed


@pytest.mark.parametrize("name", ["cme_equity", "cme_grains", "cme_livestock"])
def test_what_is_written_is_read_back_as_the_same_calendar(name):
    calendar = filled(name)
    text = render(name, calendar, "the test")
    assert calendar_from(name, tomllib.loads(text)["calendars"][name]) == calendar


def test_a_name_that_must_be_quoted_is():
    calendar = find_calendar("24/7")
    table = tomllib.loads(render("24/7", calendar, "the test"))["calendars"]["24/7"]
    assert (table["holidays"], table["early_closes"]) == ([], {})


def test_an_unknown_market_is_refused_with_those_that_come_near():
    with pytest.raises(HolidaysError, match=r"knows no market 'CMEGlobex_Metal': did you mean .*CMEGlobex_Metals"):
        read("CMEGlobex_Metal", FIRST, LAST)


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest):
        if name == "pandas_market_calendars":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(HolidaysError, match=r"pip install 'tickloom\[holidays\]'"):
        read("CMEGlobex_FX", FIRST, LAST)
