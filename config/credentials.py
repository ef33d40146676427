"""Where the user name and the API key come from: the environment, a private file, or the system's keyring.

They never come from the command line (every user of a machine can read `/proc/*/cmdline`) and never from the settings
file. The first source that has them wins: environment, then file, then keyring. A source that is there but wrong, a
file others can read, half a pair in the environment, is an error and is not passed over: passing over it would log in
as somebody else.

Each source returns what it found or a sentence saying what is wrong; the sentence is raised by a function that never
held the key, so that no traceback with local variables can show it.
"""

from __future__ import annotations

import importlib
import os
import stat
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from tickloom.config.places import config_home
from tickloom.config.secrets import Secret

USERNAME_VARIABLE = "PROJECT_X_USERNAME"
API_KEY_VARIABLE = "PROJECT_X_API_KEY"
FILE_VARIABLE = "PROJECT_X_CREDENTIALS"
KEYRING_SERVICE = "tickloom"
_MAX_BYTES = 64 * 1024

_HOW = (
    f"set {USERNAME_VARIABLE} and {API_KEY_VARIABLE}, or write username and api_key to {{file}} (mode 0600), "
    f"or run `keyring set {KEYRING_SERVICE} username` and `keyring set {KEYRING_SERVICE} api_key`"
)
_NONE = "no credentials in the environment, a file or the keyring"


class CredentialsError(ValueError):
    """No credentials, or a source of them that must not be used; one sentence: what, where, what to do."""


class NoCredentialsError(CredentialsError):
    """No source has any. Not a fault where none are needed."""


class Credentials(msgspec.Struct, frozen=True):
    """What the gateway's `loginKey` wants. `origin` says in words where it was found, for `doctor` and messages."""

    username: str
    api_key: Secret
    origin: str


class Keyring(Protocol):
    """The one call needed of the `keyring` package."""

    def get_password(self, service_name: str, username: str) -> str | None:
        """Return the entry's password, or None."""


def default_file(env: Mapping[str, str]) -> Path:
    """Return where the credentials file lies unless told otherwise (`$XDG_CONFIG_HOME` is heeded)."""
    return config_home(env) / "credentials.toml"


def load_credentials(
    env: Mapping[str, str] | None = None, file: Path | str | None = None, keyring: Keyring | None = None
) -> Credentials:
    """Find the credentials.

    Args:
        env: the environment; `os.environ` when None.
        file: a TOML file with `username` and `api_key`. None: the file `PROJECT_X_CREDENTIALS` names, else the default
            one if it exists. A file that was named must exist.
        keyring: the keyring to ask; None: the `keyring` package, where it is installed (the extra `keyring`).

    Raises:
        CredentialsError: none found, half a pair found, or a file that others can read.
    """
    found = _first(os.environ if env is None else env, file, keyring)
    del env  # it may hold the key, and a traceback with local variables would show it
    if isinstance(found, str):
        raise NoCredentialsError(found) if found.startswith(_NONE) else CredentialsError(found)
    return found


def _first(env: Mapping[str, str], file: Path | str | None, keyring: Keyring | None) -> Credentials | str:
    """What the first source that has anything says. A source is asked only when those before it had nothing."""
    found = _from_environment(env) or _from_file(env, file) or _from_keyring(keyring)
    if found is not None:
        return found
    extra = "" if keyring is not None or _installed() is not None else " (needs `pip install 'tickloom[keyring]'`)"
    where = file or env.get(FILE_VARIABLE) or default_file(env)
    return f"{_NONE}: {_HOW.format(file=where)}{extra}"


def _from_environment(env: Mapping[str, str]) -> Credentials | str | None:
    username, key = env.get(USERNAME_VARIABLE, "").strip(), env.get(API_KEY_VARIABLE, "").strip()
    if not username and not key:
        return None
    if not username or not key:
        there, missing = (USERNAME_VARIABLE, API_KEY_VARIABLE) if username else (API_KEY_VARIABLE, USERNAME_VARIABLE)
        return f"{there} is set in the environment but {missing} is not: set both, or neither"
    return Credentials(username, Secret(key), "environment")


def _from_file(env: Mapping[str, str], file: Path | str | None) -> Credentials | str | None:
    named = file or env.get(FILE_VARIABLE)
    path = Path(named).expanduser() if named else default_file(env)
    if not named and not path.exists():
        return None
    return _read(path)


def _read(path: Path) -> Credentials | str:
    """Read and parse the file, or say what is wrong with it. The checks are made on the open file, not on its name."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        return f"cannot read the credentials file {path}: {error.strerror or type(error).__name__}"
    try:
        wrong = _unsafe(path, os.fstat(descriptor))
        if wrong:
            return wrong
        content = os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        return f"the credentials file {path} is larger than 64 KB; it should hold username and api_key only"
    return _parse(path, content)


def _unsafe(path: Path, status: os.stat_result) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return f"the credentials file {path} is not a regular file"
    if sys.platform == "win32":
        return None  # mode bits say nothing there; the profile directory's ACL protects the file
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return f"the credentials file {path} can be reached by others (mode {mode:04o}): run `chmod 600 {path}`"
    if status.st_uid not in (os.geteuid(), 0):
        return f"the credentials file {path} belongs to another user (uid {status.st_uid}): make it your own"
    return None


def _parse(path: Path, content: bytes) -> Credentials | str:
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except tomllib.TOMLDecodeError as error:
        # the parser's words may quote the line, and the line may be the key: only the position is passed on
        _, _, place = str(error).rpartition("(")
        return f"the credentials file {path} is not valid TOML ({place.rstrip(')') or 'unknown place'})"
    except UnicodeDecodeError:
        return f"the credentials file {path} is not UTF-8 text"
    if not table.keys() <= {"username", "api_key"}:
        return f"the credentials file {path} has an entry it should not have: it holds username and api_key only"
    values: dict[str, str] = {}
    for name in ("username", "api_key"):
        value = table.get(name)
        if not isinstance(value, str) or not value.strip():
            return f'the credentials file {path} lacks {name}: write {name} = "…" (a text in quotes)'
        values[name] = value.strip()
    return Credentials(values["username"], Secret(values["api_key"]), f"file {path}")


def _installed() -> Keyring | None:
    try:
        module: Keyring = importlib.import_module("keyring")
    except ImportError:
        return None
    return module


def _from_keyring(keyring: Keyring | None) -> Credentials | str | None:
    ring = keyring if keyring is not None else _installed()
    if ring is None:
        return None
    try:
        username, key = (ring.get_password(KEYRING_SERVICE, name) for name in ("username", "api_key"))
    except Exception as error:  # noqa: BLE001 - backends raise what they like: locked, no D-Bus, no backend at all
        if type(error).__name__ == "NoKeyringError":
            return None
        return f"the keyring cannot be read ({type(error).__name__}): unlock it, or set {API_KEY_VARIABLE} instead"
    if not username and not key:
        return None
    if not username or not key:
        missing = "api_key" if username else "username"
        return f"the keyring has only half: run `keyring set {KEYRING_SERVICE} {missing}`"
    return Credentials(username, Secret(key), f"keyring (service {KEYRING_SERVICE})")
