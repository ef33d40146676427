from __future__ import annotations

import json

import polars as pl
import pyarrow.parquet
import pytest

from tickloom.actors.recorder.errors import DamagedLog
from tickloom.actors.recorder.export import export
from tickloom.actors.recorder.importing.ticks import import_ticks
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.segment import name_of, scan
from tickloom.messages.records import unroll


@pytest.fixture
def log(kit, tmp_path):
    items = kit.number([*kit.everything(), *(kit.frames(10, at, prints=2) for at in range(20, 60, 10))])
    return kit.write_log(tmp_path / "log", items, batch_rows=16), list(unroll(items))


def prints_of(records):
    return [p for r in records for p in getattr(r, "prints", ())]


def test_parquet_holds_every_print_with_its_times(log, tmp_path):
    directory, records = log
    report = export(directory, tmp_path / "ticks.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "ticks.parquet")
    said = prints_of(records)
    assert report.rows == len(table) == len(said)
    assert table.column("price").to_pylist() == [p.price for p in said]
    assert table.column("time").cast("int64").to_pylist() == [p.ts_ns for p in said]
    assert table.column("tick").to_pylist() == [p.tick for p in said]
    assert set(table.column("side").to_pylist()) == {"buy", "sell", "unknown"}
    assert pl.read_parquet(tmp_path / "ticks.parquet").height == len(said)


def test_csv_can_be_imported_again_to_the_same_prints(kit, log, tmp_path):
    directory, records = log
    export(directory, tmp_path / "ticks.csv")
    import_ticks(tmp_path / "ticks.csv", tmp_path / "again", "X", tick_size="0.25")
    with LogReader(tmp_path / "again") as reader:
        again = prints_of(unroll(reader.items()))
    assert [(p.ts_ns, p.price, p.size, p.side) for p in again] == [
        (p.ts_ns, p.price, p.size, p.side) for p in prints_of(records)
    ]


def test_json_lines_hold_every_frame_and_record(log, tmp_path):
    directory, records = log
    report = export(directory, tmp_path / "all.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert report.rows == len(lines) == len(records)
    assert [line["seq"] for line in lines] == [r.seq for r in records]
    assert lines[-1]["payload"] == '{"frame":59}'
    assert sum(len(line.get("prints", ())) for line in lines) == len(prints_of(records))


def test_a_stretch_can_be_exported(kit, log, tmp_path):
    directory, _ = log
    low, high = kit.START + 25 * kit.MS, kit.START + 35 * kit.MS
    assert export(directory, tmp_path / "part.parquet", from_ns=low, to_ns=high).rows == 20


def test_an_unknown_format_is_refused_by_name(log, tmp_path):
    with pytest.raises(ValueError, match=r"no format 'xlsx': name a file \*.parquet, \*.csv or \*.jsonl"):
        export(log[0], tmp_path / "ticks.xlsx")


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_a_damaged_log_leaves_nothing_half_written(log, tmp_path, name):
    directory, _ = log
    (tmp_path / name).write_text("old")
    path = directory / name_of(1)
    unit = scan(path).unit(2)
    data = bytearray(path.read_bytes())
    data[unit.offset + unit.length - 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedLog):
        export(directory, tmp_path / name)
    assert (tmp_path / name).read_text() == "old"
    assert {p.name for p in tmp_path.iterdir()} == {"log", name}
