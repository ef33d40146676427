"""The files of the page, read once from the package and served from memory: the event loop never waits for a disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import msgspec

FOLDER: Final = "static"
PAGE: Final = "index.html"
LOCKED: Final = "locked.html"

TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


class Asset(msgspec.Struct, frozen=True):
    """A file: its bytes, its type, and a tag that changes with them."""

    body: bytes
    content_type: str
    etag: str


def load_assets() -> dict[str, Asset]:
    """Return the files by their path below `static/`. Files of other types than the page's are left out."""
    found: dict[str, Asset] = {}
    _gather(files(__package__).joinpath(FOLDER), "", found)
    return found


def _gather(folder: Traversable, prefix: str, into: dict[str, Asset]) -> None:
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            _gather(entry, f"{path}/", into)
        elif (content_type := TYPES.get(path.rpartition(".")[2])) is not None:
            body = entry.read_bytes()
            into[path] = Asset(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
