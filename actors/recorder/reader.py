"""Reading a log: items in order, from any place, by decoded columns or with the raw frames.

Nothing is believed that was not checked: each unit's checksum is verified when it is read, whatever an index said. A
torn tail is left out and reported; damage raises `DamagedLog` when reading reaches it, never before, so that the rest
can be used. A reader never writes to the log but for index files, and those only if it may.

A reader may be used by one thread at a time. Reading a log that is being written yields what is whole when it is
opened.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa

from tickloom.actors.recorder import index, wire
from tickloom.actors.recorder.bounds import Bounds, Piece
from tickloom.actors.recorder.context import Context
from tickloom.actors.recorder.errors import DamagedLog, LogError, NoLog, OutOfPlace
from tickloom.actors.recorder.segment import Damage, Scan, number_of, scan, scan_any, segments_in, some_is_ours
from tickloom.actors.recorder.unpacking import Assembler, Inconsistent, check_rows, columns_needed
from tickloom.messages.control import AnyControl, Beat
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.records import SCHEMA, BatchNote

_CHUNK_BYTES = 8 * 1024 * 1024
_CHUNK_ROWS = 1 << 19
_CHUNK_UNITS = 256
_MANY_ROWS = 16_384

_Plan: TypeAlias = Callable[[list[BatchNote]], list[str]]
"""Which columns to read for batches with these notes."""


class TornTail(msgspec.Struct, frozen=True):
    """What a crash left at a segment's end and is not read: `length` bytes from `offset` on."""

    path: Path
    offset: int
    length: int
    what: str


