"""The bytes of a segment: a header, units, an end. Pure: bytes in, bytes out; no file is touched here.

A segment is an Arrow IPC stream. Its header is the schema message. A *unit* is what one batch takes: the dictionary
messages its columns need, then the record batch message, whose metadata holds the batch's note. Every unit repeats
its dictionaries, so each can be read without the ones before it, and a damaged one costs itself only.

A checksum stands in the metadata it guards: it is computed over all bytes of the header or unit with the checksum's
eight hexadecimal digits as zeros, then written over them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import ipc

from tickloom.actors.recorder.checksum import crc32
from tickloom.actors.recorder.options import Compression
from tickloom.messages.records import (
    CRC_PLACE,
    FORMAT,
    FORMAT_KEY,
    HEADER_KEY,
    NOTE_KEY,
    SCHEMA,
    BatchNote,
    SegmentHeader,
    decode_header,
    decode_note,
)

CONTINUATION = b"\xff\xff\xff\xff"
"""What every message of an Arrow stream begins with."""

END = CONTINUATION + b"\x00\x00\x00\x00"
"""What a segment ends with that was closed in order."""

SCHEMA_MESSAGE = SCHEMA.serialize().to_pybytes()
"""The schema without a header: what Arrow must be given before units that are read on their own."""

_CRC_LEAD = len(b'"crc32":"')
_NOTE_START = b'{"crc32":"'


class BadBytes(ValueError):
    """What stands at a place is no header or unit as it was written; the message says what was found."""


class Foreign(ValueError):
    """The bytes are no segment of a Tickloom log."""


class Newer(ValueError):
    """The segment is of a later format version, which is the argument."""


class Unit(msgspec.Struct, frozen=True, gc=False):
    """Where a unit lies in its segment, and its note."""

    offset: int
    length: int
    note: BatchNote


def _sign(data: bytearray, start: int, end: int) -> bytes:
    """Put the checksum of all of `data` into its place, which lies in `[start, end)`."""
    at = data.find(CRC_PLACE, start, end)
    assert at >= 0, "the metadata always holds the place of the checksum"
    at += _CRC_LEAD
    data[at : at + 8] = b"%08x" % crc32(data)
    return bytes(data)


def _signed(data: memoryview, start: int, end: int) -> bool:
    """Whether the checksum in the metadata `[start, end)` is that of `data`."""
    at = bytes(data[start:end]).find(_NOTE_START)
    if at < 0:
        return False
    at += start + len(_NOTE_START)
    digits = bytes(data[at : at + 8])
    crc = crc32(data[at + 8 :], crc32(b"00000000", crc32(data[:at])))
    return digits == b"%08x" % crc


def encode_header(header: SegmentHeader) -> bytes:
    """Return the first bytes of a segment."""
    text = msgspec.json.encode(msgspec.structs.replace(header, crc32="0" * 8))
    schema = SCHEMA.with_metadata({FORMAT_KEY: str(FORMAT).encode(), HEADER_KEY: text})
    data = bytearray(schema.serialize())
    return _sign(data, 0, len(data))


class UnitEncoder:
    """Turns batches into units.

    Args:
        compression: how buffers are compressed.
        level: zstd compression level.
        threads: compress columns in parallel on Arrow's pool; for bulk work, not beside a live feed.
    """

    def __init__(self, compression: Compression = "zstd", level: int = 1, *, threads: bool = False) -> None:
        codec: Any = None
        if compression != "none":
            codec = pa.Codec("zstd", compression_level=level) if compression == "zstd" else pa.Codec("lz4")
        self._options = ipc.IpcWriteOptions(compression=codec, use_threads=threads)

    def encode(self, batch: pa.RecordBatch, note: BatchNote) -> bytes:
        """Return the unit of a batch: dictionaries, then the batch with its note and checksum."""
        text = msgspec.json.encode(msgspec.structs.replace(note, crc32="0" * 8))
        sink = pa.BufferOutputStream()
        writer = ipc.new_stream(sink, SCHEMA, options=self._options)
        writer.write_batch(batch, custom_metadata={NOTE_KEY: text})
        data = bytearray(memoryview(sink.getvalue())[len(SCHEMA_MESSAGE) :])
        start, end = _batch_metadata(memoryview(data))
        return _sign(data, start, end)


def _message_at(data: memoryview, offset: int) -> tuple[str, int, int]:
    """Return the type of the message at `offset`, where its metadata ends, and where its body ends.

    Raises:
        BadBytes: there is no whole message.
    """
    if bytes(data[offset : offset + 4]) != CONTINUATION:
        raise BadBytes("no message begins here")
    length = int.from_bytes(data[offset + 4 : offset + 8], "little")
    if not 0 < length <= len(data) - offset - 8 or length % 8:
        raise BadBytes("a message's length is impossible or runs past the end")
    source = pa.BufferReader(data[offset:])
    try:
        message = ipc.read_message(source)
        kind: str = message.type
    except (pa.ArrowException, OSError, EOFError) as error:
        raise BadBytes("a message cannot be read") from error
    return kind, offset + 8 + length, offset + int(source.tell())


def _batch_metadata(data: memoryview, offset: int = 0) -> tuple[int, int]:
    """Return where the metadata of the first record batch at or after `offset` lies."""
    while True:
        kind, metadata_end, end = _message_at(data, offset)
        if kind == "record batch":
            return offset, metadata_end
        if kind != "dictionary":
            raise BadBytes(f"a {kind} message stands where a batch belongs")
        offset = end


def read_unit(data: memoryview, offset: int = 0, *, check: bool = True) -> Unit:
    """Return the unit at `offset` of `data`.

    Args:
        data: the bytes of a segment, or of a part of it.
        offset: where the unit begins.
        check: verify its checksum.

    Raises:
        BadBytes: there is none, it runs past the end, or its checksum is not that of its bytes.
    """
    begin = offset
    while True:
        kind, metadata_end, end = _message_at(data, offset)
        if kind == "record batch":
            break
        if kind != "dictionary":
            raise BadBytes(f"a {kind} message stands where a batch belongs")
        offset = end
    if check and not _signed(data[begin:end], offset - begin, metadata_end - begin):
        raise BadBytes("the checksum is not that of the bytes")
    metadata = bytes(data[offset:metadata_end])
    at = metadata.find(_NOTE_START)
    if at < 4:
        raise BadBytes("the batch has no note")
    length = int.from_bytes(metadata[at - 4 : at], "little")
    try:
        note = decode_note(metadata[at : at + length])
    except msgspec.MsgspecError as error:
        raise BadBytes(f"the batch's note cannot be read: {error}") from error
    return Unit(begin, end - begin, note)


def _misread(data: memoryview, version: bytes) -> bool:
    """Whether a header's checksum is right with a version that we know in the place of the one it gives."""
    lead = len(version).to_bytes(4, "little")
    at = bytes(data).find(lead + version + b"\0")
    while at >= 0:
        for known in range(1, FORMAT + 1):
            digits = b"%0*d" % (len(version), known)
            put_back = bytearray(data)
            put_back[at + 4 : at + 4 + len(version)] = digits
            if _signed(memoryview(put_back), 0, len(put_back)):
                return True
        at = bytes(data).find(lead + version + b"\0", at + 1)
    return False


