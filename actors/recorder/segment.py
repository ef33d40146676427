"""A segment as a file: its name, and a scan of all of it that tells whole units, damage and a torn tail apart.

A tail is *torn* when nothing whole follows and the segment was not closed: a crash leaves that, and what it held was
never promised. Anything else that does not read back is *damage*: a whole unit follows it, or the segment was closed.
Scanning only reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

import msgspec

from tickloom.actors.recorder import wire
from tickloom.actors.recorder.errors import ForeignFile, NewerFormat, NoLog
from tickloom.actors.recorder.units import COLUMNS, Totals, Units, rising, table_of, totals_of, unit_of
from tickloom.messages.market import IntArray
from tickloom.messages.records import FORMAT, SegmentHeader

SUFFIX = ".arrows"
_NAME = re.compile(r"(\d{8,})\.arrows")
FOREIGN = "it is no segment of a Tickloom log"
"""What is wrong with a file that has a segment's name only."""

_WINDOW = 8 * 1024 * 1024


class Damage(msgspec.Struct, frozen=True):
    """Bytes `[offset, end)` of a segment that do not read back.

    `before` is the place, in the table of units, of the unit that follows; `batch` the number of the batch that should
    stand there (None: the header). `spare` says that nothing is missing for it: what stands there stands elsewhere as
    well, or after the segment's end.
    """

    offset: int
    end: int
    before: int
    batch: int | None
    what: str
    spare: bool = False


class Torn(msgspec.Struct, frozen=True):
    """The tail of a segment that was not closed: `length` bytes from `offset` on that are no whole unit."""

    offset: int
    length: int
    what: str


class Scan(msgspec.Struct, frozen=True):
    """What a segment holds.

    Attributes:
        path: the file.
        size: its length in bytes when it was scanned.
        header: its header, or None when that is damaged or torn.
        first: where the first unit begins, or would.
        totals: what its whole units add up to.
        units: where they are.
        damages: what does not read back, in order.
        torn: the torn tail, if there is one.
        sealed: whether it was closed in order.
    """

    path: Path
    size: int
    header: SegmentHeader | None
    first: int
    totals: Totals
    units: Units
    damages: tuple[Damage, ...]
    torn: Torn | None
    sealed: bool

    def __len__(self) -> int:
        return self.totals.units

    @property
    def number(self) -> int:
        """The segment's number, from its name; 0 for a file of another name."""
        return number_of(self.path) or 0

    @property
    def end(self) -> int:
        """Where the last whole unit ends."""
        last = self.unit(len(self) - 1) if len(self) else None
        return self.first if last is None else last.offset + last.length

    def column(self, name: str) -> IntArray:
        """Return one of `units.COLUMNS` for all units."""
        return self.units.table[:, COLUMNS.index(name)]

    def unit(self, place: int) -> wire.Unit:
        """Return a unit by its place in the table."""
        return unit_of(self.units.table[place])

    @property
    def last_seq(self) -> int | None:
        """The last sequence number in it; None: it holds none."""
        return self.totals.last_seq if len(self) else None


def scan_of(
    path: Path, size: int, header: SegmentHeader | None, first: int, table: IntArray,
    damages: tuple[Damage, ...] = (), torn: Torn | None = None, *, sealed: bool,
) -> Scan:  # fmt: skip
    """Return what a segment holds, from the table of its units."""
    return Scan(path, size, header, first, totals_of(table), Units(table), damages, torn, sealed)


def name_of(number: int) -> str:
    """Return the file name of segment `number`."""
    return f"{number:08d}{SUFFIX}"


def number_of(path: Path) -> int | None:
    """Return the segment's number from its file name, or None when it is no segment's name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def segments_in(directory: Path) -> list[Path]:
    """Return the segments of a log, in order.

    Raises:
        NoLog: the directory does not exist or is none.
    """
    if not directory.is_dir():
        raise NoLog(f"{directory} is no directory: name the folder of a log, or one of its segments")
    found = ((number_of(path), path) for path in directory.iterdir())
    return [path for _, path in sorted((number, path) for number, path in found if number is not None)]


def _newer(path: Path, version: wire.Newer) -> NewerFormat:
    return NewerFormat(
        f"{path} is of log format {version}, this version reads up to {FORMAT}: install a later Tickloom"
    )


def scan(path: Path) -> Scan:
    """Read all of a segment and say what is whole.

    Raises:
        ForeignFile: the file is not of a Tickloom log.
        NewerFormat: a later version wrote it.
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        size = path.stat().st_size
        header, first, damages, torn = _scan_header(path, file, size)
        if torn is not None:
            return scan_of(path, size, None, 0, table_of([]), torn=torn, sealed=False)
        walked: list[wire.Unit | Damage] = [*damages]
        sealed = False
        for found in _walk(file, first, size):
            if isinstance(found, wire.Unit | Damage):
                walked.append(found)
            elif isinstance(found, Torn):
                torn = found
            else:
                sealed = True
        units, damages = _in_order(walked, file)
    return scan_of(path, size, header, first, table_of(units), tuple(damages), torn, sealed=sealed)


def scan_any(path: Path) -> Scan:
    """Scan a file that has a segment's name; one that is no segment is one whose every byte is damaged.

    Raises:
        NewerFormat: a later version wrote it.
        OSError: it cannot be read.
    """
    try:
        return scan(path)
    except ForeignFile:
        size = path.stat().st_size
        damage = Damage(0, size, 0, None, FOREIGN)
        return scan_of(path, size, None, size, table_of([]), (damage,), sealed=True)


def is_foreign(found: Scan) -> bool:
    """Whether what `scan_any` scanned is no segment at all."""
    return found.header is None and any(damage.what == FOREIGN for damage in found.damages)


