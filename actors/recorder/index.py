"""The index of a segment: what a scan found, kept beside it so that the next reader need not scan.

An index is a cache. It is used only if it is whole and the segment still has the size and modification time it was
made for; otherwise the segment is scanned again. It may be deleted at any time. Only closed segments get one. What it
says is checked once more when units are read: every unit's checksum is.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path

import msgspec
import numpy as np

from tickloom.actors.recorder.segment import COLUMNS, Damage, Scan, scan
from tickloom.messages.records import SegmentHeader

_MAGIC = b"tickloom index 1\n"
_MAX_BYTES = 1 << 30


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    size: int
    mtime_ns: int
    header: SegmentHeader | None
    first: int
    table: bytes
    damages: tuple[Damage, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_Stored] = msgspec.msgpack.Decoder(_Stored)


def index_path(segment: Path) -> Path:
    """Return where a segment's index lies."""
    return segment.with_name(segment.name + ".index")


def save(found: Scan) -> bool:
    """Write the index of a closed segment; return whether it was written.

    A log that may only be read has no index written for it: every reader scans.
    """
    if not found.sealed:
        return False
    stored = _Stored(
        found.size, found.path.stat().st_mtime_ns, found.header, found.first, found.table.tobytes(), found.damages
    )
    body = _encoder.encode(stored)
    target = index_path(found.path)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(_MAGIC + b"%08x\n" % zlib.crc32(body) + body)
        partial.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        return False
    return True


def load(segment: Path) -> Scan | None:
    """Return what the index says, or None when there is none that fits the segment as it is now."""
    try:
        state = segment.stat()
        with index_path(segment).open("rb") as file:
            data = file.read(_MAX_BYTES)
    except OSError:
        return None
    start = len(_MAGIC) + 9
    body = data[start:]
    if data[:start] != _MAGIC + b"%08x\n" % zlib.crc32(body):
        return None
    try:
        stored = _decoder.decode(body)
    except msgspec.MsgspecError:
        return None
    if (stored.size, stored.mtime_ns) != (state.st_size, state.st_mtime_ns):
        return None
    table = np.frombuffer(stored.table, np.int64).reshape(-1, len(COLUMNS))
    return Scan(segment, stored.size, stored.header, stored.first, table, stored.damages, None, sealed=True)


def load_or_scan(segment: Path, *, keep: bool = True) -> Scan:
    """Return what a segment holds, from its index or by a scan whose result is kept as the index if `keep`.

    Raises:
        ForeignFile, NewerFormat: see `scan`.
        OSError: the segment cannot be read.
    """
    found = load(segment)
    if found is None:
        found = scan(segment)
        if keep:
            save(found)
    return found


def drop(segment: Path) -> None:
    """Remove a segment's index, if it has one."""
    index_path(segment).unlink(missing_ok=True)
