from __future__ import annotations

import stat

import pytest

from tickloom.actors.recorder.errors import ForeignFile, LogInUse
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.segment import name_of, scan
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import Beat, SessionStarted, Subscribed, Unsubscribed
from tickloom.messages.market import NS
from tickloom.messages.records import unroll

MS = NS // 1000


def whole(directory):
    with LogReader(directory) as reader:
        assert reader.torn == ()
        return list(unroll(reader.items(raw=True)))


def open_writer(directory, **options):
    files = options.pop("files", None)
    return LogWriter(directory, session="s", options=LogOptions(**options), files=files)


def test_what_is_written_is_read(kit, tmp_path):
    items = kit.number(kit.everything())
    kit.write_log(tmp_path, items)
    assert whole(tmp_path) == list(unroll(items))


def test_a_log_is_gone_on_with_in_a_new_segment(kit, tmp_path):
    items = kit.number([kit.started(), kit.frames(5), kit.frames(5, 5), Beat(recv_ns=kit.START)])
    kit.write_log(tmp_path, items[:2])
    with open_writer(tmp_path) as writer:
        assert (writer.opening.last_seq, writer.opening.next_tick) == (6, 5)
        writer.append(items[2:], 0)
    assert whole(tmp_path) == list(unroll(items))
    assert [s.header.after_seq for s in LogReader(tmp_path).segments] == [None, 6]


def test_a_batch_closes_when_it_is_full(kit, tmp_path):
    with open_writer(tmp_path, batch_rows=10) as writer:
        for item in kit.number([kit.frames(3, at) for at in range(0, 27, 3)]):
            writer.append([item], 0)
        assert (writer.counters.batches, writer.waiting) == (2, 1)


def test_a_batch_closes_when_its_oldest_item_is_old(kit, tmp_path):
    with open_writer(tmp_path, batch_ns=50 * MS) as writer:
        first, second = kit.number([kit.frames(1), kit.frames(1, 1)])
        writer.append([first], 1000 * MS)
        assert writer.next_due() == 1050 * MS
        writer.append([second], 1049 * MS)
        assert (writer.counters.batches, writer.waiting) == (0, 2)
        writer.poll(1050 * MS)
        assert (writer.counters.batches, writer.waiting) == (1, 0)


def test_an_item_larger_than_a_batch_is_parted_between_frames(kit, tmp_path):
    items = kit.number([kit.frames(10, prints=7)])
    with open_writer(tmp_path, batch_rows=14) as writer:
        writer.append(items, 0)
    rows = scan(tmp_path / name_of(1)).column("rows").tolist()
    assert len(rows) > 2
    assert all(14 <= count <= 2 * 14 for count in rows)
    assert whole(tmp_path) == list(unroll(items))


def test_batches_part_where_payloads_grow_too_large(kit, tmp_path, monkeypatch):
    monkeypatch.setattr("tickloom.actors.recorder.packing.MAX_BYTES", 100)
    items = kit.number([kit.frames(20), kit.frames(3, 20), Beat(recv_ns=kit.START), kit.frames(20, 23)])
    with open_writer(tmp_path) as writer:
        writer.append(items, 0)
    assert whole(tmp_path) == list(unroll(items))
    assert len(scan(tmp_path / name_of(1))) >= 6


def test_data_is_synced_at_the_interval_and_no_oftener(kit, tmp_path):
    disk = kit.Disk()
    writer = open_writer(tmp_path, batch_ns=0, sync_ns=500 * MS, files=disk)
    for i, item in enumerate(kit.number([kit.frames(1, at) for at in range(100)])):
        writer.append([item], i * 20 * MS)
    # Written every 20 ms from 0 to 1980 ms: a sync is due 500 ms after the first write that has had none.
    assert disk.calls.count("sync") == 3
    assert writer.counters.syncs == 3
    assert writer.synced_seq < writer.last_seq == 100
    due = writer.next_due()
    writer.poll(due - 1)
    assert disk.calls.count("sync") == 3
    writer.poll(due)
    assert disk.calls.count("sync") == 4
    assert writer.synced_seq == 100
    assert writer.next_due() is None
    writer.close()


