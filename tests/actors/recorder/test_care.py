from __future__ import annotations

import msgspec
import pyarrow as pa
import pytest

from tickloom.actors.recorder import wire
from tickloom.actors.recorder.care import inspect, verify
from tickloom.actors.recorder.compaction import compact
from tickloom.actors.recorder.describe import Inconsistent, describe
from tickloom.actors.recorder.errors import DamagedLog, ForeignFile, NoLog
from tickloom.actors.recorder.export import export
from tickloom.actors.recorder.packing import pack
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.repair import recover
from tickloom.actors.recorder.segment import name_of, scan
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import Unfamiliar
from tickloom.messages.intake import Frames
from tickloom.messages.records import SCHEMA, SegmentHeader


@pytest.fixture
def log(kit, tmp_path):
    items = kit.number([*kit.everything(), *(kit.frames(9, at) for at in range(20, 200, 9))])
    with LogWriter(tmp_path, session="s", options=LogOptions(batch_rows=15, segment_bytes=9000)) as writer:
        for item in items:
            writer.append([item], 0)
    return tmp_path


def damage(path, place=1):
    unit = scan(path).unit(place)
    data = bytearray(path.read_bytes())
    data[unit.offset + unit.length - 40] ^= 2
    path.write_bytes(data)
    return unit


def test_inspect_says_what_is_in_a_log(kit, log):
    found = inspect(log)
    assert (found.frames, found.prints, found.torn, found.damaged) == (11 + 180, 3 + 8 + 1 + 180, (), ())
    assert found.contracts == {"CON.F.US.ENQ.Z25": 1, kit.MNQ.contract: 191}
    assert found.sources == {"market/1": 7 + 180, "market/2": 1, "user/1": 3}
    assert found.records == {"beat": 1, "sessionstarted": 1, "sessionstopped": 1, "subscribed": 1}
    assert (found.first_ns, found.last_ns) == (kit.START, kit.START + 199 * kit.MS)
    assert found.size == sum(p.stat().st_size for p in log.glob("*.arrows"))
    assert sum(s.rows for s in found.segments) == 195 + 6
    assert {s.session for s in found.segments} == {"s"}
    assert msgspec.json.encode(found.segments[0].batches)


def test_inspect_goes_past_damage(log):
    whole = inspect(log)
    unit = damage(log / name_of(2))
    found = inspect(log)
    assert whole.frames - found.frames == unit.note.frames
    assert len(found.damaged) == 1
    assert [s.damages for s in found.segments][:2] == [0, 1]


def test_verify_finds_a_whole_log_whole(log):
    found = verify(log)
    assert found.whole
    assert (found.frames, found.prints, found.problems) == (191, 192, ())
    assert found.segments == len(list(log.glob("*.arrows")))


def test_verify_names_every_damaged_place(log):
    units = [(n, damage(log / name_of(n)).offset) for n in (1, 3)]
    found = verify(log)
    assert [(p.segment, p.offset, p.batch) for p in found.problems] == [(n, at, 1) for n, at in units]


def test_verify_names_a_missing_segment_and_a_torn_tail(log):
    last = max(log.glob("*.arrows"))
    (log / name_of(2)).unlink()
    last.write_bytes(last.read_bytes()[:-20])
    found = verify(log)
    assert [(p.segment, p.batch) for p in found.problems] == [(3, None)]
    assert "what stood between them is missing" in str(found.problems[0])
    assert "damaged" not in str(found.problems[0])
    assert [t.path for t in found.torn] == [last]


def crafted(directory, batches, notes=None):
    """A segment whose checksums are right, whatever its batches say."""
    encoder = wire.UnitEncoder()
    data = wire.encode_header(SegmentHeader("", "s", 1, None, 1, "w"))
    for n, batch in enumerate(batches):
        note = notes[n] if notes else describe(batch)
        data += encoder.encode(batch, msgspec.structs.replace(note, n=n))
    (directory / name_of(1)).write_bytes(data + wire.END)
    return directory


def test_verify_does_not_take_a_checksum_for_the_truth(kit, tmp_path):
    packed = pack(kit.number([kit.frames(3)]))
    lies = msgspec.structs.replace(packed.note, prints=2, tick=9)
    (problem,) = verify(crafted(tmp_path, [packed.batch], [lies])).problems
    assert "wrong about prints, tick" in str(problem)
    nonsense = packed.batch.set_column(11, SCHEMA.field("extra"), pa.array([b"\xc1", None, None]))
    (problem,) = verify(crafted(tmp_path, [nonsense])).problems
    assert "does not decode" in str(problem)


def test_a_record_that_a_later_version_wrote_is_passed_over_and_kept_as_it_is(kit, tmp_path, tmp_path_factory):
    packed = pack(kit.number([kit.started(), kit.frames(1)]))
    text = '{"record":"telepathy","recv_ns":7,"said":[1,2]}'
    crafted(tmp_path, [packed.batch.set_column(12, SCHEMA.field("record"), pa.array([text, None]))])
    with LogReader(tmp_path) as reader:
        first, second = (n.item for n in reader.items())
    assert (type(first), first.recv_ns, first.text) == (Unfamiliar, 7, text)
    assert isinstance(second, Frames)
    assert verify(tmp_path).whole
    assert inspect(tmp_path).records == {"telepathy": 1}
    lines = tmp_path_factory.mktemp("elsewhere") / "all.jsonl"
    export(tmp_path, lines)
    assert lines.read_text().splitlines()[0] == '{"seq":1,"record":"telepathy","recv_ns":7,"said":[1,2]}'


