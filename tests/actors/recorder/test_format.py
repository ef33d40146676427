"""Logs of every format version stay readable: one written when it was defined, read by us and by the page alone.

The second reader here is written from docs/log-format.md with nothing of ours: pyarrow, zlib and a MessagePack decoder.
If a change makes either fail, it is a new format version, not a change of this one. The fixture is never written again.
"""

from __future__ import annotations

import json
import re
import shutil
import zlib
from pathlib import Path
from typing import get_args

import msgspec
import polars as pl
import pyarrow as pa
import pytest

from tickloom.actors.recorder.care import verify
from tickloom.actors.recorder.export import export
from tickloom.actors.recorder.reader import LogReader
from tickloom.messages.control import (
    AnyControl,
    Healed,
    Midway,
    Rejects,
    SessionStarted,
    SessionStopped,
    Unfamiliar,
    Unhealed,
)
from tickloom.messages.intake import Frames
from tickloom.messages.records import FORMAT

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.iterdir())


@pytest.fixture
def copied(tmp_path):
    """Copy the log of a version."""
    return lambda version: shutil.copytree(FIXTURES / version, tmp_path / version)


def expected(version):
    return [json.loads(line) for line in (FIXTURES / version / "expected.jsonl").read_text().splitlines()]


def test_every_record_that_may_be_in_a_log_is_on_the_page():
    page = (Path(__file__).parents[3] / "docs" / "log-format.md").read_text()
    table = page.split("### Records")[1].split("###")[0]
    said = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    kinds = {kind.__struct_config__.tag for kind in get_args(AnyControl) if kind not in (Unfamiliar, Midway)}
    assert said - {"record"} == kinds


def test_there_is_a_log_of_every_version():
    assert [f"v{number}" for number in range(1, FORMAT + 1)] == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_a_log_of_each_version_is_whole_and_says_what_it_said_then(copied, version):
    log = copied(version)
    assert verify(log).whole
    now_jsonl = log.with_name("now.jsonl")
    export(log, now_jsonl)
    now = [json.loads(line) for line in now_jsonl.read_text().splitlines()]
    assert len(now) == len(expected(version)) >= 15
    for got, said in zip(now, expected(version), strict=True):
        # A record may have gained fields with defaults since; what was written then it must still say.
        assert got | said == got if "record" in said else got == said


def test_a_log_of_version_1_gives_the_items_it_was_made_of(copied):
    with LogReader(copied("v1")) as reader:
        items = [numbered.item for numbered in reader.items(raw=True)]
        context = reader.context(from_seq=10)
    assert isinstance(items[0], SessionStarted)
    assert isinstance(items[-1], SessionStopped)
    frames = [item for item in items if isinstance(item, Frames)]
    assert [f.source for f in frames] == ["user/1", "market/1", "market/2"]
    assert frames[1].prints.price.tolist() == [21000.0, 21000.25, 21000.5] + [21000.75] * 4 + [21001.0] * 4
    assert frames[1].prints.frame.tolist() == [0, 1, 2, 3, 3, 3, 3, 4, 4, 4, 4]
    assert frames[0].payloads == [b"", b"\x00\xff not text", b"{}"]
    assert frames[0].events == ((0, "GatewayUserTrade", b'{"id":1}'), (0, "GatewayUserOrder", b"{}"))
    assert [type(record).__name__ for record in context] == ["SessionStarted", "Subscribed"]


def checksum_holds(data: bytes, metadata: bytes) -> bool:
    """As the page says: eight digits after the first `{"crc32":"` of the metadata, zeros while it is computed."""
    at = data.index(metadata) + metadata.index(b'{"crc32":"') + len(b'{"crc32":"')
    return int(data[at : at + 8], 16) == zlib.crc32(data[:at] + b"00000000" + data[at + 8 :])


def test_a_log_of_version_2_knows_what_history_gave_and_what_it_would_not(copied):
    with LogReader(copied("v2")) as reader:
        items = [numbered.item for numbered in reader.items()]
    (healed,) = [item for item in items if isinstance(item, Healed)]
    assert (healed.open, healed.volume, healed.source) == ((84_000, 84_004), (120, 7), "history")
    assert healed.to_ns - healed.from_ns == len(healed.open_ns) * healed.width_ns
    (unhealed,) = [item for item in items if isinstance(item, Unhealed)]
    assert unhealed.reason == "history has nothing yet"
    assert [item.ticks for item in items if isinstance(item, Rejects)] == [(3, 5)]


def by_the_page(path: Path) -> list[dict[str, object]]:
    """Read one segment with nothing but the page: one dictionary a frame or record."""
    data = path.read_bytes()
    assert data.endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00")
    messages = []
    at = 0
    while at < len(data) - 8:
        source = pa.BufferReader(data[at:])
        message = pa.ipc.read_message(source)
        messages.append((message.type, data[at : at + source.tell()], message.metadata.to_pybytes()))
        at += source.tell()
    assert messages[0][0] == "schema"
    assert checksum_holds(messages[0][1], messages[0][2])
    unit = b""
    for kind, whole, metadata in messages[1:]:
        unit += whole
        if kind == "record batch":
            assert checksum_holds(unit, metadata)
            unit = b""
    reader = pa.ipc.open_stream(data)
    assert reader.schema.metadata[b"tickloom.format"] == path.parent.name.removeprefix("v").encode()
    found: list[dict[str, object]] = []
    while True:
        try:
            read = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            return found
        note = json.loads(read.custom_metadata[b"tickloom.batch"])
        rows = read.batch.to_pylist()
        assert (note["rows"], note["seq"]) == (len(rows), [rows[0]["seq"], rows[-1]["seq"]])
        for row in rows:
            if row["kind"] == 3:
                found.append({"seq": row["seq"]} | json.loads(row["record"]))
                continue
            if row["kind"] in (0, 1):
                found.append({name: row[name] for name in ("seq", "recv_ns", "mono_ns", "source", "payload")})
                quotes, depth, malformed, events = msgspec.msgpack.decode(row["extra"] or b"\x94\x90\x90\x90\x90")
                found[-1] |= {"quotes": quotes, "depth": depth, "malformed": malformed, "events": events, "prints": []}
            if row["kind"] in (1, 2):
                found[-1]["prints"].append({n: row[n] for n in ("tick", "contract", "ts_ns", "price", "size", "side")})


@pytest.mark.parametrize("version", VERSIONS)
def test_other_programs_read_a_segment_as_it_is(version):
    said = [p for line in expected(version) for p in line.get("prints", ())]
    found = pl.concat([pl.read_ipc_stream(path) for path in sorted((FIXTURES / version).glob("*.arrows"))])
    prints = found.filter(pl.col("kind").is_in([1, 2]))
    assert prints["contract"].cast(str).to_list() == [p["contract"] for p in said]
    assert prints["price"].to_list() == [p["price"] for p in said]
    assert found["record"].drop_nulls().len() == sum("record" in line for line in expected(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_page_is_enough_to_read_a_log_by(version):
    found = [row for path in sorted((FIXTURES / version).glob("*.arrows")) for row in by_the_page(path)]
    for got, said in zip(found, expected(version), strict=True):
        if "record" in said:
            assert got == said
            continue
        assert got["prints"] == said.get("prints", [])
        assert got["quotes"] == said.get("quotes", [])
        assert got["depth"] == said.get("depth", [])
        assert [m[0] for m in got["malformed"]] == [m["reason"] for m in said.get("malformed", [])]
        assert [(t, d.decode()) for t, d in got["events"]] == [(e["target"], e["data"]) for e in said.get("events", [])]
        if "payload" in said:
            assert got["payload"] == said["payload"].encode()
