"""Settings as a whole: calendars and instruments, what must agree, and the way to plain data and back."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.config.calendars import find_calendar
from tickloom.config.fields import SettingsError
from tickloom.config.sections import GatewaySettings, SessionSettings
from tickloom.config.settings import InstrumentSettings, Settings, settings_from

MNQ = "CON.F.US.MNQ.Z25"
ASX = {"zone": "Australia/Sydney", "days": ["mon", "tue"], "sittings": [{"open": "09:50", "close": "16:30"}]}


sections = st.sampled_from(["session", "gateway", "calendars", "x"])
keys = st.sampled_from(["zone", "contracts", "live", "y"])
leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
plain_data = st.dictionaries(
    sections,
    st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)),
    max_size=3,
)


class TestInstruments:
    def test_a_contract_follows_its_product_unless_told_otherwise(self):
        settings = Settings(
            calendars={"asx": ASX},
            instruments={MNQ: {"calendar": "asx"}, "GC": {"calendar": "24/7@Asia/Tokyo"}},
        )
        assert settings.calendar_for(MNQ).zone == "Australia/Sydney"
        assert settings.calendar_for("CON.F.US.MNQ.H26").name == "cme_equity"
        assert settings.calendar_for("CON.F.US.GC.Z13").zone == "Asia/Tokyo"
        assert settings.calendar_for("BTCUSDT").name == "utc"

    @pytest.mark.parametrize(
        ("text", "tick"),
        [("0.25", (1, 4)), ("0.1", (1, 10)), ("1", (1, 1)), ("0.015625", (1, 64)), ("2.5e-3", (1, 400)), ("", None)],
    )
    def test_a_tick_size_is_exact(self, text, tick):
        assert Settings(instruments={MNQ: {"tick_size": text}}).instrument_for(MNQ).tick == tick

    @pytest.mark.parametrize("text", ["0", "-0.25", "abc", "NaN", "Infinity", "1e-30", "0,25"])
    def test_a_tick_size_that_is_none_is_refused(self, text):
        with pytest.raises(SettingsError, match=f"instruments.{MNQ}.tick_size is '{text}'; it wants a decimal above 0"):
            Settings(instruments={MNQ: {"tick_size": text}})

    def test_a_tick_size_as_a_number_is_refused_because_it_would_not_be_exact(self):
        with pytest.raises(SettingsError, match=r"tick_size is 0.25; it wants a text in quotes"):
            Settings(instruments={MNQ: {"tick_size": 0.25}})

    def test_unknown_keys_and_calendars_are_named_with_the_nearest(self):
        with pytest.raises(SettingsError, match="tik_size is unknown: did you mean 'tick_size'"):
            Settings(instruments={MNQ: {"tik_size": "1"}})
        with pytest.raises(
            SettingsError,
            match=f"instruments.{MNQ}.calendar: calendar 'cme_equty' is unknown: did you mean 'cme_equity'",
        ):
            Settings(instruments={MNQ: {"calendar": "cme_equty"}})

    def test_an_instrument_may_be_given_typed(self):
        assert Settings(instruments={MNQ: InstrumentSettings(tick_size="0.5")}).instrument_for(MNQ).tick == (1, 2)
        with pytest.raises(SettingsError, match="tick_size is 'x'"):
            Settings(instruments={MNQ: InstrumentSettings(tick_size="x")})

    def test_the_id_goes_before_the_root(self):
        settings = Settings(instruments={"MNQ": {"tick_size": "1"}, MNQ: {"tick_size": "2"}})
        assert settings.instrument_for(MNQ).tick == (2, 1)
        assert settings.instrument_for("CON.F.US.MNQ.H26").tick == (1, 1)
        assert settings.instrument_for("CON.F.US.EP.H26") == InstrumentSettings()


class TestAgreement:
    def test_a_timeframe_that_does_not_fit_a_contracts_calendar_is_refused_by_name(self):
        with pytest.raises(
            SettingsError, match=r"session.timeframes: timeframe '7m' divides neither .* 'cme_equity'.*MNQ"
        ) as caught:
            Settings(session=SessionSettings(contracts=(MNQ,), timeframes=("1m", "7m")))
        assert caught.value.key == "session.timeframes"

    def test_ticks_and_volume_fit_every_calendar(self):
        session = SessionSettings(contracts=(MNQ,), timeframes=("100t", "5000v", "1d"))
        assert Settings(session=session).session.timeframes == ("1d", "100t", "5000v")

    def test_a_broken_custom_calendar_is_refused_by_name(self):
        with pytest.raises(
            SettingsError, match="calendar 'asx': zone 'Australia/Sidney' is unknown: did you mean 'Australia/Sydney'"
        ):
            Settings(calendars={"asx": ASX | {"zone": "Australia/Sidney"}})

    def test_a_calendar_may_be_given_typed_and_takes_the_name_of_its_place(self):
        settings = Settings(calendars={"mine": find_calendar("cme_grains")})
        assert settings.calendars["mine"].name == "mine"

    @pytest.mark.parametrize("name", ["calendars", "instruments"])
    def test_a_table_that_is_none_is_refused(self, name):
        with pytest.raises(SettingsError, match=f"{name} is list; it is a section"):
            Settings(**{name: []})


class TestPlainData:
    def test_settings_read_back_from_the_json_of_their_plain_data(self):
        settings = Settings(
            session=SessionSettings(contracts=(MNQ,), timeframes=("1s", "1m")),
            gateway=GatewaySettings(accounts=(1, 2)),
            calendars={"asx": ASX},
            instruments={MNQ: {"tick_size": "0.25", "calendar": "asx"}},
        )
        assert settings_from(json.loads(json.dumps(settings.redacted()))) == settings
        assert settings_from(msgspec.json.decode(msgspec.json.encode(settings.redacted()))) == settings

    def test_an_unknown_key_is_refused_or_passed_over_for_the_log_of_another_version(self):
        plain = {"session": {"graze_ms": 1}}
        with pytest.raises(SettingsError, match=r"session.graze_ms is unknown: did you mean 'grace_ms'"):
            settings_from(plain)
        with pytest.raises(SettingsError, match=r"section \[sesion\] is unknown: did you mean \[session\]"):
            settings_from({"sesion": {}})
        assert settings_from(plain | {"new": {"x": 1}}, ignore_unknown=True) == Settings()

    def test_a_log_of_another_version_is_read_whatever_it_says_of_what_no_bar_depends_on(self):
        plain = Settings().redacted()
        for section, values in (("pressure", {"order": ["ticks"]}), ("http", {"port": -1})):
            changed = plain | {section: plain[section] | values}
            with pytest.raises(SettingsError, match=section):
                settings_from(changed)
            assert settings_from(changed, ignore_unknown=True) == Settings()
        with pytest.raises(SettingsError, match="grace_ms"):
            settings_from(plain | {"session": plain["session"] | {"grace_ms": -1}}, ignore_unknown=True)

    def test_a_section_that_is_no_table_is_refused(self):
        with pytest.raises(SettingsError, match="session is int; it is a section"):
            settings_from({"session": 5})

    def test_a_token_that_strayed_into_a_setting_is_masked_in_the_log(self):
        settings = Settings(gateway=GatewaySettings(ca_file="eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2ln"))
        assert "eyJ" not in json.dumps(settings.redacted())

    @given(plain_data)
    def test_any_plain_data_is_settings_or_one_line_of_error(self, plain):
        line = ""
        try:
            settings_from(plain)
        except SettingsError as error:
            line = str(error)
        assert "\n" not in line

    def test_settings_cannot_be_changed_but_replaced_section_by_section(self):
        settings = Settings()
        with pytest.raises(AttributeError):
            settings.session = SessionSettings()
        assert settings.replace(session=SessionSettings(grace_ms=7)).session.grace_ms == 7
        assert settings.session.grace_ms == 250


def test_what_a_contract_does_not_say_its_product_says():
    settings = settings_from(
        {
            "instruments": {
                "MNQ": {"tick_size": "0.5", "calendar": "utc", "validation": {"band": 0.5, "confirm": 2}},
                "CON.F.US.MNQ.Z25": {"calendar": "cme_equity", "validation": {"confirm": 5}},
            }
        }
    )
    own = settings.instrument_for("CON.F.US.MNQ.Z25")
    assert (own.tick_size, own.calendar, own.validation) == ("0.5", "cme_equity", {"band": 0.5, "confirm": 5})
    assert settings.instrument_for("CON.F.US.MNQ.H26").calendar == "utc"


def test_a_contract_or_product_may_have_rules_of_its_own():
    settings = settings_from(
        {
            "validation": {"band": 0.2, "max_size": 500},
            "instruments": {"MNQ": {"validation": {"max_size": 10}, "price_low": "5000", "price_high": "5e4"}},
        }
    )
    own = settings.validation_for("CON.F.US.MNQ.Z25")
    assert (own.band, own.max_size) == (0.2, 10)
    assert settings.validation_for("CON.F.US.EP.Z25") is settings.validation
    assert settings_from(settings.redacted()) == settings


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"validation": {"bnad": 1}}, r"instruments\.MNQ\.validation\.bnad is unknown: did you mean 'band'\?"),
        ({"validation": {"confirm": 0}}, r"instruments\.MNQ\.validation\.confirm is 0; it wants a whole number from 1"),
        ({"validation": 7}, r"instruments\.MNQ\.validation is int; it is a section"),
        ({"price_low": "cheap"}, r"instruments\.MNQ\.price_low is 'cheap'; it wants a decimal in points"),
        (
            {"price_low": "9", "price_high": "8"},
            r"instruments\.MNQ\.price_low is 9; it must lie below price_high \(8\)",
        ),
        ({"price_low": 9}, r"instruments\.MNQ\.price_low is 9; it wants a text in quotes"),
    ],
)
def test_a_rule_of_its_own_that_cannot_be_is_refused_by_name(entry, message):
    with pytest.raises(SettingsError, match=message):
        settings_from({"instruments": {"MNQ": entry}})