def test_every_batch_is_synced_when_the_interval_is_nought(kit, tmp_path):
    disk = kit.Disk()
    with open_writer(tmp_path, batch_ns=0, sync_ns=0, files=disk) as writer:
        for item in kit.number([kit.frames(1, at) for at in range(5)]):
            writer.append([item], 0)
            assert writer.synced_seq == item.seq
        assert disk.calls.count("sync") == 5
        assert disk.calls.count("sync_directory") == 1


def test_flush_leaves_nothing_unwritten_or_unsynced(kit, tmp_path):
    with open_writer(tmp_path) as writer:
        writer.append(kit.number([kit.frames(3)]), 0)
        writer.flush(1)
        assert (writer.waiting, writer.synced_seq, writer.next_due()) == (0, 3, None)


def test_segments_roll_by_size(kit, tmp_path):
    items = kit.number([kit.frames(20, at) for at in range(0, 400, 20)])
    with open_writer(tmp_path, batch_rows=20, segment_bytes=8000) as writer:
        for item in items:
            writer.append([item], 0)
    sizes = [s.size for s in LogReader(tmp_path).segments]
    assert len(sizes) > 3
    assert all(size < 8000 + 4000 for size in sizes)
    assert whole(tmp_path) == list(unroll(items))


def test_segments_roll_with_the_hour_of_receipt(kit, tmp_path):
    hour = 3600 * NS
    stamps = [5 * hour - 1, 5 * hour, 5 * hour + 9, 5 * hour - 5, 7 * hour]
    with open_writer(tmp_path, batch_rows=1) as writer:
        for item in kit.number([Beat(recv_ns=stamp) for stamp in stamps]):
            writer.append([item], 0)
    # A clock that was set back a little rolls nothing.
    assert [len(s) for s in LogReader(tmp_path).segments] == [1, 3, 1]


def test_old_segments_go_when_the_log_is_too_large(kit, tmp_path):
    with open_writer(tmp_path, batch_rows=20, segment_bytes=5000, retain_bytes=20_000) as writer:
        for item in kit.number([kit.frames(20, at) for at in range(0, 600, 20)]):
            writer.append([item], 0)
    with LogReader(tmp_path) as reader:
        assert sum(s.size for s in reader.segments) <= 20_000
        assert (reader.last_seq, reader.missing) == (600, ())
        assert writer.counters.removed == reader.segments[0].number - 1
    assert {p.name.split(".")[0] for p in tmp_path.glob("*.index")} == {s.path.stem for s in reader.segments}


def test_old_segments_go_when_all_in_them_is_too_old(kit, tmp_path):
    hour = 3600 * NS
    with open_writer(tmp_path, batch_rows=1, retain_ns=2 * hour) as writer:
        for item in kit.number([Beat(recv_ns=h * hour + 5) for h in range(8)]):
            writer.append([item], 0)
    # The newest receipt is 7:00; what was received since 5:00 is younger than two hours.
    with LogReader(tmp_path) as reader:
        assert [s.header.created_ns // hour for s in reader.segments] == [4, 5, 6, 7]


def test_a_log_that_lost_its_beginning_still_explains_itself(kit, tmp_path):
    other = Subscribed(recv_ns=5, hub="market", connection=1, contract="B", instrument=kit.MNQ)
    items = kit.number([
        kit.started(),
        Subscribed(recv_ns=4, hub="market", connection=1, contract="A", instrument=kit.MNQ),
        other,
        Unsubscribed(recv_ns=6, contract="A"),
        *(kit.frames(20, at) for at in range(0, 400, 20)),
    ])  # fmt: skip
    with open_writer(tmp_path, batch_rows=20, segment_bytes=5000, retain_bytes=9000) as writer:
        for item in items:
            writer.append([item], 0)
    with LogReader(tmp_path) as reader:
        assert reader.first_seq > 24
        assert reader.context() == (kit.started(), other)
        assert reader.context(from_seq=reader.last_seq) == (kit.started(), other)


def test_items_that_come_again_are_written_once(kit, tmp_path):
    items = kit.number([kit.started(), kit.frames(4), Beat(recv_ns=kit.START), kit.frames(6, 4)])
    with open_writer(tmp_path, batch_rows=3) as writer:
        writer.append(items[:3], 0)
        writer.append(items, 0)
        assert writer.counters.repeated == 6
    assert whole(tmp_path) == list(unroll(items))
    with open_writer(tmp_path) as writer:
        writer.append(items, 0)
        assert writer.counters.batches == 0


def test_half_of_an_item_that_is_in_the_log_already_is_left_out(kit, tmp_path):
    items = kit.number([kit.frames(10, prints=2)])
    kit.write_log(tmp_path, kit.number([kit.frames(4, prints=2)]))
    with open_writer(tmp_path) as writer:
        writer.append(items, 0)
        assert writer.counters.repeated == 4
    assert whole(tmp_path) == list(unroll(items))


def test_frames_of_no_length_leave_no_row(kit, tmp_path):
    with open_writer(tmp_path) as writer:
        writer.append(kit.number([kit.frames(0, prints=0)]), 0)
        writer.flush(0)
        assert (writer.waiting, writer.counters.batches) == (0, 0)


def test_an_unused_writer_leaves_no_segment(tmp_path):
    open_writer(tmp_path).close()
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]


