"""Looking after a log: say what is in it, check that it is whole. Nothing here changes the log; see `repair` for that.

Damage is never raised here: it is what the reports are about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickloom.actors.recorder.describe import describe
from tickloom.actors.recorder.errors import DamagedLog, OutOfPlace
from tickloom.actors.recorder.reader import LogReader, TornTail
from tickloom.actors.recorder.segment import Scan, is_foreign, number_of
from tickloom.actors.recorder.unpacking import Assembler, Inconsistent, check_rows, values
from tickloom.messages.control import decode_control
from tickloom.messages.records import BatchNote, Kind


class SegmentReport(msgspec.Struct, frozen=True):
    """One segment in figures. Times are receipt stamps (ns UTC); None: it holds no batch."""

    path: Path
    size: int
    session: str | None
    batches: int
    rows: int
    frames: int
    prints: int
    first_seq: int | None
    last_seq: int | None
    first_ns: int | None
    last_ns: int | None
    sealed: bool
    damages: int


class Inspection(msgspec.Struct, frozen=True):
    """What a log holds.

    Attributes:
        path: the log.
        size: bytes in its segments.
        segments: each of them.
        frames, prints: how many.
        first_ns, last_ns: least and greatest receipt stamp (ns UTC); None: it is empty.
        contracts: prints by contract.
        sources: frames by source.
        records: control records by name.
        torn: tails that crashes left.
        damaged: places that do not read back, in words.
        foreign: files among the segments that are none.
    """

    path: Path
    size: int
    segments: tuple[SegmentReport, ...]
    frames: int
    prints: int
    first_ns: int | None
    last_ns: int | None
    contracts: dict[str, int]
    sources: dict[str, int]
    records: dict[str, int]
    torn: tuple[TornTail, ...]
    damaged: tuple[str, ...]
    foreign: tuple[Path, ...]


class Verification(msgspec.Struct, frozen=True):
    """Whether a log is whole.

    Attributes:
        path: the log.
        segments, batches, frames, prints: what was checked and is whole.
        torn: tails that crashes left: not read, no damage.
        problems: places that do not read back or contradict themselves.
    """

    path: Path
    segments: int
    batches: int
    frames: int
    prints: int
    torn: tuple[TornTail, ...]
    problems: tuple[DamagedLog, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.problems


def inspect(path: Path | str) -> Inspection:
    """Say what is in a log, or in one segment of it.

    Raises:
        NoLog, ForeignFile, NewerFormat: there is no log of this version to look at.
    """
    contracts: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    records: Counter[str] = Counter()
    senseless: list[DamagedLog] = []
    with LogReader(path, keep_index=False, fresh=True, foreign=True) as reader:
        for found in reader.segments:
            for batch, note in reader.whole(found, ["source", "kind", "contract", "record"]):
                named = batch.column("record").drop_null().to_pylist()
                try:
                    check_rows(batch, note)
                    names = [_name_of(text) for text in named]
                    for text in named:
                        decode_control(text.encode())
                except (Inconsistent, msgspec.MsgspecError) as error:
                    what = f"a record cannot be read: {error}"
                    what = str(error) if isinstance(error, Inconsistent) else what
                    senseless.append(DamagedLog(found.path, found.number, note.n, _offset(found, note), what))
                    continue
                records.update(names)
                heads = batch.filter(pa.array(values(batch, "kind", np.uint8) != Kind.PRINT))
                _count(heads.column("source"), sources)
                _count(batch.column("contract"), contracts)
        times = reader.time_range
        return Inspection(
            path=reader.path,
            size=sum(found.size for found in reader.segments),
            segments=tuple(map(_segment_report, reader.segments)),
            frames=sum(found.totals.frames for found in reader.segments),
            prints=reader.prints,
            first_ns=None if times is None else times[0],
            last_ns=None if times is None else times[1],
            contracts=dict(sorted(contracts.items())),
            sources=dict(sorted(sources.items())),
            records=dict(sorted(records.items())),
            torn=reader.torn,
            damaged=tuple(map(str, [*reader.damages(), *senseless])),
            foreign=tuple(found.path for found in reader.segments if is_foreign(found)),
        )


def verify(path: Path | str, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Verification:
    """Check all of a log, or of one segment: checksums, that every row decodes, that numbers rise, that notes are true.

    Args:
        path: the log, or the segment.
        progress: called now and then with the rows that are done and those there are.

    Raises:
        NoLog, ForeignFile, NewerFormat: there is no log of this version to check.
    """
    with LogReader(path, keep_index=False, fresh=True, foreign=True) as reader:
        problems = [*reader.damages(), *_misnamed(reader.segments)]
        last_seq = last_tick = -1
        batches = frames = prints = rows = 0
        every = sum(found.totals.rows for found in reader.segments)
        for found in reader.segments:
            for batch, note in reader.whole(found):
                rows += batch.num_rows
                progress(rows, every)
                what = check(batch, note)
                if what is None and note.seq[0] <= last_seq:
                    what = f"number {note.seq[0]} follows {last_seq}"
                if what is None and note.tick is not None and note.tick <= last_tick:
                    what = f"arrival number {note.tick} follows {last_tick}"
                if what is not None:
                    problems.append(DamagedLog(found.path, found.number, note.n, _offset(found, note), what))
                    continue
                last_seq = note.seq[1]
                last_tick = note.tick + note.prints - 1 if note.tick is not None else last_tick
                batches, frames, prints = batches + 1, frames + note.frames, prints + note.prints
        return Verification(reader.path, len(reader.segments), batches, frames, prints, reader.torn, tuple(problems))


def _misnamed(segments: tuple[Scan, ...]) -> Iterator[DamagedLog]:
    """Find segments whose header says another number than their file's name does."""
    for found in segments:
        if found.header is not None and number_of(found.path) not in (None, found.header.segment):
            yield OutOfPlace(found.path, found.number, f"its header says that it is segment {found.header.segment}")


