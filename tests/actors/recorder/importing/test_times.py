from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from tickloom.actors.recorder.importing.times import Beyond, choose_format, is_valid, to_ns

BASE = 1_378_072_800_083_000_000


def read(name, texts, day=None):
    form = choose_format(name, texts[0], day)
    return to_ns(pa.array(texts).cast(form.arrow), form).tolist(), form


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1378072800", BASE // 10**9 * 10**9),
        ("1378072800.083", BASE),
        ("1378072800083", BASE),
        ("1378072800083.0001", BASE + 100),
        ("1378072800083000", BASE),
        ("1378072800083000000", BASE),
        ("1378072800083000001", BASE + 1),
    ],
)
def test_numbers_tell_their_unit_and_keep_every_digit(text, ns):
    found, form = read("auto", [text])
    assert found == [ns]
    assert form.is_utc


@pytest.mark.parametrize(
    ("text", "ns", "zoned"),
    [
        ("2013-09-01 22:00:00.083", BASE, False),
        ("2013-09-01T22:00:00.083000001", BASE + 1, False),
        ("2013-09-01T22:00:00.083Z", BASE, True),
        ("2013-09-01 17:00:00.083-05:00", BASE, True),
    ],
)
def test_texts_are_read_with_and_without_a_zone(text, ns, zoned):
    found, form = read("auto", [text])
    assert (found, form.zoned) == ([ns], zoned)


def test_times_of_day_need_their_date():
    with pytest.raises(ValueError, match="need a date"):
        choose_format("ms-of-day", "276", None)
    found, form = read("ms-of-day", ["276", "86392934"], date(2013, 10, 7))
    assert found == [1_381_104_000_276_000_000, 1_381_190_392_934_000_000]
    assert not form.is_utc
    assert read("auto", ["276"], date(2013, 10, 7))[0] == [1_381_104_000_276_000_000]


def test_a_pattern_is_followed_and_its_fraction_kept():
    found, _ = read("%Y%m%d %H%M%S", ["20130901 220000.083", "20130901 220000.0830001"])
    assert found == [BASE, BASE + 100]
    assert read("%m/%d/%Y %H:%M:%S", ["09/01/2013 22:00:00"])[0] == [BASE // 10**9 * 10**9]
    assert read("%m/%d/%Y %H:%M:%S%z", ["09/01/2013 17:00:00-0500"])[0] == [BASE // 10**9 * 10**9]


@pytest.mark.parametrize("text", ["20130901", "17:00:00", "yesterday", "12/31/2013"])
def test_what_may_be_anything_is_asked_about(text):
    with pytest.raises(ValueError, match="--time-format"):
        choose_format("auto", text, None)


@pytest.mark.parametrize(
    ("name", "good", "beyond"),
    [
        ("s", "1763735400", ["1763735400000", "-9000000000", "8835984000", "99999999999999999999"]),
        ("ns", "1763735400000000000", ["99999999999999999999", "9223372036854775807", "8835984000000000000"]),
        ("iso", "2025-11-21 14:30:00", ["2250-01-01 00:00:00", "2262-04-11 23:00:00", "9999-01-01", "1690-12-31"]),
        ("%Y%m%d %H%M%S", "20251121 143000", ["99991231 000000", "00010101 000000", "22500101 000000"]),
    ],
)
def test_a_time_in_years_that_no_calendar_holds_is_not_taken_for_one_of_another_century(name, good, beyond):
    form = choose_format(name, good, None)
    for text in beyond:
        assert not is_valid(text, form)
        with pytest.raises((Beyond, pa.ArrowInvalid)):
            to_ns(pa.array([good, text]).cast(form.arrow), form)
    assert "years 1691 to 2249" in form.wanted


def test_times_of_day_count_beyond_no_year_either():
    form = choose_format("s-of-day", "0", date(2249, 12, 31))
    assert is_valid("86399", form)
    assert not is_valid("86400", form)


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="no time format 'minutes'"):
        choose_format("minutes", "1", None)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("ms", "1378072800083", ["", "x", "1e9", "1378072800083.0000001", "--5"]),
        ("iso", "2013-09-01 17:00:00", ["2013-13-01 17:00:00", "2013-09-01 25:00:00", "2013-09-01 17:00:00Z", ""]),
        ("%H:%M:%S", "17:00:00", ["17.00.00", "25:00:00", ""]),
    ],
)
def test_the_slow_rule_tells_good_cells_from_bad(name, good, bad):
    form = choose_format(name, good, None)
    assert is_valid(good, form)
    assert [text for text in bad if is_valid(text, form)] == []
    assert form.wanted
