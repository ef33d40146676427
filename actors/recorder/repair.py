"""Recovering a log: what is whole is kept, what damage took is said.

It needs the log to itself. A segment is replaced by a file that was written and synced; until then the old one stays,
and it is kept beside as `*.damaged`. Segments that stand in one another's place are renamed, one at a time, so that all
of them have a segment's name at every moment. What is missing is said by `Gap` records, which take
sequence numbers of the rows that are gone. What stands in the log twice is kept once.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from tickloom.actors.recorder import index, wire
from tickloom.actors.recorder.care import check
from tickloom.actors.recorder.context import Context
from tickloom.actors.recorder.errors import NoLog
from tickloom.actors.recorder.files import SystemFiles
from tickloom.actors.recorder.lock import DirectoryLock
from tickloom.actors.recorder.opening import close_tail
from tickloom.actors.recorder.output import SegmentFile
from tickloom.actors.recorder.packing import pack
from tickloom.actors.recorder.places import naming
from tickloom.actors.recorder.reader import LogReader, TornTail
from tickloom.actors.recorder.segment import (
    FOREIGN,
    Damage,
    Scan,
    is_foreign,
    name_of,
    number_of,
    scan,
    scan_any,
    scan_of,
    segments_in,
    some_is_ours,
)
from tickloom.messages.control import AnyControl, Gap, SessionStarted, Subscribed, decode_control
from tickloom.messages.intake import Numbered
from tickloom.messages.records import BatchNote, SegmentHeader

_PARTIAL = re.compile(r"\d{8,}\.arrows\.partial(\.index.*)?")


class Rewritten(msgspec.Struct, frozen=True):
    """A segment that was written anew: `batches` of it are as they were, `gaps` were added. `original` is where the old
    one is kept; None: it was replaced."""

    path: Path
    batches: int
    size: int
    original_size: int
    gaps: int = 0
    original: Path | None = None


class Aside(msgspec.Struct, frozen=True):
    """A file that was set aside, or left as it was, and why."""

    path: Path
    why: str


class Moved(msgspec.Struct, frozen=True):
    """A segment that stood in another's place."""

    path: Path
    to: Path


class Recovery(msgspec.Struct, frozen=True):
    """What `recover` did: tails cut, segments put in order, rewritten, and set aside."""

    path: Path
    segments: int
    cut: tuple[TornTail, ...]
    rewritten: tuple[Rewritten, ...]
    set_aside: tuple[Aside, ...]
    moved: tuple[Moved, ...]


def recover(path: Path | str) -> Recovery:
    """Make a damaged log readable: cut torn tails, keep what is whole, and put gaps where something is missing.

    Raises:
        NoLog, ForeignFile, NewerFormat: there is no log of this version.
        LogInUse: a session writes it.
        OSError: a file cannot be written.
    """
    directory = Path(path)
    rewritten: list[Rewritten] = []
    aside: list[Aside] = []
    paths = segments_of(directory)
    some_is_ours(paths)
    lock = DirectoryLock(directory)
    try:
        clear_partials(directory)
        cut = _cut_tails(paths)
        looked, spare = _sorted([_look(place) for place in paths if place.exists()])
        aside += [_set_aside(found, _why(found)) for found in spare]
        looked, moved = _put_in_place(looked)
        state = _Before()
        for number, found in enumerate(looked, start=1):
            place = found.path
            misnamed = found.header is not None and found.header.segment != found.number
            hole = state.known and found.header is not None and found.header.after_seq != state.last_seq
            if not found.damages and not hole and not misnamed:
                with LogReader(place, keep_index=False) as reader:
                    state.passed(reader, found)
                continue
            at_end = number == len(looked) and state.known and not state.has(found)
            if not state.adds(found) and not at_end:
                aside.append(_set_aside(found, _why(found)))  # what is missing is said where the next segment begins
                continue
            original = _aside(place)
            index.drop(place)
            with in_place_of(place):
                done = _rewrite(found, state, [each.path for each in looked[number:]])
                _keep(place, original)
                partial_of(place).replace(place)
            rewritten.append(msgspec.structs.replace(done, original=original))
            with LogReader(place, keep_index=False) as reader:
                state.passed(reader, scan(place))
    finally:
        lock.release()
    return Recovery(directory, len(paths), tuple(cut), tuple(rewritten), tuple(aside), tuple(moved))


def _set_aside(found: Scan, why: str) -> Aside:
    """Take a segment out of the log."""
    original = _aside(found.path)
    index.drop(found.path)
    found.path.rename(original)
    return Aside(original, why)


def _why(found: Scan) -> str:
    """Return why a segment adds nothing to the log."""
    if len(found):
        return "the numbers of all that is whole in it stand elsewhere"
    return FOREIGN if is_foreign(found) else "nothing in it was whole"


def _look(place: Path) -> Scan:
    """Scan a segment; batches that make no sense are damage, however right their checksums."""
    found = scan_any(place)
    wrong = {n: what for n, (batch, note) in enumerate(_whole(found)) if (what := check(batch, note)) is not None}
    if not wrong:
        return found
    damages = [
        msgspec.structs.replace(each, before=each.before - sum(n < each.before for n in wrong))
        for each in found.damages
    ]
    for n, what in wrong.items():
        unit = found.unit(n)
        before = n - sum(other < n for other in wrong)
        damages.append(Damage(unit.offset, unit.offset + unit.length, before, unit.note.n, what))
    damages.sort(key=lambda each: each.offset)
    table = found.units.table[[n for n in range(len(found)) if n not in wrong]]
    return scan_of(place, found.size, found.header, found.first, table, tuple(damages), found.torn, sealed=found.sealed)


