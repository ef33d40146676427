"""The truth's own hours: worked out by hand here, from what the clocks on the wall showed."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from tickloom.messages.market import NS
from tickloom.scripts.soaking.hours import Hours
from tickloom.scripts.soaking.products import CHANGE_NS, PRODUCTS, begins

HOUR = 3600 * NS
BY_NAME = {product.calendar: product for product in PRODUCTS}


def utc(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * NS


def hours(calendar: str) -> Hours:
    return Hours(BY_NAME[calendar], utc("2025-11-01T12:00"), utc("2025-11-03T12:00"))


def test_the_change_of_the_clocks_is_when_chicago_says() -> None:
    assert utc("2025-11-02T07:00") == CHANGE_NS
    assert begins(48 * HOUR) == utc("2025-11-01T12:00")
    assert begins(600 * NS) == utc("2025-11-02T06:55")


def test_the_day_on_which_the_clocks_go_back_has_25_hours() -> None:
    opens, closes = hours("24/7@America/Chicago").buckets(np.array([CHANGE_NS]), 0)
    assert (opens[0], closes[0]) == (utc("2025-11-02T05:00"), utc("2025-11-03T06:00"))
    opens, closes = hours("24/7@Europe/London").buckets(np.array([CHANGE_NS]), 0)
    assert (opens[0], closes[0]) == (utc("2025-11-02T00:00"), utc("2025-11-03T00:00"))


def test_hours_are_counted_from_the_open_through_the_change() -> None:
    desk = hours("soak_desk")  # from 18:00 on Saturday, summer time, to 17:00 on Sunday, winter time: 24 hours
    opens, closes = desk.buckets(np.array([utc("2025-11-01T23:00"), CHANGE_NS, utc("2025-11-02T22:59")]), HOUR)
    assert opens.tolist() == [utc("2025-11-01T23:00"), CHANGE_NS, utc("2025-11-02T22:00")]
    assert closes.tolist() == [utc("2025-11-02T00:00"), CHANGE_NS + HOUR, utc("2025-11-02T23:00")]


def test_a_bar_ends_with_its_sitting() -> None:
    hall = hours("soak_hall")  # the overnight sitting ends at 07:45 Chicago, 13:45 UTC
    opens, closes = hall.buckets(np.array([utc("2025-11-03T13:30")]), HOUR)
    assert (opens[0], closes[0]) == (utc("2025-11-03T13:00"), utc("2025-11-03T13:45"))
    opens, closes = hall.buckets(np.array([utc("2025-11-03T13:30")]), 0)
    assert (opens[0], closes[0]) == (utc("2025-11-03T01:00"), utc("2025-11-04T00:15"))


@pytest.mark.parametrize(
    ("calendar", "moment", "is_open"),
    [
        ("cme_equity", "2025-11-02T22:59", False),
        ("cme_equity", "2025-11-02T23:00", True),
        ("soak_hall", "2025-11-03T14:00", False),
        ("soak_desk", "2025-11-01T22:30", False),
        ("24/7@America/Chicago", "2025-11-02T07:30", True),
    ],
)
def test_products_trade_when_their_exchange_does(calendar: str, moment: str, is_open: bool) -> None:
    assert hours(calendar).is_open(utc(moment)) == is_open
