"""A timeframe has one canonical name, an order, and an error that names the nearest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.config.timeframes import DEFAULT, STANDARD, Timeframe, TimeframeError, Unit, nearest, parse_timeframes

intraday = st.integers(1, 86_400).map(lambda seconds: Timeframe.parse(f"{seconds}s"))
others = st.one_of(
    st.builds(Timeframe, st.integers(1, 366), st.just(Unit.DAY)),
    st.builds(Timeframe, st.integers(1, 53), st.just(Unit.WEEK)),
    st.builds(Timeframe, st.integers(1, 12), st.just(Unit.MONTH)),
    st.builds(Timeframe, st.integers(1, 10**9), st.sampled_from([Unit.TICK, Unit.VOLUME])),
)
timeframes = st.one_of(intraday, others)


@pytest.mark.parametrize("name", STANDARD)
def test_every_standard_name_is_its_own_canonical_name(name: str):
    assert str(Timeframe.parse(name)) == name


def test_the_standard_names_are_in_rising_order():
    assert list(STANDARD) == [str(frame) for frame in sorted(map(Timeframe.parse, STANDARD))]
    assert set(DEFAULT) <= set(STANDARD)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("60s", "1m"),
        ("120m", "2h"),
        ("90m", "90m"),
        ("3600s", "1h"),
        ("1440m", "24h"),
        ("61s", "61s"),
        ("1min", "1m"),
        ("5sec", "5s"),
        ("1hr", "1h"),
        ("4hr", "4h"),
        ("1day", "1d"),
        ("1week", "1w"),
        ("2weeks", "2w"),
        ("1month", "1mo"),
        ("3mon", "3mo"),
        ("15 minutes", "15m"),
        (" 1H ", "1h"),
        ("1D", "1d"),
        ("1Min", "1m"),
        ("05s", "5s"),
        ("100ticks", "100t"),
        ("5000vol", "5000v"),
        ("12mo", "12mo"),
    ],
)
def test_a_name_is_read_and_written_canonically(written: str, canonical: str):
    assert str(Timeframe.parse(written)) == canonical


@pytest.mark.parametrize(("one", "other"), [("24h", "1d"), ("7d", "1w"), ("12mo", "53w"), ("60s", "60t")])
def test_what_looks_alike_but_is_not_the_same_differs(one: str, other: str):
    assert Timeframe.parse(one) != Timeframe.parse(other)


@given(timeframes)
def test_the_canonical_name_reads_back_as_the_same_timeframe(frame: Timeframe):
    assert Timeframe.parse(str(frame)) == frame
    assert Timeframe.parse(frame) is frame


@given(st.integers(1, 86_400))
def test_equal_widths_in_any_unit_are_equal(seconds: int):
    frame = Timeframe.parse(f"{seconds}s")
    assert frame.seconds == seconds
    assert frame.width_ns == seconds * 1_000_000_000
    for unit, size in (("m", 60), ("h", 3600)):
        if seconds % size == 0:
            assert Timeframe.parse(f"{seconds // size}{unit}") == frame


@given(timeframes, timeframes, timeframes)
def test_the_order_is_total(a: Timeframe, b: Timeframe, c: Timeframe):
    assert (a < b) + (b < a) + (a == b) == 1
    assert not (a < b and b < c) or a < c


def test_ties_of_length_go_by_unit_and_activity_comes_last():
    names = ["1v", "1t", "1mo", "1w", "7d", "1d", "24h", "1s"]
    assert [str(frame) for frame in sorted(map(Timeframe.parse, names))] == [
        "1s",
        "24h",
        "1d",
        "7d",
        "1w",
        "1mo",
        "1t",
        "1v",
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("5m", "is_intraday"),
        ("24h", "is_intraday"),
        ("1d", "is_calendar"),
        ("1mo", "is_calendar"),
        ("9t", "is_activity"),
    ],
)
def test_a_timeframe_is_of_exactly_one_kind(name: str, kind: str):
    frame = Timeframe.parse(name)
    assert [k for k in ("is_intraday", "is_calendar", "is_activity") if getattr(frame, k)] == [kind]
    assert bool(frame.width_ns) == frame.is_intraday


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("5minits", "5m"),
        ("1hor", "1h"),
        ("60", "1h"),
        ("m", "1m"),
        ("1.5h", "90m"),
        ("0.5m", "30s"),
        ("-5m", "5m"),
        ("3x", "3m"),
        ("7q", "6m"),
        ("70sx", "72s"),
        ("2dayz", "2d"),
        ("quarter", "1m"),
        ("", "1m"),
        ("½h", "1h"),
    ],
)
def test_an_unknown_name_is_named_with_the_nearest(name: str, meant: str):
    with pytest.raises(TimeframeError) as caught:
        Timeframe.parse(name)
    assert f"'{name}'" in str(caught.value)
    assert f"did you mean '{meant}'" in str(caught.value)


@given(st.text(max_size=60))
def test_the_nearest_is_always_a_timeframe_that_fits_into_a_day(text: str):
    meant = Timeframe.parse(nearest(text))
    assert not meant.is_intraday or 86_400 % meant.seconds == 0


@given(st.text(max_size=60))
def test_any_text_is_a_timeframe_or_one_line_of_error(text: str):
    message = ""
    try:
        Timeframe.parse(text)
    except TimeframeError as error:
        message = str(error)
    assert len(message) < 200


def test_a_bare_capital_m_is_refused_as_ambiguous():
    with pytest.raises(TimeframeError, match="write '5m' for minutes, '5mo' for months"):
        Timeframe.parse("5M")


@pytest.mark.parametrize("name", ["0s", "0t", "25h", "86401s", "367d", "54w", "13mo", "9" * 40 + "s"])
def test_a_count_out_of_range_is_refused_by_name(name: str):
    with pytest.raises(TimeframeError, match=f"timeframe '{name[:20]}"):
        Timeframe.parse(name)


def test_more_than_a_day_of_hours_points_to_days():
    with pytest.raises(TimeframeError, match="whole days are written 1d"):
        Timeframe.parse("48h")


def test_parts_that_are_not_canonical_are_refused():
    with pytest.raises(TimeframeError, match="not in canonical units"):
        Timeframe(60, Unit.SECOND)


@pytest.mark.parametrize("wrong", [None, 5, b"1m"])
def test_what_is_not_text_is_refused(wrong):
    with pytest.raises(TimeframeError, match="is not text"):
        Timeframe.parse(wrong)


def test_several_are_sorted_and_each_comes_once():
    assert [str(frame) for frame in parse_timeframes("1h, 60s,1m,1d,")] == ["1m", "1h", "1d"]
    assert parse_timeframes(["1m", Timeframe.parse("1m")]) == (Timeframe.parse("1m"),)


def test_none_at_all_is_an_error():
    with pytest.raises(TimeframeError, match="no timeframe given"):
        parse_timeframes(" , ")
