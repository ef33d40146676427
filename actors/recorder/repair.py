"""Changing a log without losing a row: recover what damage left, re-batch closed segments for fast reading.

Both need the log to themselves. A segment is replaced by a file that was written, synced and read back; until then the
old one stays. Damaged originals are kept beside as `*.damaged`. What is missing is said by `Gap` records, which take
sequence numbers of the rows that are gone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from tickloom.actors.recorder import index, wire
from tickloom.actors.recorder.context import Context
from tickloom.actors.recorder.describe import describe
from tickloom.actors.recorder.errors import LogError, NoLog
from tickloom.actors.recorder.files import SystemFiles
from tickloom.actors.recorder.lock import DirectoryLock
from tickloom.actors.recorder.opening import close_tail
from tickloom.actors.recorder.output import SegmentFile
from tickloom.actors.recorder.packing import MAX_BYTES, pack
from tickloom.actors.recorder.reader import LogReader, TornTail
from tickloom.actors.recorder.segment import Scan, scan, segments_in
from tickloom.messages.control import Gap, decode_control
from tickloom.messages.intake import Numbered
from tickloom.messages.records import SCHEMA, BatchNote, SegmentHeader

BATCH_ROWS = 65_536
_WORTH_ROWS = 32_768


class Rewritten(msgspec.Struct, frozen=True):
    """A segment that was written anew. `original` is where the old one is kept; None: it was replaced."""

    path: Path
    batches: int
    size: int
    original_size: int
    gaps: int = 0
    original: Path | None = None


class Recovery(msgspec.Struct, frozen=True):
    """What `recover` did: tails cut, segments rewritten, segments set aside because nothing in them was whole."""

    path: Path
    segments: int
    cut: tuple[TornTail, ...]
    rewritten: tuple[Rewritten, ...]
    set_aside: tuple[Path, ...]


class Compaction(msgspec.Struct, frozen=True):
    """What `compact` did: segments re-batched, and how large the log was and is."""

    path: Path
    segments: int
    rewritten: tuple[Rewritten, ...]
    size_before: int
    size_after: int


def recover(path: Path | str) -> Recovery:
    """Make a damaged log readable: cut torn tails, keep what is whole, and put gaps where something is missing.

    Raises:
        NoLog, ForeignFile, NewerFormat: there is no log of this version.
        LogInUse: a session writes it.
        OSError: a file cannot be written.
    """
    directory = Path(path)
    cut: list[TornTail] = []
    rewritten: list[Rewritten] = []
    aside: list[Path] = []
    paths = _segments(directory)
    lock = DirectoryLock(directory)
    try:
        state = _Before()
        for place in paths:
            found = scan(place)
            if not found.sealed:
                torn = close_tail(found)
                cut += [torn] if torn is not None else []
                if not place.exists():
                    continue
                found = scan(place)
            hole = state.known and found.header is not None and found.header.after_seq != state.last_seq
            if not found.damages and not hole:
                with LogReader(place, keep_index=False) as reader:
                    state.passed(reader, found)
                continue
            original = _aside(place)
            index.drop(place)
            at_end = place == paths[-1] and state.known
            if not len(found) and not at_end:  # what is missing is said where the next segment begins
                place.rename(original)
                aside.append(original)
                continue
            with LogReader(place, keep_index=False, fresh=True) as reader:
                done = _rewrite(reader, found, state)
            _keep(place, original)
            _partial(place).replace(place)
            rewritten.append(msgspec.structs.replace(done, original=original))
            with LogReader(place, keep_index=False) as reader:
                state.passed(reader, scan(place))
    finally:
        lock.release()
    return Recovery(directory, len(paths), tuple(cut), tuple(rewritten), tuple(aside))


def compact(path: Path | str, *, level: int = 3) -> Compaction:
    """Re-batch closed segments into large batches, which read several times faster, and compress them better.

    Segments that are large-batched already, damaged or not closed are left as they are.

    Args:
        path: the log's directory.
        level: zstd level.

    Raises:
        NoLog, ForeignFile, NewerFormat: there is no log of this version.
        LogInUse: a session writes it.
        LogError: a rewritten segment did not read back as the old one; the old one is left.
        OSError: a file cannot be written.
    """
    directory = Path(path)
    paths = _segments(directory)
    before = sum(place.stat().st_size for place in paths)
    rewritten = []
    lock = DirectoryLock(directory)
    try:
        for place in paths:
            found = index.load_or_scan(place)
            if not found.sealed or found.damages or len(found) < 2 or found.totals.rows >= len(found) * _WORTH_ROWS:
                continue
            with LogReader(place) as reader:
                done = _rebatch(reader, found, level)
            index.drop(place)
            _partial(place).replace(place)
            rewritten.append(done)
            index.save(scan(place))
    finally:
        lock.release()
    after = sum(place.stat().st_size for place in paths)
    return Compaction(directory, len(paths), tuple(rewritten), before, after)


class _Before:
    """What is known of the log before the segment at hand."""

    def __init__(self) -> None:
        self.known = False
        self.last_seq: int | None = None
        self.newest_ns = 0
        self.contracts: set[str] = set()
        self.context = Context()

    def passed(self, reader: LogReader, found: Scan) -> None:
        """Take a whole segment into account."""
        if found.header is not None:
            self.context = Context(found.header.context)
            if not self.known:
                self.last_seq = found.header.after_seq
        for batch, note in reader.whole(found, ["seq", "recv_ns", "source", "kind", "record", "contract", "ts_ns"]):
            self.saw(batch, note)
        self.known = True

    def saw(self, batch: pa.RecordBatch, note: BatchNote) -> None:
        """Take one whole batch into account."""
        self.last_seq = note.seq[1]
        self.newest_ns = note.recv_ns[1]
        if note.prints:
            stamps = batch.column("ts_ns").drop_null()
            self.newest_ns = int(np.asarray(stamps).max())
            self.contracts.update(batch.column("contract").dictionary.to_pylist())
        if note.records:
            for text in batch.column("record").drop_null().to_pylist():
                self.context.apply(decode_control(text.encode()))


def _segments(directory: Path) -> list[Path]:
    paths = segments_in(directory)
    if not paths:
        raise NoLog(f"{directory} holds no log: name a folder with segments (*.arrows)")
    return paths


def _aside(place: Path) -> Path:
    """Return a name, not yet taken, for a damaged original."""
    for n in count(1):
        name = place.with_name(f"{place.name}.damaged" + (f"-{n}" if n > 1 else ""))
        if not name.exists():
            return name
    raise AssertionError("counting does not end")


def _keep(place: Path, original: Path) -> None:
    """Give a file a second name, so that it stays when the first is replaced."""
    try:
        os.link(place, original)
    except OSError:  # a file system without links
        shutil.copy2(place, original)


def _partial(place: Path) -> Path:
    return place.with_name(place.name + ".partial")


def _rewrite(reader: LogReader, found: Scan, state: _Before) -> Rewritten:
    """Write a segment's whole batches anew, with gaps where some are missing."""
    contracts = set(state.contracts)
    for batch, note in reader.whole(found, ["contract"]):
        if note.prints:
            contracts.update(batch.column("contract").dictionary.to_pylist())
    header = found.header
    if header is None:
        created = int(found.column("least_ns")[0]) if len(found) else state.newest_ns
        header = SegmentHeader("", "recovered", found.number, None, created, "tickloom", state.context.records())
    header = msgspec.structs.replace(header, after_seq=state.last_seq if state.known else header.after_seq)
    missing = {damage.before: damage.what for damage in found.damages}
    if state.known and found.header is not None and found.header.after_seq != state.last_seq:
        missing.setdefault(0, "the end of the segment before is missing")
    encoder = wire.UnitEncoder(1)
    gaps = 0
    output = _begin(found.path, header)
    last = header.after_seq
    newest = state.newest_ns or header.created_ns
    for place, (batch, note) in enumerate(reader.whole(found)):
        if place in missing:
            oldest = int(np.asarray(batch.column("ts_ns").drop_null()).min()) if note.prints else note.recv_ns[0]
            before = max(0, note.seq[0] - max(1, len(contracts))) if last is None else last + 1
            free = range(before, note.seq[0])
            gaps += _write_gaps(output, encoder, free, contracts, newest, oldest, note.recv_ns[0], missing[place])
        renumbered = msgspec.structs.replace(note, n=output.batches)
        output.append(encoder.encode(batch, renumbered), renumbered)
        last, newest = note.seq[1], note.recv_ns[1]
        if note.prints:
            newest = int(np.asarray(batch.column("ts_ns").drop_null()).max())
    if len(found) in missing and last is not None:
        what = missing[len(found)]
        gaps += _write_gaps(
            output, encoder, range(last + 1, last + 1 + len(contracts)), contracts, newest, newest + 1, newest, what
        )
    output.seal()
    index.drop(output.path)
    return Rewritten(found.path, output.batches, output.size, found.size, gaps)


