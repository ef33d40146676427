"""Where a user's configuration lies."""

from __future__ import annotations

from pathlib import Path

from tickloom.config.places import config_home


def test_the_environment_says_where_else_it_is_under_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_home({}) == tmp_path / ".config" / "tickloom"
    assert config_home({"XDG_CONFIG_HOME": "/etc/xdg"}) == Path("/etc/xdg/tickloom")
    assert config_home({"XDG_CONFIG_HOME": ""}) == tmp_path / ".config" / "tickloom"


def test_a_user_without_a_home_finds_nothing_and_no_error():
    assert not config_home({"XDG_CONFIG_HOME": "~no-such-user-at-all/x"}).exists()
