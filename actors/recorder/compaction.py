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
from tickloom.actors.recorder.describe import describe
from tickloom.actors.recorder.errors import LogError
from tickloom.actors.recorder.lock import DirectoryLock
from tickloom.actors.recorder.options import Compression
from tickloom.actors.recorder.packing import MAX_BYTES
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.repair import Rewritten, begin, partial_of, segments_of
from tickloom.actors.recorder.segment import Scan, scan
from tickloom.messages.records import SCHEMA

BATCH_ROWS = 131_072
_WORTH_ROWS = 65_536


class Compaction(msgspec.Struct, frozen=True):
    """What `compact` did: segments re-batched, and how large the log was and is."""

    path: Path
    segments: int
    rewritten: tuple[Rewritten, ...]
    size_before: int
    size_after: int


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
    rewritten = []
    lock = DirectoryLock(directory)
    try:
        for place in paths:
            found = index.load_or_scan(place)
            large = len(found) < 2 or found.totals.rows >= len(found) * _WORTH_ROWS
            if not found.sealed or found.damages or not len(found) or (large and compression is None):
                continue
            with LogReader(place) as reader:
                done = _rebatch(reader, found, wire.UnitEncoder(compression or "zstd", level, threads=True))
            index.drop(place)
            partial_of(place).replace(place)
            rewritten.append(done)
            index.save(scan(place))
    finally:
        lock.release()
    after = sum(place.stat().st_size for place in paths)
    return Compaction(directory, len(paths), tuple(rewritten), before, after)


def _rebatch(reader: LogReader, found: Scan, encoder: wire.UnitEncoder) -> Rewritten:
    """Write a whole segment anew in large batches, and check that it holds the same."""
    assert found.header is not None, "a segment without damage has its header"
    output = begin(found.path, found.header)
    for batch in _glued(batch for batch, _ in reader.whole(found)):
        note = msgspec.structs.replace(describe(batch), n=output.batches)
        output.append(encoder.encode(batch, note), note)
    output.seal()
    index.drop(output.path)
    again = scan(output.path)
    same = msgspec.structs.replace(again.totals, units=found.totals.units) == found.totals
    if not (same and again.sealed and not again.damages):
        raise LogError(f"{output.path} does not hold what {found.path} holds: the old segment was left, report this")
    return Rewritten(found.path, output.batches, output.size, found.size)


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
