from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.recorder.importing.zones import Skipped, to_utc
from tickloom.messages.market import NS

CHICAGO = ZoneInfo("America/Chicago")
MINUTE = 60 * NS


def local(text):
    """A wall-clock time as ns since 1970-01-01 00:00 of that clock."""
    return int((datetime.fromisoformat(text) - datetime(1970, 1, 1)) / timedelta(microseconds=1)) * 1000


def spell(utc):
    return datetime.fromtimestamp(utc / NS, ZoneInfo("UTC")).strftime("%H:%M:%S")


def test_winter_and_summer_have_their_own_offsets():
    found = to_utc(np.array([local("2024-01-15 08:30:00"), local("2024-07-15 08:30:00")]), CHICAGO)
    assert [spell(t) for t in found.utc] == ["14:30:00", "13:30:00"]
    assert found.ambiguous == 0


def test_an_hour_passed_twice_is_told_apart_by_the_clock_stepping_back():
    # 2024-11-03 02:00 daylight time became 01:00 standard time.
    times = ["00:59:59", "01:00:00", "01:30:00", "01:59:59", "01:00:00", "01:30:00", "01:59:59", "02:00:00"]
    found = to_utc(np.array([local(f"2024-11-03 {t}") for t in times]), CHICAGO)
    assert [spell(t) for t in found.utc] == [
        "05:59:59", "06:00:00", "06:30:00", "06:59:59", "07:00:00", "07:30:00", "07:59:59", "08:00:00",
    ]  # fmt: skip
    assert found.ambiguous == 6


def test_a_little_disorder_within_the_hour_is_no_second_pass():
    times = ["01:10:00.500000", "01:10:00.400000", "01:40:00", "01:39:30", "01:05:00", "01:04:59"]
    found = to_utc(np.array([local(f"2024-11-03 {t}") for t in times]), CHICAGO)
    assert [spell(t) for t in found.utc] == ["06:10:00", "06:10:00", "06:40:00", "06:39:30", "07:05:00", "07:04:59"]


def test_an_ambiguous_hour_without_a_step_back_is_its_first_pass():
    found = to_utc(np.array([local("2024-11-03 01:30:00"), local("2024-11-03 02:30:00")]), CHICAGO)
    assert [spell(t) for t in found.utc] == ["06:30:00", "08:30:00"]


def test_each_autumn_is_told_apart_by_itself():
    days = ("2023-11-05", "2024-11-03")
    rows = [local(f"{d} {t}") for d in days for t in ("01:30:00", "01:10:00", "01:20:00")]
    found = to_utc(np.array(rows), CHICAGO)
    assert [spell(t) for t in found.utc] == ["06:30:00", "07:10:00", "07:20:00"] * 2


def test_a_time_that_the_clock_skipped_is_refused_with_its_row():
    times = np.array([local("2024-03-10 01:59:59"), local("2024-03-10 02:30:00"), local("2024-03-10 03:00:00")])
    with pytest.raises(Skipped, match=r"2024-03-10 02:30:00 never was in America/Chicago") as caught:
        to_utc(times, CHICAGO)
    assert caught.value.row == 1


@pytest.mark.parametrize("name", ["America/Chicago", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_rising_utc_times_survive_the_way_there_and_back(name, seconds):
    zone = ZoneInfo(name)
    utc = sorted(seconds)
    there = [datetime.fromtimestamp(t, zone) for t in utc]
    wall = np.array([local(t.replace(tzinfo=None).isoformat()) for t in there], np.int64)
    found = to_utc(wall, zone).utc // NS
    for back, true, moment in zip(found.tolist(), utc, there, strict=True):
        other = moment.replace(fold=1 - moment.fold).utcoffset()
        # Only in an hour passed twice is there a choice; it may be wrong when no step back betrays it.
        assert back == true or (other != moment.utcoffset() and abs(back - true) <= 3600)


def test_a_full_day_with_the_repeated_hour_comes_back_exactly():
    utc = np.arange(local("2024-11-03 04:00:00"), local("2024-11-03 10:00:00"), MINUTE)
    wall = [local(datetime.fromtimestamp(t // NS, CHICAGO).replace(tzinfo=None).isoformat()) for t in utc.tolist()]
    assert to_utc(np.array(wall), CHICAGO).utc.tolist() == utc.tolist()
