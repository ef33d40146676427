"""Re-batching closed segments for fast reading, without losing a row.

It needs the log to itself. A segment is replaced by a file that was written, synced and read back; until then the old
one stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa

from tickloom.actors.recorder import index, wire
from tickloom.actors.recorder.care import check
from tickloom.actors.recorder.describe import describe
from tickloom.actors.recorder.errors import LogError
from tickloom.actors.recorder.lock import DirectoryLock
from tickloom.actors.recorder.options import Compression
from tickloom.actors.recorder.packing import MAX_BYTES
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.repair import (
    Aside,
    Rewritten,
    begin,
    clear_partials,
    in_place_of,
    partial_of,
    segments_of,
)
from tickloom.actors.recorder.segment import FOREIGN, Scan, is_foreign, scan, scan_any, some_is_ours
from tickloom.actors.recorder.unpacking import Inconsistent
from tickloom.messages.records import SCHEMA, BatchNote

BATCH_ROWS = 131_072
_WORTH_ROWS = 65_536


class Compaction(msgspec.Struct, frozen=True):
    """What `compact` did: segments re-batched, those left as they were that could not be, and how large the log was and
    is."""

    path: Path
    segments: int
    rewritten: tuple[Rewritten, ...]
    size_before: int
    size_after: int
    left: tuple[Aside, ...]


def compact(path: Path | str, *, compression: Compression | None = None, level: int = 3) -> Compaction:
    """Re-batch closed segments into large batches, which read several times faster, and compress them better.

    Segments that are damaged or not closed are left as they are, and without `compression` those that are large-batched
    already.

    Args:
        path: the log's directory.
        compression: rewrite every closed segment so; None: what needs it, with zstd.
        level: zstd level.

    Raises:
        NoLog, ForeignFile, NewerFormat: there is no log of this version.
        LogInUse: a session writes it.
        LogError: a rewritten segment did not read back as the old one; the old one is left.
        OSError: a file cannot be written.
    """
    directory = Path(path)
    paths = segments_of(directory)
    before = sum(place.stat().st_size for place in paths)
    some_is_ours(paths)
    rewritten = []
    left = []
    lock = DirectoryLock(directory)
    try:
        clear_partials(directory)
        for place in paths:
            found = index.load(place) or scan_any(place)
            why = _unfit(found)
            if why is not None:
                left.append(Aside(place, why))
                continue
            large = len(found) < 2 or found.totals.rows >= len(found) * _WORTH_ROWS
            if not len(found) or (large and compression is None):
                continue
            try:
                with LogReader(place) as reader, in_place_of(place):
                    done = _rebatch(reader, found, wire.UnitEncoder(compression or "zstd", level, threads=True))
                    index.drop(place)
                    partial_of(place).replace(place)
            except Inconsistent as error:
                left.append(Aside(place, f"it is damaged: {error}"))
                continue
            rewritten.append(done)
            index.save(scan(place))
    finally:
        lock.release()
    after = sum(place.stat().st_size for place in paths)
    return Compaction(directory, len(paths), tuple(rewritten), before, after, tuple(left))


def _unfit(found: Scan) -> str | None:
    """Return why a segment must be left as it is."""
    if is_foreign(found):
        return FOREIGN
    if found.damages:
        return f"it is damaged: {found.damages[0].what}"
    return None if found.sealed else "it was not closed in order"


def _rebatch(reader: LogReader, found: Scan, encoder: wire.UnitEncoder) -> Rewritten:
    """Write a whole segment anew in large batches, and check that it holds the same.

    Raises:
        Inconsistent: one of its batches makes no sense.
    """
    assert found.header is not None, "a segment without damage has its header"
    output = begin(found.path, found.header)
    for batch in _glued(_true(reader.whole(found))):
        note = msgspec.structs.replace(describe(batch), n=output.batches)
        output.append(encoder.encode(batch, note), note)
    output.seal()
    index.drop(output.path)
    again = scan(output.path)
    same = msgspec.structs.replace(again.totals, units=found.totals.units) == found.totals
    if not (same and again.sealed and not again.damages):
        raise LogError(f"{output.path} does not hold what {found.path} holds: the old segment was left, report this")
    return Rewritten(found.path, output.batches, output.size, found.size)


def _true(batches: Iterable[tuple[pa.RecordBatch, BatchNote]]) -> Iterator[pa.RecordBatch]:
    """Yield batches that make sense."""
    for batch, note in batches:
        what = check(batch, note)
        if what is not None:  # glued to others it would take them with it
            raise Inconsistent(f"batch {note.n}: {what}")
        yield batch


def _glued(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of batches in batches of about `BATCH_ROWS`."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if waiting and (rows + batch.num_rows > BATCH_ROWS or size + batch.nbytes > MAX_BYTES):
            yield _glue(waiting)
            waiting, rows, size = [], 0, 0
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
    if waiting:
        yield _glue(waiting)


def _glue(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches, SCHEMA).unify_dictionaries().combine_chunks()
    return table.to_batches()[0]
