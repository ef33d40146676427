"""Recovering a log: what is whole is kept, what damage took is said.

It needs the log to itself. A segment is replaced by a file that was written and synced; until then the old one stays,
and it is kept beside as `*.damaged`. What is missing is said by `Gap` records, which take sequence numbers of the rows
that are gone. What stands in the log twice is kept once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from tickloom.actors.recorder import index, wire
from tickloom.actors.recorder.context import Context
from tickloom.actors.recorder.errors import ForeignFile, NoLog
from tickloom.actors.recorder.files import SystemFiles
from tickloom.actors.recorder.lock import DirectoryLock
from tickloom.actors.recorder.opening import close_tail
from tickloom.actors.recorder.output import SegmentFile
from tickloom.actors.recorder.packing import pack
from tickloom.actors.recorder.reader import LogReader, TornTail
from tickloom.actors.recorder.segment import Damage, Scan, scan, scan_of, segments_in
from tickloom.actors.recorder.units import table_of
from tickloom.messages.control import AnyControl, Gap, SessionStarted, Subscribed, decode_control
from tickloom.messages.intake import Numbered
from tickloom.messages.records import BatchNote, SegmentHeader


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


def recover(path: Path | str) -> Recovery:
    """Make a damaged log readable: cut torn tails, keep what is whole, and put gaps where something is missing.

    Raises:
        NoLog, ForeignFile, NewerFormat: there is no log of this version.
        LogInUse: a session writes it.
        OSError: a file cannot be written.
    """
    directory = Path(path)
    rewritten: list[Rewritten] = []
    aside: list[Path] = []
    paths = segments_of(directory)
    lock = DirectoryLock(directory)
    try:
        _some_is_ours(paths)
        cut = _cut_tails(paths)
        left = [place for place in paths if place.exists()]
        state = _Before()
        for number, place in enumerate(left, start=1):
            found = _look(place)
            hole = state.known and found.header is not None and found.header.after_seq != state.last_seq
            if not found.damages and not hole:
                with LogReader(place, keep_index=False) as reader:
                    state.passed(reader, found)
                continue
            original = _aside(place)
            index.drop(place)
            at_end = number == len(left)
            if not state.adds(found) and not (at_end and state.known):
                place.rename(original)  # what is missing is said where the next segment begins
                aside.append(original)
                continue
            done = _rewrite(found, state, left[number:])
            _keep(place, original)
            partial_of(place).replace(place)
            rewritten.append(msgspec.structs.replace(done, original=original))
            with LogReader(place, keep_index=False) as reader:
                state.passed(reader, scan(place))
    finally:
        lock.release()
    return Recovery(directory, len(paths), tuple(cut), tuple(rewritten), tuple(aside))


def _some_is_ours(paths: list[Path]) -> None:
    """Raise ForeignFile when no file is a segment, and NewerFormat when the first to be one is a later version's."""
    foreign: ForeignFile | None = None
    for place in paths:
        try:
            scan(place)
        except ForeignFile as error:
            foreign = foreign or error
        else:
            return
    assert foreign is not None, "a log has a segment"
    raise foreign


def _look(place: Path) -> Scan:
    """Scan a segment; a file that is none is one whose every byte is damaged."""
    try:
        return scan(place)
    except ForeignFile as error:
        size = place.stat().st_size
        return scan_of(place, size, None, size, table_of([]), (Damage(0, size, 0, None, str(error)),), sealed=True)


def _cut_tails(paths: list[Path]) -> list[TornTail]:
    """Cut the torn tails and close what is open."""
    cut = []
    for place in paths:
        with place.open("rb") as file:
            file.seek(max(0, place.stat().st_size - len(wire.END)))
            closed = file.read() == wire.END
        found = None if closed else _look(place)
        if found is not None and not found.sealed:
            torn = close_tail(found)
            cut += [torn] if torn is not None else []
    return cut


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

    def adds(self, found: Scan) -> bool:
        """Whether a segment has a batch that goes on after what is known."""
        return self.begins(found) < len(found)

    def begins(self, found: Scan) -> int:
        """Return the place of the first batch of a segment that goes on after what is known: others came before."""
        if self.last_seq is None:
            return 0
        return int(np.searchsorted(found.column("first_seq"), self.last_seq, side="right"))

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


def segments_of(directory: Path) -> list[Path]:
    """Return the segments of a log that must have some.

    Raises:
        NoLog: it has none.
    """
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