class _Named(msgspec.Struct):
    record: str


def _name_of(text: str) -> str:
    return msgspec.json.decode(text, type=_Named).record


def _count(column: pa.Array, into: Counter[str]) -> None:
    for row in pc.value_counts(column.drop_null()).to_pylist():
        into[row["values"]] += row["counts"]


def _segment_report(found: Scan) -> SegmentReport:
    totals, some = found.totals, len(found) > 0
    return SegmentReport(
        path=found.path,
        size=found.size,
        session=None if found.header is None else found.header.session,
        batches=totals.units,
        rows=totals.rows,
        frames=totals.frames,
        prints=totals.prints,
        first_seq=totals.first_seq if some else None,
        last_seq=totals.last_seq if some else None,
        first_ns=totals.least_ns if some else None,
        last_ns=totals.greatest_ns if some else None,
        sealed=found.sealed,
        damages=len(found.damages),
    )


def check(batch: pa.RecordBatch, note: BatchNote) -> str | None:
    """Return what is wrong with a batch whose checksum is right."""
    try:
        batch.validate(full=True)
        true = describe(batch)
        said = msgspec.structs.replace(note, crc32="", n=0)
        if true != said:
            wrong = [name for name in BatchNote.__struct_fields__ if getattr(true, name) != getattr(said, name)]
            return f"its note is wrong about {', '.join(wrong)}"
        assembler = Assembler(raw=True)
        frames = sum(1 for _ in assembler.feed(batch, note)) + sum(1 for _ in assembler.flush())
    except Inconsistent as error:
        return str(error)
    except (pa.ArrowException, msgspec.MsgspecError) as error:
        return f"it does not decode: {error}"
    return None if frames else "it holds nothing"


def _offset(found: Scan, note: BatchNote) -> int:
    return int(found.column("offset")[np.flatnonzero(found.column("first_seq") == note.seq[0])[0]])