def _sorted(looked: list[Scan]) -> tuple[list[Scan], list[Scan]]:
    """Return segments in the order of what they hold, those without anything last, and such as another holds wholly."""
    having = [found for found in looked if len(found)]
    having.sort(
        key=lambda s: (s.totals.first_seq, -s.totals.last_seq, bool(s.damages), _named(s) != s.number, s.number)
    )
    row: list[Scan] = []
    spare: list[Scan] = []
    for found in having:
        held = bool(row) and found.totals.last_seq <= row[-1].totals.last_seq
        (spare if held else row).append(found)
    return row + [found for found in looked if not len(found)], spare


def _put_in_place(looked: list[Scan]) -> tuple[list[Scan], list[Moved]]:
    """Rename segments that stand in another's place; return all of them in order, and what was renamed."""
    row = [found for found in looked if len(found)]
    rest = [found for found in looked if not len(found)]
    numbers = [_named(found) for found in row]
    if sorted({*numbers}) != numbers or {*numbers} & {found.number for found in rest}:
        numbers = sorted(found.number for found in row)  # what the headers say cannot be: the places there are
    placed = [
        msgspec.structs.replace(found, path=found.path.with_name(name_of(number)))
        for found, number in zip(row, numbers, strict=True)
    ]
    goals = {old.path: new.path for old, new in zip(row, placed, strict=True) if old.path != new.path}
    _rename(goals)
    moved = [Moved(place, goal) for place, goal in goals.items()]
    return sorted(placed + rest, key=lambda found: found.number), moved


def _rename(goals: dict[Path, Path]) -> None:
    """Give files the names of one another; each has the name of a segment at every moment."""
    left = dict(goals)
    for place, goal in goals.items():
        index.drop(place)
        index.drop(goal)
    while left:
        free = [place for place, goal in left.items() if not goal.exists()]
        if free:
            free[0].rename(left.pop(free[0]))
            continue
        first = next(iter(left))  # they stand in a ring: one steps out behind all others
        last = max(number_of(path) or 0 for path in segments_in(first.parent))
        out = first.with_name(name_of(last + 1))
        left[out] = left.pop(first)
        first.rename(out)


def _named(found: Scan) -> int:
    """Return the number a segment's header gives it, or else its name."""
    return found.number if found.header is None else found.header.segment


def _cut_tails(paths: list[Path]) -> list[TornTail]:
    """Cut the torn tails and close what is open."""
    cut = []
    for place in paths:
        with place.open("rb") as file:
            file.seek(max(0, place.stat().st_size - len(wire.END)))
            closed = file.read() == wire.END
        found = None if closed else scan_any(place)
        if found is not None and not found.sealed:
            with naming(place):
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

    def has(self, found: Scan) -> bool:
        """Whether a segment is a copy of what is known already, as far as can be seen: nothing is missing for it."""
        if self.last_seq is None:
            return False
        if len(found):
            ended = all(damage.spare or damage.before < len(found) for damage in found.damages)
            return found.totals.last_seq < self.last_seq + ended
        before = 0 if found.header is None else found.header.after_seq or 0
        return found.header is not None and before < self.last_seq

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
        NoLog: it has none, or is a file.
    """
    if directory.is_file():
        raise NoLog(f"{directory} is a file, and a log is mended or compacted as a whole: name its folder")
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


def clear_partials(directory: Path) -> None:
    """Remove what an interrupted run has left of segments it made. The caller holds the log's lock."""
    for path in directory.iterdir():
        if _PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def in_place_of(place: Path) -> Iterator[None]:
    """Within it the file is made that takes a segment's place: errors name the segment, and no half of it stays."""
    try:
        with naming(place):
            yield
    finally:
        with contextlib.suppress(OSError):
            partial_of(place).unlink(missing_ok=True)
            index.drop(partial_of(place))


def _rewrite(found: Scan, state: _Before, later: list[Path]) -> Rewritten:
    """Write a segment's whole batches anew, with gaps where some are missing; `later` are the segments after it."""
    start = state.begins(found)
    missing = {damage.before: damage.what for damage in found.damages if damage.before >= start and not damage.spare}
    header = _header(found, state, later, headless=found.header is None or 0 in missing)
    if state.known and found.header is not None and found.header.after_seq != state.last_seq:
        missing.setdefault(start, "the end of the segment before is missing")
    last, newest = header.after_seq, state.newest_ns or header.created_ns
    encoder = wire.UnitEncoder()
    gaps = kept = 0
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
        kept += 1
        last, newest = note.seq[1], note.recv_ns[1]
        if note.prints:
            newest = int(np.asarray(batch.column("ts_ns").drop_null()).max())
    if not later and len(found) in missing and last is not None:  # else the next segment says it, where it begins
        room = range(last + 1, last + 1 + max(1, len(contracts)))
        gaps += _write_gaps(output, encoder, room, contracts, newest, newest + 1, newest, missing[len(found)])
    output.seal()
    index.drop(output.path)
    return Rewritten(found.path, kept, output.size, found.size, gaps)


def _whole(found: Scan, columns: list[str] | None = None) -> Iterator[tuple[pa.RecordBatch, BatchNote]]:
    """Yield a segment's whole batches; a file that is no segment has none."""
    if len(found):
        with LogReader(found.path, keep_index=False) as reader:
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
    header = msgspec.structs.replace(header, segment=found.number)
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
