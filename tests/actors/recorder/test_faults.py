"""Disks that refuse: the writer keeps what it can, says what it cannot, and goes on when there is room."""

from __future__ import annotations

import errno
import subprocess
import sys
import textwrap

import pytest

from tickloom.actors.recorder.care import verify
from tickloom.actors.recorder.errors import LogWriteError
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.segment import name_of, scan
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import Beat, Gap, Subscribed
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, Prints
from tickloom.messages.records import ControlRecord, unroll


@pytest.fixture
def disk(kit):
    return kit.Disk()


@pytest.fixture
def writer(tmp_path, disk):
    options = LogOptions(batch_rows=1, sync_ns=0, retry_ns=NS, backlog_rows=10)
    writer = LogWriter(tmp_path, session="s", options=options, files=disk)
    yield writer
    writer.abandon()


def records(directory):
    assert verify(directory).whole
    with LogReader(directory) as reader:
        return list(unroll(reader.items(raw=True)))


def test_a_full_disk_costs_nothing_while_memory_has_room(kit, writer, disk, tmp_path):
    items = kit.number([kit.frames(1, at) for at in range(9)])
    writer.append(items[:2], 0)
    disk.room = 300
    with pytest.raises(LogWriteError, match="No space left") as caught:
        writer.append(items[2:3], 1)
    assert (caught.value.errno, caught.value.kept, caught.value.lost_frames) == (errno.ENOSPC, 1, 0)
    assert writer.failing
    calls = len(disk.calls)
    for item in items[3:]:
        writer.append([item], 2)
    assert len(disk.calls) == calls, "nothing is tried before it is time again"
    assert writer.next_due() == 1 + NS
    disk.room = None
    writer.poll(1 + NS)
    assert not writer.failing
    writer.close()
    assert records(tmp_path) == list(unroll(items))
    assert writer.counters.lost_frames == 0


def test_a_disk_that_takes_a_little_at_a_time_gets_it_all(kit, tmp_path):
    class Slow(kit.Disk):
        def write(self, fd, data):
            return super().write(fd, data[:100])

    items = kit.number([kit.frames(5, at) for at in range(0, 50, 5)])
    slow = Slow()
    with LogWriter(tmp_path, session="s", options=LogOptions(batch_rows=10), files=slow) as writer:
        for item in items:
            writer.append([item], 0)
    assert slow.calls.count("write") > 100
    assert records(tmp_path) == list(unroll(items))


def test_a_batch_half_written_is_taken_back(kit, writer, disk, tmp_path):
    items = kit.number([kit.frames(1, at) for at in range(3)])
    writer.append(items[:1], 0)
    size = (tmp_path / name_of(1)).stat().st_size
    disk.room = 300
    with pytest.raises(LogWriteError):
        writer.append(items[1:], 1)
    assert disk.calls[-2:] == ["write", "truncate"]
    assert (tmp_path / name_of(1)).stat().st_size == size
    with LogReader(tmp_path) as reader:
        assert (reader.torn, reader.last_seq) == ((), 1)


def test_a_batch_that_cannot_be_taken_back_ends_its_segment(kit, writer, disk, tmp_path):
    items = kit.number([kit.frames(1, at) for at in range(3)])
    writer.append(items[:1], 0)
    disk.room, disk.errors = 300, {"truncate": errno.EIO}
    with pytest.raises(LogWriteError):
        writer.append(items[1:], 1)
    disk.room, disk.errors = None, {}
    writer.poll(1 + NS)
    writer.close()
    with LogReader(tmp_path) as reader:
        assert [torn.path.name for torn in reader.torn] == [name_of(1)]
        assert list(unroll(reader.items(raw=True))) == list(unroll(items))


