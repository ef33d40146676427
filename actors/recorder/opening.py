"""What a writer does to a log that is already there: cut the torn tail a crash left, close what is open, learn where
it ends.

Only tails that hold no whole unit are cut; damage is left as it is for `recover`, and reported.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from tickloom.actors.recorder import index, wire
from tickloom.actors.recorder.errors import DamagedLog
from tickloom.actors.recorder.reader import LogReader, TornTail
from tickloom.actors.recorder.segment import Scan, number_of, segments_in
from tickloom.messages.control import AnyControl


class Closed(msgspec.Struct, frozen=True):
    """A segment that will not be written to again."""

    path: Path
    size: int
    created_ns: int


class Opening(msgspec.Struct, frozen=True):
    """The log as a writer found it, after its torn tails were cut.

    Attributes:
        last_seq: the last sequence number in it (None: it is empty).
        next_tick: the arrival number after its last print's.
        last_segment: the number of its last segment, 0 when it has none.
        context: the control records in force at its end.
        closed: its segments, in order.
        cut: tails that were cut off.
        damaged: what does not read back and was left as it is.
    """

    last_seq: int | None
    next_tick: int
    last_segment: int
    context: tuple[AnyControl, ...]
    closed: tuple[Closed, ...]
    cut: tuple[TornTail, ...]
    damaged: tuple[DamagedLog, ...]


def open_directory(directory: Path) -> Opening:
    """Make a log ready to be gone on with. The caller holds its lock.

    Raises:
        ForeignFile, NewerFormat: a segment is not this version's to follow.
        OSError: a segment cannot be read, cut or closed.
    """
    cut = []
    last = 0
    for path in segments_in(directory):
        last = number_of(path) or last
        found = index.load_or_scan(path)
        if not found.sealed:
            torn = close_tail(found)
            if torn is not None:
                cut.append(torn)
    if not segments_in(directory):
        return Opening(None, 0, last, (), (), tuple(cut), ())
    with LogReader(directory) as reader:
        try:
            context = reader.context()
        except DamagedLog:
            header = reader.segments[-1].header
            context = header.context if header is not None else ()
        closed = tuple(
            Closed(s.path, s.size, s.header.created_ns if s.header is not None else 0) for s in reader.segments
        )
        return Opening(reader.last_seq, reader.next_tick, last, context, closed, tuple(cut), reader.damages())


def close_tail(found: Scan) -> TornTail | None:
    """Cut a segment back to its last whole unit and close it; one without a header is removed. Return what was cut.

    Raises:
        OSError: it cannot be done.
    """
    torn = found.torn
    if torn is not None and found.header is None and not len(found) and not found.damages:
        found.path.unlink()
        return TornTail(found.path, torn.offset, torn.length, torn.what)
    with found.path.open("r+b", buffering=0) as file:
        file.truncate(torn.offset if torn is not None else found.size)
        file.seek(0, os.SEEK_END)
        file.write(wire.END)
        os.fsync(file.fileno())
    index.drop(found.path)
    return None if torn is None else TornTail(found.path, torn.offset, torn.length, torn.what)
