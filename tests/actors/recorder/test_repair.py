from __future__ import annotations

import errno
import os
import shutil

import pytest

from tickloom.actors.recorder.care import verify
from tickloom.actors.recorder.compaction import compact
from tickloom.actors.recorder.errors import ForeignFile, LogInUse, NewerFormat, NoLog
from tickloom.actors.recorder.files import SystemFiles
from tickloom.actors.recorder.lock import DirectoryLock
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.repair import recover
from tickloom.actors.recorder.segment import name_of, scan
from tickloom.messages.control import Gap, SessionStarted
from tickloom.messages.records import SCHEMA, ControlRecord, unroll


def split(found):
    return (
        [r for r in found if not (isinstance(r, ControlRecord) and isinstance(r.record, Gap))],
        [r for r in found if isinstance(r, ControlRecord) and isinstance(r.record, Gap)],
    )


def test_a_whole_log_is_left_as_it_is(log):
    directory, _ = log
    before = {p: p.read_bytes() for p in directory.glob("*.arrows")}
    report = recover(directory)
    assert (report.segments, report.cut, report.rewritten, report.set_aside) == (len(before), (), (), ())
    assert {p: p.read_bytes() for p in directory.glob("*.arrows")} == before


def test_a_torn_tail_is_cut(kit, log):
    directory, records = log
    last = max(directory.glob("*.arrows"))
    end = scan(last).end
    with last.open("r+b") as file:
        file.truncate(end)
        file.seek(end)
        file.write(b"\xff\xff\xff\xff half a batch")
    report = recover(directory)
    assert [(t.path, t.offset) for t in report.cut] == [(last, end)]
    assert kit.read(directory) == records


