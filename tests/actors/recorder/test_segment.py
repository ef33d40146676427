"""Scanning: whole units, damage and torn tails are told apart, for every bit and every length of a small segment."""

from __future__ import annotations

import pytest

from tickloom.actors.recorder import wire
from tickloom.actors.recorder.errors import DamagedLog, ForeignFile, LogError, NewerFormat, NoLog
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.segment import name_of, number_of, scan, segments_in
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import Beat
from tickloom.messages.records import SCHEMA, unroll


@pytest.fixture(scope="module")
def small(kit, tmp_path_factory):
    """A closed segment of three batches, its bytes, and the records in it."""
    directory = tmp_path_factory.mktemp("small")
    items = kit.number([kit.frames(1), Beat(recv_ns=kit.START + kit.MS), kit.frames(1, 2, prints=2)])
    with LogWriter(directory, session="s", options=LogOptions(batch_rows=1)) as writer:
        for item in items:
            writer.append([item], 0)
    path = directory / name_of(1)
    assert len(scan(path)) == 3
    return path.read_bytes(), list(unroll(items))


def reading(path):
    """All records that can be read, and the damage that ended it, if it did."""
    records = []
    try:
        with LogReader(path, keep_index=False) as reader:
            records += unroll(reader.items(raw=True))
            return records, reader.torn, None
    except LogError as error:
        return records, (), error


def flips(path, bits):
    """Let each bit of a file be flipped in turn, in place."""
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            at = bit // 8
            file.seek(at)
            file.write(bytes([data[at] ^ 1 << bit % 8]))
            yield bit
            file.seek(at)
            file.write(data[at : at + 1])


@pytest.mark.timeout(240)
def test_every_single_bit_flip_of_a_segment_is_detected(kit, tmp_path):
    kit.write_log(tmp_path, kit.number([Beat(recv_ns=1)]))
    path = tmp_path / name_of(1)
    unseen = []
    for bit in flips(path, range(path.stat().st_size * 8)):
        try:
            found = scan(path)
        except (ForeignFile, NewerFormat):
            continue
        if not found.damages and found.torn is None:
            unseen.append(bit)
    assert unseen == []


@pytest.mark.timeout(240)
def test_a_flipped_bit_anywhere_never_reads_as_something_else(small, tmp_path):
    data, records = small
    path = tmp_path / name_of(1)
    path.write_bytes(data)
    for _ in flips(path, range(0, len(data) * 8, 29)):  # 29: every bit of a byte has its turn
        got, torn, error = reading(path)
        assert got == records[: len(got)]
        assert error is not None or (torn and len(got) == len(records))


def test_every_truncation_leaves_the_whole_batches_and_says_so(small, tmp_path):
    data, records = small
    path = tmp_path / name_of(1)
    path.write_bytes(data)
    ends = [unit.offset + unit.length for unit in map(scan(path).unit, range(3))]
    header = scan(path).first
    for length in range(len(data) - 1, -1, -1):
        with path.open("r+b") as file:
            file.truncate(length)
        found = scan(path)
        whole = sum(end <= length for end in ends)
        assert (len(found), found.damages) == (whole, ())
        assert (found.torn is not None) == (length not in (*ends, header))
        if length % 16 == 0:
            got, torn, error = reading(path)
            assert (got, error) == (records[:whole], None)
            assert [tail.offset + tail.length for tail in torn] == ([length] if found.torn else [])


def test_a_tail_of_zeros_is_torn(small, tmp_path):
    data, records = small
    path = tmp_path / name_of(1)
    path.write_bytes(data[: -len(wire.END)] + b"\0" * 5000)
    got, torn, error = reading(path)
    assert (got, error) == (records, None)
    assert torn[0].length == 5000


def test_a_damaged_batch_of_a_closed_segment_is_damage_even_at_its_end(small, tmp_path):
    data, records = small
    path = tmp_path / name_of(1)
    damaged = bytearray(data)
    damaged[-100] ^= 1
    path.write_bytes(damaged)
    got, _, error = reading(path)
    assert got == records[:2]
    assert isinstance(error, DamagedLog)
    assert (error.segment, error.batch, error.path) == (1, 2, path)
    assert "recover" in str(error)


def test_a_batch_that_was_cut_out_is_missed(small, tmp_path):
    data, records = small
    path = tmp_path / name_of(1)
    path.write_bytes(data)
    middle = scan(path).unit(1)
    path.write_bytes(data[: middle.offset] + data[middle.offset + middle.length :])
    got, _, error = reading(path)
    assert got == records[:1]
    assert isinstance(error, DamagedLog)


def test_a_damaged_header_costs_no_batch(small, tmp_path):
    data, _ = small
    path = tmp_path / name_of(1)
    damaged = bytearray(data)
    damaged[120] ^= 8
    path.write_bytes(damaged)
    found = scan(path)
    assert found.header is None
    assert len(found) == 3
    assert found.damages[0].batch is None


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"\xff\xff\xff\xff\xf0\x10\0\0abc"])
def test_a_header_that_was_never_written_is_a_torn_tail(content, tmp_path):
    path = tmp_path / name_of(4)
    path.write_bytes(content)
    found = scan(path)
    assert found.torn is not None
    assert found.torn.length == len(content)


def test_a_foreign_file_is_named(tmp_path):
    path = tmp_path / name_of(1)
    path.write_bytes(b"time,price\n1,2\n" * 100)
    with pytest.raises(ForeignFile, match="no segment of a Tickloom log"):
        scan(path)


def test_a_later_version_is_named(tmp_path):
    path = tmp_path / name_of(1)
    path.write_bytes(SCHEMA.with_metadata({b"tickloom.format": b"9"}).serialize().to_pybytes() + wire.END)
    with pytest.raises(NewerFormat, match=r"format 9.*later Tickloom"):
        scan(path)


def test_segments_are_found_by_name_and_ordered_by_number(tmp_path):
    for name in ("00000010.arrows", "00000002.arrows", "100000000.arrows", "lock", "00000002.arrows.index", "x.arrows"):
        (tmp_path / name).touch()
    assert [number_of(path) for path in segments_in(tmp_path)] == [2, 10, 100_000_000]
    with pytest.raises(NoLog, match="no directory"):
        segments_in(tmp_path / "nowhere")


def test_a_segment_larger_than_the_scanning_window_is_scanned_whole(kit, tmp_path, monkeypatch):
    monkeypatch.setattr("tickloom.actors.recorder.segment._WINDOW", 4096)
    items = kit.number([kit.frames(40, at) for at in range(0, 2000, 40)])
    with LogWriter(tmp_path, session="s", options=LogOptions(batch_rows=30)) as writer:
        for item in items:
            writer.append([item], 0)
    found = scan(tmp_path / name_of(1))
    assert (len(found), found.sealed, found.damages) == (50, True, ())
    data = bytearray(found.path.read_bytes())
    data[found.unit(20).offset + 700] ^= 4
    found.path.write_bytes(data)
    again = scan(found.path)
    assert [(d.before, d.batch) for d in again.damages] == [(20, 20)]
    assert len(again) == 49