def test_what_memory_has_no_room_for_is_lost_and_a_gap_says_so(kit, writer, disk, tmp_path):
    items = kit.number([kit.frames(2, at, prints=3) for at in range(0, 60, 2)])
    writer.append(items[:1], 0)
    disk.errors["write"] = errno.ENOSPC
    with pytest.raises(LogWriteError):
        writer.append(items[1:2], 1)
    for item in items[2:10]:
        writer.append([item], 2)
    lost = writer.counters.lost_frames
    assert 0 < lost == writer._losses.frames
    del disk.errors["write"]
    for item in items[10:]:
        writer.append([item], 2 * NS)
    writer.close()
    found = records(tmp_path)
    (gap,) = [r for r in found if isinstance(r, ControlRecord)]
    assert isinstance(gap.record, Gap)
    missing = [r for r in unroll(items) if r.seq not in {f.seq for f in found if f is not gap}]
    assert len(missing) == lost
    assert writer.counters.lost_prints == 3 * lost
    assert gap.seq == missing[0].seq
    assert gap.record.contract == kit.MNQ.contract
    assert gap.record.from_ns == missing[0].prints[0].ts_ns
    assert gap.record.to_ns == missing[-1].prints[-1].ts_ns + 1
    assert f"{lost} frames with {3 * lost} prints lost" in gap.record.cause
    assert "No space left" in gap.record.cause
    assert [r for r in found if r is not gap] == [r for r in unroll(items) if r not in missing]


def test_control_records_outlast_a_full_disk(kit, writer, disk, tmp_path):
    told = Subscribed(recv_ns=kit.START, hub="market", connection=1, contract="X", instrument=kit.MNQ)
    items = kit.number([kit.frames(5), told, *(kit.frames(5, at) for at in range(5, 50, 5)), Beat(recv_ns=kit.START)])
    disk.errors["create"] = errno.EROFS
    with pytest.raises(LogWriteError, match="Read-only"):
        writer.append(items, 0)
    assert writer.counters.lost_frames == 50
    del disk.errors["create"]
    writer.poll(NS)
    writer.close()
    first, second = records(tmp_path)
    assert (first.seq, type(first.record), second.seq, second.record) == (1, Gap, 6, told)


def test_lost_frames_without_prints_make_a_gap_of_no_length(kit, writer, disk, tmp_path):
    disk.errors["create"] = errno.EIO
    with pytest.raises(LogWriteError):
        writer.append(kit.number([kit.frames(20, prints=0)]), 0)
    disk.errors.clear()
    writer.poll(NS)
    writer.close()
    (gap,) = records(tmp_path)
    assert (gap.record.contract, gap.record.to_ns - gap.record.from_ns) == ("", 0)


def test_more_contracts_than_numbers_share_one_gap(kit, writer, disk, tmp_path):
    names = tuple(f"C{i}" for i in range(40))
    many = Prints(
        names, list(range(40)), [kit.START + i for i in range(40)], [1.0] * 40, [1] * 40, [0] * 40, [0] * 40, 0
    )
    disk.errors["create"] = errno.EIO
    with pytest.raises(LogWriteError):
        writer.append([Numbered(7, Frames("m", [kit.START], [0], [b""], many))], 0)
    disk.errors.clear()
    writer.poll(NS)
    writer.close()
    (gap,) = records(tmp_path)
    assert (gap.seq, gap.record.contract) == (7, "")
    assert (gap.record.from_ns, gap.record.to_ns) == (kit.START, kit.START + 40)


def test_after_a_failed_sync_the_segment_is_given_up(kit, writer, disk, tmp_path):
    items = kit.number([kit.frames(1, at) for at in range(6)])
    writer.append(items[:1], 0)
    disk.errors["sync"] = errno.EIO
    with pytest.raises(LogWriteError):
        writer.append(items[1:2], 1)
    assert (writer.synced_seq, writer.last_seq) == (1, 2)
    disk.errors.clear()
    writer.append(items[2:], 2 * NS)
    assert (writer.synced_seq, writer.counters.doubtful) == (6, 1)
    writer.close()
    assert [scan(tmp_path / name_of(n)).sealed for n in (1, 2)] == [False, True]
    assert records(tmp_path) == list(unroll(items))