class LogReader:
    """A log, or one segment of it, opened for reading.

    Args:
        path: the log's directory, or one of its segments.
        keep_index: write the index of closed segments that have none, so that the next opening is quick.
        fresh: use no index: scan every segment, checksums and all.
        foreign: take files of a log that are no segments for damaged ones, if others are.

    Attributes:
        path: what was opened.
        segments: what each segment holds, in order.
        torn: tails that crashes left; they are not read.

    Raises:
        NoLog: there is nothing at `path`, or no segment in it.
        ForeignFile, NewerFormat: a segment is not a log's, or a later version's.
        OSError: a file cannot be read.
    """

    def __init__(
        self, path: Path | str, *, keep_index: bool = True, fresh: bool = False, foreign: bool = False
    ) -> None:
        self.path = Path(path)
        if self.path.is_file():
            paths = [self.path]
        else:
            paths = segments_in(self.path)
            if not paths:
                raise NoLog(f"{self.path} holds no log: name a folder with segments (*.arrows)")
        if foreign and self.path.is_dir():
            some_is_ours(paths)
        found = []
        for path in paths:
            with contextlib.suppress(FileNotFoundError):  # retention was quicker; a hole elsewhere shows in `missing`
                if foreign and self.path.is_dir():
                    found.append(scan_any(path))
                else:
                    found.append(scan(path) if fresh else index.load_or_scan(path, keep=keep_index))
        if self.path.is_file() and number_of(self.path) is None and not any(s.header or len(s) for s in found):
            raise NoLog(f"{self.path} is no segment of a Tickloom log: it has neither its name nor its beginning")
        self.segments: tuple[Scan, ...] = tuple(found)
        self.torn: tuple[TornTail, ...] = tuple(
            TornTail(s.path, s.torn.offset, s.torn.length, s.torn.what) for s in self.segments if s.torn is not None
        )
        self.missing: tuple[DamagedLog, ...] = tuple(self._missing())
        self._file: tuple[Path, BinaryIO] | None = None

    def __enter__(self) -> LogReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the open file."""
        if self._file is not None:
            self._file[1].close()
            self._file = None

    @property
    def first_seq(self) -> int | None:
        """The first sequence number in the log; None: it is empty."""
        return next((s.totals.first_seq for s in self.segments if len(s)), None)

    @property
    def last_seq(self) -> int | None:
        """The last sequence number in the log; None: it is empty."""
        return next((s.last_seq for s in reversed(self.segments) if len(s)), None)

    @property
    def next_tick(self) -> int:
        """The arrival number after the last print's."""
        return next((t for s in reversed(self.segments) if (t := s.totals.next_tick) is not None), 0)

    @property
    def prints(self) -> int:
        """How many prints the log holds."""
        return sum(s.totals.prints for s in self.segments)

    @property
    def time_range(self) -> tuple[int, int] | None:
        """The least and the greatest receipt stamp (ns UTC); None: the log is empty."""
        having = [s.totals for s in self.segments if len(s)]
        if not having:
            return None
        return (
            min(totals.least_ns for totals in having),
            max(totals.greatest_ns for totals in having),
        )

    def items(
        self,
        *,
        raw: bool = False,
        from_ns: int | None = None,
        to_ns: int | None = None,
        from_seq: int | None = None,
        to_seq: int | None = None,
        max_rows: int = 65_536,
    ) -> Iterator[Numbered]:
        """Yield the log's items in order.

        The range begins at the first frame or record that is at or past `from_ns` and `from_seq`, and ends before the
        first one after it that is at or past `to_ns` or `to_seq`: always one stretch of the log, also where the wall
        clock was set back.

        Args:
            raw: read payloads and monotonic stamps too. Without, `payloads` is None and `mono_ns` all zero.
            from_ns, to_ns: receipt stamps (ns UTC), `[from_ns, to_ns)`.
            from_seq, to_seq: sequence numbers, `[from_seq, to_seq)`.
            max_rows: about how many frames or prints an item may have; runs of frames between control records come
                as few items.

        Raises:
            DamagedLog: reading has reached a place that does not read back; all items before it were yielded.
        """
        assembler = Assembler(raw=raw, max_rows=max_rows)
        pieces = self._pieces(Bounds(from_ns, to_ns, from_seq, to_seq), partial(columns_needed, raw=raw))
        try:
            for piece in pieces:
                yield from assembler.feed(piece.batch, piece.note, piece.low, piece.high)
        except LogError:
            yield from assembler.flush()
            raise
        except msgspec.MsgspecError as error:
            yield from assembler.flush()
            raise self._unreadable(piece.note, f"a record cannot be read: {error}") from error
        except Inconsistent as error:
            yield from assembler.flush()
            raise self._unreadable(piece.note, str(error)) from error
        yield from assembler.flush()

    def batches(
        self,
        columns: Sequence[str] | None = None,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        from_seq: int | None = None,
        to_seq: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the log's rows as Arrow record batches, with some of the schema's columns (None: all).

        The range is that of `items`.

        Raises:
            DamagedLog: reading has reached a place that does not read back.
        """
        wanted = SCHEMA.names if columns is None else list(columns)
        needed = sorted({*wanted, "kind", "recv_ns", "seq"}, key=SCHEMA.get_field_index)
        for piece in self._pieces(Bounds(from_ns, to_ns, from_seq, to_seq), lambda notes: needed):
            try:
                check_rows(piece.batch, piece.note)
            except Inconsistent as error:
                raise self._unreadable(piece.note, str(error)) from error
            yield piece.batch.select(wanted).slice(piece.low, piece.high - piece.low)

    def whole(self, found: Scan, columns: Sequence[str] | None = None) -> Iterator[tuple[pa.RecordBatch, BatchNote]]:
        """Yield the whole batches of one segment, whatever lies damaged between them.

        Args:
            found: one of `segments`.
            columns: those wanted (None: all).

        Raises:
            DamagedLog: a batch that was whole when the segment was scanned no longer is.
        """
        wanted = SCHEMA.names if columns is None else list(columns)
        for piece in self._read(found, range(len(found)), lambda notes: wanted):
            yield piece.batch, piece.note

    def damages(self) -> tuple[DamagedLog, ...]:
        """Return every place that is damaged or missing, in order."""
        holes = {hole.path: hole for hole in self.missing}
        places = []
        for found in self.segments:
            if found.path in holes:
                places.append(holes[found.path])
            places += [_damaged(found, damage) for damage in found.damages]
        return tuple(places)

    def context(self, *, from_ns: int | None = None, from_seq: int | None = None) -> tuple[AnyControl, ...]:
        """Return the control records in force where `items(from_ns=…, from_seq=…)` begins.

        The session's start with its instruments and calendars, open connections and subscribed contracts: what a replay
        of a part must know first. Without arguments: what is in force at the log's end.

        Raises:
            DamagedLog: what stood in the segment before that place does not read back.
        """
        at_end = from_ns is None and from_seq is None
        bounds = Bounds(from_ns, None, from_seq, None)
        for i, found in enumerate(self.segments):
            start = len(found) if at_end else bounds.first_unit(found)
            if start == len(found) and i + 1 < len(self.segments):
                continue
            for damage in found.damages:
                if damage.before <= start:
                    raise _damaged(found, damage)
            context = Context(found.header.context if found.header is not None else ())
            for place in np.flatnonzero(found.column("records")[: start + 1]).tolist():
                for piece in self._read(found, [place], partial(columns_needed, raw=False)):
                    stop = piece.high if place < start else bounds.first_row(piece.batch, piece.note)
                    try:
                        for numbered in Assembler(raw=False).feed(piece.batch, piece.note, 0, stop):
                            if not isinstance(numbered.item, Frames | Beat):
                                context.apply(numbered.item)
                    except (Inconsistent, msgspec.MsgspecError) as error:
                        raise self._unreadable(piece.note, f"a record cannot be read: {error}") from error
            return context.records()
        return ()

    def _missing(self) -> Iterator[DamagedLog]:
        """Find segments that do not go on where the one before them ends."""
        ends: int | None = None
        known = False
        headless: Scan | None = None
        for found in self.segments:
            if headless is not None and not known and found.header is not None and found.header.after_seq is not None:
                what = f"its header is cut short, yet the log goes on after number {found.header.after_seq}"
                yield DamagedLog(headless.path, headless.number, None, 0, what)
            headless = headless or (found if found.header is None and found.torn is not None else None)
            if known and found.header is not None and found.header.after_seq != ends:
                before = found.header.after_seq
                what = f"it goes on after number {before}, but the segment before it ends with {ends}"
                after = before is not None and (ends is None or before > ends)
                what += ": what stood between them is missing here" if after else ": it is a copy, or out of place"
                yield OutOfPlace(found.path, found.number, what)
            if len(found):
                ends, known = found.last_seq, True
            elif found.header is not None:
                ends, known = found.header.after_seq, True
            elif found.damages:
                known = False

    def _pieces(self, bounds: Bounds, plan: _Plan) -> Iterator[Piece]:
        """Yield the wanted rows batch by batch; raise where something is damaged or missing within the range."""
        begun = False
        holes = {hole.path: hole for hole in self.missing}
        for i, found in enumerate(self.segments):
            if found.path in holes and (begun or not self._lies_before(bounds, i, 0)):
                raise holes[found.path]
            start = 0 if begun else bounds.first_unit(found)
            stops = [(damage.before, damage) for damage in found.damages if damage.before >= start]
            for stop, damage in [*stops, (len(found), None)]:
                for piece in self._read(found, range(start, stop), plan):
                    low = 0 if begun else bounds.first_row(piece.batch, piece.note)
                    high = bounds.end_row(piece.batch, piece.note, low)
                    begun = begun or low < piece.high
                    if low < high:
                        yield Piece(piece.batch, piece.note, low, high)
                    if begun and (high < piece.high or bounds.ends_with(piece.note)):
                        return
                if damage is not None and (begun or not self._lies_before(bounds, i, stop)):
                    raise _damaged(found, damage)
                start = stop
            found.units.let_go()

    def _lies_before(self, bounds: Bounds, segment: int, place: int) -> bool:
        """Whether what is missing just before a unit lies before the range: the range begins within that unit."""
        for found in self.segments[segment:]:
            if place < len(found):
                return bounds.begins_within(int(found.column("least_ns")[place]), int(found.column("first_seq")[place]))
            place = 0
        return False

    def _read(self, found: Scan, places: Sequence[int], plan: _Plan) -> Iterator[Piece]:
        """Read and check units of one segment, which lie one after another, chunk by chunk."""
        offset, length, rows = found.column("offset"), found.column("length"), found.column("rows")
        chunk: list[int] = []
        size = count = 0
        for place in places:
            more, many = int(length[place]), int(rows[place])
            apart = chunk and int(offset[place]) != int(offset[chunk[-1]] + length[chunk[-1]])
            full = len(chunk) == _CHUNK_UNITS or size + more > _CHUNK_BYTES or count + many > _CHUNK_ROWS
            if chunk and (apart or full):
                yield from self._chunk(found, chunk, plan)
                chunk, size, count = [], 0, 0
            chunk.append(place)
            size, count = size + more, count + many
        if chunk:
            yield from self._chunk(found, chunk, plan)

    def _chunk(self, found: Scan, places: list[int], plan: _Plan) -> Iterator[Piece]:
        """Read, check and decode a few units in one go."""
        units = [found.unit(place) for place in places]
        begin, end = units[0].offset, units[-1].offset + units[-1].length
        lead = len(wire.SCHEMA_MESSAGE)
        buffer = pa.allocate_buffer(lead + end - begin)
        view = memoryview(buffer).cast("B")
        view[:lead] = wire.SCHEMA_MESSAGE
        self._fill(found, begin, view[lead:])
        for unit in units:
            try:
                read = wire.read_unit(view, lead + unit.offset - begin)
            except wire.BadBytes as error:
                raise DamagedLog(found.path, found.number, unit.note.n, unit.offset, str(error)) from None
            if read.length != unit.length or msgspec.structs.replace(read.note, crc32="") != unit.note:
                what = "another batch stands there than its index says"
                raise DamagedLog(found.path, found.number, unit.note.n, unit.offset, what)
        notes = [unit.note for unit in units]
        try:
            batches = wire.read_batches(buffer, plan(notes), threads=notes[0].rows >= _MANY_ROWS)
            for batch, note in zip(batches, notes, strict=True):
                yield Piece(batch, note, 0, batch.num_rows)
        except (pa.ArrowException, OSError) as error:
            raise DamagedLog(found.path, found.number, notes[0].n, begin, f"Arrow cannot read it: {error}") from error

    def _fill(self, found: Scan, offset: int, view: memoryview) -> None:
        """Read `len(view)` bytes of a segment."""
        if self._file is None or self._file[0] != found.path:
            self.close()
            try:
                self._file = (found.path, found.path.open("rb", buffering=0))
            except FileNotFoundError:
                what = "the segment was removed since the log was opened"
                raise DamagedLog(found.path, found.number, None, 0, what) from None
        file = self._file[1]
        file.seek(offset)
        done = 0
        while done < len(view):
            got = file.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:
                raise DamagedLog(found.path, found.number, None, offset + done, "the file is shorter than it was")
            done += got

    def _unreadable(self, note: BatchNote, what: str) -> DamagedLog:
        for found in self.segments:
            at = np.flatnonzero(found.column("first_seq") == note.seq[0])
            if len(at):
                offset = int(found.column("offset")[at[0]])
                return DamagedLog(found.path, found.number, note.n, offset, what)
        raise AssertionError("a batch that was read is in the table")


def _damaged(found: Scan, damage: Damage) -> DamagedLog:
    return DamagedLog(found.path, found.number, damage.batch, damage.offset, damage.what)
