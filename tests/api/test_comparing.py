"""The bars of a replay beside those closed live: where they are the same, and the first that is not is named."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

import tickloom
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, as_int64, as_list
from tickloom.scripts.emulator import Emulator

MNQ = "CON.F.US.MNQ.Z25"
Make = Callable[..., tickloom.Session]


@pytest.fixture(scope="module")
def recorded(emulator: tuple[Emulator, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """A log and the files of a session that stopped in order, and how many bars it had."""
    running, key = emulator
    folder = tmp_path_factory.mktemp("compared")
    config = {
        "gateway.api_url": running.api_url,
        "gateway.market_hub_url": running.market_hub_url,
        "gateway.user_hub_url": running.user_hub_url,
        "session.contracts": (MNQ, "CON.F.US.EP.Z25"),
        "session.timeframes": "1s,5s,1m,50t",
        "recorder.dir": str(folder / "log"),
        "sinks.out": str(folder / "out"),
    }
    with tickloom.Session(
        config, credentials=tickloom.Credentials("tester", tickloom.Secret(key), "a test")
    ) as session:
        for bar, _ in zip(session.bars(MNQ, "1s"), range(4), strict=False):
            assert bar.trades
    assert session.summary is not None
    return folder / "log", folder / "out", session.summary.bars


@pytest.fixture
def copied(recorded: tuple[Path, Path, int], tmp_path: Path) -> tuple[Path, Path]:
    """Both, to be spoilt."""
    log, out, _ = recorded
    return Path(shutil.copytree(log, tmp_path / "log")), Path(shutil.copytree(out, tmp_path / "out"))


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    parquet.write_table(change(parquet.ParquetFile(path).read()), path)


def files_of(out: Path, timeframe: str, contract: str = MNQ) -> list[Path]:
    return sorted((out / "bars" / f"timeframe={timeframe}" / f"contract={contract}").glob("*.parquet"))


def test_the_bars_of_an_undisturbed_log_are_vouched_for_by_its_checkpoint_and_found_in_its_files(
    recorded: tuple[Path, Path, int],
) -> None:
    log, _, bars = recorded
    result = tickloom.replay(log, verify=True)
    verified = result.verified
    assert verified is not None
    assert (verified.chained, verified.bars, verified.notes) == (bars, bars, ())
    assert result.summary.bars == bars
    assert verified.files >= 8
    with LogReader(log) as reader:
        assert verified.checkpoint_seq == reader.last_seq
        assert verified.frames == sum(segment.totals.frames for segment in reader.segments)


def test_a_bar_that_is_another_is_named_with_what_differs(copied: tuple[Path, Path]) -> None:
    log, out = copied
    path = files_of(out, "1s")[0]
    at = parquet.ParquetFile(path).read()["open_time"][1].as_py()
    volume = parquet.ParquetFile(path).read()["volume"].to_pylist()

    def change(table: pa.Table) -> pa.Table:
        changed = pa.array([each + (i == 1) for i, each in enumerate(volume)])
        return table.set_column(table.column_names.index("volume"), table.schema.field("volume"), changed)

    rewrite(path, change)
    with pytest.raises(tickloom.LogDamagedError) as caught:
        tickloom.replay(log, verify=True, against=out)
    words = str(caught.value)
    assert f"the 1s bar of {MNQ} at {at:%Y-%m-%dT%H:%M:%SZ} was closed live" in words
    assert f"the replay has volume {volume[1]} where it was {volume[1] + 1}" in words
    assert caught.value.exit_code == 5


def test_a_bar_too_many_and_one_too_few_are_named(copied: tuple[Path, Path]) -> None:
    log, out = copied
    path = files_of(out, "5s")[0]
    whole = path.read_bytes()
    rewrite(path, lambda table: table.slice(1))
    with pytest.raises(
        tickloom.LogDamagedError, match=r"the 5s bar of .* is in the replay, and the session closed none"
    ):
        tickloom.replay(log, verify=True, against=out)
    path.write_bytes(whole)
    rewrite(path, lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    with pytest.raises(
        tickloom.LogDamagedError, match=r"the 5s bar of .* was closed live, and the replay has none there"
    ):
        tickloom.replay(log, verify=True, against=out)


def test_without_files_the_chain_tells_that_a_print_was_changed_where_checksums_and_frames_cannot(
    copied: tuple[Path, Path], tmp_path: Path
) -> None:
    log, _ = copied
    other = tmp_path / "other"
    with LogReader(log) as reader:
        items = list(reader.items())  # without payloads: nothing is left to decode again
    at = next(i for i, n in enumerate(items) if isinstance(n.item, Frames) and n.item.prints is not None)
    frames = items[at].item
    assert isinstance(frames, Frames)
    assert frames.prints is not None
    size = as_int64(frames.prints.size).copy()
    size[0] += 1
    items[at] = Numbered(
        items[at].seq, msgspec.structs.replace(frames, prints=msgspec.structs.replace(frames.prints, size=size))
    )
    shutil.rmtree(tmp_path / "out")
    with LogWriter(other, session="changed", options=LogOptions()) as writer:
        writer.append(items, 0)
    for path in log.glob("*.tlcp"):
        shutil.copy(path, other)
    with pytest.raises(tickloom.LogDamagedError, match=r"the \w+ bars of .* are not those the session closed live"):
        _replay_without_files(other)


def _replay_without_files(log: Path) -> tickloom.Replay:
    """The log names the folder of the session that recorded it; hide it."""
    with LogReader(log) as reader:
        (out,) = {Path(r.settings["sinks"]["out"]) for r in reader.context() if hasattr(r, "settings")}
    hidden = out.with_name("hidden")
    out.rename(hidden)
    try:
        return tickloom.replay(log, verify=True)
    finally:
        hidden.rename(out)


def test_the_chain_alone_vouches_when_the_files_are_gone(recorded: tuple[Path, Path, int]) -> None:
    log, _, bars = recorded
    verified = _replay_without_files(log).verified
    assert verified is not None
    assert (verified.chained, verified.files, verified.bars) == (bars, 0, 0)
    assert any("no files of its sessions" in note for note in verified.notes)


def test_of_a_session_that_was_killed_what_a_checkpoint_and_the_files_have_is_compared(
    make_session: Make, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with make_session("running", recorder__checkpoint_s=1, sinks__out=str(out), sinks__roll_rows=3):
        taken: set[str] = set()
        early = 0
        for _ in range(1500):
            # the second checkpoint that appears beside bars in files: it was begun when they had been told
            taken |= {path.name for path in (tmp_path / "running").glob("*.tlcp")}
            if not files_of(out, "1s"):
                early = len(taken)
            elif len(taken) >= early + 2:
                break
            threading.Event().wait(0.01)
        shutil.copytree(tmp_path / "running", tmp_path / "log")
        shutil.copytree(out, tmp_path / "then")
    result = tickloom.replay(tmp_path / "log", verify=True, against=tmp_path / "then")
    verified = result.verified
    assert verified is not None
    assert 0 < verified.chained <= result.summary.bars
    assert 0 < verified.bars < result.summary.bars, "what waited for its file is in the log alone"


def test_the_live_chain_ends_as_the_replay_does_where_a_log_was_cut_off(make_session: Make, tmp_path: Path) -> None:
    with make_session("running", recorder__checkpoint_s=1) as session:
        for _ in zip(session.bars(MNQ, "1s"), range(4), strict=False):
            for path in (tmp_path / "running").glob("*.tlcp"):
                shutil.copy(path, tmp_path)
    with LogReader(tmp_path / "running") as reader:
        items = list(reader.items())
    first = min(int(path.stem.rpartition("-")[2]) for path in tmp_path.glob("*.tlcp"))
    after = [i for i, n in enumerate(items) if n.seq > first and isinstance(n.item, Frames)]
    last = items[after[len(after) // 2]]
    assert isinstance(last.item, Frames)
    # it came late, so its receipt lies past the end of a bar that its stamp still falls into
    late = msgspec.structs.replace(last.item, recv_ns=[at + 2 * NS for at in as_list(last.item.recv_ns)])
    with LogWriter(tmp_path / "log", session="cut", options=LogOptions()) as writer:
        writer.append([*items[: after[len(after) // 2]], Numbered(last.seq, late)], 0)
    for path in tmp_path.glob("*.tlcp"):
        shutil.copy(path, tmp_path / "log")
    verified = tickloom.replay(tmp_path / "log", verify=True).verified
    assert verified is not None
    assert verified.checkpoint_seq >= first


def test_what_cannot_be_compared_is_said_and_is_no_failure(recorded: tuple[Path, Path, int], tmp_path: Path) -> None:
    log, _, _ = recorded
    with LogReader(log) as reader:
        low, high = reader.time_range or (0, 0)
    part = tickloom.replay(log, verify=True, from_ns=(low + high) // 2)
    assert part.verified is not None
    assert "only part of the log was replayed" in part.verified.notes[0]
    assert part.verified.frames > 0
    bare = Path(shutil.copytree(log, tmp_path / "bare", ignore=shutil.ignore_patterns("*.tlcp")))
    verified = tickloom.replay(bare, verify=True, timeframes=["1s"]).verified
    assert verified is not None
    assert any("no checkpoint" in note for note in verified.notes)
    with pytest.raises(tickloom.UsageError, match="holds no bars of this log's sessions"):
        tickloom.replay(log, verify=True, against=tmp_path)
    with pytest.raises(tickloom.UsageError, match="ask for that as well"):
        tickloom.replay(log, against=tmp_path)


def test_of_several_sessions_on_one_log_all_bars_are_compared(make_session: Make, tmp_path: Path) -> None:
    for _ in range(2):
        with make_session(sinks__out=str(tmp_path / "out")) as session:
            next(session.bars(MNQ, "1s"))
    result = tickloom.replay(tmp_path / "log", verify=True)
    assert result.verified is not None
    assert (result.verified.chained, result.verified.bars) == (result.summary.bars, result.summary.bars)
    assert result.verified.notes == ()


class Hesitant:
    """A source some of whose stamps lie back, by up to two seconds."""

    instruments = (tickloom.Instrument("OIL", 1, 100),)

    def __init__(self) -> None:
        self.taken = threading.Event()

    async def ticks(self) -> AsyncIterator[tickloom.Ticks]:
        for number in range(500):
            back = [number // 8 % 5 * NS // 2] * 2
            stamps = [time.time_ns() - each for each in back]
            yield tickloom.Ticks("OIL", stamps, [70.0 + number / 100] * 2, [1, 2])
        self.taken.set()
        await asyncio.Event().wait()


def test_bars_by_activity_agree_where_stamps_go_back_and_open_times_with_them(tmp_path: Path) -> None:
    places = {"recorder.dir": str(tmp_path / "log"), "sinks.out": str(tmp_path / "out"), "sinks.roll_rows": 20}
    source = Hesitant()
    with tickloom.Session({"session.timeframes": ("1s", "10t", "7v"), **places}, source=source) as session:
        assert source.taken.wait(20)
    assert session.summary is not None
    closed = session.table("OIL", "10t")
    assert closed.num_rows == 100
    starts = closed["open_time"].to_pylist()
    assert starts != sorted(set(starts)), "or this shows nothing"
    result = tickloom.replay(tmp_path / "log", verify=True)
    assert result.table("OIL", "10t").equals(closed)
    assert result.verified is not None
    assert (result.verified.bars, result.verified.notes) == (session.summary.bars, ())


def test_where_retention_removed_the_beginning_those_bars_in_files_are_compared_that_no_removed_print_can_be_in(
    write_tape: Callable[..., Path], tmp_path: Path
) -> None:
    log, out = write_tape(tmp_path / "log", 60, batch_rows=20, segment_bytes=9000), tmp_path / "out"
    tickloom.replay(log, timeframes=["1s", "1m", "7t"], out=out)
    segments = sorted(log.glob("*.arrows"))
    segments[0].unlink()
    with LogReader(log) as reader:
        low, high = reader.time_range or (0, 0)
    verified = tickloom.replay(log, timeframes=["1s", "1m", "7t"], verify=True, against=out).verified
    assert verified is not None
    assert verified.bars == high // NS - low // NS - 10, "all but those within the ten seconds a print may come late"
    assert any("the log's beginning was removed: of the bars in files" in note for note in verified.notes)

    def change(at: int) -> Callable[[pa.Table], pa.Table]:
        def changed(table: pa.Table) -> pa.Table:
            volume = [each + (i == at) for i, each in enumerate(table["volume"].to_pylist())]
            return table.set_column(table.column_names.index("volume"), table.schema.field("volume"), pa.array(volume))

        return changed

    (path,) = files_of(out, "1s")
    rewrite(path, change(0))
    assert tickloom.replay(log, timeframes=["1s"], verify=True, against=out).verified is not None
    rewrite(path, change(59))
    with pytest.raises(tickloom.LogDamagedError, match="the replay has volume"):
        tickloom.replay(log, timeframes=["1s"], verify=True, against=out)


def test_of_one_segment_of_a_log_no_bars_are_compared(write_tape: Callable[..., Path], tmp_path: Path) -> None:
    log, out = write_tape(tmp_path / "log", 40, batch_rows=20, segment_bytes=9000), tmp_path / "out"
    tickloom.replay(log, out=out)
    verified = tickloom.replay(sorted(log.glob("*.arrows"))[1], verify=True, against=out).verified
    assert verified is not None
    assert verified.bars == 0
    assert "only part of the log was replayed" in verified.notes[0]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "Parquet"),
        (lambda path: path.write_bytes(b""), "size is 0 bytes"),
        (lambda path: rewrite(path, lambda table: table.drop(["close"])), "it has no column close"),
        (
            lambda path: rewrite(
                path, lambda table: table.set_column(3, "open", pa.array(["dear"] * len(table), pa.string()))
            ),
            "dear",
        ),
    ],
    ids=["cut", "empty", "column", "type"],
)
def test_a_file_of_bars_that_cannot_be_read_is_named(
    spoil: Callable[[Path], object], words: str, copied: tuple[Path, Path]
) -> None:
    log, out = copied
    path = files_of(out, "1s")[0]
    spoil(path)
    with pytest.raises(tickloom.LogDamagedError, match=words) as caught:
        tickloom.replay(log, verify=True, against=out)
    assert str(caught.value).startswith(f"{path}: this file cannot be compared")
    assert "move it away" in str(caught.value)
