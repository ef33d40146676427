from __future__ import annotations

import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tickloom.actors.bars.history import BLOCK_ROWS, LEAST_BYTES, OBJECT_BYTES, ROW_BYTES, History
from tickloom.actors.bars.tables import block_of, rows_of
from tickloom.messages.bars import Bar, BarColumns

ROOM = 64 * 1024 * 1024


def bar(start: int, close: int = 0) -> Bar:
    return Bar("A", "1s", start, start + 1, 1, 2, 3, close, 5, 6, 7, 8, 9)


def rows(history: History, last: int | None = None) -> list[Bar]:
    out: list[Bar] = []
    for each in history.bars(last):
        out += rows_of(each) if isinstance(each, BarColumns) else [each]
    return out


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=12),
    st.integers(1, 700),
    st.integers(0, 900) | st.none(),
)
def test_a_history_shows_the_newest_bars_however_they_came(
    additions: list[tuple[bool, int]], most: int, last: int | None
) -> None:
    history, settled = History(most, ROOM), []
    for in_block, count in additions:
        new = [bar(len(settled) + i) for i in range(count)]
        settled += new
        history = history.settle_columns(block_of(new)) if in_block else history.settle(new)
    want = settled[-most:]
    assert rows(history, last) == (want if last is None else want[max(len(want) - last, 0) :])
    assert history.rows == len(want)
    assert history.held == sum(map(len, history.blocks))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3000)), min_size=1, max_size=12), st.integers(0, 200_000))
def test_a_history_stays_within_its_bytes(additions: list[tuple[bool, int]], extra: int) -> None:
    history, count = History(10**9, LEAST_BYTES + extra), 0
    for in_block, more in additions:
        new = [bar(count + i) for i in range(more)]
        count += more
        history = history.settle_columns(block_of(new)) if in_block else history.settle(new)
        assert history.size <= history.max_bytes
        assert rows(history)[-1] == new[-1]


def test_a_closed_bar_is_shown_at_once_replaced_when_revised_and_once_settled() -> None:
    history = History(10, ROOM).settle([bar(0), bar(1)]).show([bar(2), bar(3)])
    assert [b.open_time for b in rows(history)] == [0, 1, 2, 3]
    history = history.show([bar(2, close=9)])
    assert [b.close for b in rows(history)] == [0, 0, 9, 0]
    history = history.settle([bar(2, close=9)])
    assert [(b.open_time, b.close) for b in rows(history)] == [(0, 0), (1, 0), (2, 9), (3, 0)]
    assert list(history.closed) == [3]
    assert [b.open_time for b in rows(history, 1)] == [3]
    assert [b.open_time for b in rows(history, 2)] == [2, 3]
    assert rows(history, 0) == []


def test_adding_leaves_the_history_before_as_it_was() -> None:
    before = History(10, ROOM).settle([bar(0)]).show([bar(1)])
    before.settle([bar(1), bar(2)])
    before.show([bar(1, close=5)])
    before.settle_columns(block_of([bar(1), bar(2)]))
    assert rows(before) == [bar(0), bar(1)]


def test_a_history_without_room_for_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="holds nothing: give it a row and"):
        History(100, LEAST_BYTES - 1)
    with pytest.raises(ValueError, match="0 rows"):
        History(0, ROOM)


def test_the_stated_bytes_a_bar_hold() -> None:
    start = 1_700_000_000_000_000_000
    big = [start + 2**40 * i for i in range(13)]
    one = Bar("A", "1s", *big[:2], *big[2:])
    assert sys.getsizeof(one) + sum(sys.getsizeof(value) for value in big) <= OBJECT_BYTES
    count = 100 * BLOCK_ROWS
    tracemalloc.start()
    try:
        history, made = History(count, ROOM), 0
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            history = history.settle([bar(start + made + i) for i in range(BLOCK_ROWS)])
            made += BLOCK_ROWS
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert history.rows == count
    assert used <= count * ROW_BYTES * 1.1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 90), st.integers(1, 3)), max_size=6), st.integers(1, 200))
def test_bars_by_activity_keep_their_numbers_in_blocks_also_where_some_are_missing(runs, last):
    """Each run is (how far its stamps go back, bars, how far its numbers are from those before)."""
    history, put, number = History(10_000, 1 << 24), list[Bar](), 0
    for back, count, step in runs:
        new = [replace(bar(100 - back), number=number + step + at) for at in range(count)]
        number = new[-1].number
        history = history.settle(new)
        put += new
    assert rows(history) == put
    assert rows(history, last) == put[-last:]
    assert sum(map(len, history.blocks)) == history.held
