"""A log as a feed that is driven: paused, stepped, subscribed to, ended, at its own pace and faster."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import tickloom
from tickloom.actors.recorder.errors import DamagedLog
from tickloom.actors.recorder.segment import name_of
from tickloom.messages.market import NS

MNQ = "CON.F.US.MNQ.Z25"
T0 = 1_763_990_000 * NS
SECONDS = 30


@pytest.fixture(scope="module")
def log(write_tape: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute in a few segments."""
    return write_tape(tmp_path_factory.mktemp("played") / "log", SECONDS, batch_rows=40, segment_bytes=8000)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tickloom-replay")]


def test_a_step_is_so_many_frames_and_when_it_returns_the_bars_show_them(log: Path) -> None:
    with tickloom.Playback(log, paused=True) as playback:
        assert playback.position_ns is None
        assert playback.step(2) == 2  # the two records
        assert playback.contracts == (MNQ,)
        assert playback.step(25) == 25
        assert playback.statistics().ticks >= 10, "as of the last beat"
        bars = playback.table(MNQ, "1s").to_pylist()
        assert [bar["trades"] for bar in bars] == [10]
        assert playback.position_ns == T0 + 22 * NS // 10
        for _ in range(11):
            playback.step()
        assert playback.table(MNQ, "1s").num_rows == 2
        assert playback.paused
        assert 0 < playback.progress < 1
    assert threads() == []


def test_paused_nothing_moves_and_resumed_it_goes_on_to_the_same_bars(log: Path) -> None:
    whole = tickloom.replay(log)
    with tickloom.Playback(log, speed=float("inf"), paused=True) as playback:
        playback.step(100)
        here = playback.position_ns
        threading.Event().wait(0.05)
        assert playback.position_ns == here
        playback.resume()
        result = playback.wait(30)
    assert result.digest == whole.digest
    assert result.summary.ticks == SECONDS * 10


def test_many_subscribe_and_each_gets_every_bar_as_it_closes(log: Path) -> None:
    with tickloom.Playback(log, speed=200, paused=True) as playback:
        streams = [playback.bars(MNQ, "5s"), playback.bars(MNQ, "5s"), playback.bars()]
        playback.resume()
        seen = [[(bar.timeframe, bar.open_time) for bar in stream] for stream in streams]
    expected = [("5s", T0 + at * NS) for at in range(0, SECONDS, 5)]
    assert seen[0] == seen[1] == expected
    assert sorted(seen[2]) == sorted(expected + [("1s", T0 + at * NS) for at in range(SECONDS)])


def test_it_keeps_the_pace_it_was_given(log: Path) -> None:
    waits: list[float] = []
    with tickloom.Playback(log, speed=100) as playback:
        gate = playback._gate
        sleep = gate.sleep
        gate.sleep = lambda seconds: (waits.append(seconds), sleep(seconds))[1]  # type: ignore[method-assign]
        result = playback.wait(30)
    assert result.summary.seconds >= SECONDS / 100 * 0.9, "thirty seconds, a hundred times as fast"
    assert result.digest == tickloom.replay(log).digest


def test_it_can_be_awaited(log: Path) -> None:
    async def play() -> list[int]:
        async with tickloom.Playback(log, speed=float("inf"), paused=True) as playback:
            stream = playback.bars(MNQ, "5s")
            playback.resume()
            return [bar.trades async for bar in stream]

    assert asyncio.run(play()) == [50] * 6
    assert threads() == []


def test_it_is_ended_where_it_stands_and_its_open_bars_are_let_go(log: Path) -> None:
    with tickloom.Playback(log, paused=True) as playback:
        playback.step(2 + 11 * 3 + 4)
        result = playback.stop()
        assert playback.ended
        assert playback.step(5) == 0
    assert result.cancelled
    assert result.summary.ticks == 34
    assert result.table(MNQ, "1s").to_pylist()[-1]["flags"] == "partial"


def test_a_part_is_played_from_its_place(log: Path) -> None:
    start, end = T0 + 10 * NS, T0 + 20 * NS
    with tickloom.Playback(log, from_ns=start, to_ns=end, speed=float("inf")) as playback:
        result = playback.wait(30)
    assert result.summary.ticks == 100
    times = [int(row["open_time"].timestamp()) * NS for row in result.table(MNQ, "1s").to_pylist()]
    assert times == list(range(start, end, NS))


def test_damage_ends_it_with_its_place_and_the_bars_before_it_are_there(
    log: Path, tmp_path: Path, copy_log: Callable[[Path, Path], Path]
) -> None:
    broken = copy_log(log, tmp_path)
    data = bytearray((broken / name_of(2)).read_bytes())
    data[len(data) * 2 // 3] ^= 1
    (broken / name_of(2)).write_bytes(data)
    with tickloom.Playback(broken, speed=float("inf"), paused=True) as playback:
        stream = playback.bars(MNQ, "1s")
        playback.resume()
        with pytest.raises(DamagedLog, match="batch"):
            playback.wait(30)
        assert 0 < len(list(stream)) < SECONDS
    assert threads() == []


def test_what_makes_no_sense_is_said(log: Path, tmp_path: Path) -> None:
    playback = tickloom.Playback(log)
    with pytest.raises(tickloom.UsageError, match="has not begun"):
        playback.bars()
    with tickloom.Playback(log, paused=True) as playback:
        with pytest.raises(tickloom.UsageError, match="goes nowhere"):
            playback.step(0)
        with pytest.raises(tickloom.UsageError, match="started once"):
            playback.start()
        with pytest.raises(TimeoutError, match="has not ended"):
            playback.wait(0)
        with pytest.raises(tickloom.UsageError, match="is not built"):
            playback.table(MNQ, "1h")
    with pytest.raises(Exception, match="no directory"):
        tickloom.Playback(tmp_path / "nowhere").start()
    assert threads() == []
