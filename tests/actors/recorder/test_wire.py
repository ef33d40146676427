from __future__ import annotations

import pyarrow as pa
import pytest

from tickloom.actors.recorder import wire
from tickloom.actors.recorder.packing import pack
from tickloom.messages.control import Beat
from tickloom.messages.intake import Numbered
from tickloom.messages.records import NOTE_KEY, SCHEMA, SegmentHeader


@pytest.fixture(scope="module")
def unit(kit):
    packed = pack(kit.number([kit.frames(1), Beat(recv_ns=kit.START)]))
    return wire.UnitEncoder().encode(packed.batch, packed.note)


@pytest.fixture(scope="module")
def header(kit):
    return wire.encode_header(SegmentHeader("", "session", 3, 41, kit.START, "tickloom 1", (kit.started(),)))


def test_a_unit_reads_back_with_its_note(kit, unit):
    found = wire.read_unit(memoryview(b"x" * 8 + unit + b"rest"), 8)
    assert (found.offset, found.length) == (8, len(unit))
    assert (found.note.rows, found.note.seq, found.note.controls) == (2, (1, 2), 1)


def test_every_single_bit_flip_of_a_unit_is_detected(unit):
    for bit in range(len(unit) * 8):
        damaged = bytearray(unit)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(wire.BadBytes):
            wire.read_unit(memoryview(damaged))


def test_every_truncation_of_a_unit_is_detected(unit):
    for length in range(len(unit)):
        with pytest.raises(wire.BadBytes):
            wire.read_unit(memoryview(unit[:length]))


def test_a_header_reads_back(kit, header, unit):
    found, end = wire.read_header(memoryview(header + unit))
    assert end == len(header)
    assert (found.session, found.segment, found.after_seq, found.created_ns) == ("session", 3, 41, kit.START)
    assert found.context == (kit.started(),)


def test_every_single_bit_flip_of_a_header_is_damage_and_nothing_else(header):
    for bit in range(len(header) * 8):
        damaged = bytearray(header)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(wire.BadBytes):  # not a foreign file, not a later version
            wire.read_header(memoryview(damaged))


def test_a_checksum_spelled_out_in_a_payload_fools_nobody(kit):
    frames = kit.frames(1)
    frames.payloads[0] = b'{"crc32":"00000000","n":7}'
    header = wire.encode_header(
        SegmentHeader("", "s", 1, None, 1, "w", (kit.started().__class__(
            recv_ns=1, version="1", settings={"crc32": "00000000"}, instruments=(), timeframes=()),))
    )  # fmt: skip
    packed = pack([Numbered(1, frames)])
    unit = wire.UnitEncoder().encode(packed.batch, packed.note)
    assert wire.read_unit(memoryview(unit)).note.n == 0
    assert wire.read_header(memoryview(header))[0].context[0].settings == {"crc32": "00000000"}


def test_reading_goes_on_at_the_next_whole_unit(unit):
    rubbish = wire.CONTINUATION * 6 + unit[: len(unit) // 16 * 8]
    found = wire.find_unit(unit + rubbish + unit, 0)
    assert found is not None
    assert found.offset == len(unit) + len(rubbish)
    assert wire.find_unit(unit, 0) is None


def test_a_segment_is_an_arrow_stream_for_anybody(kit, header, unit):
    reader = pa.ipc.open_stream(header + unit + wire.END)
    assert reader.schema.equals(SCHEMA)
    batch = reader.read_next_batch_with_custom_metadata()
    assert batch.batch.column("contract").to_pylist() == [kit.MNQ.contract, None]
    assert NOTE_KEY in batch.custom_metadata
    with pytest.raises(StopIteration):
        reader.read_next_batch()


def test_only_the_columns_asked_for_are_read(unit):
    (batch,) = wire.read_batches(pa.py_buffer(wire.SCHEMA_MESSAGE + unit), ["price", "seq"])
    assert batch.schema.names == ["seq", "price"]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"\x89PNG\r\n\x1a\n" * 40, b"\xff\xff\xff\xff\x10\0\0\0" + b"\0" * 64])
def test_other_files_are_foreign(data):
    with pytest.raises(wire.Foreign):
        wire.read_header(memoryview(data))


def test_an_arrow_stream_of_another_schema_is_foreign():
    with pytest.raises(wire.Foreign):
        wire.read_header(memoryview(pa.schema([("a", pa.int8())]).serialize()))


def test_a_later_version_is_named():
    schema = SCHEMA.with_metadata({b"tickloom.format": b"9"})
    with pytest.raises(wire.Newer, match="9"):
        wire.read_header(memoryview(schema.serialize()))
