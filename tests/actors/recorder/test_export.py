from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys

import polars as pl
import pyarrow.parquet
import pytest

from tickloom.actors.recorder.errors import DamagedLog, TargetRefused
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
    import_ticks(tmp_path / "ticks.csv", tmp_path / "again", "*", tick_size="0.25")
    with LogReader(tmp_path / "again") as reader:
        again = prints_of(unroll(reader.items()))
    assert [(p.contract, p.ts_ns, p.price, p.size, p.side) for p in again] == [
        (p.contract, p.ts_ns, p.price, p.size, p.side) for p in prints_of(records)
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


def test_nothing_of_the_log_is_overwritten(log, tmp_path):
    directory, _ = log
    before = {path: path.read_bytes() for path in directory.iterdir()}
    (tmp_path / "link.csv").symlink_to(directory / name_of(1))
    inside = [directory / name_of(1), directory / "lock", directory / "new.csv", tmp_path / "link.csv"]
    for read in (directory, directory / name_of(1)):
        for target in inside:
            with pytest.raises(TargetRefused, match="lies in, what is read: name a file elsewhere"):
                export(read, target, format="csv")
    copy = tmp_path / "copy.arrows"
    copy.write_bytes((directory / name_of(1)).read_bytes())
    with pytest.raises(TargetRefused):
        export(copy, tmp_path / "copy.arrows", format="parquet")
    assert export(copy, tmp_path / "beside.csv").rows
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_a_link_is_followed_and_stays_a_link(log, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near.csv").symlink_to(tmp_path / "far" / "ticks.csv")
    for _ in range(2):
        report = export(log[0], tmp_path / "near.csv")
        assert (tmp_path / "near.csv").is_symlink()
        assert (tmp_path / "far" / "ticks.csv").stat().st_size == report.size
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["ticks.csv"]


def test_what_is_no_regular_file_is_left_and_named(log, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "self.csv").symlink_to(tmp_path / "self.csv")
    (tmp_path / "folder.csv").mkdir()
    for name, words in {
        "pipe.csv": "is no regular file",
        "self.csv": "is no regular file",
        "folder.csv": "is a folder",
        "none/x.csv": "there is no folder .*none",
    }.items():
        with pytest.raises(TargetRefused, match=f"{name} .*{words}"):
            export(log[0], tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe.csv").stat().st_mode)


def test_a_full_disk_is_said_of_the_file_that_was_asked_for(log, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tickloom.actors.recorder.export._csv", full)
    with pytest.raises(OSError, match="No space") as raised:
        export(log[0], tmp_path / "ticks.csv")
    assert raised.value.filename == str(tmp_path / "ticks.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"log"}


def test_what_killed_exports_left_is_removed_by_the_next_and_what_others_make_is_not(log, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"ticks.csv.{dead.pid}.partial"
    others = [tmp_path / f"ticks.csv.{os.getppid()}.partial", tmp_path / f"other.csv.{dead.pid}.partial"]
    for path in (left, *others):
        path.write_text("half")
    export(log[0], tmp_path / "ticks.csv")
    assert not left.exists()
    assert all(path.exists() for path in others)