def test_a_file_that_could_not_be_created_is_in_nobodys_way(kit, writer, disk, tmp_path):
    disk.room, disk.errors = 100, {"remove": errno.EIO}
    with pytest.raises(LogWriteError):
        writer.append(kit.number([kit.frames(1)]), 0)
    disk.room, disk.errors = None, {}
    writer.poll(NS)
    writer.close()
    assert len(records(tmp_path)) == 1


def test_an_item_at_odds_with_itself_costs_itself_only(kit, writer, tmp_path):
    good = kit.number([kit.frames(2), kit.frames(2, 2), kit.frames(2, 4)])
    bad = Numbered(3, Frames("m", [kit.START, kit.START], [0, 0], [b"only one"], good[1].item.prints))
    writer.append([good[0], bad, good[2]], 0)
    writer.close()
    assert writer.counters.unfit == writer.counters.lost_frames == 2
    found = records(tmp_path)
    assert [r.seq for r in found] == [1, 2, 3, 5, 6]
    assert isinstance(found[2].record, Gap)
    assert "at odds" in found[2].record.cause


def test_a_record_that_no_batch_can_hold_costs_itself_only(kit, writer, tmp_path):
    good = kit.number([kit.frames(1), kit.frames(1, 1)])
    bad = Numbered(2, Subscribed(recv_ns=2**70, hub="m", connection=1, contract="A", instrument=kit.MNQ))
    writer.append([good[0], bad, Numbered(3, good[1].item)], 0)
    writer.close()
    assert writer.counters.lost_records == 1
    assert [r.seq for r in records(tmp_path)] == [1, 3]


def test_closing_with_a_full_disk_says_so_and_lets_the_log_go(kit, writer, disk, tmp_path):
    disk.room = 0
    with pytest.raises(LogWriteError):
        writer.append(kit.number([kit.frames(1)]), 0)
    with pytest.raises(LogWriteError):
        writer.close()
    LogWriter(tmp_path, session="next").close()


def test_an_old_segment_that_cannot_be_removed_stops_nothing(kit, tmp_path, disk):
    disk.errors["remove"] = errno.EPERM
    options = LogOptions(batch_rows=1, retain_ns=NS)
    with LogWriter(tmp_path, session="s", options=options, files=disk) as writer:
        for item in kit.number([Beat(recv_ns=h * 3600 * NS) for h in range(5)]):
            writer.append([item], 0)
    assert writer.counters.kept_old > 0
    assert len(records(tmp_path)) == 5


def test_an_index_that_cannot_be_written_stops_nothing(kit, tmp_path, monkeypatch):
    monkeypatch.setattr("tickloom.actors.recorder.output.index.save", lambda found: False)
    with LogWriter(tmp_path, session="s") as writer:
        writer.append(kit.number([kit.frames(1)]), 0)
    assert writer.counters.unindexed == 1
    assert len(records(tmp_path)) == 1


def test_a_real_limit_of_the_system_is_met_alike(tmp_path):
    """Not our fault layer: the kernel refuses to let the file grow, and later lets it."""
    resource = pytest.importorskip("resource")
    script = textwrap.dedent("""
        import resource, signal, sys
        from tickloom.actors.recorder.errors import LogWriteError
        from tickloom.actors.recorder.writer import LogOptions, LogWriter
        from tickloom.messages.control import Beat
        from tickloom.messages.intake import Frames, Numbered

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        options = LogOptions(batch_rows=1, retry_ns=10)
        writer = LogWriter(sys.argv[1], session="s", options=options)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        refused = 0
        for seq in range(1, 31):
            try:
                writer.append([Numbered(seq, Frames("m", [seq], [seq], [bytes(50)]))], seq * 100)
            except LogWriteError as error:
                refused += 1
                assert "File too large" in str(error), error
        assert 0 < refused < 30, refused
        assert writer.failing
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        writer.append([Numbered(31, Beat(recv_ns=31))], 10_000)
        assert not writer.failing
        writer.close()
    """)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert limit[1] == resource.RLIM_INFINITY or limit[1] > 1_000_000
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert [r.seq for r in records(tmp_path)] == list(range(1, 32))