def test_a_damaged_batch_becomes_a_gap_and_all_else_is_kept(kit, log):
    directory, records = log
    path = directory / name_of(2)
    unit = scan(path).unit(1)
    kit.flip(path, unit.offset + unit.length // 2)
    report = recover(directory)
    assert [(r.path, r.gaps, r.original.name) for r in report.rewritten] == [(path, 1, "00000002.arrows.damaged")]
    kept, gaps = split(kit.read(directory))
    first, last = unit.note.seq
    assert kept == [r for r in records if not first <= r.seq <= last]
    (gap,) = gaps
    by_seq = {r.seq: r for r in records}
    assert gap.seq == first
    assert gap.record.contract == kit.MNQ.contract
    assert gap.record.from_ns <= by_seq[first].prints[0].ts_ns
    assert gap.record.to_ns > by_seq[last].prints[-1].ts_ns
    assert "damaged" in gap.record.cause
    assert recover(directory).rewritten == ()


def test_the_original_is_kept_each_time(kit, log):
    directory, _ = log
    for _ in range(2):
        unit = scan(directory / name_of(2)).unit(1)
        kit.flip(directory / name_of(2), unit.offset + unit.length - 30)
        recover(directory)
    names = {p.name for p in directory.iterdir()}
    assert {"00000002.arrows.damaged", "00000002.arrows.damaged-2"} <= names
    assert not any(name.endswith(".partial") for name in names)


def test_a_damaged_header_is_made_anew(kit, log):
    directory, records = log
    kit.flip(directory / name_of(3), 200)
    report = recover(directory)
    assert [r.gaps for r in report.rewritten] == [0]
    assert kit.read(directory) == records
    with LogReader(directory) as reader:
        assert isinstance(reader.segments[2].header.context[0], SessionStarted)


def test_a_batch_lost_at_a_segments_end_is_a_gap_before_the_next(kit, log):
    directory, records = log
    found = scan(directory / name_of(2))
    unit = found.unit(len(found) - 1)
    kit.flip(found.path, unit.offset + unit.length - 30)
    recover(directory)
    kept, gaps = split(kit.read(directory))
    assert kept == [r for r in records if not unit.note.seq[0] <= r.seq <= unit.note.seq[1]]
    assert gaps
    assert all(unit.note.seq[0] <= gap.seq <= unit.note.seq[1] for gap in gaps)


def test_the_last_batch_of_the_log_lost_is_a_gap_at_the_end(kit, log):
    directory, records = log
    found = scan(max(directory.glob("*.arrows")))
    unit = found.unit(len(found) - 1)
    kit.flip(found.path, unit.offset + unit.length - 30)
    recover(directory)
    kept, gaps = split(kit.read(directory))
    assert kept == [r for r in records if r.seq < unit.note.seq[0]]
    assert [gap.seq for gap in gaps] == [unit.note.seq[0]]


def test_the_last_segment_lost_altogether_leaves_a_gap_in_its_place(kit, log):
    directory, records = log
    last = scan(max(directory.glob("*.arrows")))
    data = last.path.read_bytes()
    last.path.write_bytes(data[: last.first] + bytes(b ^ 0x55 for b in data[last.first : -8]) + data[-8:])
    recover(directory)
    kept, gaps = split(kit.read(directory))
    first = int(last.column("first_seq")[0])
    assert kept == [r for r in records if r.seq < first]
    assert [gap.seq for gap in gaps] == [first]


def test_a_missing_segment_is_a_gap(kit, log):
    directory, records = log
    gone = scan(directory / name_of(3))
    gone.path.unlink()
    report = recover(directory)
    assert [r.path.name for r in report.rewritten] == [name_of(4)]
    kept, gaps = split(kit.read(directory))
    lost = range(int(gone.column("first_seq")[0]), gone.last_seq + 1)
    assert kept == [r for r in records if r.seq not in lost]
    assert [gap.seq for gap in gaps] == [lost[0]]


def test_a_segment_with_nothing_whole_is_set_aside(kit, log):
    directory, records = log
    path = directory / name_of(2)
    gone = scan(path)
    data = path.read_bytes()
    path.write_bytes(data[: gone.first] + bytes(b ^ 0x55 for b in data[gone.first : -8]) + data[-8:])
    report = recover(directory)
    assert [(a.path.name, a.why) for a in report.set_aside] == [("00000002.arrows.damaged", "nothing in it was whole")]
    kept, gaps = split(kit.read(directory))
    lost = range(int(gone.column("first_seq")[0]), gone.last_seq + 1)
    assert kept == [r for r in records if r.seq not in lost]
    assert [gap.seq for gap in gaps] == [lost[0]]


@pytest.mark.parametrize("number", [1, 2, -1])
def test_a_file_that_is_no_segment_is_set_aside_and_its_place_is_a_gap(kit, log, number):
    directory, records = log
    path = sorted(directory.glob("*.arrows"))[number if number < 0 else number - 1]
    gone = scan(path)
    path.write_bytes(b"time,price\n1,2\n" * 100)
    with pytest.raises(ForeignFile, match=path.name):
        LogReader(directory)
    recover(directory)
    assert path.with_name(f"{path.name}.damaged").read_bytes().startswith(b"time,price")
    kept, gaps = split(kit.read(directory))
    lost = range(int(gone.column("first_seq")[0]), gone.last_seq + 1)
    assert kept == [r for r in records if r.seq not in lost]
    assert [gap.seq for gap in gaps] == ([lost[0]] if number != 1 else [])


def test_a_folder_of_files_that_are_no_segments_is_left_alone(tmp_path):
    (tmp_path / name_of(1)).write_bytes(b"time,price\n1,2\n" * 100)
    with pytest.raises(ForeignFile):
        recover(tmp_path)
    assert (tmp_path / name_of(1)).exists()


@pytest.mark.parametrize("number", [2, -1])
@pytest.mark.parametrize("closed", [True, False])
def test_a_tail_that_was_written_twice_is_kept_once_wherever_it_begins(kit, log, tmp_path_factory, number, closed):
    directory, records = log
    name = sorted(path.name for path in directory.glob("*.arrows"))[number]
    data = (directory / name).read_bytes()
    data = data if closed else data[:-8]
    whole = tmp_path_factory.mktemp("whole")
    for size in range(40, len(data), 797):
        work = whole / str(size)
        shutil.copytree(directory, work)
        (work / name).write_bytes(data + data[-size:])
        report = recover(work)
        kept, gaps = split(kit.read(work))
        assert kept == records
        assert gaps == [], f"{size} bytes that stand there twice are nothing missing"
        assert recover(work).rewritten == (), report
        shutil.rmtree(work)


def test_a_stretch_that_was_written_twice_in_the_middle_is_kept_once(kit, log):
    directory, records = log
    found = scan(directory / name_of(2))
    data = found.path.read_bytes()
    begin, end = found.unit(0).offset, found.unit(2).offset
    found.path.write_bytes(data[:end] + data[begin:end] + data[end:])
    assert not verify(directory).whole
    recover(directory)
    assert kit.read(directory) == records


def test_a_batch_that_stands_too_early_as_well_is_kept_where_it_belongs(kit, log):
    directory, records = log
    found = scan(directory / name_of(2))
    data = found.path.read_bytes()
    last, at = found.unit(len(found) - 1), found.unit(1).offset
    found.path.write_bytes(data[:at] + data[last.offset : last.offset + last.length] + data[at:])
    recover(directory)
    assert kit.read(directory) == records


def test_an_old_copy_of_a_segment_under_another_number_is_set_aside(kit, log):
    directory, records = log
    last = max(directory.glob("*.arrows"))
    copy = directory / name_of(int(last.stem) + 1)
    shutil.copy(directory / name_of(2), copy)
    assert not verify(directory).whole
    recover(directory)
    kept, _ = split(kit.read(directory))
    assert kept == records


@pytest.mark.parametrize("size", [2048, 4096, 8192])
def test_a_log_whose_head_is_lost_learns_from_the_next_segment_how_its_session_began(kit, log, size):
    directory, records = log
    path = directory / name_of(1)
    path.write_bytes(bytes(size) + path.read_bytes()[size:])
    recover(directory)
    kept, gaps = split(kit.read(directory))
    assert kept == [r for r in records if r.seq >= kept[0].seq]
    assert all(gap.seq < kept[0].seq for gap in gaps)
    with LogReader(directory) as reader:
        told = reader.context(from_seq=reader.first_seq)
    assert [type(record) for record in told] == [SessionStarted]
    assert all(gap.seq > len(told) for gap in gaps), "what is told ahead of them takes numbers too"


def test_the_beginning_lost_is_a_gap_too(kit, log):
    directory, records = log
    unit = scan(directory / name_of(1)).unit(0)
    kit.flip(directory / name_of(1), unit.offset + unit.length - 30)
    recover(directory)
    kept, gaps = split(kit.read(directory))
    assert kept == [r for r in records if r.seq > unit.note.seq[1]]
    assert gaps
    assert gaps[0].seq <= unit.note.seq[1]


def test_a_recovered_log_is_gone_on_with(kit, log):
    directory, records = log
    unit = scan(directory / name_of(2)).unit(1)
    kit.flip(directory / name_of(2), unit.offset + unit.length - 30)
    recover(directory)
    more = kit.number([kit.frames(5)], first=records[-1].seq + 1, tick=800)
    kit.write_log(directory, more)
    assert kit.read(directory)[-5:] == list(unroll(more))


def test_a_log_in_use_is_left_alone(log):
    directory, _ = log
    lock = DirectoryLock(directory)
    with pytest.raises(LogInUse):
        recover(directory)
    lock.release()


def test_there_must_be_a_log(tmp_path):
    with pytest.raises(NoLog):
        recover(tmp_path)


@pytest.mark.parametrize("order", [(3, 2, 4), (3, 4, 2), (4, 2, 3)])
def test_segments_that_stand_in_one_anothers_place_are_put_in_order(kit, log, order):
    directory, records = log
    whole = {number: (directory / name_of(number)).read_bytes() for number in order}
    for place, number in zip((2, 3, 4), order, strict=True):
        (directory / name_of(place)).write_bytes(whole[number])
    assert not verify(directory).whole
    report = recover(directory)
    assert (report.rewritten, report.set_aside) == ((), ())
    assert {each.path.name: each.to.name for each in report.moved} == {
        name_of(place): name_of(number) for place, number in zip((2, 3, 4), order, strict=True) if place != number
    }
    assert {number: (directory / name_of(number)).read_bytes() for number in order} == whole
    assert kit.read(directory) == records


def test_every_file_has_a_segments_name_at_every_step_of_putting_in_order(log, monkeypatch):
    directory, _ = log
    two, three = directory / name_of(2), directory / name_of(3)
    two.rename(directory / "x")
    three.rename(two)
    (directory / "x").rename(three)
    sizes = sorted(path.stat().st_size for path in directory.glob("*.arrows"))
    rename = type(two).rename

    def watched(place, goal):
        assert not goal.exists()
        rename(place, goal)
        assert sorted(path.stat().st_size for path in directory.glob("*.arrows")) == sizes

    monkeypatch.setattr(type(two), "rename", watched)
    assert len(recover(directory).moved) == 2
    assert verify(directory).whole


def test_a_segment_overwritten_by_another_is_a_gap_and_the_copy_is_said_to_be_one(kit, log):
    directory, records = log
    gone = scan(directory / name_of(4))
    shutil.copy(directory / name_of(3), directory / name_of(4))
    report = recover(directory)
    assert [(a.path.name, a.why) for a in report.set_aside] == [
        ("00000004.arrows.damaged", "the numbers of all that is whole in it stand elsewhere")
    ]
    kept, gaps = split(kit.read(directory))
    lost = range(int(gone.column("first_seq")[0]), gone.last_seq + 1)
    assert kept == [r for r in records if r.seq not in lost]
    assert [gap.seq for gap in gaps] == [lost[0]]


@pytest.mark.parametrize("spoilt", [False, True])
def test_an_old_copy_at_the_end_is_set_aside_and_no_gap_is_told(kit, log, spoilt):
    directory, records = log
    copy = directory / name_of(90)
    shutil.copy(directory / name_of(3), copy)
    if spoilt:
        kit.flip(copy, scan(copy).unit(0).offset + 40)
    report = recover(directory)
    assert [each.path.name for each in report.set_aside] == [f"{copy.name}.damaged"]
    assert report.rewritten == ()
    assert kit.read(directory) == records


def test_a_whole_copy_takes_the_place_of_the_damaged_segment(kit, log):
    directory, records = log
    shutil.copy(directory / name_of(3), directory / name_of(90))
    kit.flip(directory / name_of(3), scan(directory / name_of(3)).unit(1).offset + 40)
    recover(directory)
    assert kit.read(directory) == records


def test_a_segment_under_another_number_gets_the_one_its_header_says(kit, log):
    directory, records = log
    last = max(directory.glob("*.arrows"))
    last.rename(directory / name_of(90))
    (problem,) = verify(directory).problems
    assert f"its header says that it is segment {int(last.stem)}" in str(problem)
    (moved,) = recover(directory).moved
    assert (moved.path.name, moved.to) == (name_of(90), last)
    assert kit.read(directory) == records


def test_a_later_version_is_found_before_anything_is_changed(kit, log):
    directory, _ = log
    kit.flip(directory / name_of(2), scan(directory / name_of(2)).unit(1).offset + 40)
    data = SCHEMA.with_metadata({b"tickloom.format": b"9"}).serialize().to_pybytes()
    (directory / name_of(3)).write_bytes(data)
    before = {path: path.read_bytes() for path in directory.iterdir()}
    for care in (recover, compact):
        with pytest.raises(NewerFormat, match=name_of(3)):
            care(directory)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_a_folder_that_is_no_log_gets_no_lock_file(tmp_path):
    (tmp_path / name_of(1)).write_bytes(b"time,price\n1,2\n" * 100)
    for care in (recover, compact):
        with pytest.raises(ForeignFile, match="holds no segment"):
            care(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name_of(1)]


def test_a_segment_is_refused_where_its_folder_is_wanted(log):
    directory, _ = log
    for care in (recover, compact):
        with pytest.raises(NoLog, match="is a file, and a log is mended or compacted as a whole: name its folder"):
            care(directory / name_of(1))


def test_the_batches_that_are_kept_are_counted_without_the_gaps(kit, log):
    directory, _ = log
    found = scan(directory / name_of(2))
    kit.flip(found.path, found.unit(1).offset + 40)
    (done,) = recover(directory).rewritten
    assert (done.batches, done.gaps) == (len(found) - 1, 1)


@pytest.mark.parametrize("care", [recover, compact])
def test_a_full_disk_leaves_the_log_and_no_half_file_and_names_the_segment(kit, log, monkeypatch, care):
    directory, _ = log
    if care is recover:
        kit.flip(directory / name_of(2), scan(directory / name_of(2)).unit(1).offset + 40)
    before = {path.name: path.read_bytes() for path in directory.glob("*.arrows")}
    room = [1000]

    def full(self, fd, data):
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(fd, data)

    monkeypatch.setattr(SystemFiles, "write", full)
    with pytest.raises(OSError, match="No space") as raised:
        care(directory)
    assert raised.value.filename == str(directory / name_of(2 if care is recover else 1))
    assert {path.name: path.read_bytes() for path in directory.glob("*.arrows")} == before
    assert not list(directory.glob("*.partial*"))


@pytest.mark.parametrize("care", [recover, compact])
def test_what_a_killed_run_left_is_removed_by_the_next(log, care):
    directory, _ = log
    left = [directory / f"{name_of(2)}.partial", directory / f"{name_of(2)}.partial.index"]
    mine = directory / "notes.partial"
    for path in (*left, mine):
        path.write_text("half")
    care(directory)
    assert [path.exists() for path in (*left, mine)] == [False, False, True]


def test_a_lock_that_cannot_be_written_is_said_of_the_folder(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space") as raised:
        DirectoryLock(tmp_path)
    assert raised.value.filename == str(tmp_path)
