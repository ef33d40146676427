from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.recorder import reader as reader_module
from tickloom.actors.recorder.errors import DamagedLog, NoLog
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.segment import name_of, scan
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import Beat, Connected, Disconnected, SessionStarted, Subscribed
from tickloom.messages.intake import Frames
from tickloom.messages.records import unroll


@pytest.fixture(scope="module")
def log(kit, tmp_path_factory):
    """A log of several segments with small batches, and its records."""
    directory = tmp_path_factory.mktemp("log")
    items = [kit.started()]
    for at in range(0, 400, 20):
        items += [
            kit.frames(12, at),
            kit.frames(5, at + 12, prints=3, source="market/2"),
            Beat(recv_ns=kit.START + (at + 17) * kit.MS),
            kit.frames(2, at + 18, prints=0),
        ]
    numbered = kit.number(items)
    with LogWriter(directory, session="s", options=LogOptions(batch_rows=30, segment_bytes=12_000)) as writer:
        for item in numbered:
            writer.append([item], 0)
    assert len(list(directory.glob("*.arrows"))) >= 4
    return directory, list(unroll(numbered))


def test_reading_decoded_columns_gives_prints_in_few_large_items(kit, tmp_path):
    items = kit.number([kit.started(), *(kit.frames(20, at) for at in range(0, 2000, 20)), Beat(recv_ns=kit.START)])
    with LogWriter(tmp_path, session="s", options=LogOptions(batch_rows=100)) as writer:
        for item in items:
            writer.append([item], 0)
    with LogReader(tmp_path) as reader:
        sizes = [len(n.item) for n in reader.items() if isinstance(n.item, Frames)]
        assert sizes == [2000]
        sizes = [len(n.item) for n in reader.items(max_rows=700) if isinstance(n.item, Frames)]
        assert (max(sizes) <= 700, sum(sizes)) == (True, 2000)


