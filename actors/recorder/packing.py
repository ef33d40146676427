"""From intake items to one record batch of the log. Pure: the same items give the same batch, and nothing is kept.

The work is done once a batch, column by column; per item only references are gathered. An entry below is what takes
one sequence number: a frame or a control record. Rows follow from entries by giving each as many as it has prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tickloom.messages.control import AnyControl, Beat, encode_control
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import IntArray, Prints, Side
from tickloom.messages.records import SCHEMA, BatchNote, Extra, Kind, encode_extra, extras_of

_NO_CRC = "0" * 8
MAX_BYTES = 64 * 1024 * 1024
"""Payload in one batch, unless a single frame is larger."""


Pause = Callable[[], object]
"""Lets others have the interpreter. Called between the parts of packing a batch, of which each is about a tenth."""


def no_pause() -> None:
    """Go on at once."""


class Unfit(ValueError):
    """An item whose columns contradict one another; it cannot be in a log."""


class TooLarge(Unfit):
    """More payload than one batch may hold; fewer frames at a time will do."""


class Packed(msgspec.Struct, frozen=True):
    """A batch and the note that goes with it (`crc32` and `n` are filled in when it is encoded)."""

    batch: pa.RecordBatch
    note: BatchNote


def _column(parts: Sequence[Any], count: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Glue columns, each a list or an array, into one array of `count` values."""
    try:
        if len(parts) == 1:
            column = np.asarray(parts[0], dtype=dtype)
        elif parts and isinstance(parts[0], np.ndarray):
            column = np.concatenate([np.asarray(part, dtype=dtype) for part in parts])
        else:  # right for arrays among the lists as well, only slower; live items bring lists
            column = np.fromiter(chain.from_iterable(parts), dtype=dtype)
    except (OverflowError, TypeError) as error:
        raise Unfit(f"a column holds what no {np.dtype(dtype)} can: {error}") from None
    if len(column) != count:
        raise Unfit(f"a column has {len(column)} values where {count} belong")
    return column


def _arrow(values: NDArray[Any], valid: NDArray[np.bool_] | None, kind: pa.DataType) -> pa.Array:
    """Wrap an array without a copy; `valid` None means no nulls."""
    if valid is None:
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)], 0)
    bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(values)])


def _named(codes: NDArray[np.int32], valid: NDArray[np.bool_] | None, names: Iterable[str]) -> pa.Array:
    """Return a dictionary column of `names` by code."""
    indices = _arrow(codes, valid, pa.int32())
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.utf8()))


class _Prints:
    """The prints of a batch as columns, each with the entry it belongs to.

    `found` are the items' prints, `bases` the first entry of each one's item, `sizes` how many entries it has.
    """

    def __init__(self, found: list[Prints], bases: IntArray, sizes: IntArray, entries: int, pause: Pause) -> None:
        prices = [p.price for p in found]
        lengths = np.fromiter(map(len, prices), np.int64, len(found))
        count = int(lengths.sum())
        self.count = count
        self.price = _column(prices, count, np.float64)
        frame = _column([p.frame for p in found], count, np.int64)
        if count and (frame.min() < 0 or bool((frame >= np.repeat(sizes, lengths)).any())):
            raise Unfit("a print names a frame outside its item")
        self.entry: IntArray = frame + np.repeat(bases, lengths)
        if count and bool((self.entry[1:] < self.entry[:-1]).any()):
            raise Unfit("prints are not in the order of their frames")
        pause()
        starts = np.cumsum(lengths) - lengths
        ticks = np.fromiter([p.first_tick for p in found], np.int64, len(found))
        self.tick: IntArray = np.repeat(ticks - starts, lengths) + np.arange(count)
        self.ts_ns = _column([p.ts_ns for p in found], count, np.int64)
        pause()
        self.size = _column([p.size for p in found], count, np.int64)
        side = _column([p.side for p in found], count, np.int64)
        if count and (side.min() < -128 or side.max() > 127):
            side = np.where((side < -128) | (side > 127), int(Side.UNKNOWN), side)
        self.side = side.astype(np.int8)
        pause()
        self.codes, self.names = self._contracts(found, lengths, count)
        self.per_entry = np.bincount(self.entry, minlength=entries)

    @staticmethod
    def _contracts(found: list[Prints], lengths: IntArray, count: int) -> tuple[NDArray[np.int32], list[str]]:
        """Return each print's code into one list of names, whatever lists the items brought."""
        local = _column([p.contract for p in found], count, np.int64)
        brought = [p.contracts for p in found]
        lists = dict.fromkeys(brought)
        known: Any = np.repeat(np.fromiter(map(len, brought), np.int64, len(found)), lengths)
        if count and (local.min() < 0 or bool((local >= known).any())):
            raise Unfit("a print names a contract that its item does not list")
        if len(lists) == 1 and len(set(brought[0])) == len(brought[0]):
            return local.astype(np.int32), list(brought[0])
        names: dict[str, int] = {}
        remap: list[int] = []
        places: dict[tuple[str, ...], int] = {}
        for contracts in lists:
            places[contracts] = len(remap)
            remap.extend(names.setdefault(name, len(names)) for name in contracts)
        offsets = np.fromiter([places[contracts] for contracts in brought], np.int64, len(found))
        return np.array(remap, np.int32)[local + np.repeat(offsets, lengths)], list(names)