def partial_of(place: Path) -> Path:
    """Return where that file lies until then."""
    return place.with_name(place.name + ".partial")


def _rewrite(found: Scan, state: _Before, later: list[Path]) -> Rewritten:
    """Write a segment's whole batches anew, with gaps where some are missing; `later` are the segments after it."""
    start = state.begins(found)
    missing = {damage.before: damage.what for damage in found.damages if damage.before >= start and not damage.spare}
    header = _header(found, state, later, headless=found.header is None or 0 in missing)
    if state.known and found.header is not None and found.header.after_seq != state.last_seq:
        missing.setdefault(start, "the end of the segment before is missing")
    last, newest = header.after_seq, state.newest_ns or header.created_ns
    encoder = wire.UnitEncoder()
    gaps = 0
    output = begin(found.path, header)
    contracts = set(state.contracts)
    for batch, note in _whole(found, ["contract"]):
        if note.prints:
            contracts.update(batch.column("contract").dictionary.to_pylist())
    for place, (batch, note) in enumerate(_whole(found)):
        if place < start:
            continue
        if place in missing:
            oldest = int(np.asarray(batch.column("ts_ns").drop_null()).min()) if note.prints else note.recv_ns[0]
            # before the first record there is, its header's records need numbers of their own
            low = 1 + len(header.context) if last is None else last + 1
            room = range(max(low, note.seq[0] - max(1, len(contracts))) if last is None else low, note.seq[0])
            gaps += _write_gaps(output, encoder, room, contracts, newest, oldest, note.recv_ns[0], missing[place])
        renumbered = msgspec.structs.replace(note, n=output.batches)
        output.append(encoder.encode(batch, renumbered), renumbered)
        last, newest = note.seq[1], note.recv_ns[1]
        if note.prints:
            newest = int(np.asarray(batch.column("ts_ns").drop_null()).max())
    if not later and len(found) in missing and last is not None:  # else the next segment says it, where it begins
        room = range(last + 1, last + 1 + max(1, len(contracts)))
        gaps += _write_gaps(output, encoder, room, contracts, newest, newest + 1, newest, missing[len(found)])
    output.seal()
    index.drop(output.path)
    return Rewritten(found.path, output.batches, output.size, found.size, gaps)


def _whole(found: Scan, columns: list[str] | None = None) -> Iterator[tuple[pa.RecordBatch, BatchNote]]:
    """Yield a segment's whole batches; a file that is no segment has none."""
    if len(found):
        with LogReader(found.path, keep_index=False, fresh=True) as reader:
            yield from reader.whole(found, columns)


def _header(found: Scan, state: _Before, later: list[Path], *, headless: bool) -> SegmentHeader:
    """Return the header for a segment that is written anew.

    Where the log's very beginning is lost, so is the start of its session; but every later segment's header says what
    was in force there, and with that what there is left can be read.
    """
    header = found.header
    if header is None:
        created = int(found.column("least_ns")[0]) if len(found) else state.newest_ns
        header = SegmentHeader("", "recovered", found.number, None, created, "tickloom", state.context.records())
    if state.known:
        return msgspec.structs.replace(header, after_seq=state.last_seq)
    if headless and not any(isinstance(record, SessionStarted) for record in header.context):
        first_ns = int(found.column("least_ns")[0])
        return msgspec.structs.replace(header, context=(*header.context, *_told_later(later, first_ns)))
    return header


def _told_later(later: list[Path], first_ns: int) -> list[AnyControl]:
    """Return the session's start from the first header that tells of it, and the contracts subscribed by `first_ns`."""
    for place in later:
        with place.open("rb") as file:
            size = int.from_bytes(file.read(8)[4:], "little")
            file.seek(0)
            data = file.read(8 + size)
        try:
            header, _ = wire.read_header(memoryview(data))
        except (wire.BadBytes, wire.Foreign, wire.Newer):
            continue  # what is wrong with it is said when its turn comes
        if any(isinstance(record, SessionStarted) for record in header.context):
            return [
                record
                for record in header.context
                if isinstance(record, SessionStarted) or (isinstance(record, Subscribed) and record.recv_ns <= first_ns)
            ]
    return []


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


def begin(path: Path, header: SegmentHeader) -> SegmentFile:
    """Begin the file that is to take a segment's place."""
    partial = partial_of(path)
    partial.unlink(missing_ok=True)
    return SegmentFile(SystemFiles(), partial, header)
