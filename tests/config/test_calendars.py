"""Calendars: what comes with the package, what a user may write, and errors that name what is wrong."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.config.calendars import (
    WEEKDAYS,
    CalendarError,
    builtin_calendars,
    calendar_from,
    calendar_name,
    find_calendar,
    product_root,
)
from tickloom.config.fields import SettingsError
from tickloom.config.settings import Settings, settings_from

BASE = {"zone": "America/Chicago", "days": list(WEEKDAYS[:5]), "sittings": [{"open": "17:00", "close": "16:00"}]}


def refusal(**changes) -> str:
    table = {key: value for key, value in (BASE | changes).items() if value is not None}
    with pytest.raises(CalendarError) as caught:
        calendar_from("mine", table)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestBuiltIn:
    def test_the_globex_sessions_are_23_hours_from_sunday_to_friday(self):
        for name in ("cme_equity", "cme_metals", "cme_energy", "cme_fx", "cme_rates"):
            calendar = find_calendar(name)
            (sitting,) = calendar.sittings
            assert calendar.zone == "America/Chicago"
            assert (str(sitting), sitting.seconds, sitting.overnight) == ("17:00-16:00", 23 * 3600, True)
            assert calendar.trading_days == (0, 1, 2, 3, 4)

    def test_grains_have_two_sittings(self):
        assert list(map(str, find_calendar("cme_grains").sittings)) == ["19:00-07:45", "08:30-13:20"]

    def test_utc_and_around_the_clock_have_days_of_24_hours(self):
        for name in ("utc", "24/7"):
            (sitting,) = find_calendar(name).sittings
            assert (str(sitting), sitting.seconds, sitting.days) == ("00:00-24:00", 86_400, (0, 1, 2, 3, 4, 5, 6))

    def test_around_the_clock_takes_any_zone(self):
        calendar = find_calendar("24/7@Asia/Tokyo")
        assert (calendar.zone, calendar.name) == ("Asia/Tokyo", "24/7@Asia/Tokyo")

    def test_every_product_follows_a_calendar_that_exists(self):
        assert {"cme_equity", "cme_metals", "cme_energy", "cme_grains", "cme_fx", "24/7", "utc"} <= set(
            builtin_calendars()
        )
        for contract in ("ES", "GC", "CL", "ZC", "6E", "ZN", "HE"):
            assert calendar_name(contract) in builtin_calendars()

    def test_what_is_returned_may_be_changed_without_changing_the_package(self):
        builtin_calendars().clear()
        assert find_calendar("utc")


@pytest.mark.parametrize(
    ("contract", "root", "name"),
    [
        ("CON.F.US.MNQ.Z25", "MNQ", "cme_equity"),
        ("CON.F.US.ENQ.U25", "ENQ", "cme_equity"),
        ("CON.F.US.EP.U25", "EP", "cme_equity"),
        ("con.f.us.mes.z25", "MES", "cme_equity"),
        ("F.US.GCE", "GCE", "cme_metals"),
        ("CON.F.US.GC.Z13", "GC", "cme_metals"),
        ("CON.F.US.CLE.Z25", "CLE", "cme_energy"),
        ("CON.F.US.ZCE.K26", "ZCE", "cme_grains"),
        ("CON.F.US.EU6.M26", "EU6", "cme_fx"),
        ("CON.F.US.TYA.M26", "TYA", "cme_rates"),
        ("CON.F.US.GLE.M26", "GLE", "cme_livestock"),
        ("ESZ5", "ES", "cme_equity"),
        ("GCZ13", "GC", "cme_metals"),
        ("ES", "ES", "cme_equity"),
        ("6E", "6E", "cme_fx"),
        ("M6EH26", "M6E", "cme_fx"),
        ("BTCUSDT", "BTCUSDT", "utc"),
        ("CON.F.US.XYZ.Z25", "XYZ", "utc"),
        ("", "", "utc"),
        ("....", "", "utc"),
    ],
)
def test_a_contract_follows_its_products_calendar_and_an_unknown_one_utc(contract: str, root: str, name: str):
    assert (product_root(contract), calendar_name(contract)) == (root, name)


@given(st.text())
def test_any_text_has_a_calendar(contract: str):
    assert calendar_name(contract) in builtin_calendars()


class TestUsers:
    def test_a_calendar_reads_back_from_its_plain_data(self):
        table = BASE | {
            "sittings": [
                {"open": "17:10", "close": "07:00"},
                {"open": "09:50", "close": "16:30:30", "days": ["mon", "Friday"]},
            ],
            "breaks": [{"open": "23:45", "close": "00:15"}],
            "holidays": ["2025-12-25", dt.date(2025, 1, 1)],
            "early_closes": {"2025-12-26": "12:30"},
            "title": "Mine",
        }
        calendar = calendar_from("mine", table)
        assert calendar.closed == (dt.date(2025, 1, 1), dt.date(2025, 12, 25))
        assert calendar.early == ((dt.date(2025, 12, 26), 12 * 3600 + 1800),)
        assert calendar.sittings[1].days == (0, 4)
        plain = json.loads(json.dumps(calendar.to_dict()))
        assert calendar_from("mine", plain) == calendar

    @pytest.mark.parametrize("name", sorted(builtin_calendars()))
    def test_every_built_in_calendar_reads_back_from_its_plain_data(self, name: str):
        calendar = find_calendar(name)
        assert calendar_from(name, json.loads(json.dumps(calendar.to_dict()))) == calendar

    def test_a_custom_calendar_goes_before_a_built_in_one_of_its_name(self):
        mine = calendar_from("cme_equity", BASE | {"zone": "Europe/London"})
        assert find_calendar("cme_equity", {"cme_equity": mine}) is mine

    def test_midnight_may_be_written_either_way(self):
        for open_, close in (("00:00", "00:00"), ("24:00", "24:00"), ("00:00", "24:00")):
            (sitting,) = calendar_from("mine", BASE | {"sittings": [{"open": open_, "close": close}]}).sittings
            assert str(sitting) == "00:00-24:00"

    def test_without_days_every_day_is_a_trading_day(self):
        table = {"zone": "UTC", "sittings": [{"open": "08:00", "close": "20:00"}]}
        assert calendar_from("mine", table).trading_days == (0, 1, 2, 3, 4, 5, 6)

    def test_sittings_may_touch_without_overlapping(self):
        table = BASE | {"sittings": [{"open": "16:00", "close": "08:00"}, {"open": "08:00", "close": "16:00"}]}
        assert len(calendar_from("mine", table).sittings) == 2

    def test_holidays_can_be_added_and_are_part_of_the_value(self):
        christmas, eve = dt.date(2025, 12, 25), dt.date(2025, 12, 24)
        calendar = find_calendar("cme_equity").with_holidays([christmas], {eve: 12 * 3600})
        assert calendar.closed == (christmas,)
        assert calendar_from("cme_equity", calendar.to_dict()) == calendar
        assert calendar.with_holidays([christmas]) == calendar


class TestRefused:
    def test_an_unknown_zone_with_the_nearest(self):
        assert "zone 'America/Chcago' is unknown: did you mean 'America/Chicago'?" in refusal(zone="America/Chcago")

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("Sydney", "Australia/Sydney"),
            ("america/new york", "America/New_York"),
            ("../etc/passwd", "UTC"),
            ("", "UTC"),
        ],
    )
    def test_a_zone_by_city_or_case_is_found(self, written: str, meant: str):
        assert f"did you mean '{meant}'" in refusal(zone=written)

    @pytest.mark.parametrize("zone", [None, 7])
    def test_a_missing_zone(self, zone):
        assert "calendar 'mine' lacks its zone" in refusal(zone=zone)

    @pytest.mark.parametrize(
        ("sittings", "named"),
        [
            ([("17:00", "16:00"), ("15:00", "16:00")], "17:00-16:00 and 15:00-16:00 overlap"),
            ([("08:00", "12:00"), ("11:59", "16:00")], "08:00-12:00 and 11:59-16:00 overlap"),
            ([("17:00", "16:00"), ("16:30", "18:00")], "overlap"),
            ([("00:00", "24:00"), ("23:00", "01:00")], "overlap"),
            ([("08:00", "12:00"), ("08:00", "12:00")], "overlap"),
        ],
    )
    def test_overlapping_sittings_are_named(self, sittings, named: str):
        message = refusal(sittings=[{"open": a, "close": b} for a, b in sittings])
        assert named in message
        assert "calendar 'mine'" in message

    def test_an_overlap_of_sunday_into_monday_is_found(self):
        sittings = [
            {"open": "20:00", "close": "08:00", "days": ["mon"]},
            {"open": "09:00", "close": "21:00", "days": ["sun"]},
        ]
        assert "overlap" in refusal(sittings=sittings)

    def test_no_sitting_at_all(self):
        assert "has no sitting" in refusal(sittings=[])
        assert "has no sitting" in refusal(days=[])

    @pytest.mark.parametrize("pause", [("16:30", "16:45"), ("15:45", "16:15"), ("16:00", "17:00"), ("12:00", "12:00")])
    def test_a_break_outside_the_sittings(self, pause: tuple[str, str]):
        message = refusal(breaks=[{"open": pause[0], "close": pause[1]}])
        assert f"break {pause[0]}-{pause[1]} does not lie within a sitting" in message

    @pytest.mark.parametrize("time", ["25:00", "24:01", "12:60", "noon", "", None, 17, "1700"])
    def test_a_time_that_is_none(self, time):
        assert "is not a time of day" in refusal(sittings=[{"open": time, "close": "16:00"}])

    def test_a_day_that_is_none(self):
        assert "day 'wedn' is unknown: did you mean 'wed'?" in refusal(days=["wedn"])
        assert "day 7 is unknown: did you mean" in refusal(days=[7])

    @pytest.mark.parametrize(
        ("day", "meant"), [("mond", "mon"), ("tuez", "tue"), ("monkey", "monday"), ("Sundae", "sunday")]
    )
    def test_a_day_that_only_begins_like_one(self, day, meant: str):
        assert f"day {day!r} is unknown: did you mean '{meant}'?" in refusal(days=["fri", day])

    def test_breaks_that_overlap_in_a_sitting(self):
        breaks = [{"open": "12:00", "close": "13:00"}, {"open": "23:30", "close": "00:30"}]
        calendar_from("mine", BASE | {"breaks": [*breaks, {"open": "13:00", "close": "14:00"}]})
        for more in ({"open": "12:59", "close": "14:00"}, {"open": "00:15", "close": "01:00"}, breaks[0]):
            message = refusal(breaks=[*breaks, more])
            assert message.startswith("calendar 'mine': breaks ")
            assert "overlap" in message

    @pytest.mark.parametrize("breaks", [[("08:00", "12:00")], [("08:00", "10:00"), ("10:00", "12:00")]])
    def test_breaks_that_leave_nothing_of_a_sitting(self, breaks):
        sittings = [{"open": "08:00", "close": "12:00"}, {"open": "13:00", "close": "16:00"}]
        message = refusal(sittings=sittings, breaks=[{"open": a, "close": b} for a, b in breaks])
        assert "takes all of sitting 08:00-12:00: leave the sitting out" in message

    def test_a_sitting_on_no_day(self):
        sittings = [{"open": "08:00", "close": "12:00"}, {"open": "13:00", "close": "16:00", "days": []}]
        assert "sitting 13:00-16:00 is on no day" in refusal(sittings=sittings)

    def test_an_early_close_that_is_none(self):
        day = {"sittings": [{"open": "08:30", "close": "13:05"}]}
        assert "early close 13:06 on 2025-12-24 is later than" in refusal(**day, early_closes={"2025-12-24": "13:06"})
        for time in ("08:30", "07:00"):
            message = refusal(**day, early_closes={"2025-12-24": time})
            assert f"early close {time} on 2025-12-24 is not after that day's open (08:30-13:05)" in message
        overnight = [{"open": "17:00", "close": "16:00"}]
        for time in ("00:00", "16:00"):
            calendar_from("mine", BASE | {"sittings": overnight, "early_closes": {"2025-12-24": time}})

    def test_not_what_a_log_has_of_it(self):
        table = BASE | {"breaks": [{"open": "12:00", "close": "13:00"}] * 2, "early_closes": {"2025-12-24": "16:30"}}
        assert len(calendar_from("mine", table, recorded=True).breaks) == 2
        plain = Settings().redacted() | {"calendars": {"mine": table}}
        assert "mine" in settings_from(plain, ignore_unknown=True).calendars
        with pytest.raises(SettingsError, match="breaks 12:00-13:00 and 12:00-13:00 overlap"):
            settings_from(plain)

    def test_a_date_that_is_none(self):
        assert "'2025-02-30' is not a date" in refusal(holidays=["2025-02-30"])

    def test_an_unknown_key_with_the_nearest(self):
        assert "'siting' is unknown: did you mean 'sittings'?" in refusal(siting=[])

    @pytest.mark.parametrize(
        "changes",
        [
            {"sittings": "17:00-16:00"},
            {"sittings": ["17:00-16:00"]},
            {"sittings": [{"open": "17:00"}]},
            {"sittings": [{"open": "17:00", "close": "16:00", "dayz": []}]},
            {"days": "mon"},
            {"breaks": 7},
            {"early_closes": ["2025-12-24"]},
        ],
    )
    def test_parts_of_the_wrong_shape(self, changes):
        assert refusal(**changes).startswith("calendar 'mine'")

    @pytest.mark.parametrize(("name", "meant"), [("cme_equties", "cme_equity"), ("UTC", "utc"), ("24-7", "24/7")])
    def test_an_unknown_calendar_with_the_nearest(self, name: str, meant: str):
        with pytest.raises(CalendarError, match=f"calendar '{name}' is unknown: did you mean '{meant}'"):
            find_calendar(name)

    def test_an_unknown_zone_around_the_clock(self):
        with pytest.raises(CalendarError, match="did you mean 'Asia/Tokyo'"):
            find_calendar("24/7@Asia/Tokio")
