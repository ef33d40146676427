"""The message log's record format, version 2: the schema of a row, the kinds of rows, and what headers and batches
say about themselves. `docs/log-format.md` is the prose of it; the two change together.

One row is one frame, in order of arrival. A frame with k > 1 prints takes k rows of the same `seq`; only the first
carries the payload and the extra. A control record is one row. Every structure here is written into files: a field may
be added with a default, none may be renamed, retyped or reordered without a new format version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum

import msgspec
import pyarrow as pa

from tickloom.messages.control import AnyControl
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Depth, Quote, as_list

FORMAT = 2
"""The version this code writes, and the newest it reads. Version 1 has no `healed` and `unhealed` records."""

FORMAT_KEY = b"tickloom.format"
HEADER_KEY = b"tickloom.header"
NOTE_KEY = b"tickloom.batch"
"""Keys of the Arrow metadata: the first two on a segment's schema, the last on each of its record batches."""

CRC_PLACE = b'"crc32":"00000000"'
"""How header and note spell their checksum while it is computed; the eight zeros are then replaced by it."""


class Kind(IntEnum):
    """What a row is.

    FRAME: a frame without a print. TRADE: a frame with its first print. PRINT: a further print of the frame above.
    CONTROL: a control record, in the `record` column.
    """

    FRAME = 0
    TRADE = 1
    PRINT = 2
    CONTROL = 3


_NAME = pa.dictionary(pa.int32(), pa.utf8())

SCHEMA = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("recv_ns", pa.int64(), nullable=False),
        pa.field("mono_ns", pa.int64(), nullable=False),
        pa.field("source", _NAME),
        pa.field("kind", pa.uint8(), nullable=False),
        pa.field("contract", _NAME),
        pa.field("ts_ns", pa.int64()),
        pa.field("price", pa.float64()),
        pa.field("size", pa.int64()),
        pa.field("side", pa.int8()),
        pa.field("tick", pa.int64()),
        pa.field("extra", pa.binary()),
        pa.field("record", pa.utf8()),
        pa.field("payload", pa.binary()),
    ]
)
"""The one schema of a log's rows.

`contract` to `tick` are null but in TRADE and PRINT rows; CONTROL rows have a `record` and no `source`; `extra` and
`payload` stand in the first row of their frame, null where there is nothing or, for the payload, where the bytes were
not kept.

A side that is no int8 is written as `Side.UNKNOWN`: it is no side either way, and the payload still has it.
"""


