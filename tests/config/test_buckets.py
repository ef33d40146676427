"""Buckets: examples checked by hand, the laws, and a walk through the wall clock minute by minute as the oracle.

The walk of every minute of 20 years in four zones runs with TICKLOOM_LONG=1; every day, the weeks around each
change of the clock are walked in steps of five minutes, which all edges here are multiples of.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.config.buckets import BucketRule, check_fit, rule_for
from tickloom.config.calendars import DAY, Calendar, builtin_calendars, calendar_from, find_calendar
from tickloom.config.plan import nests
from tickloom.config.sessions import Sessions, transitions
from tickloom.config.timeframes import STANDARD, Timeframe, TimeframeError

NS = 1_000_000_000
LONG = os.environ.get("TICKLOOM_LONG") == "1"
YEARS = (2005, 2025)
ZONES = ("America/Chicago", "America/New_York", "Europe/London", "Australia/Sydney")

calendars = st.sampled_from(
    [
        *(find_calendar(name) for name in ("cme_equity", "cme_grains", "cme_livestock", "utc")),
        *(find_calendar(f"24/7@{zone}") for zone in (*ZONES, "America/Havana", "America/Sao_Paulo", "Pacific/Apia")),
        find_calendar("cme_grains").with_holidays([dt.date(2024, 12, 25)], {dt.date(2024, 12, 24): 12 * 3600}),
    ]
)
frames = st.sampled_from(
    [Timeframe.parse(name) for name in STANDARD] + [Timeframe.parse(n) for n in ("2d", "5d", "2w", "3mo")]
)
instants = st.integers(-(10**9) * NS, 4 * 10**9 * NS)
recent = st.integers(10**9 * NS, 2 * 10**9 * NS)


def fits(calendar: Calendar, frame: Timeframe) -> bool:
    try:
        check_fit(calendar, frame)
    except TimeframeError:
        return False
    return True


class TestByHand:
    @pytest.mark.parametrize(
        ("name", "frame", "moment", "opens", "closes"),
        [
            # 23-hour session: intraday counts from 17:00, the last bucket ends with the session
            ("cme_equity", "1m", "2024-06-12 09:30:59", "2024-06-12 09:30", "2024-06-12 09:31"),
            ("cme_equity", "4h", "2024-06-11 17:00", "2024-06-11 17:00", "2024-06-11 21:00"),
            ("cme_equity", "4h", "2024-06-12 15:59", "2024-06-12 13:00", "2024-06-12 16:00"),
            ("cme_equity", "23m", "2024-06-12 15:59", "2024-06-12 15:37", "2024-06-12 16:00"),
            # days, weeks, months are made of trading days
            ("cme_equity", "1d", "2024-06-09 17:00", "2024-06-09 17:00", "2024-06-10 16:00"),
            ("cme_equity", "1d", "2024-06-14 15:59", "2024-06-13 17:00", "2024-06-14 16:00"),
            ("cme_equity", "1w", "2024-06-12 16:30", "2024-06-09 17:00", "2024-06-14 16:00"),
            ("cme_equity", "1mo", "2024-05-31 17:30", "2024-05-31 16:00", "2024-06-02 17:00"),
            ("cme_equity", "1mo", "2024-06-15 12:00", "2024-06-02 17:00", "2024-06-28 16:00"),
            ("cme_equity", "3mo", "2024-05-15 12:00", "2024-03-31 17:00", "2024-06-28 16:00"),
            ("cme_equity", "5d", "2024-06-12 12:00", "2024-06-09 17:00", "2024-06-14 16:00"),
            # across the change of the clock: the wall clock's hours stay
            ("cme_equity", "1d", "2024-03-10 18:00", "2024-03-10 17:00", "2024-03-11 16:00"),
            ("cme_equity", "1w", "2024-03-06 18:00", "2024-03-03 17:00", "2024-03-08 16:00"),
            # outside: of its own, counted from the close before
            ("cme_equity", "1h", "2024-06-12 16:10", "2024-06-12 16:00", "2024-06-12 17:00"),
            ("cme_equity", "4h", "2024-06-15 09:00", "2024-06-15 08:00", "2024-06-15 12:00"),
            ("cme_equity", "1d", "2024-06-12 16:10", "2024-06-12 16:00", "2024-06-12 17:00"),
            ("cme_equity", "1w", "2024-06-15 09:00", "2024-06-14 16:00", "2024-06-16 17:00"),
            # two sittings: each counts from its own open, the day has both and the pause
            ("cme_grains", "1h", "2024-06-12 07:40", "2024-06-12 07:00", "2024-06-12 07:45"),
            ("cme_grains", "1h", "2024-06-12 08:00", "2024-06-12 07:45", "2024-06-12 08:30"),
            ("cme_grains", "1h", "2024-06-12 08:31", "2024-06-12 08:30", "2024-06-12 09:30"),
            ("cme_grains", "1d", "2024-06-12 08:00", "2024-06-11 19:00", "2024-06-12 13:20"),
        ],
    )
    def test_in_chicago(self, name, frame, moment, opens, closes, at):
        bucket = rule_for(find_calendar(name), frame).bucket(at(moment, "America/Chicago"))
        assert bucket == (at(opens, "America/Chicago"), at(closes, "America/Chicago"))

    def test_a_25_hour_day_has_25_hours_and_each_repeated_hour_its_own_bar(self, at):
        rule = rule_for(find_calendar("24/7@America/Chicago"), "1h")
        start = at("2024-11-03 00:00", "America/Chicago")
        buckets = [rule.bucket(start + half * 1800 * NS) for half in range(50)]
        assert len(set(buckets)) == 25
        first = rule.bucket(at("2024-11-03 01:30", "America/Chicago", fold=0))
        again = rule.bucket(at("2024-11-03 01:30", "America/Chicago", fold=1))
        assert again[0] - first[0] == 3600 * NS

    @pytest.mark.parametrize(
        ("zone", "day", "frame", "widths"),
        [
            ("America/Chicago", "2024-03-10", "4h", [4, 4, 4, 4, 4, 3]),
            ("America/Chicago", "2024-11-03", "4h", [4, 4, 4, 4, 4, 4, 1]),
            ("Australia/Sydney", "2024-10-06", "4h", [4, 4, 4, 4, 4, 3]),
            ("Australia/Sydney", "2024-04-07", "12h", [12, 12, 1]),
            ("America/Chicago", "2024-03-10", "1d", [23]),
            ("Europe/London", "2024-10-27", "1d", [25]),
            ("Europe/London", "2024-10-27", "24h", [24, 1]),
        ],
    )
    def test_the_last_bucket_of_a_long_or_short_day_ends_with_the_day(self, zone, day, frame, widths, at):
        rule = rule_for(find_calendar(f"24/7@{zone}"), frame)
        ts, found = at(f"{day} 00:00", zone), []
        for _ in widths:
            opens, closes = rule.bucket(ts)
            assert opens == ts
            found.append((closes - opens) / 3600 / NS)
            ts = closes
        assert found == widths
        assert ts == at(f"{dt.date.fromisoformat(day) + dt.timedelta(days=1)} 00:00", zone)

    def test_a_break_does_not_cut_a_bucket(self, at):
        table = {
            "zone": "America/Chicago",
            "sittings": [{"open": "17:00", "close": "16:00"}],
            "breaks": [{"open": "15:15", "close": "15:30"}],
        }
        rule = rule_for(calendar_from("mine", table), "1h")
        opens = at("2024-06-12 15:00", "America/Chicago")
        assert {rule.bucket(opens + minute * 60 * NS)[0] for minute in range(60)} == {opens}

    @pytest.mark.parametrize("name", ["cme_equity", "cme_grains", "24/7@Europe/London"])
    @pytest.mark.parametrize("count", [2, 3, 5, 7, 31])
    def test_a_bucket_of_n_days_holds_n_trading_days(self, name, count, at):
        rule = rule_for(find_calendar(name), f"{count}d")
        sessions = rule.sessions.between(2023, 2025)
        ts = at("2023-06-01")
        for _ in range(12):
            opens, closes = rule.bucket(ts)
            days = {session.day for session in sessions if opens <= session.open and session.close <= closes}
            assert len(days) in (0, count)  # 0: the time between two of them
            ts = closes

    def test_a_holiday_moves_no_bucket_of_several_days(self, at):
        plain, closed = find_calendar("cme_equity"), find_calendar("cme_equity").with_holidays([dt.date(2024, 5, 27)])
        ts = at("2024-07-10 12:00", "America/Chicago")
        for frame in ("2d", "3d", "2w"):
            assert rule_for(plain, frame).bucket(ts) == rule_for(closed, frame).bucket(ts)

    def test_a_holidays_week_begins_with_its_first_trading_day(self, at):
        rule = rule_for(find_calendar("cme_equity").with_holidays([dt.date(2024, 5, 27)]), "1w")
        assert rule.bucket(at("2024-05-29 12:00", "America/Chicago")) == (
            at("2024-05-27 17:00", "America/Chicago"),
            at("2024-05-31 16:00", "America/Chicago"),
        )

    @pytest.mark.parametrize("moment", ["1900-06-01", "1970-01-01", "1969-12-31 23:59:59", "2200-03-01"])
    def test_far_years_have_buckets_too(self, moment, at):
        ts = at(moment)
        for frame in ("1s", "1h", "1d", "1w", "12mo"):
            opens, closes = rule_for(find_calendar("utc"), frame).bucket(ts)
            assert opens <= ts < closes


class TestFit:
    @pytest.mark.parametrize(
        ("name", "frame"),
        [
            ("cme_equity", "4h"), ("cme_equity", "2h"), ("cme_equity", "23m"), ("cme_equity", "90m"),
            ("cme_equity", "23h"),
            ("cme_grains", "1h"), ("cme_grains", "12h"), ("utc", "24h"), ("utc", "1d"), ("cme_equity", "7d"),
        ],
    )  # fmt: skip
    def test_what_divides_the_day_or_every_sitting_fits(self, name, frame):
        assert isinstance(rule_for(find_calendar(name), frame), BucketRule)

    @pytest.mark.parametrize(
        ("name", "frame", "nearest"),
        [
            ("cme_equity", "7m", "6m"),
            ("utc", "7m", "6m"),
            ("utc", "7h", "6h"),
            ("cme_equity", "11s", "10s"),
            ("utc", "11h", "12h"),
        ],
    )
    def test_what_divides_neither_is_refused_with_the_nearest_that_fits(self, name, frame, nearest):
        with pytest.raises(TimeframeError) as caught:
            rule_for(find_calendar(name), frame)
        assert f"timeframe '{frame}'" in str(caught.value)
        assert f"calendar '{name}'" in str(caught.value)
        assert f"the nearest that fits is '{nearest}'" in str(caught.value)
        assert fits(find_calendar(name), Timeframe.parse(nearest))

    @pytest.mark.parametrize(("name", "frame"), [("cme_equity", "24h"), ("cme_livestock", "6h"), ("cme_grains", "16h")])
    def test_one_longer_than_the_longest_sitting_is_refused(self, name, frame):
        words = f"timeframe '{frame}' is longer than the longest sitting of calendar '{name}'.*'1d'"
        with pytest.raises(TimeframeError, match=words):
            rule_for(find_calendar(name), frame)

    @pytest.mark.parametrize("frame", ["100t", "5000v"])
    def test_ticks_and_volume_have_no_buckets_in_time(self, frame):
        with pytest.raises(TimeframeError, match="counts prints, not time"):
            rule_for(find_calendar("utc"), frame)

    @pytest.mark.parametrize("name", sorted(builtin_calendars()))
    def test_every_default_timeframe_fits_every_built_in_calendar(self, name):
        assert all(fits(find_calendar(name), Timeframe.parse(frame)) for frame in STANDARD)


class TestLaws:
    @given(calendars, frames, instants)
    def test_a_bucket_holds_its_instant_and_every_instant_in_it_has_that_bucket(self, calendar, frame, ts):
        if not fits(calendar, frame):
            return
        rule = rule_for(calendar, frame)
        opens, closes = bucket = rule.bucket(ts)
        assert opens <= ts < closes
        for inside in (opens, closes - 1, (opens + closes) // 2):
            assert rule_for(calendar, frame, rule.sessions).bucket(inside) == bucket

    @given(calendars, frames, instants)
    def test_buckets_abut(self, calendar, frame, ts):
        if not fits(calendar, frame):
            return
        rule = rule_for(calendar, frame)
        opens, closes = rule.bucket(ts)
        assert rule.bucket(closes)[0] == closes
        assert rule.bucket(opens - 1)[1] == opens

    @given(calendars, frames, instants)
    def test_edges_are_whole_seconds_so_one_second_buckets_nest(self, calendar, frame, ts):
        if not fits(calendar, frame):
            return
        opens, closes = rule_for(calendar, frame).bucket(ts)
        assert opens % NS == closes % NS == 0
        fine = rule_for(calendar, "1s").bucket(ts)
        assert fine == (ts // NS * NS, ts // NS * NS + NS)
        assert opens <= fine[0]
        assert fine[1] <= closes

    @given(calendars, frames, frames, instants)
    def test_what_the_plan_says_nests_does(self, calendar, fine, coarse, ts):
        if not (nests(fine, coarse) and fits(calendar, fine) and fits(calendar, coarse)):
            return
        inner, outer = rule_for(calendar, fine).bucket(ts), rule_for(calendar, coarse).bucket(ts)
        assert outer[0] <= inner[0]
        assert inner[1] <= outer[1]

    @given(calendars, frames, instants)
    def test_no_bucket_reaches_over_the_edge_of_a_sitting_but_days_and_longer(self, calendar, frame, ts):
        if not frame.is_intraday or not fits(calendar, frame):
            return
        opens, closes = rule_for(calendar, frame).bucket(ts)
        assert closes - opens <= frame.width_ns
        sessions = Sessions(calendar)
        inside = sessions.at(ts)
        if inside is not None:
            assert inside.open <= opens
            assert closes <= inside.close
            assert closes - opens == frame.width_ns or closes == inside.close
        else:
            assert sessions.at(opens) is None
            assert sessions.at(closes - 1) is None

    @given(calendars, frames, st.lists(recent, max_size=5), st.integers(10**9, 2 * 10**9))
    @settings(max_examples=40)
    def test_a_column_of_instants_gives_what_each_alone_gives(self, calendar, frame, spread, start):
        if not fits(calendar, frame):
            return
        near = [start * NS + step * 1_234_567_890_123 for step in range(40)]
        rule = rule_for(calendar, frame)
        alone = rule_for(calendar, frame, rule.sessions)
        for instants in (near, near[:1], spread, near + spread):
            column = np.array(instants, np.int64)
            opens, closes = rule.buckets(column)
            assert opens.dtype == closes.dtype == np.int64
            assert list(zip(opens.tolist(), closes.tolist(), strict=True)) == [alone.bucket(ts) for ts in instants]
            assert column.tolist() == instants

    @given(calendars, frames, st.permutations(range(8)), instants)
    @settings(max_examples=60)
    def test_the_order_of_questions_does_not_matter(self, calendar, frame, order, ts):
        if not fits(calendar, frame):
            return
        asked = [ts + hop * 37 * 3600 * NS * (1 if hop % 2 else -400) for hop in range(8)]
        rule = rule_for(calendar, frame)
        answers = {hop: rule.bucket(asked[hop]) for hop in order}
        assert all(rule_for(calendar, frame, rule.sessions).bucket(asked[hop]) == answers[hop] for hop in order)

    @pytest.mark.parametrize("ts", [-(2**63), 2**63 - 1])
    def test_an_instant_no_market_reaches_is_an_error(self, ts):
        rule = rule_for(find_calendar("cme_equity"), "1m")
        with pytest.raises(ValueError, match="calendars hold 1690 to 2250"):
            rule.bucket(ts)
        with pytest.raises(ValueError, match="calendars hold 1690 to 2250"):
            rule.buckets(np.array([0, ts]))
        assert rule.bucket(0) == (0, 60 * NS)

    def test_a_calendar_whose_holidays_leave_nothing_says_so(self):
        table = {"zone": "UTC", "days": ["mon"], "sittings": [{"open": "08:00", "close": "09:00"}]}
        mondays = [dt.date(2020, 1, 6) + dt.timedelta(days=7 * week) for week in range(520)]
        with pytest.raises(ValueError, match="has no sittings around the year 2024"):
            rule_for(calendar_from("mine", table).with_holidays(mondays), "1d").bucket(1_718_200_000 * NS)


# --- the wall clock as the oracle ------------------------------------------------------------------------------------


def wall_clock_week(calendar: Calendar, step: int) -> list[tuple[int, int] | None]:
    """For each step of a week (from Monday 00:00 local): the sitting there and how many days on its trading day is."""
    week: list[tuple[int, int] | None] = [None] * (7 * DAY // step)
    for number, sitting in enumerate(calendar.sittings):
        for day in sitting.days:
            second = day * DAY + sitting.open - (DAY if sitting.close <= sitting.open else 0)
            while second < day * DAY + sitting.close:
                week[second % (7 * DAY) // step] = (number, day - second // DAY)
                second += step
    return week


def wall_clock(zone: str, first: int, last: int, step: int) -> list[tuple[int, int]]:
    """For each step from `first` to `last` (UTC seconds): the place in the local week, and the local date."""
    info = ZoneInfo(zone)
    local = (dt.datetime.fromtimestamp(second, info) for second in range(first, last, step))
    return [((t.weekday() * DAY + t.hour * 3600 + t.minute * 60) // step, t.toordinal()) for t in local]


def walk(calendar: Calendar, local: list[tuple[int, int]], step: int) -> tuple[list[object], list[object]]:
    """For each step its stretch (trading day and sitting; None between sittings) and its trading day."""
    week = wall_clock_week(calendar, step)
    stretches: list[object] = []
    for place, date in local:
        here = week[place]
        stretches.append(None if here is None else (date + here[1], here[0]))
    return stretches, [None if stretch is None else stretch[0] for stretch in stretches]


def grouped(days: list[object], group: Callable[[int], object]) -> list[object]:
    """The group of each step; the time between two sittings of one group belongs to it, any other is None."""
    keys = [None if day is None else group(day) for day in days]
    last = 0
    for place in range(1, len(keys)):
        if keys[place] is not None:
            if keys[place - 1] is None and keys[last] == keys[place]:
                keys[last:place] = [keys[place]] * (place - last)
            last = place
    return keys


def runs(times: np.ndarray, keys: list[object]) -> tuple[np.ndarray, np.ndarray]:
    """For each time, when the run of its key began and ended; -1 in the runs at either end, which the walk cuts."""
    starts = [place for place in range(1, len(keys)) if keys[place] != keys[place - 1]][1:-1]
    begin, end = np.full(len(times), -1, np.int64), np.full(len(times), -1, np.int64)
    for low, high in pairwise(starts):
        begin[low:high], end[low:high] = times[low], times[high]
    return begin, end


def compare(zone_calendars: list[Calendar], first: int, last: int, step: int, groups: dict[str, Group]) -> int:
    """Compare every timeframe's buckets with the walk's in calendars of one zone; returns how many it compared."""
    local = wall_clock(zone_calendars[0].zone, first, last, step)
    times = np.arange(first, last, step)
    compared = 0
    for calendar in zone_calendars:
        sessions = laid_out(calendar)
        stretches, days = walk(calendar, local, step)
        begin, end = runs(times, stretches)
        for name in ("5m", "15m", "1h", "4h", "12h"):
            frame = Timeframe.parse(name)
            if fits(calendar, frame):
                opens = begin + (times - begin) // frame.seconds * frame.seconds
                compared += same(sessions, frame, times, begin >= 0, opens, np.minimum(opens + frame.seconds, end))
        for name, group in groups.items():
            begin, end = runs(times, grouped(days, group))
            compared += same(sessions, Timeframe.parse(name), times, begin >= 0, begin, end)
    return compared


@lru_cache(maxsize=4)
def laid_out(calendar: Calendar) -> Sessions:
    return Sessions(calendar)


def same(sessions: Sessions, frame: Timeframe, times, known, expected_opens, expected_closes) -> int:
    calendar = sessions.calendar
    opens, closes = rule_for(calendar, frame, sessions).buckets(times * NS)
    assert np.array_equal(opens[known], expected_opens[known] * NS), (calendar.name, str(frame))
    assert np.array_equal(closes[known], expected_closes[known] * NS), (calendar.name, str(frame))
    return int(known.sum())


Group = Callable[[int], object]
DAYS: dict[str, Group] = {"1d": lambda day: day}
ALL: dict[str, Group] = DAYS | {
    "1w": lambda day: (day - 1) // 7,
    "1mo": lambda day: dt.date.fromordinal(day).isoformat()[:7],
}


@pytest.mark.parametrize("zone", ZONES)
def test_around_every_change_of_the_clock_buckets_are_what_the_wall_clock_says(zone, four_zones, at):
    changes = transitions(ZoneInfo(zone), at(f"{YEARS[0]}-01-01"), at(f"{YEARS[1]}-01-01"))
    assert len(changes) == 2 * (YEARS[1] - YEARS[0])
    for change in changes:
        second = change.ts_ns // NS // 3600 * 3600
        assert compare(four_zones[zone], second - 4 * DAY, second + 3 * DAY, 300, DAYS) > 5000


@pytest.mark.parametrize("zone", ZONES)
def test_through_a_whole_year_days_weeks_and_months_are_what_the_wall_clock_says(zone, four_zones, at):
    assert compare(four_zones[zone], at("2023-11-01") // NS, at("2025-01-15") // NS, 300, ALL) > 1_000_000


@pytest.mark.skipif(not LONG, reason="every minute of 20 years in four zones takes minutes: TICKLOOM_LONG=1")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("year", range(*YEARS))
@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_of_twenty_years(zone, year, four_zones, at):
    first, last = at(f"{year}-01-01") // NS - 62 * DAY, at(f"{year + 1}-01-01") // NS + 62 * DAY
    assert compare(four_zones[zone], first, last, 60, ALL) > 5_000_000
