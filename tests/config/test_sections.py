"""The sections: defaults that hold, rules that need more than one key, and no way to send a token in the clear."""

from __future__ import annotations

import msgspec
import pytest

from tickloom.config.fields import SettingsError, fields_of
from tickloom.config.sections import (
    SECTIONS,
    GatewaySettings,
    SessionSettings,
    SupervisionSettings,
    is_loopback,
)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_section_has_defaults_within_its_own_limits_and_says_what_it_is_for(section):
    assert section()
    assert section.__doc__
    for field in fields_of(section):
        assert field.check(field.default) == field.default
        assert field.description.endswith("."), field.key
        assert (field.low is None) == (field.kind not in ("int", "float")), field.key


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_a_section_cannot_be_changed(section):
    with pytest.raises(AttributeError):
        setattr(section(), fields_of(section)[0].name, None)


def test_no_key_is_for_a_secret():
    words = ("token", "key", "password", "secret", "username")
    found = [field.name for section in SECTIONS for field in fields_of(section) if field.name.startswith(words)]
    assert found == ["token_s", "token_redaction"]  # a threshold and a flag


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "https://rtc.topstepx.com/hubs/market",
            "wss://x.example:8443/hub",
            "http://127.0.0.1:5000/hub",
            "ws://localhost/hub",
            "http://[::1]:9/hub",
            "http://127.8.9.1/hub",
        ],
    )
    def test_encrypted_ones_and_plain_ones_to_this_machine_are_accepted(self, url):
        assert GatewaySettings(market_hub_url=url).market_hub_url == url

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("http://rtc.topstepx.com/hubs/market", "plain text (http) to rtc.topstepx.com"),
            ("ws://192.168.1.5/hub", "use wss"),
            ("http://localhost.evil.com/hub", "plain text"),
            ("http://127.0.0.1.evil.com/hub", "plain text"),
            ("http://0.0.0.0/hub", "plain text"),
            ("ftp://x/hub", "starts with https://"),
            ("rtc.topstepx.com/hubs", "starts with https://"),
            ("https:///hub", "starts with https://"),
            ("https://x:99999/hub", "is not an address"),
            ("", "is not an address"),
        ],
    )
    def test_anything_else_is_refused(self, url, said):
        with pytest.raises(SettingsError) as caught:
            GatewaySettings(market_hub_url=url)
        assert "gateway.market_hub_url" in str(caught.value)
        assert said in str(caught.value)

    @pytest.mark.parametrize(
        "url",
        [
            "https://user:canary@x.example/",
            "https://canary@x.example/",
            "https://x.example/?access_token=canary",
            "https://x.example/#canary",
        ],
    )
    def test_one_that_carries_a_credential_is_refused_without_showing_it(self, url):
        with pytest.raises(SettingsError, match=r"bare address of x.example") as caught:
            GatewaySettings(api_url=url)
        assert "canary" not in str(caught.value)

    def test_the_rest_address_is_no_websocket(self):
        with pytest.raises(SettingsError, match=r"gateway.api_url"):
            GatewaySettings(api_url="wss://x.example/")

    def test_the_token_travels_in_the_header_unless_told_otherwise(self):
        assert GatewaySettings().auth_transport == "header"
        assert GatewaySettings(auth_transport="query").auth_transport == "query"

    @pytest.mark.parametrize(
        ("host", "loopback"),
        [("LOCALHOST", True), ("::1", True), ("127.255.0.1", True), ("::", False), ("example", False)],
    )
    def test_loopback_is_decided_without_looking_names_up(self, host, loopback):
        assert is_loopback(host) is loopback


class TestRulesOfTwoKeys:
    def test_a_server_timeout_must_be_longer_than_the_keepalive(self):
        with pytest.raises(
            SettingsError, match=r"gateway.server_timeout_s is 10; it must be longer than gateway.keepalive_s \(15\)"
        ):
            GatewaySettings(server_timeout_s=10)

    def test_a_cap_must_not_be_below_its_base(self):
        with pytest.raises(SettingsError, match=r"gateway.reconnect_cap_s is 1; it must not be below"):
            GatewaySettings(reconnect_base_s=5, reconnect_cap_s=1)
        with pytest.raises(SettingsError, match=r"supervision.max_reset_timeout_s is 1; it must not be below"):
            SupervisionSettings(max_reset_timeout_s=1)
        with pytest.raises(SettingsError, match=r"supervision.backoff_cap_s is 1; it must not be below"):
            SupervisionSettings(backoff_base_s=2, backoff_cap_s=1)


class TestSession:
    def test_timeframes_are_canonical_sorted_and_unique(self):
        assert SessionSettings(timeframes=["1hr", "60s", "1m", "5sec"]).timeframes == ("5s", "1m", "1h")

    def test_an_unknown_timeframe_is_named_with_the_nearest(self):
        with pytest.raises(
            SettingsError, match=r"session.timeframes: timeframe '5minits' is unknown: did you mean '5m'"
        ):
            SessionSettings(timeframes=["5minits"])

    def test_none_at_all_is_refused(self):
        with pytest.raises(SettingsError, match="no timeframe given"):
            SessionSettings(timeframes=[])

    def test_contracts_come_once_each_in_the_order_given(self):
        assert SessionSettings(contracts=["B.1 ", "A.1", "B.1"]).contracts == ("B.1", "A.1")

    @pytest.mark.parametrize("contract", ["", " ", "CON F", "../etc", "a\\b", "a\0b"])
    def test_an_id_that_could_not_be_one_is_refused(self, contract):
        with pytest.raises(SettingsError, match=r"session.contracts has an id"):
            SessionSettings(contracts=["CON.F.US.MNQ.Z25", contract])

    def test_replacing_a_value_checks_it_again(self):
        with pytest.raises(SettingsError, match=r"session.grace_ms is -1"):
            msgspec.structs.replace(SessionSettings(), grace_ms=-1)
