from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tickloom.messages.stamps import StampParser, format_stamp, parse_stamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NS = 1_000_000_000


def oracle(when: datetime, extra_ns: int) -> int:
    """Nanoseconds by datetime's own arithmetic, to the microsecond, plus what it cannot hold."""
    delta = when - EPOCH
    return (delta.days * 86_400 + delta.seconds) * NS + delta.microseconds * 1000 + extra_ns


zones = st.one_of(
    st.just("Z"),
    st.builds(
        lambda sign, hour, minute: f"{sign}{hour:02}:{minute:02}",
        st.sampled_from("+-"),
        st.integers(0, 23),
        st.integers(0, 59),
    ),
)


def zone_of(text: str) -> timezone:
    if text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)


@st.composite
def stamps(draw: st.DrawFn) -> tuple[str, int]:
    """A stamp, and what it means according to datetime."""
    zone = draw(zones)
    when = draw(st.datetimes(datetime(1678, 1, 3), datetime(2261, 12, 29), timezones=st.just(zone_of(zone)))).replace(
        microsecond=0
    )
    digits = draw(st.text("0123456789", max_size=9))
    fraction = int(digits.ljust(9, "0"))
    text = when.strftime("%Y-%m-%dT%H:%M:%S") + (f".{digits}" if digits else "") + zone
    return text, oracle(when, fraction)


@given(stamps())
def test_a_stamp_means_what_datetime_says_and_keeps_all_nine_digits(stamp):
    text, expected = stamp
    assert parse_stamp(text) == expected
    assert StampParser().one(text) == expected


@given(st.lists(stamps(), max_size=120), st.integers(0, 3))
def test_many_at_once_give_what_each_gives_alone(batch, repeats):
    texts = [text for text, _ in batch] * (repeats + 1)
    values, bad = StampParser().many(texts)
    assert bad == []
    assert list(values) == [value for _, value in batch] * (repeats + 1)


@pytest.mark.parametrize("length", [10, 200])
@given(
    start=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
    steps=st.lists(st.integers(0, 3_000_000_000), min_size=1, max_size=40),
    digits=st.integers(0, 9),
    zone=zones,
)
def test_a_stream_of_stamps_is_read_alike_by_the_loop_and_by_the_arrays(length, start, steps, digits, zone):
    ns = oracle(start.replace(tzinfo=UTC), 0)
    texts = []
    for index in range(length):
        ns += steps[index % len(steps)]
        when = EPOCH + timedelta(seconds=ns // NS)
        fraction = f"{ns % NS:09}"[:digits]
        text = when.replace(tzinfo=None).isoformat(timespec="seconds") + (f".{fraction}" if digits else "")
        texts.append(text + (zone if index % 5 else "Z"))
    values, bad = StampParser().many(texts)
    assert bad == []
    assert list(values) == [parse_stamp(text) for text in texts]


garbage = st.one_of(
    st.text(max_size=40),
    st.text("0123456789-:.TZ+", min_size=18, max_size=36),
    stamps().map(lambda stamp: stamp[0][:-1]),
    stamps().map(lambda stamp: stamp[0] + "0"),
    st.builds(
        lambda stamp, at, char: stamp[0][:at] + char + stamp[0][at + 1 :],
        stamps(),
        st.integers(0, 30),
        st.characters(),
    ),
)


@given(st.lists(st.one_of(garbage, stamps().map(lambda stamp: stamp[0])), min_size=1, max_size=150))
@example(["2024-01-01T00:00:00.5Z\x00"] * 60)
@example(["2024-01-01T00:00:00.5Z" + "\x00" * 20] * 60)
@example(["2024-01-01T00:00:00.1234567891+00:00"] * 60)
@example(["2024-01-01T00:00:00.٣Z"] * 60)
@example(["2024-01-01T00:00:60Z", *["2024-01-01T00:00:00Z"] * 60])
@example([*["2024-01-01T00:00:00.1Z"] * 60, "2024-01-01T00:00:61.1Z"])
@example(["2024-01-01T00:00:00.1Z"] * 20 + ["nope"] * 20 + ["2024-02-30T00:00:00Z"] * 20)
def test_garbage_is_none_however_it_is_read_and_spoils_no_neighbour(texts):
    expected = [parse_stamp(text) for text in texts]
    parser = StampParser()
    assert [parser.one(text) for text in texts] == expected
    values, bad = StampParser().many(texts)
    assert bad == [index for index, value in enumerate(expected) if value is None]
    assert list(values) == [value or 0 for value in expected]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "not-a-time",
        "2024-01-01",
        "2024-01-01T00:00:00",  # no zone: none is guessed
        "2024-01-01 00:00:00Z",
        "2024-01-01t00:00:00z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.1234567890Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z",  # a leap second: no clock of ours has it
        "2024-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-00-10T00:00:00Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+0000",
        "2024-01-01T00:00:00+00",
        "2024-01-01T00:00:00.1_0Z",
        "2024-01-01T00:00:00. 10Z",
        "２024-01-01T00:00:00Z",
        "2999-01-01T00:00:00.0000000+00:00",  # beyond 64 bits
        "0001-01-01T00:00:00",  # .NET's DateTime.MinValue
        "0001-01-01T00:00:00Z",
    ],
)
def test_what_is_no_stamp_is_none(text):
    assert parse_stamp(text) is None
    assert StampParser().one(text) is None
    assert StampParser().many([text] * 60)[1] == list(range(60))


def test_the_last_hundred_nanoseconds_of_a_day_stay_in_that_day():
    midnight = parse_stamp("2024-03-01T00:00:00Z")
    assert parse_stamp("2024-02-29T23:59:59.9999999Z") == midnight - 100


def test_many_gives_a_list_for_a_few_and_an_array_for_many():
    text = "2024-01-01T00:00:00.5Z"
    assert isinstance(StampParser().many([text] * 3)[0], list)
    values = StampParser().many([text] * 500)[0]
    assert isinstance(values, np.ndarray)
    assert values.dtype == np.int64
    assert list(StampParser().many([])[0]) == []


def test_the_parser_s_memory_is_bounded():
    parser = StampParser()
    texts = [f"{1700 + n // 300}-01-01T00:{n % 60:02}:{n // 60 % 60:02}.5Z" for n in range(20_000)]
    for text in texts:
        assert parser.one(text) == parse_stamp(text)
    for first in range(0, len(texts), 100):
        parser.many(texts[first : first + 100])
    assert max(map(len, (parser._seconds, parser._forms, parser._days))) <= 1024


@given(st.integers(-9_214_560_000_000_000_000, 9_214_646_399_999_999_999))
def test_format_and_parse_are_inverse(ns):
    assert parse_stamp(format_stamp(ns)) == ns


def test_format_writes_no_digit_too_many():
    assert format_stamp(0) == "1970-01-01T00:00:00Z"
    assert format_stamp(1_500_000_000) == "1970-01-01T00:00:01.5Z"


@pytest.mark.parametrize("ns", [2**63, -(2**63) - 10**18])
def test_format_refuses_what_no_stamp_can_say(ns):
    with pytest.raises(ValueError, match="outside the years"):
        format_stamp(ns)
