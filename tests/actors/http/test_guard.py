"""Who may ask, and who may see."""

from __future__ import annotations

import pytest

from tickloom.actors.http.guard import Guard, pass_for
from tickloom.config.secrets import Secret

GUARD = Guard(8787, Secret("the-token"), Secret("the-key"))


@pytest.mark.parametrize("host", ["127.0.0.1:8787", "localhost:8787", "LOCALHOST:8787", "[::1]:8787"])
def test_the_names_of_this_machine_are_answered(host: str) -> None:
    assert GUARD.refusal([host], []) is None


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["127.0.0.1"],
        ["127.0.0.1:8788"],
        ["127.0.0.1:8787."],
        ["127.0.0.1:08787"],
        ["127.0.0.2:8787"],
        ["localhost.evil.example:8787"],
        ["evil.example:8787"],
        ["evil.example"],
        ["127.0.0.1:8787@evil.example"],
        ["0.0.0.0:8787"],
        ["127.0.0.1:8787", "127.0.0.1:8787"],
        ["127.0.0.1:8787", "evil.example"],
    ],
)
def test_any_other_host_is_refused(hosts: list[str]) -> None:
    assert GUARD.refusal(hosts, []) is not None


def test_only_the_own_origin_is_answered() -> None:
    assert GUARD.refusal(["127.0.0.1:8787"], ["http://127.0.0.1:8787"]) is None
    for origin in (
        "null",
        "",
        "https://127.0.0.1:8787",
        "http://127.0.0.1",
        "http://127.0.0.1:8788",
        "http://localhost:8787",
        "http://127.0.0.1:8787.evil.example",
        "http://evil.example",
    ):
        assert GUARD.refusal(["127.0.0.1:8787"], [origin]) is not None, origin
    assert GUARD.refusal(["127.0.0.1:8787"], ["http://127.0.0.1:8787", "http://evil.example"]) is not None


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_is_refused_unless_its_reader_comes_over(site: str) -> None:
    assert GUARD.refusal(["localhost:8787"], [], site=site) is not None
    assert GUARD.refusal(["localhost:8787"], [], site=site, navigation=True) is None


@pytest.mark.parametrize("site", ["", "none", "same-origin"])
def test_the_own_page_and_tools_without_the_header_are_answered(site: str) -> None:
    assert GUARD.refusal(["localhost:8787"], [], site=site) is None


def test_cookie_and_bearer_admit() -> None:
    cookies = {GUARD.cookie: GUARD.cookie_value}
    assert GUARD.admits(cookies, "")
    assert GUARD.admits({}, "Bearer the-token")
    assert GUARD.admits({}, "bearer the-token")
    assert GUARD.admits({}, f"Bearer {GUARD.cookie_value}")


@pytest.mark.parametrize(
    ("cookies", "authorization"),
    [
        ({}, ""),
        ({}, "Bearer"),
        ({}, "Bearer "),
        ({}, "Bearer the-toke"),
        ({}, "Bearer the-token2"),
        ({}, "Basic the-token"),
        ({}, "the-token"),
        ({"tickloom-8787": ""}, ""),
        ({"tickloom-8787": "the-token"}, ""),
        ({"tickloom-8787": "\udcff"}, ""),
        ({"tickloom-8788": GUARD.cookie_value}, ""),
    ],
)
def test_anything_else_does_not(cookies: dict[str, str], authorization: str) -> None:
    assert not GUARD.admits(cookies, authorization)


def test_the_pass_is_of_one_key_and_one_port_and_does_not_show_the_key() -> None:
    passes = [pass_for(Secret(key), port).reveal() for key in ("a", "b") for port in (1, 2)]
    assert len(set(passes)) == 4
    assert pass_for(Secret("a"), 1).reveal() == passes[0]
    assert "the-key" not in GUARD.cookie_value
    assert "the-token" not in GUARD.cookie_value


def test_a_session_with_the_same_key_admits_the_cookie_of_the_one_before() -> None:
    later = Guard(8787, Secret("another-token"), Secret("the-key"))
    assert later.admits({GUARD.cookie: GUARD.cookie_value}, "")
    assert not later.admits({}, "Bearer the-token")
    stranger = Guard(8787, Secret("the-token"), Secret("another-key"))
    assert not stranger.admits({GUARD.cookie: GUARD.cookie_value}, "")