@pytest.mark.parametrize("text", ['{"record":"telepathy"}', '{"record":"gap","recv_ns":1}', "[]", '{"recv_ns":1}'])
def test_what_is_no_record_is_damage_with_its_place(kit, tmp_path, text):
    packed = pack(kit.number([kit.started(), kit.frames(1)]))
    crafted(tmp_path, [packed.batch.set_column(12, SCHEMA.field("record"), pa.array([text, None]))])
    with LogReader(tmp_path) as reader, pytest.raises(Exception, match=r"batch 0 .*a record cannot be read"):
        list(reader.items())
    assert not verify(tmp_path).whole


def senseless(kit):
    """Batches whose checksums will be right and that make no sense, with what is to be said of each."""
    packed = pack(kit.number([kit.started(), kit.frames(3, prints=2)]))

    def changed(name, values):
        place = SCHEMA.get_field_index(name)
        column = pa.array(values, SCHEMA.field(place).type)
        columns = [column if n == place else packed.batch.column(n) for n in range(len(SCHEMA))]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

    nothing = [None] * 6
    extras = msgspec.structs.replace(packed.note, extras=1)
    return {
        "no JSON": (changed("record", ["{not json", *nothing]), packed.note),
        "no name": (changed("record", ['{"x":1}', *nothing]), packed.note),
        "no contract": (changed("contract", [None] * 7), packed.note),
        "no price": (changed("price", [None, 1.0, 2.0, None, 1.0, 1.0, 1.0]), packed.note),
        "bad extra": (changed("extra", [None, b"\xc1", *nothing[1:]]), extras),
        "kind 9": (changed("kind", [3, 1, 2, 9, 2, 1, 2]), packed.note),
        "no kind": (changed("kind", [None] * 7), packed.note),
        "a lie": (packed.batch, msgspec.structs.replace(packed.note, prints=5)),
    }


@pytest.mark.parametrize(
    "what", ["no JSON", "no name", "no contract", "no price", "bad extra", "kind 9", "no kind", "a lie"]
)
def test_what_makes_no_sense_is_damage_by_name_and_place_and_recover_saves_the_rest(kit, tmp_path, what):
    batch, note = senseless(kit)[what]
    more = pack(kit.number([kit.frames(2, 10)], first=20, tick=6))
    before = pack(kit.number([kit.started()], first=1))
    note = msgspec.structs.replace(note, seq=(note.seq[0] + 1, note.seq[1] + 1), n=1)
    batch = batch.set_column(0, SCHEMA.field("seq"), pa.array([n + 1 for n in batch.column("seq").to_pylist()]))
    crafted(tmp_path, [before.batch, batch, more.batch], [before.note, note, more.note])
    (problem,) = verify(tmp_path).problems
    assert (problem.segment, problem.batch) == (1, 1)
    with LogReader(tmp_path) as reader, pytest.raises(DamagedLog, match="batch 1 at byte"):
        list(reader.items())
    if what not in ("bad extra", "no price"):  # columns that it does not read
        assert "batch 1 at byte" in inspect(tmp_path).damaged[0]
    done = compact(tmp_path)
    assert (done.rewritten, [each.path.name for each in done.left]) == ((), [name_of(1)])
    assert [(done.batches, done.gaps) for done in recover(tmp_path).rewritten] == [(2, 1)]
    assert verify(tmp_path).whole
    assert recover(tmp_path).rewritten == ()


def test_a_foreign_file_hides_nothing_of_the_others(log):
    whole = verify(log)
    frames = next(each.frames for each in inspect(log).segments if each.path.name == name_of(2))
    (log / name_of(2)).write_bytes(b"time,price\n1,2\n" * 100)
    found, told = verify(log), inspect(log)
    assert "it is no segment of a Tickloom log" in str(found.problems[0])
    assert found.frames == told.frames == whole.frames - frames
    assert told.foreign == (log / name_of(2),)
    with pytest.raises(ForeignFile, match=r"recover .* sets it aside"), LogReader(log):
        pass


def test_an_empty_file_of_another_name_is_no_log(tmp_path):
    for name in ("notes.txt", "3.arrows"):
        (tmp_path / name).write_bytes(b"")
        for care in (inspect, verify):
            with pytest.raises(NoLog, match="is no segment"):
                care(tmp_path / name)
    (tmp_path / name_of(3)).write_bytes(b"")
    assert verify(tmp_path / name_of(3)).whole, "a writer that died before the first byte leaves one"


def test_batches_that_contradict_themselves_are_told_apart(kit):
    batch = pack(kit.number([kit.frames(2, prints=2)])).batch

    def changed(name, values):
        place = SCHEMA.get_field_index(name)
        return batch.set_column(place, SCHEMA.field(place), pa.array(values, SCHEMA.field(place).type))

    assert describe(batch).frames == 2
    for name, values in (
        ("kind", [2, 2, 1, 2]),
        ("kind", [1, 2, 9, 2]),
        ("kind", [0, 2, 1, 2]),
        ("seq", [1, 2, 2, 2]),
        ("seq", [2, 2, 1, 1]),
        ("tick", [0, 1, 1, 2]),
        ("record", [None, None, "{}", None]),
        ("kind", [1, 2, 1, 1]),
    ):
        with pytest.raises(Inconsistent):
            describe(changed(name, values))


def test_an_empty_folder_is_no_log(tmp_path):
    for care in (inspect, verify):
        with pytest.raises(NoLog):
            care(tmp_path)
