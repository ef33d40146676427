from __future__ import annotations

import pytest

from tickloom.actors.recorder import compaction
from tickloom.actors.recorder.compaction import compact
from tickloom.actors.recorder.errors import LogInUse, NoLog
from tickloom.actors.recorder.lock import DirectoryLock
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.segment import name_of, scan
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.beginning import open_log
from tickloom.config.sections import RecorderSettings
from tickloom.config.settings import Settings
from tickloom.messages.records import unroll

MAGIC = {"zstd": bytes.fromhex("28b52ffd"), "lz4": bytes.fromhex("04224d18")}
"""How a compressed buffer begins: RFC 8878, 3.1.1; LZ4 frame format, version 1.6.4."""


def codecs_of(directory):
    data = b"".join(path.read_bytes() for path in directory.glob("*.arrows"))
    return {name for name, magic in MAGIC.items() if magic in data}


def test_a_compacted_log_holds_the_same_in_fewer_batches(kit, log):
    directory, records = log
    before = sum(len(s) for s in LogReader(directory).segments)
    report = compact(directory)
    assert 4 <= len(report.rewritten) <= report.segments
    assert report.size_after < report.size_before
    assert kit.read(directory) == records
    with LogReader(directory) as reader:
        assert sum(len(s) for s in reader.segments) == report.segments < before
    assert compact(directory).rewritten == ()


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_a_log_is_compressed_as_one_asks(kit, log, compression):
    directory, records = log
    compact(directory)
    report = compact(directory, compression=compression)
    assert len(report.rewritten) == report.segments, "those that were large-batched already as well"
    assert codecs_of(directory) == {compression} - {"none"}
    assert kit.read(directory) == records


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_session_writes_its_log_as_the_settings_say(kit, tmp_path, compression):
    settings = Settings(recorder=RecorderSettings(compression=compression))
    with open_log(settings, tmp_path, kit.START) as writer:
        writer.append(kit.number([kit.started(), kit.frames(500)]), 0)
    assert codecs_of(tmp_path) == {compression}


def test_contracts_and_sources_survive_being_glued(kit, tmp_path):
    items = kit.number([
        kit.frames(3, source="market/1", contract="A"), kit.frames(3, 3, source="market/2", contract="B"),
        *kit.everything(), kit.frames(3, 20, source="market/2", contract="A"),
    ])  # fmt: skip
    with LogWriter(tmp_path, session="s", options=LogOptions(batch_rows=1)) as writer:
        for item in items:
            writer.append([item], 0)
    compact(tmp_path)
    assert kit.read(tmp_path) == list(unroll(items))


def test_compacting_leaves_damage_alone(kit, log):
    directory, _ = log
    unit = scan(directory / name_of(2)).unit(1)
    kit.flip(directory / name_of(2), unit.offset + unit.length - 30)
    data = (directory / name_of(2)).read_bytes()
    report = compact(directory)
    assert name_of(2) not in {r.path.name for r in report.rewritten}
    ((path, why),) = [(each.path.name, each.why) for each in report.left]
    assert (path, why.split(":")[0]) == (name_of(2), "it is damaged")
    assert (directory / name_of(2)).read_bytes() == data


def test_a_rewrite_that_does_not_read_back_leaves_the_old_segment(kit, log, monkeypatch):
    directory, records = log
    monkeypatch.setattr(compaction, "_glued", lambda batches: iter([next(iter(batches))]))
    with pytest.raises(Exception, match="does not hold what"):
        compact(directory)
    assert kit.read(directory) == records


def test_what_is_not_closed_or_no_segment_is_left_and_named(log):
    directory, _ = log
    last = max(directory.glob("*.arrows"))
    last.write_bytes(last.read_bytes()[:-8])
    (directory / name_of(2)).write_bytes(b"time,price\n1,2\n" * 100)
    assert [(each.path.name, each.why) for each in compact(directory).left] == [
        (name_of(2), "it is no segment of a Tickloom log"),
        (last.name, "it was not closed in order"),
    ]


def test_a_log_in_use_is_left_alone(log):
    directory, _ = log
    lock = DirectoryLock(directory)
    with pytest.raises(LogInUse):
        compact(directory)
    lock.release()


def test_there_must_be_a_log(tmp_path):
    with pytest.raises(NoLog):
        compact(tmp_path)