def pack(items: Sequence[Numbered], pause: Pause = no_pause) -> Packed:
    """Return the items as one batch of the log's schema.

    Args:
        items: at least one frame or control record between them, their sequence numbers rising.
        pause: called now and then, where a live feed waits for the same interpreter.

    Raises:
        Unfit: an item's columns contradict one another (lengths, frame or contract indices, order).
    """
    frames: list[Frames] = []
    controls: dict[int, AnyControl] = {}
    for i, numbered in enumerate(items):
        item = numbered.item
        if isinstance(item, Frames):
            frames.append(item)
        else:
            controls[i] = item
            frames.append(Frames("", [item.recv_ns], [0], None))
    recv = [f.recv_ns for f in frames]
    sizes = np.fromiter(map(len, recv), np.int64, len(frames))
    bases = np.cumsum(sizes) - sizes
    entries = int(sizes.sum())
    if not entries:
        raise Unfit("there is nothing to write in these items")
    seqs = np.fromiter([numbered.seq for numbered in items], np.int64, len(items))
    seq = np.repeat(seqs - bases, sizes) + np.arange(entries)
    if bool((seq[1:] <= seq[:-1]).any()):
        raise Unfit("sequence numbers do not rise")
    pause()
    recv_ns = _column(recv, entries, np.int64)
    mono_ns = _column([f.mono_ns for f in frames], entries, np.int64)
    source = _sources(frames, controls, sizes)
    pause()
    payloads = _payloads(frames, entries)
    pause()
    having = [i for i, f in enumerate(frames) if f.prints is not None]
    found = [p for f in frames if (p := f.prints) is not None]
    prints = _Prints(found, bases[having], sizes[having], entries, pause)
    pause()
    extras = _extras(frames, bases.tolist())
    return _assemble(
        seq=seq,
        recv_ns=recv_ns,
        mono_ns=mono_ns,
        source=source,
        payloads=payloads,
        prints=prints,
        extras=extras,
        controls={int(bases[i]): record for i, record in controls.items()},
        pause=pause,
    )


def _sources(
    frames: list[Frames], controls: dict[int, AnyControl], sizes: IntArray
) -> tuple[NDArray[np.int32], list[str]]:
    """Return each entry's code and the names. A control record has none; its code means nothing."""
    sources = [f.source for f in frames]
    if controls:
        names = {source: 0 for i, source in enumerate(sources) if i not in controls}
    else:
        names = dict.fromkeys(sources, 0)
    for code, name in enumerate(names):
        names[name] = code
    if len(names) == 1 and not controls:
        return np.zeros(int(sizes.sum()), np.int32), sources[:1]
    codes = np.fromiter([names.get(source, 0) for source in sources], np.int32, len(sources))
    return np.repeat(codes, sizes), list(names)


def _payloads(frames: list[Frames], entries: int) -> tuple[bytes, IntArray]:
    """Return all payloads end to end, and each entry's length (-1: not kept)."""
    parts = [f.payloads for f in frames]
    if all([part is not None for part in parts]):  # noqa: C419 - a list is faster than a generator here
        payloads: list[bytes] = list(chain.from_iterable(parts))  # type: ignore[arg-type]
        lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
    elif not any([part is not None for part in parts]):  # noqa: C419
        payloads, lengths = [], np.full(entries, -1, np.int64)
    else:
        payloads = [p for part in parts if part is not None for p in part]
        spread = [
            length
            for f in frames
            for length in ((-1,) * len(f.recv_ns) if f.payloads is None else map(len, f.payloads))
        ]
        lengths = np.array(spread, np.int64)
    if len(lengths) != entries:
        raise Unfit(f"there are {len(lengths)} payloads for {entries} frames")
    size = int(lengths.sum())
    if size > (MAX_BYTES if entries > 1 else 2**31 - 1):
        if entries > 1:
            raise TooLarge(f"{entries} frames hold {size} bytes")
        raise Unfit(f"a frame of {size} bytes")
    return b"".join(payloads), lengths


def _extras(frames: list[Frames], bases: list[int]) -> dict[int, Extra]:
    extras: dict[int, Extra] = {}
    for f, base in zip(frames, bases, strict=True):
        if f.quotes or f.depth or f.malformed or f.events:
            for frame, extra in extras_of(f).items():
                if not 0 <= frame < len(f.recv_ns):
                    raise Unfit("an update names a frame outside its item")
                extras[base + frame] = extra
    return extras


