"""Sittings in absolute time: opens, closes, breaks, holidays, and the clock's changes in both hemispheres."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.config.calendars import calendar_from, find_calendar
from tickloom.config.sessions import Sessions, transitions, year_of

NS = 1_000_000_000
HOUR = 3600 * NS


def lengths(name: str, *dates: str) -> list[float]:
    """Hours from open to close of the sittings of these trading days."""
    sessions = Sessions(find_calendar(name))
    wanted = [dt.date.fromisoformat(date) for date in dates]
    return [
        (s.close - s.open) / HOUR
        for year in {d.year for d in wanted}
        for s in sessions.of_year(year)
        if s.day in wanted
    ]


class TestDaysOfTheClocksChanges:
    @pytest.mark.parametrize(
        ("zone", "forward", "back"),
        [
            ("America/Chicago", "2024-03-10", "2024-11-03"),
            ("America/New_York", "2024-03-10", "2024-11-03"),
            ("Europe/London", "2024-03-31", "2024-10-27"),
            ("Australia/Sydney", "2024-10-06", "2024-04-07"),
            ("America/Sao_Paulo", "2018-11-04", "2018-02-17"),
            ("America/Havana", "2024-03-10", "2024-11-03"),
        ],
    )
    def test_a_day_has_23_hours_when_the_clock_goes_forward_and_25_when_it_goes_back(self, zone, forward, back):
        assert lengths(f"24/7@{zone}", forward) == [23]
        assert lengths(f"24/7@{zone}", back) == [25]

    def test_half_an_hour_on_lord_howe_island(self):
        assert lengths("24/7@Australia/Lord_Howe", "2024-10-06") == [23.5]
        assert lengths("24/7@Australia/Lord_Howe", "2024-04-07") == [24.5]

    def test_the_day_samoa_skipped_is_no_trading_day(self):
        sessions = Sessions(find_calendar("24/7@Pacific/Apia")).of_year(2011)
        assert dt.date(2011, 12, 30) not in {s.day for s in sessions}
        assert lengths("24/7@Pacific/Apia", "2011-12-29", "2011-12-31") == [24, 24]

    def test_midnight_that_comes_twice_counts_the_first_time(self, at):
        # Havana puts its clock back from 01:00 to 00:00
        sessions = Sessions(find_calendar("24/7@America/Havana"))
        opens = at("2024-11-03 00:00", "America/Havana", fold=0)
        assert sessions.at(opens).open == opens
        assert sessions.at(at("2024-11-03 00:00", "America/Havana", fold=1)).open == opens

    def test_midnight_that_is_skipped_is_the_moment_of_the_change(self, at):
        # Sao Paulo put its clock forward from 00:00 to 01:00
        opens = Sessions(find_calendar("24/7@America/Sao_Paulo")).at(at("2018-11-04 12:00", "America/Sao_Paulo")).open
        assert opens == at("2018-11-04 03:00") == at("2018-11-04 01:00", "America/Sao_Paulo")

    def test_an_open_within_the_skipped_hour_is_the_moment_of_the_change(self, at):
        table = {"zone": "America/New_York", "sittings": [{"open": "02:30", "close": "10:00"}]}
        sessions = Sessions(calendar_from("mine", table))
        assert sessions.at(at("2024-03-10 05:00", "America/New_York")).open == at("2024-03-10 07:00")
        assert sessions.at(at("2024-03-11 05:00", "America/New_York")).open == at("2024-03-11 06:30")

    def test_a_globex_session_keeps_its_wall_clock_across_the_change(self, clock):
        sessions = [
            s
            for s in Sessions(find_calendar("cme_equity")).of_year(2024)
            if s.day in (dt.date(2024, 3, 8), dt.date(2024, 3, 11))
        ]
        shown = [clock(t, "America/Chicago") for s in sessions for t in (s.open, s.close)]
        assert shown == [
            "2024-03-07 17:00 -0600", "2024-03-08 16:00 -0600", "2024-03-10 17:00 -0500", "2024-03-11 16:00 -0500",
        ]  # fmt: skip


class TestOpen:
    @pytest.mark.parametrize(
        ("moment", "is_open", "day"),
        [
            ("2024-06-09 16:59:59", False, None),  # Sunday
            ("2024-06-09 17:00:00", True, "2024-06-10"),
            ("2024-06-10 15:59:59", True, "2024-06-10"),
            ("2024-06-10 16:00:00", False, None),
            ("2024-06-10 17:00:00", True, "2024-06-11"),
            ("2024-06-14 15:59:59", True, "2024-06-14"),  # Friday
            ("2024-06-14 17:00:00", False, None),
            ("2024-06-15 12:00:00", False, None),
        ],
    )
    def test_globex_is_open_from_sunday_evening_to_friday(self, moment, is_open, day, at):
        sessions = Sessions(find_calendar("cme_equity"))
        ts = at(moment, "America/Chicago")
        assert sessions.is_open(ts) is is_open
        assert sessions.trading_day(ts) == (dt.date.fromisoformat(day) if day else None)

    def test_grains_pause_between_their_sittings(self, at):
        sessions = Sessions(find_calendar("cme_grains"))
        times = ("06:00", "07:45", "08:29", "08:30", "13:19", "13:20")
        assert [sessions.is_open(at(f"2024-06-12 {t}", "America/Chicago")) for t in times] == [
            True, False, False, True, True, False,
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("moment", "opens"),
        [
            ("2024-06-14 16:00:00", "2024-06-16 17:00:00"),
            ("2024-06-12 10:00:00", "2024-06-12 10:00:00"),
            ("2024-06-12 16:30:00", "2024-06-12 17:00:00"),
        ],
    )
    def test_the_next_open(self, moment, opens, at):
        sessions = Sessions(find_calendar("cme_equity"))
        assert sessions.next_open(at(moment, "America/Chicago")) == at(opens, "America/Chicago")

    def test_a_break_is_closed_time_within_a_sitting_also_across_midnight(self, at):
        table = {
            "zone": "America/Chicago",
            "days": ["mon", "tue", "wed", "thu", "fri"],
            "sittings": [{"open": "17:00", "close": "16:00"}],
            "breaks": [{"open": "15:15", "close": "15:30"}, {"open": "23:50", "close": "00:10"}],
        }
        sessions = Sessions(calendar_from("mine", table))
        ts = at("2024-06-12 15:20", "America/Chicago")
        assert not sessions.is_open(ts)
        assert sessions.at(ts) is not None
        assert sessions.next_open(ts) == at("2024-06-12 15:30", "America/Chicago")
        assert sessions.is_open(at("2024-06-12 15:30", "America/Chicago"))
        around_midnight = [
            at(f"2024-06-{t}", "America/Chicago") for t in ("11 23:49", "11 23:50", "12 00:09", "12 00:10")
        ]
        assert [sessions.is_open(ts) for ts in around_midnight] == [True, False, False, True]

    @given(st.integers(0, 2**31).map(lambda second: second * NS))
    def test_the_next_open_is_open_and_nothing_before_it_is(self, ts):
        sessions = Sessions(find_calendar("cme_grains"))
        opens = sessions.next_open(ts)
        assert opens >= ts
        assert sessions.is_open(opens)
        assert opens == ts or not sessions.is_open(opens - 1)


class TestHolidays:
    def test_a_closed_day_has_no_sitting_and_the_market_opens_after_it(self, at):
        calendar = find_calendar("cme_equity").with_holidays([dt.date(2024, 12, 25)])
        sessions = Sessions(calendar)
        assert not sessions.is_open(at("2024-12-24 18:00", "America/Chicago"))
        assert sessions.next_open(at("2024-12-24 16:00", "America/Chicago")) == at(
            "2024-12-25 17:00", "America/Chicago"
        )

    def test_an_early_close_cuts_the_sitting_and_drops_those_after_it(self, at):
        calendar = find_calendar("cme_grains").with_holidays(
            [], {dt.date(2024, 12, 24): 12 * 3600, dt.date(2024, 11, 29): 8 * 3600}
        )
        sessions = Sessions(calendar)
        assert sessions.at(at("2024-12-24 09:00", "America/Chicago")).close == at("2024-12-24 12:00", "America/Chicago")
        assert [s.close for s in sessions.of_year(2024) if s.day == dt.date(2024, 11, 29)] == [
            at("2024-11-29 07:45", "America/Chicago")
        ]

    def test_a_calendar_that_never_opens_again_says_so(self):
        table = {"zone": "UTC", "days": ["mon"], "sittings": [{"open": "08:00", "close": "09:00"}]}
        mondays = [dt.date(2024, 1, 1) + dt.timedelta(days=7 * week) for week in range(120)]
        sessions = Sessions(calendar_from("mine", table).with_holidays(mondays))
        with pytest.raises(ValueError, match="calendar 'mine' does not open within a year"):
            sessions.next_open(1_704_200_000 * NS)


class TestTransitions:
    def test_a_year_in_chicago_has_two_and_they_say_what_happened(self, at):
        found = Sessions(find_calendar("cme_equity")).transitions(at("2024-01-01"), at("2025-01-01"))
        assert [(t.ts_ns, t.forward, t.before, t.after) for t in found] == [
            (at("2024-03-10 08:00"), True, -21_600, -18_000),
            (at("2024-11-03 07:00"), False, -18_000, -21_600),
        ]
        assert str(found[0]) == (
            "the clock of America/Chicago went forward 60 min at 2024-03-10 02:00:00 local (2024-03-10T08:00:00Z)"
        )

    def test_each_is_found_once_by_consecutive_spans(self, at):
        zone = ZoneInfo("Australia/Sydney")
        edges = [at("2024-01-01") + step * 13 * HOUR for step in range(700)]
        in_parts = [t for low, high in pairwise(edges) for t in transitions(zone, low, high)]
        assert in_parts == list(transitions(zone, edges[0], edges[-1]))
        assert len(in_parts) == 2

    def test_utc_has_none(self, at):
        assert transitions(ZoneInfo("UTC"), at("1970-01-01"), at("2040-01-01")) == ()

    @pytest.mark.parametrize(
        "name", ["Africa/Casablanca", "Pacific/Apia", "Asia/Gaza", "America/Noronha", "Europe/Dublin"]
    )
    def test_it_finds_what_walking_hour_by_hour_finds(self, name, at):
        if name not in available_timezones():
            pytest.skip(f"this system does not know {name}")
        zone = ZoneInfo(name)
        start, end = at("2010-12-01"), at("2012-02-01")
        offsets = [dt.datetime.fromtimestamp(t // NS, zone).utcoffset() for t in range(start, end + 1, HOUR)]
        walked = [start + hour * HOUR for hour in range(1, len(offsets)) if offsets[hour] != offsets[hour - 1]]
        assert [-(-t.ts_ns // HOUR) * HOUR for t in transitions(zone, start, end)] == walked


def test_what_it_keeps_does_not_grow_with_the_years_asked_about():
    sessions = Sessions(find_calendar("cme_equity"))
    for year in range(1970, 2070):
        sessions.of_year(year)
    assert len(sessions._years) == 16
    assert sessions.of_year(1970) == Sessions(find_calendar("cme_equity")).of_year(1970)


@pytest.mark.parametrize("ts", [-(2**63), 2**63 - 1])
def test_a_time_no_market_reaches_is_an_error(ts):
    with pytest.raises(ValueError, match="calendars hold 1690 to 2250"):
        year_of(ts)


@given(st.integers(0, 14 * 24 * 3600), st.integers(-1, 1))
def test_the_last_moment_of_trading_before_another_is_found_across_sittings_and_breaks(second, offset):
    table = {
        "zone": "America/Chicago",
        "days": ["mon", "tue", "wed", "thu", "fri"],
        "sittings": [{"open": "19:00", "close": "07:45"}, {"open": "08:30", "close": "13:20"}],
        "breaks": [{"open": "23:30", "close": "00:15"}, {"open": "12:00", "close": "13:20"}],
        "holidays": ["2024-03-12"],
    }
    sessions = Sessions(calendar_from("grains", table))
    moment = (1_709_596_800 + second) * NS + offset  # two weeks around a change of the clock
    last = sessions.last_open(moment)
    assert last < moment
    assert sessions.is_open(last)
    assert last == moment - 1 or sessions.next_open(last + 1) >= moment


def test_before_a_calendars_first_sitting_there_is_no_moment_of_trading():
    days = [str(dt.date(year, 1, 1) + dt.timedelta(n)) for year in (2023, 2024) for n in range(366)]
    table = {"zone": "UTC", "sittings": [{"open": "08:00", "close": "16:00"}], "holidays": days}
    assert Sessions(calendar_from("new", table)).last_open(1_720_000_000 * NS) is None
