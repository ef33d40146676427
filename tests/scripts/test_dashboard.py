"""`--dashboard`, and the key that lets an open page go on with the next session."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tickloom.errors import UsageError
from tickloom.scripts.dashboard import KEY_DAYS, browser_key, where

NOW = 1_700_000_000.0


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


def text_of(env: dict[str, str], now: float = NOW) -> str:
    key = browser_key(env, now)
    assert key is not None
    return key.reveal()


def file_of(env: dict[str, str]) -> Path:
    return Path(env["XDG_CONFIG_HOME"]) / "tickloom" / "dashboard.key"


def made_at(env: dict[str, str], at: float) -> str:
    text = text_of(env)
    os.utime(file_of(env), (at, at))
    return text


def test_a_port_or_off_or_nothing() -> None:
    assert where("9000") == {"http.enabled": True, "http.port": 9000}
    assert where("0") == {"http.enabled": True, "http.port": 0}
    assert where("off") == {"http.enabled": False}
    assert where("off", usual=8787) == {"http.enabled": False}
    assert where(None) == {}, "the settings decide"


@pytest.mark.parametrize("text", ["", "on", "-1", "65536", "8787x", "٣", "99999999999999999999"])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"--dashboard .*: give a port from 0 to 65535, or off"):
        where(text)


def test_the_usual_port_gives_way_and_one_that_was_asked_for_does_not() -> None:
    assert where(None, usual=8787) == {"http.enabled": True, "http.port": 8787, "http.port_fallback": True}
    assert where("8787", usual=8787) == {"http.enabled": True, "http.port": 8787}


def test_the_key_is_made_once_and_kept_to_oneself(env: dict[str, str]) -> None:
    first = made_at(env, NOW)
    assert len(first) >= 32
    assert text_of(env) == first
    assert stat.S_IMODE(file_of(env).stat().st_mode) == 0o600
    assert [each.name for each in file_of(env).parent.iterdir()] == ["dashboard.key"]


def test_an_old_key_is_replaced(env: dict[str, str]) -> None:
    first = made_at(env, NOW)
    assert text_of(env, NOW + (KEY_DAYS - 1) * 86_400) == first
    assert text_of(env, NOW + KEY_DAYS * 86_400) != first


def test_a_key_from_the_future_or_that_others_could_read_or_that_is_none_is_replaced(env: dict[str, str]) -> None:
    first = made_at(env, NOW + 10)
    assert text_of(env) != first
    second = made_at(env, NOW)
    file_of(env).chmod(0o644)
    assert text_of(env) != second
    file_of(env).write_text("short\n")
    file_of(env).chmod(0o600)
    os.utime(file_of(env), (NOW, NOW))
    assert text_of(env) != "short"


def test_a_link_is_not_followed(env: dict[str, str], tmp_path: Path) -> None:
    made_at(env, NOW)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("k" * 64)
    elsewhere.chmod(0o600)
    os.utime(elsewhere, (NOW, NOW))
    file_of(env).unlink()
    file_of(env).symlink_to(elsewhere)
    assert text_of(env) != "k" * 64
    assert not file_of(env).is_symlink()
    assert elsewhere.read_text() == "k" * 64


def test_where_nothing_can_be_kept_there_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file")
    assert browser_key({"XDG_CONFIG_HOME": str(tmp_path / "config")}, NOW) is None