def _assemble(
    *,
    seq: IntArray,
    recv_ns: IntArray,
    mono_ns: IntArray,
    source: tuple[NDArray[np.int32], list[str]],
    payloads: tuple[bytes, IntArray],
    prints: _Prints,
    extras: dict[int, Extra],
    controls: dict[int, AnyControl],
    pause: Pause,
) -> Packed:
    """Spread entries and prints over rows."""
    entries = len(seq)
    kind = np.zeros(entries, np.uint8)
    codes, names = source
    data, lengths = payloads
    place: IntArray | None = None
    rows = entries
    if prints.count and int(prints.per_entry.max()) > 1:
        per_entry = np.maximum(prints.per_entry, 1)
        place = np.cumsum(per_entry) - per_entry
        rows = int(per_entry.sum())
        spread = np.repeat(np.arange(entries), per_entry)
        rank = np.arange(prints.count) - (np.cumsum(prints.per_entry) - prints.per_entry)[prints.entry]
        at = place[prints.entry] + rank
        seq, recv_ns, mono_ns, codes = seq[spread], recv_ns[spread], mono_ns[spread], codes[spread]
        kind = np.zeros(rows, np.uint8)
        kind[at] = np.where(rank == 0, np.uint8(Kind.TRADE), np.uint8(Kind.PRINT))
        row_lengths = np.full(rows, -1, np.int64)
        row_lengths[place] = lengths
        lengths = row_lengths
    else:
        at = prints.entry
        kind[at] = Kind.TRADE
    if controls:
        which = np.fromiter(controls, np.int64, len(controls))
        kind[which if place is None else place[which]] = Kind.CONTROL
    columns = [
        _arrow(seq, None, pa.int64()),
        _arrow(recv_ns, None, pa.int64()),
        _arrow(mono_ns, None, pa.int64()),
        _named(codes, kind != Kind.CONTROL if controls else None, names),
        _arrow(kind, None, pa.uint8()),
        *_decoded(prints, at, rows),
        _sparse({entry: encode_extra(extra) for entry, extra in extras.items()}, place, rows, pa.binary()),
        _sparse({entry: encode_control(record).decode() for entry, record in controls.items()}, place, rows, pa.utf8()),
        _payload_column(data, lengths),
    ]
    pause()
    note = BatchNote(
        crc32=_NO_CRC,
        n=0,
        rows=rows,
        frames=entries - len(controls),
        prints=prints.count,
        seq=(int(seq[0]), int(seq[-1])),
        recv_ns=(int(recv_ns.min()), int(recv_ns.max())),
        tick=int(prints.tick[0]) if prints.count else None,
        controls=len(controls),
        records=sum(type(record) is not Beat for record in controls.values()),
        extras=len(extras),
        dense=int(seq[-1]) - int(seq[0]) + 1 == entries
        and (not prints.count or bool((np.diff(prints.tick) == 1).all())),
    )
    return Packed(pa.RecordBatch.from_arrays(columns, schema=SCHEMA), note)


def _decoded(prints: _Prints, at: IntArray, rows: int) -> list[pa.Array]:
    """Return the columns `contract` to `tick`, null where a row holds no print."""
    columns = (
        (prints.ts_ns, pa.int64()),
        (prints.price, pa.float64()),
        (prints.size, pa.int64()),
        (prints.side, pa.int8()),
        (prints.tick, pa.int64()),
    )
    if prints.count == rows:
        return [_named(prints.codes, None, prints.names), *(_arrow(v, None, kind) for v, kind in columns)]
    valid = np.zeros(rows, np.bool_)
    valid[at] = True

    def spread(values: NDArray[Any]) -> NDArray[Any]:
        full = np.zeros(rows, values.dtype)
        full[at] = values
        return full

    return [
        _named(spread(prints.codes), valid, prints.names),
        *(_arrow(spread(values), valid, kind) for values, kind in columns),
    ]


def _sparse(cells: dict[int, Any], place: IntArray | None, rows: int, kind: pa.DataType) -> pa.Array:
    """Return a column that is null but for a few entries' cells."""
    if not cells:
        return pa.nulls(rows, kind)
    column: list[Any] = [None] * rows
    for entry, cell in cells.items():
        column[entry if place is None else int(place[entry])] = cell
    return pa.array(column, kind)


def _payload_column(data: bytes, lengths: IntArray) -> pa.Array:
    """Return the payloads, one a row; a length of -1 is a null."""
    rows = len(lengths)
    missing = lengths < 0
    some = bool(missing.any())
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(np.where(missing, 0, lengths) if some else lengths, out=offsets[1:])
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if some else None
    return pa.Array.from_buffers(pa.binary(), rows, [valid, pa.py_buffer(offsets), pa.py_buffer(data)])