class Extra(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a frame held beside prints, in order: MessagePack in the `extra` column, absent when there was nothing.

    `malformed` holds (reason, detail, prints); `events` are user-hub events as (target, JSON).
    """

    quotes: tuple[Quote, ...] = ()
    depth: tuple[Depth, ...] = ()
    malformed: tuple[tuple[str, str, int], ...] = ()
    events: tuple[tuple[str, bytes], ...] = ()


class BatchNote(msgspec.Struct, frozen=True, gc=False):
    """What a record batch says about itself, as JSON under `NOTE_KEY`: enough to index it without reading its columns.

    `crc32` must stay the first field. `n` counts a segment's batches from 0. `seq` and `recv_ns` are the first and last
    and the least and greatest in it; `tick` the first print's arrival number (None: no prints). `controls` counts
    control records, `records` those other than beats, `extras` the rows with an extra. `dense` says that `seq` rises by
    one from frame or record to the next and `tick` by one from print to print, so that both columns follow from
    `seq[0]`, `tick` and `kind`.
    """

    crc32: str
    n: int
    rows: int
    frames: int
    prints: int
    seq: tuple[int, int]
    recv_ns: tuple[int, int]
    tick: int | None
    controls: int
    records: int
    extras: int
    dense: bool


class SegmentHeader(msgspec.Struct, frozen=True):
    """What a segment says about itself, as JSON under `HEADER_KEY` of its schema.

    `crc32` must stay the first field. `after_seq` is the last sequence number in the log before this segment (None:
    there was none): a reader sees from it that rows are missing. `created_ns` is the receipt of its first row.
    `context` holds the control records still in force at its start (the session's start, connections, subscriptions),
    so that a log whose beginning was dropped by retention still explains itself.
    """

    crc32: str
    session: str
    segment: int
    after_seq: int | None
    created_ns: int
    writer: str
    context: tuple[AnyControl, ...] = ()


encode_extra = msgspec.msgpack.Encoder().encode
_extra_decoder: msgspec.msgpack.Decoder[Extra] = msgspec.msgpack.Decoder(Extra)
_note_decoder: msgspec.json.Decoder[BatchNote] = msgspec.json.Decoder(BatchNote)
_header_decoder: msgspec.json.Decoder[SegmentHeader] = msgspec.json.Decoder(SegmentHeader)


def decode_extra(data: bytes) -> Extra:
    """Read the `extra` column of one row back.

    Raises:
        msgspec.ValidationError: it is not what this version writes.
    """
    return _extra_decoder.decode(data)


def decode_note(data: bytes) -> BatchNote:
    """Read a batch's note.

    Raises:
        msgspec.ValidationError: it is not what this version writes.
    """
    return _note_decoder.decode(data)


def decode_header(data: bytes) -> SegmentHeader:
    """Read a segment's header.

    Raises:
        msgspec.ValidationError: it is not what this version writes.
    """
    return _header_decoder.decode(data)


class PrintRow(msgspec.Struct, frozen=True, gc=False):
    """One print, row-wise: for export and comparison, never on a fast path."""

    tick: int
    contract: str
    ts_ns: int
    price: float
    size: int
    side: int


class FrameRecord(msgspec.Struct, frozen=True, gc=False):
    """One frame with all that is known of it: the unit in which two readings of a log are compared."""

    seq: int
    recv_ns: int
    mono_ns: int
    source: str
    payload: bytes | None
    prints: tuple[PrintRow, ...]
    extra: Extra


class ControlRecord(msgspec.Struct, frozen=True, gc=False):
    """One control record with its sequence number."""

    seq: int
    record: AnyControl


def extras_of(frames: Frames) -> dict[int, Extra]:
    """Return what the frames held beside prints, by frame index."""
    if not (frames.quotes or frames.depth or frames.malformed or frames.events):
        return {}
    parts: dict[int, tuple[list[Quote], list[Depth], list[tuple[str, str, int]], list[tuple[str, bytes]]]] = {}

    def of(frame: int) -> tuple[list[Quote], list[Depth], list[tuple[str, str, int]], list[tuple[str, bytes]]]:
        found = parts.get(frame)
        if found is None:
            found = parts[frame] = ([], [], [], [])
        return found

    for frame, quote in frames.quotes:
        of(frame)[0].append(quote)
    for frame, depth in frames.depth:
        of(frame)[1].append(depth)
    for bad in frames.malformed:
        of(bad.frame)[2].append((bad.reason, bad.detail, bad.prints))
    for frame, target, data in frames.events:
        of(frame)[3].append((target, data))
    return {frame: Extra(tuple(q), tuple(d), tuple(m), tuple(e)) for frame, (q, d, m, e) in parts.items()}


def unroll(items: Iterable[Numbered]) -> Iterator[FrameRecord | ControlRecord]:
    """Yield the items one frame and one control record at a time.

    Two streams of items are the same log when they unroll to the same records: how frames are grouped into items says
    nothing, everything else does. A NaN price is unequal to itself, as ever.
    """
    for numbered in items:
        item = numbered.item
        if not isinstance(item, Frames):
            yield ControlRecord(numbered.seq, item)
            continue
        rows: dict[int, list[PrintRow]] = {}
        if item.prints is not None:
            p = item.prints
            columns = zip(
                as_list(p.frame), as_list(p.contract), as_list(p.ts_ns), as_list(p.price), as_list(p.size),
                as_list(p.side), strict=True,
            )  # fmt: skip
            for i, (frame, contract, ts, price, size, side) in enumerate(columns):
                row = PrintRow(p.first_tick + i, p.contracts[contract], ts, price, size, side)
                rows.setdefault(frame, []).append(row)
        extras = extras_of(item)
        for i, (recv, mono) in enumerate(zip(as_list(item.recv_ns), as_list(item.mono_ns), strict=True)):
            payload = None if item.payloads is None else item.payloads[i]
            yield FrameRecord(
                numbered.seq + i, recv, mono, item.source, payload, tuple(rows.get(i, ())), extras.get(i, Extra())
            )