@given(start=st.integers(-2, 404), stop=st.integers(-2, 440), raw=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_stretch_of_sequence_numbers_is_just_that(log, start, stop, raw):
    directory, records = log
    with LogReader(directory) as reader:
        got = [r.seq for r in unroll(reader.items(raw=raw, from_seq=start, to_seq=stop))]
    assert got == [r.seq for r in records if start <= r.seq < stop]


@given(start=st.integers(-5, 420), stop=st.integers(-5, 420))
@settings(max_examples=60, deadline=None)
def test_a_stretch_of_time_begins_at_the_first_row_past_it_and_ends_before_the_first_past_its_end(
    kit, log, start, stop
):
    directory, records = log
    low, high = kit.START + start * kit.MS, kit.START + stop * kit.MS
    stamps = [getattr(r, "recv_ns", None) or r.record.recv_ns for r in records]
    first = next((i for i, t in enumerate(stamps) if t >= low), len(records))
    last = next((i for i, t in enumerate(stamps) if i >= first and t >= high), len(records))
    with LogReader(directory) as reader:
        assert list(unroll(reader.items(raw=True, from_ns=low, to_ns=high))) == records[first:last]


def test_a_clock_that_was_set_back_parts_no_stretch(kit, tmp_path):
    stamps = [10, 20, 30, 5, 6, 40, 50]
    kit.write_log(tmp_path, kit.number([Beat(recv_ns=t) for t in stamps]), batch_rows=1)
    with LogReader(tmp_path) as reader:
        got = [n.item.recv_ns for n in reader.items(from_ns=25, to_ns=45)]
        assert got == [30, 5, 6, 40]
        assert reader.time_range == (5, 50)


def test_seeking_reads_only_what_is_asked_for(log, monkeypatch):
    directory, _ = log
    read = []
    with LogReader(directory) as reader:
        monkeypatch.setattr(
            reader,
            "_fill",
            lambda found, offset, view, fill=reader._fill: (read.append(len(view)), fill(found, offset, view)),
        )
        monkeypatch.setattr(reader_module, "_CHUNK_BYTES", 1)
        assert len(list(reader.items(from_seq=200, to_seq=201))) == 1
    assert len(read) == 1


def test_the_context_is_what_is_in_force_where_reading_begins(kit, tmp_path):
    def subscribed(name):
        return Subscribed(recv_ns=kit.START, hub="market", connection=1, contract=name, instrument=kit.MNQ)

    up = Connected(recv_ns=kit.START, hub="market", connection=1)
    again = Connected(recv_ns=kit.START, hub="market", connection=2)
    down = Disconnected(recv_ns=kit.START, hub="market", connection=1, cause="old one let go")
    items = kit.number([
        kit.started(), up, subscribed("A"), kit.frames(3), subscribed("B"), again, down, kit.frames(3, 3),
        kit.started(kit.START + 1), kit.frames(1, 6),
    ])  # fmt: skip
    kit.write_log(tmp_path, items, batch_rows=2)
    with LogReader(tmp_path) as reader:
        assert reader.context(from_seq=1) == ()
        assert reader.context(from_seq=4) == (kit.started(), up, subscribed("A"))
        assert reader.context(from_seq=9) == (kit.started(), again, subscribed("A"), subscribed("B"))
        assert reader.context() == (kit.started(kit.START + 1),)
        assert reader.context(from_ns=kit.START + kit.MS) == (kit.started(), up, subscribed("A"))


def test_batches_are_arrow_with_the_columns_asked_for(log):
    directory, records = log
    with LogReader(directory) as reader:
        prices = [p for b in reader.batches(["price", "seq"], from_seq=100) for p in b.column("price").to_pylist()]
        assert all(b.schema.names == ["price", "seq"] for b in reader.batches(["price", "seq"]))
    said = [p.price for r in records if r.seq >= 100 for p in getattr(r, "prints", ())]
    assert [p for p in prices if p is not None] == said


def test_one_segment_can_be_read_alone(log):
    directory, records = log
    with LogReader(directory / name_of(2)) as reader:
        got = list(unroll(reader.items(raw=True)))
        assert got == [r for r in records if reader.first_seq <= r.seq <= reader.last_seq]
        assert reader.context(from_seq=reader.first_seq)[0].__class__ is SessionStarted


def test_totals_are_those_of_the_log(log):
    directory, records = log
    with LogReader(directory) as reader:
        assert (reader.first_seq, reader.last_seq) == (records[0].seq, records[-1].seq)
        assert reader.prints == reader.next_tick == sum(len(getattr(r, "prints", ())) for r in records)


def test_a_log_that_is_being_written_reads_to_its_last_whole_batch(kit, tmp_path):
    items = kit.number([kit.frames(2, at) for at in range(0, 10, 2)])
    with LogWriter(tmp_path, session="s", options=LogOptions(batch_rows=1)) as writer:
        writer.append(items[:3], 0)
        with LogReader(tmp_path) as reader:
            assert list(unroll(reader.items(raw=True))) == list(unroll(items[:3]))
        writer.append(items[3:], 0)
    with LogReader(tmp_path) as reader:
        assert list(unroll(reader.items(raw=True))) == list(unroll(items))


def copy(log, target):
    directory, records = log
    for path in directory.glob("*.arrows"):
        (target / path.name).write_bytes(path.read_bytes())
    return target, records


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x20
    path.write_bytes(data)


def test_damage_in_the_middle_is_raised_when_it_is_reached(log, tmp_path):
    directory, records = copy(log, tmp_path)
    unit = scan(directory / name_of(2)).unit(1)
    flip(directory / name_of(2), unit.offset + unit.length // 2)
    got = []
    with LogReader(directory) as reader:
        with pytest.raises(DamagedLog) as caught:
            got.extend(unroll(reader.items(raw=True)))
        assert (caught.value.segment, caught.value.batch, caught.value.offset) == (2, 1, unit.offset)
        stream = reader.items(raw=True)
        before = []
        with pytest.raises(DamagedLog):
            before.extend(iter(lambda: next(stream), None))
    assert list(unroll(before)) == [r for r in records if r.seq < unit.note.seq[0]]


def test_what_does_not_touch_the_damage_can_be_read(log, tmp_path):
    directory, records = copy(log, tmp_path)
    unit = scan(directory / name_of(2)).unit(1)
    flip(directory / name_of(2), unit.offset + unit.length // 2)
    first, last = unit.note.seq
    with LogReader(directory) as reader:
        assert list(unroll(reader.items(raw=True, to_seq=first))) == [r for r in records if r.seq < first]
        after = list(unroll(reader.items(raw=True, from_seq=last + 2)))
        assert after == [r for r in records if r.seq >= last + 2]
        for start in (first, last, last + 1):
            with pytest.raises(DamagedLog):
                list(reader.items(from_seq=start))
        assert reader.context(from_seq=reader.last_seq) != ()
        with pytest.raises(DamagedLog):
            reader.context(from_seq=last + 2)


def test_damage_since_the_index_was_made_is_noticed_all_the_same(log, tmp_path):
    directory, _ = copy(log, tmp_path)
    LogReader(directory).close()
    with LogReader(directory) as reader:
        unit = reader.segments[0].unit(0)
        flip(directory / name_of(1), unit.offset + unit.length - 50)
        with pytest.raises(DamagedLog) as caught:
            list(reader.items())
    assert (caught.value.batch, caught.value.offset) == (0, unit.offset)


@pytest.mark.parametrize("number", [2, 3])
def test_a_segment_that_is_gone_from_the_middle_is_missed(log, tmp_path, number):
    directory, _ = copy(log, tmp_path)
    (directory / name_of(number)).unlink()
    with LogReader(directory) as reader:
        with pytest.raises(DamagedLog, match="goes on after number"):
            list(reader.items())
        assert list(reader.items(from_seq=reader.last_seq))


def test_a_log_whose_beginning_is_gone_reads_from_there(log, tmp_path):
    directory, records = copy(log, tmp_path)
    (directory / name_of(1)).unlink()
    with LogReader(directory) as reader:
        assert list(unroll(reader.items(raw=True))) == [r for r in records if r.seq >= reader.first_seq]


def test_any_wound_in_any_place_reads_as_a_part_of_the_log_or_not_at_all(log, tmp_path):
    directory, records = copy(log, tmp_path)
    known = {r.seq: r for r in records}
    chance = random.Random(7)
    for _ in range(60):
        path = directory / name_of(chance.randint(1, 4))
        data = path.read_bytes()
        at = chance.randrange(len(data))
        kind = chance.choice(["flip", "cut out", "zeros", "repeat", "truncate"])
        wound = {
            "flip": data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :],
            "cut out": data[:at] + data[at + 8 * chance.randint(1, 40) :],
            "zeros": data[:at] + bytes(512) + data[at + 512 :],
            "repeat": data[:at] + data[max(0, at - 4096) :],
            "truncate": data[:at],
        }[kind]
        path.write_bytes(wound)
        got, ended = [], False
        with LogReader(directory, keep_index=False) as reader:
            try:
                for numbered in reader.items(raw=True):
                    got += unroll([numbered])
            except DamagedLog:
                ended = True
            noticed = ended or reader.torn or wound == data
        path.write_bytes(data)
        assert all(known[r.seq] == r for r in got), kind
        assert [r.seq for r in got] == sorted({r.seq for r in got}), kind
        assert noticed or got == records, kind


def test_a_segment_that_retention_removes_meanwhile_is_passed_over(log, tmp_path, monkeypatch):
    directory, records = copy(log, tmp_path)
    paths = reader_module.segments_in(directory)
    monkeypatch.setattr(reader_module, "segments_in", lambda _: paths)
    paths[0].unlink()
    with LogReader(directory) as reader:
        assert list(unroll(reader.items(raw=True))) == [r for r in records if r.seq >= reader.first_seq]
        paths[1].unlink()
        reader.close()
        with pytest.raises(DamagedLog, match="was removed since the log was opened"):
            list(reader.items())


def test_nothing_to_read_is_said_so(tmp_path):
    with pytest.raises(NoLog, match="no directory"):
        LogReader(tmp_path / "nowhere")
    with pytest.raises(NoLog, match="holds no log"):
        LogReader(tmp_path)
