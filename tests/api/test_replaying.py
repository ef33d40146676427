"""Replay of logs that are not quite as a session left them: parts, beginnings that are gone, heads that were damaged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

import tickloom
from tickloom.actors.bars.digest import combine_digests
from tickloom.actors.clock.changes import ClockChanged
from tickloom.actors.recorder.importing.ticks import import_ticks
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.repair import recover
from tickloom.actors.recorder.segment import name_of
from tickloom.comparing import chains_of
from tickloom.judging import judge
from tickloom.logged import session_start, settings_of
from tickloom.messages.intake import Frames
from tickloom.messages.market import NS
from tickloom.pacing import FASTEST
from tickloom.recovery import recover as come_to
from tickloom.supervision.faults import FaultPlan

MNQ = "CON.F.US.MNQ.Z25"
T0 = 1_763_990_000 * NS
SECONDS = 40
WriteTape = Callable[..., Path]


@pytest.fixture
def log(write_tape: WriteTape, tmp_path: Path) -> Path:
    folder = write_tape(tmp_path / "log", SECONDS, batch_rows=20, segment_bytes=9000)
    assert len(list(folder.glob("*.arrows"))) >= 4
    return folder


def seconds(result: tickloom.Replay) -> list[int]:
    return [(int(row["open_time"].timestamp()) * NS - T0) // NS for row in result.table(MNQ, "1s").to_pylist()]


def test_a_log_whose_first_segments_retention_removed_is_replayed_from_there(log: Path) -> None:
    for number in (1, 2):
        (log / name_of(number)).unlink()
    with LogReader(log) as reader:
        first = next(int(n.item.recv_ns[0]) for n in reader.items() if isinstance(n.item, Frames))
    result = tickloom.replay(log)
    assert (result.summary.lost, result.summary.rejected) == (0, 0), "the contracts are known from the header"
    assert seconds(result) == list(range((first - T0) // NS, SECONDS))


@pytest.mark.parametrize("size", [300, 2048, 5000])
def test_a_log_whose_head_was_damaged_is_recovered_and_replayed_and_all_else_is_in_its_bars(
    log: Path, size: int
) -> None:
    whole = tickloom.replay(log)
    path = log / name_of(1)
    path.write_bytes(b"\x55" * size + path.read_bytes()[size:])
    with pytest.raises(Exception, match=r"header at byte 0 is damaged.*log recover"):
        tickloom.replay(log)
    recover(log)
    result = tickloom.replay(log)
    assert (result.summary.lost, result.summary.rejected) == (0, 0)
    left = result.table(MNQ, "1s").to_pylist()
    assert len(left) > 20
    same = whole.table(MNQ, "1s", last=len(left)).to_pylist()
    assert left[1:] == same[1:], "the bar that was cut into is another"
    with LogReader(log) as reader:
        assert result.summary.ticks == reader.prints


@pytest.mark.parametrize(("start", "end"), [(0, 40), (13, 29), (13.5, 40), (0, 7)])
def test_a_stretch_gives_the_bars_of_its_prints(log: Path, start: float, end: float) -> None:
    result = tickloom.replay(log, from_ns=T0 + round(start * NS), to_ns=T0 + round(end * NS))
    assert result.summary.ticks == round((end - start) * 10)
    assert seconds(result) == list(range(int(start), int(end)))
    assert (result.summary.lost, result.summary.rejected) == (0, 0)


def differing(part: tickloom.Replay, whole: tickloom.Replay) -> dict[str, list[int]]:
    """Seconds since the tape's beginning of the bars that say `partial` in a part alone; all others are the whole's."""
    found: dict[str, list[int]] = {}
    for frame in ("1s", "5s"):
        known = {row["open_time"]: row for row in whole.table(MNQ, frame).to_pylist()}
        for row in part.table(MNQ, frame).to_pylist():
            if row != known[row["open_time"]]:
                assert row["flags"] == "partial"
                assert row["volume"] < known[row["open_time"]]["volume"]
                found.setdefault(frame, []).append((int(row["open_time"].timestamp()) * NS - T0) // NS)
    return found


@pytest.mark.parametrize(
    ("start", "cut"), [(13.5, {"1s": [13], "5s": [10]}), (13, {"5s": [10]}), (15, {}), (0, {}), (-100, {})]
)
def test_a_bar_that_a_part_begins_within_is_partial_and_one_it_begins_with_is_not(
    log: Path, start: float, cut: dict[str, list[int]]
) -> None:
    whole, from_ns = tickloom.replay(log), T0 + round(start * NS)
    part = tickloom.replay(log, from_ns=from_ns)
    assert differing(part, whole) == cut
    assert (part.digest == whole.digest) is (start <= 0)
    with tickloom.Playback(log, from_ns=from_ns, speed=float("inf")) as playback:
        assert playback.wait(30).digest == part.digest


@pytest.mark.parametrize("gone", [1, 2])
def test_bars_that_a_removed_beginning_reaches_into_are_partial_also_for_a_session_that_goes_on(
    log: Path, gone: int
) -> None:
    whole = tickloom.replay(log)
    for number in range(1, gone + 1):
        (log / name_of(number)).unlink()
    with LogReader(log) as reader:
        first = next(int(n.item.recv_ns[0]) for n in reader.items() if isinstance(n.item, Frames))
        result = tickloom.replay(log)
        states = come_to(reader, settings_of(session_start(reader, reader.context(), reader.context(), None))).states
    cut = {}
    for frame, width in (("1s", NS), ("5s", 5 * NS)):
        if first % width:
            cut[frame] = [(first // width * width - T0) // NS]
    assert cut, "the beginning reaches into a bar"
    assert differing(result, whole) == cut
    chains = {key: chain.digest() for key, chain in chains_of(states).items()}
    assert combine_digests(chains) == result.digest


def test_a_folder_with_a_log_of_nothing_says_so(tmp_path: Path, write_tape: WriteTape) -> None:
    folder = write_tape(tmp_path / "short", 1)
    with LogReader(folder) as reader:
        header_end = reader.segments[0].first
    with (folder / name_of(1)).open("r+b") as file:
        file.truncate(header_end)
    with pytest.raises(tickloom.UsageError, match="holds nothing"):
        tickloom.replay(folder)


def test_a_segment_without_the_start_of_its_session_is_not_guessed_at(tmp_path: Path, write_tape: WriteTape) -> None:
    folder = write_tape(tmp_path / "one", 4, batch_rows=1)
    path = folder / name_of(1)
    path.write_bytes(bytes(5000) + path.read_bytes()[5000:])
    recover(folder)
    with pytest.raises(tickloom.UsageError, match="does not begin with the start of a session"):
        tickloom.replay(folder)


@pytest.mark.parametrize("batch_rows", [1, 7, 65_536])
def test_a_log_without_beats_tells_each_change_of_the_clocks_once_also_when_who_tells_it_crashes(
    tmp_path: Path, batch_rows: int
) -> None:
    spring, days = int(dt.datetime(2024, 3, 10, 8, tzinfo=dt.UTC).timestamp()) * NS, 86_400 * NS
    rows = [f"{spring + day * days},100,1" for day in range(-20, 400, 3)]
    (tmp_path / "ticks.csv").write_text("\n".join(["time,price,size", *rows]))
    import_ticks(tmp_path / "ticks.csv", tmp_path / "log", contract="X", tick_size="1", calendar="24/7@America/Chicago")
    faults = FaultPlan()
    faults.crash("/observers/changes", "after_commit", nth=1)
    result = tickloom.replay(tmp_path / "log", batch_rows=batch_rows, faults=faults)
    assert faults.crashes == 1
    told = [event.transition for event in result.recent_events() if isinstance(event, ClockChanged)]
    assert [(each.ts_ns, each.forward) for each in told] == [
        (spring, True),
        (int(dt.datetime(2024, 11, 3, 7, tzinfo=dt.UTC).timestamp()) * NS, False),
        (int(dt.datetime(2025, 3, 9, 8, tzinfo=dt.UTC).timestamp()) * NS, True),
    ]


Ask = Callable[..., object]


def judged(log: Path, **stretch: int) -> object:
    rules = log.parent / "rules.toml"
    rules.write_text("[validation]\n")
    return judge(log, rules, **stretch)


def played(log: Path, **stretch: int) -> object:
    with tickloom.Playback(log, speed=float("inf"), **stretch) as playback:
        return playback.wait()


@pytest.mark.parametrize("ask", [tickloom.replay, played, judged])
def test_a_stretch_in_which_there_is_nothing_is_said_so_with_what_there_is(ask: Ask, log: Path) -> None:
    for stretch in (
        {"from_ns": T0 + 2 * NS, "to_ns": T0 + NS},
        {"from_ns": T0, "to_ns": T0},
        {"from_ns": 5, "to_ns": 1},
    ):
        with pytest.raises(tickloom.UsageError, match="is empty: it ends before it begins"):
            ask(log, **stretch)
    for stretch in (
        {"from_ns": T0 + (SECONDS + 1) * NS},
        {"to_ns": T0},
        {"from_ns": T0 + 1, "to_ns": T0 + 2},
        {"from_ns": 10**20},
    ):
        with pytest.raises(
            tickloom.UsageError,
            match=r"holds nothing in .*the log is from 2025-11-24T13:13:20.000000Z to 2025-11-24T13:14:",
        ):
            ask(log, **stretch)
    assert ask(log, from_ns=T0 + NS, to_ns=T0 + 2 * NS) is not None


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("-inf"), 1e300, 1e10])
def test_a_speed_there_is_no_pace_for_is_refused(speed: float, log: Path) -> None:
    for ask in (tickloom.replay, tickloom.Playback):
        with pytest.raises(tickloom.UsageError, match=r"there is no speed .*: it is above 0 and at most 1e"):
            ask(log, speed=speed)


def test_at_the_largest_speed_there_is_a_log_is_replayed(log: Path) -> None:
    assert tickloom.replay(log, speed=FASTEST).summary.ticks == SECONDS * 10


@pytest.mark.parametrize("timeframes", ["", ",", []])
def test_a_replay_of_no_timeframe_is_refused(timeframes: list[str] | str, log: Path) -> None:
    with pytest.raises(ValueError, match="no timeframe given: name at least one"):
        tickloom.replay(log, timeframes=timeframes)