def some_is_ours(paths: Sequence[Path]) -> None:
    """See that one of the files at least is a segment, and that none is a later version's.

    Raises:
        ForeignFile: none is.
        NewerFormat: a later version wrote one of them.
        OSError: one cannot be read.
    """
    ours = False
    for path in paths:
        with path.open("rb", buffering=0) as file:
            data = _read(file, 0, 8)
            data += _read(file, 8, min(int.from_bytes(data[4:], "little"), _WINDOW))
        try:
            wire.read_header(memoryview(data))
            ours = True
        except wire.Newer as newer:
            raise _newer(path, newer) from None
        except (wire.Foreign, wire.BadBytes):
            pass  # it may be a segment still: what follows its header says so
    if not ours and all(is_foreign(scan_any(path)) for path in paths):
        raise ForeignFile(f"{paths[0].parent} holds no segment of a Tickloom log: name another folder")


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    parts = []
    while length > 0 and (part := file.read(length)):
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _scan_header(path: Path, file: BinaryIO, size: int) -> tuple[SegmentHeader | None, int, list[Damage], Torn | None]:
    """Return the header, where units begin, and what is wrong with it."""
    data = _read(file, 0, _WINDOW)
    length = int.from_bytes(data[4:8], "little")
    cut = data[:4] == wire.CONTINUATION[: len(data)] and (len(data) < 8 or length > size - 8)
    try:
        header, first = wire.read_header(memoryview(data))
    except wire.Newer as newer:
        raise _newer(path, newer) from None
    except (wire.Foreign, wire.BadBytes) as error:
        rest = _read(file, 0, size)
        found = wire.find_unit(rest, 0)
        if found is not None:
            return None, found.offset, [Damage(0, found.offset, 0, None, str(error))], None
        if not any(rest) or cut:
            return None, 0, [], Torn(0, size, "the header was never written to its end")
        if isinstance(error, wire.Foreign):
            aside = f"`tickloom log recover {path.parent}` sets it aside"
            remedy = "name another file" if number_of(path) is None else aside
            raise ForeignFile(f"{path} is no segment of a Tickloom log ({error}): {remedy}") from None
        return None, size, [Damage(0, size, 0, None, str(error))], None
    return header, first, [], None


class _Sealed:
    """Said when a segment's end stands where it should."""


def _walk(file: BinaryIO, first: int, size: int) -> Iterator[wire.Unit | Damage | Torn | _Sealed]:
    """Yield whole units and what lies between them, in the order of the file, at last how the segment ends."""
    base, window = first, _read(file, first, _WINDOW)
    at = first
    while at < size:
        if base + len(window) == size and size - at == len(wire.END) and window[at - base :] == wire.END:
            yield _Sealed()
            return
        try:
            unit = wire.read_unit(memoryview(window), at - base)
        except wire.BadBytes as error:
            if base + len(window) < size:  # perhaps only the window ends here: look again from this place, further
                base, window = at, _read(file, at, _WINDOW if at > base else 2 * len(window))
                continue
            end = _damage(window, at - base)
            if end is None:
                yield Torn(at, size - at, str(error))
                return
            ended = window[at - base : at - base + len(wire.END)] == wire.END
            what = "something follows the end of the segment" if ended else str(error)
            yield Damage(at, base + end, 0, None, what, spare=ended)
            at = base + end
            continue
        yield wire.Unit(at, unit.length, unit.note)
        at += unit.length


def _in_order(walked: list[wire.Unit | Damage], file: BinaryIO) -> tuple[list[wire.Unit], list[Damage]]:
    """Return the units whose numbers rise, as many as can be, and the damages with their places among them.

    A unit that is out of order is damage, however whole: a stretch of the file was written twice, or in another place.
    Where a batch is missing between two that are there, an empty stretch of damage says so.
    """
    whole = [each for each in walked if isinstance(each, wire.Unit)]
    kept = {whole[place].offset for place in rising([unit.note.seq for unit in whole])}
    places = {unit.note.seq: unit.offset for unit in whole if unit.offset in kept}
    units: list[wire.Unit] = []
    damages: list[Damage] = []
    expected: int | None = 0
    for each, after in zip_longest(walked, walked[1:]):
        if isinstance(each, Damage):
            header = each.offset == 0
            if isinstance(after, wire.Unit) and after.offset not in kept and not header:
                each = _echo(each, places.get(after.note.seq, 0), file)
            damages.append(msgspec.structs.replace(each, before=len(units), batch=None if header else (expected or 0)))
            expected = expected if each.spare or header else None
            continue
        note = each.note
        if each.offset not in kept:
            what = f"batch {note.n} with the numbers from {note.seq[0]} on is not in its place"
            damages.append(Damage(each.offset, each.offset + each.length, len(units), expected or 0, what, spare=True))
            continue
        if expected is not None and note.n != expected:
            what = f"batch {note.n} stands where batch {expected} belongs"
            damages.append(Damage(each.offset, each.offset, len(units), expected, what))
        units.append(each)
        expected = note.n + 1
    return units, damages


def _echo(damage: Damage, twin: int, file: BinaryIO) -> Damage:
    """Return the damage, marked as spare if the same bytes stand before `twin`, where the unit after it stands too."""
    length = damage.end - damage.offset
    same = twin >= length and _read(file, damage.offset, length) == _read(file, twin - length, length)
    return msgspec.structs.replace(damage, spare=True) if same else damage


def _damage(window: bytes, at: int) -> int | None:
    """Return where reading can go on after `at`, in a window that reaches the file's end; None: the tail is torn."""
    found = wire.find_unit(window, at)
    if found is not None:
        return found.offset
    if window.endswith(wire.END) and len(window) - at > len(wire.END):
        return len(window) - len(wire.END)
    return None
