"""`--dashboard`: where the dashboard is served, and the key that lets an open page go on with the next session.

The key is in the user's configuration folder, readable by nobody else, and is replaced after `KEY_DAYS`. It opens
the dashboard, which shows and changes nothing; it has nothing to do with the gateway's account. Where it cannot be
kept, each session has its own, and an open page asks for the new address.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from tickloom.config.places import config_home
from tickloom.config.secrets import Secret
from tickloom.errors import UsageError

Dashboard = Annotated[
    str | None,
    typer.Option(
        "--dashboard",
        metavar="PORT|off",
        help="Port of the dashboard on 127.0.0.1 (0: any that is free), or off.",
        show_default=False,
    ),
]

KEY_DAYS: Final = 30
_DAY_S: Final = 86_400
_KEY_BYTES: Final = 32


def where(asked: str | None, *, usual: int | None = None) -> dict[str, object]:
    """Return the settings that `--dashboard` stands for.

    Args:
        asked: what was given; None leaves it to the settings, or to `usual`.
        usual: serve it on this port, or on any that is free when that one is taken.

    Raises:
        UsageError: it is neither a port nor `off`.
    """
    if asked is None:
        return {} if usual is None else {"http.enabled": True, "http.port": usual, "http.port_fallback": True}
    if asked == "off":
        return {"http.enabled": False}
    if not (asked.isascii() and asked.isdigit() and int(asked[:6]) <= 65_535):
        raise UsageError(f"--dashboard {asked}: give a port from 0 to 65535, or off")
    return {"http.enabled": True, "http.port": int(asked)}


def browser_key(env: Mapping[str, str] | None = None, now: float | None = None) -> Secret | None:
    """Return the key that cookies are made from, made or renewed if need be; None where it cannot be kept.

    Args:
        env: the environment; `os.environ` by default.
        now: seconds since the epoch; by default the system's clock.
    """
    path = config_home(os.environ if env is None else env) / "dashboard.key"
    try:
        return _kept(path, time.time() if now is None else now) or _made(path)
    except OSError:
        return None


def _kept(path: Path, now: float) -> Secret | None:
    """Return the key in the file, unless it is old, was readable by others, or is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    owner = os.getuid() if hasattr(os, "getuid") else found.st_uid
    private = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077 and found.st_uid == owner
    if not private or not 0 <= now - found.st_mtime < KEY_DAYS * _DAY_S:
        return None
    text = path.read_text("ascii", errors="replace").strip()
    return Secret(text) if len(text) >= _KEY_BYTES else None


def _made(path: Path) -> Secret:
    """Write a new key, whole or not at all."""
    key = secrets.token_urlsafe(_KEY_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(f"{key}\n")
    draft.replace(path)
    return Secret(key)
