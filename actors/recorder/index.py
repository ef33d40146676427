"""The index of a segment: what a scan found, kept beside it so that the next reader need not scan.

An index is a cache. It is used only if it is whole and the segment still has the size and modification time it was
made for; otherwise the segment is scanned again. It may be deleted at any time. Only closed segments get one. What it
says is checked once more when units are read: every unit's checksum is.

It is a line with two checksums and a length, a summary in MessagePack, and the table of units, which is left unread
until somebody needs it.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from tickloom.actors.recorder.checksum import crc32
from tickloom.actors.recorder.segment import Damage, Scan, scan
from tickloom.actors.recorder.units import COLUMNS, Totals, Units
from tickloom.messages.market import IntArray
from tickloom.messages.records import SegmentHeader

_MAGIC = b"tickloom index 1 "
_LINE = len(_MAGIC) + 8 + 1 + 8 + 1 + 8 + 1


class _Summary(msgspec.Struct, frozen=True, array_like=True):
    size: int
    mtime_ns: int
    header: SegmentHeader | None
    first: int
    totals: Totals
    damages: tuple[Damage, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_Summary] = msgspec.msgpack.Decoder(_Summary)


def index_path(segment: Path) -> Path:
    """Return where a segment's index lies."""
    return segment.with_name(segment.name + ".index")


def save(found: Scan) -> bool:
    """Write the index of a closed segment; return whether it was written.

    A log that may only be read has no index written for it: every reader scans.
    """
    if not found.sealed:
        return False
    mtime = found.path.stat().st_mtime_ns
    summary = _encoder.encode(_Summary(found.size, mtime, found.header, found.first, found.totals, found.damages))
    table = found.units.table.tobytes()
    line = _MAGIC + b"%08x %08x %08x\n" % (crc32(summary), crc32(table), len(summary))
    target = index_path(found.path)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(line + summary + table)
        unfinished.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        return False
    return True


def load(segment: Path) -> Scan | None:
    """Return what the index says, or None when there is none that fits the segment as it is now."""
    try:
        state = segment.stat()
        with index_path(segment).open("rb") as file:
            line = file.read(_LINE)
            parts = line[len(_MAGIC) :].split()
            if not line.startswith(_MAGIC) or len(parts) != 3 or len(line) != _LINE:
                return None
            data = file.read(int(parts[2], 16))
        if parts[0] != b"%08x" % crc32(data):
            return None
        summary = _decoder.decode(data)
    except (OSError, ValueError):  # gone, cut short, or not what it should be: all the same to a cache
        return None
    if (summary.size, summary.mtime_ns) != (state.st_size, state.st_mtime_ns):
        return None
    units = Units(None, partial(_table, segment, _LINE + len(data), parts[1], summary.totals.units))
    return Scan(
        segment, summary.size, summary.header, summary.first, summary.totals, units, summary.damages, None, sealed=True
    )


def _table(segment: Path, start: int, crc: bytes, units: int) -> IntArray:
    """Read the table of an index, or scan the segment when it can no longer be had."""
    with contextlib.suppress(OSError):
        data = index_path(segment).read_bytes()[start:]
        if crc == b"%08x" % crc32(data) and len(data) == units * len(COLUMNS) * 8:
            return np.frombuffer(data, np.int64).reshape(units, len(COLUMNS))
    return scan(segment).units.table


def load_or_scan(segment: Path, *, keep: bool = True) -> Scan:
    """Return what a segment holds, from its index or by a scan whose result is kept as the index if `keep`.

    Raises:
        ForeignFile, NewerFormat: see `scan`.
        OSError: the segment cannot be read.
    """
    found = load(segment)
    if found is None:
        found = scan(segment)
        if keep and save(found):
            found = load(segment) or found
    return found


def drop(segment: Path) -> None:
    """Remove a segment's index, if it has one."""
    index_path(segment).unlink(missing_ok=True)
