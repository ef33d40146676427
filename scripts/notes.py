"""Notes of the sessions that run: how `tickloom top` finds one without being told its address.

A session of the command line that serves its API leaves a note in `~/.config/tickloom/running/`, named by its port,
with the token of the address it printed, and takes it away when it ends. The token lets its holder look at the
session, so the note is readable by its owner alone, like the dashboard's key. A note that was left behind by a session
that was killed is known by nobody answering; it is removed by whoever finds that out. Where no note can be kept, the
address still works.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

from tickloom.config.places import config_home
from tickloom.config.secrets import Secret


class Note(NamedTuple):
    """A session that runs: its port, the token of its start, what started it (`tickloom demo`), and its process."""

    port: int
    token: Secret
    title: str
    pid: int


class _Written(msgspec.Struct, frozen=True):
    """A note as it is in its file."""

    port: int
    token: str
    title: str
    pid: int


def folder(env: Mapping[str, str] | None = None) -> Path:
    """Return where notes lie."""
    return config_home(os.environ if env is None else env) / "running"


@contextmanager
def noted(address: str | None, title: str, place: Path) -> Iterator[None]:
    """Leave a note of a session for as long as the block lasts.

    Args:
        address: of its dashboard, with the token; None: it has none, and there is nothing to note.
        title: the command that started it.
        place: the folder of notes.
    """
    path = None
    if address is not None:
        url = urlsplit(address)
        token = parse_qs(url.query)["token"][0]
        with suppress(OSError):
            path = _leave(_Written(url.port or 0, token, title, os.getpid()), place)
    try:
        yield
    finally:
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def found(place: Path) -> list[tuple[Path, Note]]:
    """Return the notes there are, by port; what is not a note of ours, or not private, is passed over."""
    notes = []
    with suppress(OSError):
        for path in place.glob("*.json"):
            with suppress(OSError, msgspec.DecodeError):
                if _private(path):
                    kept = msgspec.json.decode(path.read_bytes(), type=_Written)
                    notes.append((path, Note(kept.port, Secret(kept.token), kept.title, kept.pid)))
    return sorted(notes, key=lambda each: each[1].port)


def _private(path: Path) -> bool:
    about = path.lstat()
    owner = os.getuid() if hasattr(os, "getuid") else about.st_uid
    return stat.S_ISREG(about.st_mode) and not about.st_mode & 0o077 and about.st_uid == owner


def _leave(note: _Written, place: Path) -> Path:
    """Write a note, whole or not at all."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    path, draft = place / f"{note.port}.json", place / f".{note.port}.{secrets.token_hex(8)}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(note))
    draft.replace(path)
    return path