def _write_gaps(
    output: SegmentFile, encoder: wire.UnitEncoder, free: range, contracts: set[str], from_ns: int, to_ns: int,
    recv_ns: int, what: str,
) -> int:  # fmt: skip
    """Say that something is missing, for every contract; return how many gaps were written."""
    if not free:
        return 0
    names = sorted(contracts) if 0 < len(contracts) <= len(free) else [""]
    low, high = min(from_ns, to_ns), max(from_ns, to_ns)
    cause = f"the log was damaged here: {what}"
    items = [
        Numbered(seq, Gap(recv_ns=recv_ns, contract=name, from_ns=low, to_ns=high, cause=cause))
        for seq, name in zip(free, names, strict=False)
    ]
    packed = pack(items)
    note = msgspec.structs.replace(packed.note, n=output.batches)
    output.append(encoder.encode(packed.batch, note), note)
    return len(items)


def _begin(path: Path, header: SegmentHeader) -> SegmentFile:
    partial = _partial(path)
    partial.unlink(missing_ok=True)
    return SegmentFile(SystemFiles(), partial, header)


def _rebatch(reader: LogReader, found: Scan, level: int) -> Rewritten:
    """Write a whole segment anew in large batches, and check that it holds the same."""
    assert found.header is not None, "a segment without damage has its header"
    encoder = wire.UnitEncoder(level, threads=True)
    output = _begin(found.path, found.header)
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
