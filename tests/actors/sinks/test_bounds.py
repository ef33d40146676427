"""History and files within bounds that are moved while they run: less at once when told so, never more than was set."""

from __future__ import annotations

import msgspec
import pytest

from tickloom.actors.bars.history import LEAST_BYTES
from tickloom.actors.sinks.history import HistoryFold, Keep, table
from tickloom.actors.sinks.parquet import ParquetFold, Roll
from tickloom.messages.bars import Bar, Bars
from tickloom.messages.market import NS, Instrument

MNQ = Instrument("CON.F.US.MNQ.Z25", 1, 4)
T0 = 1_763_990_000 * NS


def bar(number: int) -> Bar:
    """A final bar of a second."""
    start = T0 + number * NS
    return Bar(MNQ.contract, "1s", start, start + NS, 100, 101, 99, 100, 5, 2, 500, 3, 2, 0, 0, True)


def settled(first: int, last: int) -> Bars:
    return Bars("1s", 0, settled=tuple(bar(number) for number in range(first, last)))


def kept(state) -> list[int]:
    times = table(state, MNQ.contract, "1s")["open_time"].cast("int64").to_pylist()
    return [(ns - T0) // NS for ns in times]


@pytest.fixture
def full():
    """A history of 2,000 bars, of 2,000 allowed."""
    fold = HistoryFold(2000, 64 << 20)
    state, _ = fold.step(fold.initial(), [MNQ, settled(0, 2000)])
    assert len(kept(state)) == 2000
    return fold, state


def test_a_history_that_is_to_keep_less_lets_the_oldest_go_at_once(full) -> None:
    fold, state = full
    after, _ = fold.step(state, [Keep(500, 64 << 20)])
    assert kept(after) == list(range(1500, 2000))
    assert len(kept(state)) == 2000, "the state before is as it was"


def test_it_keeps_to_it_until_it_is_told_otherwise_and_then_fills_up_again(full) -> None:
    fold, state = full
    state, _ = fold.step(state, [Keep(500, 64 << 20), settled(2000, 2600)])
    assert kept(state) == list(range(2100, 2600))
    state, _ = fold.step(state, [Keep(2000, 64 << 20), settled(2600, 3200)])
    assert len(kept(state)) > 1000
    assert kept(state)[-1] == 3199


def test_it_never_keeps_more_than_it_was_made_with(full) -> None:
    fold, state = full
    state, _ = fold.step(state, [Keep(10**9, 10**12), settled(2000, 3000)])
    assert len(kept(state)) == 2000
    assert (state.keep.rows, state.keep.bytes) == (2000, 64 << 20)


def test_fewer_bytes_are_shared_by_all_windows(full) -> None:
    fold, state = full
    after, _ = fold.step(state, [Keep(2000, 1 << 18)])
    (window,) = after.windows.values()
    assert window.history.max_bytes == 1 << 18
    assert 1 << 17 < window.history.size <= 1 << 18


@pytest.mark.parametrize("windows", [1, 2, 5, 16, 20])
def test_all_windows_together_stay_within_the_bytes_allowed(windows: int) -> None:
    fold = HistoryFold(10**6, 1 << 20)
    state = fold.initial()
    for number in range(windows):
        for first in range(0, 10_000, 2000):
            bars = tuple(msgspec.structs.replace(bar(first + n), contract=f"C{number}") for n in range(2000))
            state, _ = fold.step(state, [Bars("1s", 0, closed=bars, settled=bars)])
        histories = [window.history for window in state.windows.values()]
        assert sum(history.size for history in histories) <= 1 << 20, "those that came first give way to the next"
        assert all(history.rows >= 64 for history in histories)


def test_of_more_windows_than_that_each_keeps_a_block() -> None:
    fold = HistoryFold(10**6, 1 << 20)
    said = [
        Bars("1s", 0, settled=tuple(msgspec.structs.replace(bar(n), contract=f"C{number}") for n in range(640)))
        for number in range(100)
    ]
    state, _ = fold.step(fold.initial(), said)
    assert {window.history.max_bytes for window in state.windows.values()} == {LEAST_BYTES}
    assert LEAST_BYTES <= 50_000
    assert all(window.history.rows >= 64 and window.history.size <= LEAST_BYTES for window in state.windows.values())


def test_bars_that_may_still_be_revised_take_room_from_those_that_are_final(full) -> None:
    _, state = full
    (window,) = state.windows.values()
    history = window.history.bounded(2000, 1 << 18)
    waiting = tuple(bar(number) for number in range(2000, 2200))
    shown = history.show(waiting)
    assert history.size > (1 << 18) - 200 * 640
    assert shown.size <= 1 << 18
    assert len(shown.closed) == 200


def test_files_are_finished_at_fewer_rows_what_waits_beyond_it_at_once() -> None:
    fold = ParquetFold("s", roll_rows=1000, roll_ns=10**18)
    state, files = fold.step(fold.initial(), [settled(0, 300)])
    assert files == []
    state, files = fold.step(state, [Roll(250)])
    assert [len(file.bars) for file in files] == [300]
    state, files = fold.step(state, [settled(300, 560)])
    assert [len(file.bars) for file in files] == [260]
    state, files = fold.step(state, [Roll(10**9), settled(560, 1500)])
    assert files == [], "at most what it was made with"
    state, files = fold.step(state, [settled(1500, 1600)])
    assert [len(file.bars) for file in files] == [1040]
