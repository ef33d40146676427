from __future__ import annotations

import msgspec
import pytest

from tickloom.messages.control import Beat, SessionStarted
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Malformed, Prints, Quote
from tickloom.messages.records import (
    CRC_PLACE,
    SCHEMA,
    BatchNote,
    ControlRecord,
    Extra,
    FrameRecord,
    PrintRow,
    SegmentHeader,
    decode_extra,
    decode_header,
    decode_note,
    encode_extra,
    extras_of,
    unroll,
)


def test_unrolling_gives_each_frame_all_that_is_known_of_it():
    prints = Prints(("A", "B"), [1, 0], [7, 8], [1.5, 2.5], [3, 4], [0, 1], [1, 1], 40)
    frames = Frames("market/1", [10, 11], [1, 2], [b"x", b"y"], prints, quotes=((0, Quote("A", 5, bid=1.0)),))
    rows = (PrintRow(40, "B", 7, 1.5, 3, 0), PrintRow(41, "A", 8, 2.5, 4, 1))
    assert list(unroll([Numbered(5, frames), Numbered(7, Beat(recv_ns=12))])) == [
        FrameRecord(5, 10, 1, "market/1", b"x", (), Extra(quotes=(Quote("A", 5, bid=1.0),))),
        FrameRecord(6, 11, 2, "market/1", b"y", rows, Extra()),
        ControlRecord(7, Beat(recv_ns=12)),
    ]


def test_how_frames_are_grouped_does_not_show():
    one = Frames("m", [1, 2], [0, 0], None, malformed=(Malformed(1, "json", "what", 3),))
    parts = [Frames("m", [1], [0], None), Frames("m", [2], [0], None, malformed=(Malformed(0, "json", "what", 3),))]
    assert list(unroll([Numbered(1, one)])) == list(unroll([Numbered(1, parts[0]), Numbered(2, parts[1])]))


def test_extras_come_back_exactly_nan_included():
    extra = Extra(quotes=(Quote("A", -(2**63), last=float("inf")),), events=(("T", b"\x00\xff"),))
    assert decode_extra(encode_extra(extra)) == extra
    assert extras_of(Frames("m", [1], [1], None)) == {}


def test_header_and_note_spell_their_checksum_first():
    note = BatchNote("0" * 8, 0, 1, 1, 0, (1, 1), (2, 2), None, 0, 0, 0, True)
    start = SessionStarted(recv_ns=1, version="1", settings={}, instruments=(), timeframes=())
    header = SegmentHeader("0" * 8, "s", 1, None, 5, "w", (start,))
    for value, decode in ((note, decode_note), (header, decode_header)):
        text = msgspec.json.encode(value)
        assert text.startswith(b"{" + CRC_PLACE)
        assert decode(text) == value


def test_what_is_no_note_is_refused():
    with pytest.raises(msgspec.MsgspecError):
        decode_note(b'{"crc32":"00000000"}')


def test_the_schema_of_version_1_does_not_change():
    assert [(f.name, str(f.type), f.nullable) for f in SCHEMA] == [
        ("seq", "int64", False),
        ("recv_ns", "int64", False),
        ("mono_ns", "int64", False),
        ("source", "dictionary<values=string, indices=int32, ordered=0>", True),
        ("kind", "uint8", False),
        ("contract", "dictionary<values=string, indices=int32, ordered=0>", True),
        ("ts_ns", "int64", True),
        ("price", "double", True),
        ("size", "int64", True),
        ("side", "int8", True),
        ("tick", "int64", True),
        ("extra", "binary", True),
        ("record", "string", True),
        ("payload", "binary", True),
    ]
