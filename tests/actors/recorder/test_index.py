from __future__ import annotations

import os

import pytest

from tickloom.actors.recorder import index
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.segment import name_of, scan
from tickloom.actors.recorder.writer import LogWriter
from tickloom.messages.control import Beat


@pytest.fixture
def path(kit, tmp_path):
    kit.write_log(tmp_path, kit.number([kit.frames(3, prints=2), Beat(recv_ns=5), kit.frames(2, 4)]))
    return tmp_path / name_of(1)


def same(one, other):
    return (one.units.table.tolist(), one.header, one.damages, one.sealed, one.first) == (
        other.units.table.tolist(), other.header, other.damages, other.sealed, other.first
    )  # fmt: skip


def test_the_writers_index_is_what_a_scan_finds(path):
    assert same(index.load(path), scan(path))


def test_a_reader_makes_the_index_that_is_missing(path):
    index.drop(path)
    assert index.load(path) is None
    LogReader(path.parent, keep_index=False).close()
    assert index.load(path) is None
    LogReader(path.parent).close()
    assert same(index.load(path), scan(path))


def test_an_index_spares_the_scan(path, monkeypatch):
    monkeypatch.setattr(index, "scan", lambda path: pytest.fail("scanned"))
    with LogReader(path.parent) as reader:
        assert len(list(reader.items())) == 3


def test_no_flipped_bit_of_an_index_is_believed(path):
    file = index.index_path(path)
    data, true = file.read_bytes(), scan(path)
    for at in range(len(data)):
        file.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        found = index.load(path)
        assert found is None or same(found, true)
    for length in range(0, len(data), 5):
        file.write_bytes(data[:length])
        found = index.load(path)
        assert found is None or same(found, true)


def test_the_table_is_loaded_when_it_is_needed_and_let_go_after(path):
    found = index.load(path)
    index.index_path(path).write_bytes(index.index_path(path).read_bytes()[:-8])
    assert (len(found), found.last_seq) == (1, 6)
    assert found.unit(0).note.seq == (1, 6), "scanned, since the index is no longer whole"
    index.drop(path)
    found.units.let_go()
    assert found.unit(0).note.seq == (1, 6)


def test_an_index_of_a_segment_that_has_changed_is_not_used(path):
    state = path.stat()
    path.write_bytes(path.read_bytes()[:-8])
    assert index.load(path) is None
    path.write_bytes(path.read_bytes() + b"\xff\xff\xff\xff\0\0\0\0")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert index.load(path) is not None
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert index.load(path) is None


def test_damage_is_in_the_index_too(path):
    data = bytearray(path.read_bytes())
    data[-60] ^= 1
    path.write_bytes(data)
    LogReader(path.parent).close()
    assert [d.batch for d in index.load(path).damages] == [0]


def test_a_segment_still_open_gets_no_index(kit, tmp_path):
    with LogWriter(tmp_path, session="s") as writer:
        writer.append(kit.number([kit.frames(3)]), 0)
        writer.flush(0)
        assert not index.save(scan(tmp_path / name_of(1)))
        LogReader(tmp_path).close()
        assert list(tmp_path.glob("*.index")) == []


def test_a_folder_that_may_not_be_written_is_read_all_the_same(path, monkeypatch):
    index.drop(path)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "no")

    monkeypatch.setattr(index.os, "open", refuse)
    with LogReader(path.parent) as reader:
        assert len(list(reader.items())) == 3
    assert index.load(path) is None