def read_header(data: memoryview) -> tuple[SegmentHeader, int]:
    """Return a segment's header and where its first unit begins.

    Raises:
        Foreign: the bytes are not a Tickloom log's.
        Newer: they are a later version's.
        BadBytes: the header is damaged.
    """
    try:
        kind, end, _ = _message_at(data, 0)
        schema = ipc.read_schema(pa.BufferReader(data[:end])) if kind == "schema" else None
        metadata = schema.metadata or {} if schema is not None else {}
    except (BadBytes, pa.ArrowException, OSError, ValueError) as error:
        if FORMAT_KEY in bytes(data[: 64 * 1024]):
            raise BadBytes("the header cannot be read") from error
        raise Foreign("it does not begin as a Tickloom log does") from error
    version = metadata.get(FORMAT_KEY, b"")
    if not version.isdigit():
        if HEADER_KEY in metadata or FORMAT_KEY in bytes(data[:end]):
            raise BadBytes("the header gives no format version")
        raise Foreign("its schema is not a Tickloom log's")
    if int(version) > FORMAT:
        if _misread(data[:end], version):
            raise BadBytes(f"the header's format version reads {int(version)}, which is not what its checksum is of")
        raise Newer(int(version))
    if not _signed(data[:end], 0, end):
        raise BadBytes("the header's checksum is not that of its bytes")
    try:
        return decode_header(metadata.get(HEADER_KEY, b"")), end
    except msgspec.MsgspecError as error:
        raise BadBytes(f"the header cannot be read: {error}") from error


def find_unit(data: bytes, offset: int) -> Unit | None:
    """Return the first whole unit, checksum and all, that begins after `offset`: where reading can go on after damage.

    Units lie at multiples of eight; `data` must begin at one.
    """
    view = memoryview(data)
    at = data.find(CONTINUATION, offset + 1)
    while at >= 0:
        if at % 8 == 0:
            try:
                return read_unit(view, at)
            except BadBytes:
                pass  # what the caller is told is the damage before `offset`; this is the search for its end
        at = data.find(CONTINUATION, at + 1)
    return None


def read_batches(stream: pa.Buffer, columns: Sequence[str], *, threads: bool = False) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of checked units with some of their columns, in the schema's order.

    Args:
        stream: the log's schema message (`SCHEMA_MESSAGE`) and units after it.
        columns: names of the columns wanted.
        threads: decompress columns in parallel; pays for large batches only.
    """
    fields = sorted(SCHEMA.get_field_index(name) for name in columns)
    yield from ipc.open_stream(stream, options=ipc.IpcReadOptions(included_fields=fields, use_threads=threads))
