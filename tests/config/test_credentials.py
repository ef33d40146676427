"""Credentials come from the environment, a private file or the keyring; what is wrong is said without the key."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from tickloom.config.credentials import Credentials, CredentialsError, default_file, load_credentials
from tickloom.config.secrets import Secret

KEY = "canary-key-123"
ENV = {"PROJECT_X_USERNAME": "trader", "PROJECT_X_API_KEY": KEY}


class Ring:
    """A keyring of known entries that counts how often it was asked."""

    def __init__(self, **entries: str) -> None:
        self.entries = entries
        self.asked = 0

    def get_password(self, service_name: str, username: str) -> str | None:
        self.asked += 1
        assert service_name == "tickloom"
        return self.entries.get(username)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


GOOD = f'username = "trader"\napi_key = "{KEY}"\n'


def refusal(*args, **kwargs) -> str:
    """The message of a refused load, after checking that neither it nor its traceback shows the key."""
    with pytest.raises(CredentialsError) as caught:
        load_credentials(*args, **kwargs)
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in frames.stack if frame.filename.endswith("credentials.py") and frame.name != "refusal"]
    assert ours
    assert all(KEY not in str(frame.locals) for frame in ours)
    assert caught.value.__context__ is None
    message = str(caught.value)
    assert KEY not in message
    assert "\n" not in message
    return message


def test_the_environment_comes_first_and_nothing_else_is_asked(home, tmp_path):
    write(default_file(home), "this file is not even TOML", 0o666)
    ring = Ring(username="other", api_key="other")
    found = load_credentials(ENV | home, keyring=ring)
    assert found == Credentials("trader", Secret(KEY), "environment")
    assert ring.asked == 0


def test_the_default_file_is_read_when_the_environment_has_nothing(home):
    path = write(default_file(home), GOOD)
    assert load_credentials(home, keyring=Ring()) == Credentials("trader", Secret(KEY), f"file {path}")


def test_a_file_named_in_the_environment_or_by_the_caller_is_read(home, tmp_path):
    path = write(tmp_path / "elsewhere.toml", GOOD)
    assert load_credentials(home | {"PROJECT_X_CREDENTIALS": str(path)}).username == "trader"
    assert load_credentials(home, file=path).api_key.reveal() == KEY


def test_the_keyring_comes_last(home):
    found = load_credentials(home, keyring=Ring(username="trader", api_key=KEY))
    assert found == Credentials("trader", Secret(KEY), "keyring (service tickloom)")


def test_credentials_do_not_show_the_key_when_printed():
    assert KEY not in repr(load_credentials(ENV))


def test_with_nothing_anywhere_the_error_says_every_way_to_give_them(home):
    message = refusal(home, keyring=Ring())
    for way in ("PROJECT_X_USERNAME", "PROJECT_X_API_KEY", "credentials.toml", "0600", "keyring set tickloom api_key"):
        assert way in message


@pytest.mark.parametrize(("there", "missing"), [tuple(ENV), tuple(reversed(ENV))])
def test_half_a_pair_in_the_environment_is_an_error_that_names_the_other_half(there, missing, home):
    message = refusal({there: ENV[there]} | home)
    assert message.startswith(there)
    assert missing in message


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666, 0o755])
@pytest.mark.skipif(os.name == "nt", reason="mode bits say nothing on Windows")
def test_a_file_that_others_can_reach_is_refused_with_the_command_that_mends_it(mode, home):
    path = write(default_file(home), GOOD, mode)
    message = refusal(home, keyring=Ring(username="other", api_key="other"))
    assert f"mode {mode:04o}" in message
    assert f"chmod 600 {path}" in message


@pytest.mark.skipif(os.name == "nt", reason="no owners on Windows")
def test_the_check_follows_a_link_to_what_it_opens(home, tmp_path):
    target = write(tmp_path / "target.toml", GOOD, 0o644)
    link = default_file(home)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    assert "mode 0644" in refusal(home)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(home):
    path = write(default_file(home), GOOD)
    os.chown(path, 12_345, 12_345)
    assert "belongs to another user (uid 12345)" in refusal(home)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'username = "t"\napi_key = {KEY}\n', "not valid TOML (at line 2"),
        ('username = "t"\n', "lacks api_key"),
        (f'api_key = "{KEY}"\n', "lacks username"),
        ('username = "t"\napi_key = 7\n', "lacks api_key"),
        (f'username = "t"\napi_key = "{KEY}"\n{KEY} = 1\n', "an entry it should not have"),
        ("", "lacks username"),
    ],
)
def test_a_file_that_is_wrong_is_an_error_without_its_content(text, said, home):
    write(default_file(home), text)
    assert said in refusal(home)


def test_a_file_that_was_named_must_exist(home, tmp_path):
    assert "No such file" in refusal(home, file=tmp_path / "nowhere.toml")


def test_a_directory_and_a_huge_file_are_refused(home, tmp_path):
    assert "not a regular file" in refusal(home, file=tmp_path)
    assert "larger than 64 KB" in refusal(home, file=write(tmp_path / "huge.toml", "#" * 70_000))


def test_text_that_is_not_utf8_is_refused(home, tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes(b'username = "\xfc"')
    path.chmod(0o600)
    assert "not UTF-8" in refusal(home, file=path)


def test_half_a_pair_in_the_keyring_names_the_other_half(home):
    assert "keyring set tickloom api_key" in refusal(home, keyring=Ring(username="trader"))


def test_a_locked_keyring_is_an_error_and_a_missing_backend_is_none(home):
    class Locked(Ring):
        def get_password(self, service_name: str, username: str) -> str | None:
            raise PermissionError(f"locked; secret {KEY}")

    class NoKeyringError(RuntimeError):
        pass

    class Without(Ring):
        def get_password(self, service_name: str, username: str) -> str | None:
            raise NoKeyringError

    with pytest.raises(CredentialsError, match=r"keyring cannot be read \(PermissionError\)") as caught:
        load_credentials(home, keyring=Locked())
    assert KEY not in str(caught.value)
    with pytest.raises(CredentialsError, match="no credentials"):
        load_credentials(home, keyring=Without())


def test_without_the_keyring_package_the_error_names_the_extra(home, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    assert "tickloom[keyring]" in refusal(home)


def test_surrounding_blanks_are_no_part_of_a_key(home):
    env = {"PROJECT_X_USERNAME": " trader ", "PROJECT_X_API_KEY": f"{KEY}\n"}
    assert load_credentials(env) == Credentials("trader", Secret(KEY), "environment")