def test_files_are_their_owners_only(kit, tmp_path):
    kit.write_log(tmp_path / "log", kit.number([kit.frames(3)]))
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "log").iterdir()}
    assert modes == {"00000001.arrows": 0o600, "00000001.arrows.index": 0o600, "lock": 0o600}


def test_a_second_writer_is_refused_until_the_first_lets_go(kit, tmp_path):
    writer = open_writer(tmp_path)
    with pytest.raises(LogInUse, match="is being written by process"):
        open_writer(tmp_path)
    writer.close()
    open_writer(tmp_path).close()


def test_a_folder_with_something_else_under_a_segments_name_is_refused(tmp_path):
    (tmp_path / name_of(1)).write_bytes(b"%PDF-1.7" * 20)
    with pytest.raises(ForeignFile):
        open_writer(tmp_path)
    # and the lock was let go
    (tmp_path / name_of(1)).unlink()
    open_writer(tmp_path).close()


def test_a_torn_tail_is_cut_and_the_log_gone_on_with(kit, tmp_path):
    items = kit.number([kit.started(), kit.frames(5), kit.frames(5, 5), kit.frames(5, 10)])
    writer = open_writer(tmp_path, batch_rows=1)
    for item in items[:3]:
        writer.append([item], 0)
    writer.abandon()
    path = tmp_path / name_of(1)
    whole_size = path.stat().st_size
    with path.open("ab") as file:
        file.write(path.read_bytes()[1000:2000])
    with LogReader(tmp_path) as reader:
        assert [(t.offset, t.length) for t in reader.torn] == [(whole_size, 1000)]
    with open_writer(tmp_path) as writer:
        assert [(t.path, t.offset, t.length) for t in writer.opening.cut] == [(path, whole_size, 1000)]
        assert writer.opening.context == (kit.started(),)
        writer.append(items, 0)
    assert scan(path).sealed
    assert whole(tmp_path) == list(unroll(items))


def test_a_segment_whose_header_was_never_written_is_removed(kit, tmp_path):
    items = kit.number([kit.frames(2), kit.frames(2, 2)])
    kit.write_log(tmp_path, items[:1])
    (tmp_path / name_of(2)).write_bytes(b"\xff\xff\xff\xff\x00")
    with open_writer(tmp_path) as writer:
        assert [t.path.name for t in writer.opening.cut] == [name_of(2)]
        writer.append(items[1:], 0)
    assert whole(tmp_path) == list(unroll(items))


def test_damage_is_left_for_recover_and_reported(kit, tmp_path):
    kit.write_log(tmp_path, kit.number([kit.started(), kit.frames(9)]), batch_rows=1)
    path = tmp_path / name_of(1)
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    with open_writer(tmp_path) as writer:
        assert [d.segment for d in writer.opening.damaged] == [1]
    assert path.read_bytes() == data


def test_a_closed_writer_takes_nothing(kit, tmp_path):
    writer = open_writer(tmp_path)
    writer.close()
    writer.close()
    writer.poll(0)
    with pytest.raises(ValueError, match="closed"):
        writer.append(kit.number([kit.frames(1)]), 0)


def test_a_writer_left_by_an_exception_behaves_as_after_a_crash(kit, tmp_path):
    def crash():
        with open_writer(tmp_path, batch_rows=1) as writer:
            writer.append(kit.number([kit.started()]), 0)
            raise KeyError

    with pytest.raises(KeyError):
        crash()
    assert not scan(tmp_path / name_of(1)).sealed
    assert [type(r.record) for r in whole(tmp_path)] == [SessionStarted]
