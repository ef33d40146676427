"""Moments and speeds as people write them."""

from __future__ import annotations

import math

import pytest

from tickloom.errors import UsageError
from tickloom.scripts.arguments import moment, speed, spelled

NOON = 1_763_726_400_000_000_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2025-11-21T12:00:00", NOON),
        ("2025-11-21 12:00", NOON),
        ("2025-11-21T12:00:00Z", NOON),
        ("2025-11-21T06:00:00-06:00", NOON),
        ("2025-11-21T12:00:00.000001", NOON + 1000),
        ("2025-11-21", NOON - 43_200_000_000_000),
        ("1969-12-31T23:59:59.5", -500_000_000),
    ],
)
def test_a_time_is_utc_unless_it_says(text: str, ns: int) -> None:
    assert moment(text, "--from") == ns


def test_no_time_stays_none() -> None:
    assert moment(None, "--from") is None
    assert spelled(None) is None


@pytest.mark.parametrize("text", ["", "noon", "12:00", "2025-13-01", "1763726400"])
def test_what_is_no_time_is_refused_by_option(text: str) -> None:
    with pytest.raises(UsageError, match=r"--from .*: write a time like"):
        moment(text, "--from")


def test_speeds() -> None:
    assert speed("max", "--speed") == math.inf
    assert speed("0.5", "--speed") == 0.5
    assert speed("60", "--speed") == 60.0


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e300", "fast", ""])
def test_what_is_no_speed_is_refused_by_option(text: str) -> None:
    with pytest.raises(UsageError, match=r"--speed .*: write max, or a number above 0"):
        speed(text, "--speed")


def test_a_stamp_is_spelled_to_the_millisecond() -> None:
    assert spelled(NOON + 123_999_999) == "2025-11-21 12:00:00.123 UTC"
    assert spelled(-1) == "1969-12-31 23:59:59.999 UTC"
