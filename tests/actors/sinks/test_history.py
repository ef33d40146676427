"""Tables of bars by activity: in the order in which the bars closed, each once, with one open bar at most."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.bars.activity import ActivityFold
from tickloom.actors.sinks.history import HistoryFold, HistoryState, latest, table
from tickloom.config.timeframes import Timeframe
from tickloom.messages.control import SessionStopped
from tickloom.messages.intake import Validated
from tickloom.messages.market import NS, Instrument, Trades

X = Instrument("X", 1, 1)
T0 = 1_709_899_200 * NS


def trades(prints: list[tuple[int, int]], first: int) -> Trades:
    """Prints `(second, size)`; the price of each is its number."""
    count = len(prints)
    stamps, sizes = [T0 + second * NS for second, _ in prints], [size for _, size in prints]
    numbers = list(range(first, first + count))
    return Trades("X", stamps, numbers, sizes, [0] * count, numbers)


def told(timeframe: str, batches: list[list[tuple[int, int]]], *, stop: bool = False) -> HistoryState:
    """What a history knows that was told of these prints, batch by batch."""
    fold, history = ActivityFold(Timeframe.parse(timeframe)), HistoryFold(10**6, 1 << 26)
    state, kept = fold.initial(), history.step(history.initial(), [X])[0]
    done = 0
    for number, batch in enumerate(batches, start=1):
        state, said = fold.step(state, [Validated(number, (trades(batch, done),))])
        kept, _ = history.step(kept, said)
        done += len(batch)
    if stop:
        state, said = fold.step(state, [Validated(len(batches) + 1, (SessionStopped(recv_ns=T0),))])
        kept, _ = history.step(kept, said)
    return kept


def opens(kept: HistoryState, timeframe: str, last: int | None = None, **options: Any) -> list[int]:
    return [int(price) for price in table(kept, "X", timeframe, last, **options)["open"].to_pylist()]


@pytest.mark.parametrize("timeframe", ["1t", "1v"])
def test_a_print_with_an_earlier_stamp_makes_a_bar_after_the_one_before_and_none_twice(timeframe: str) -> None:
    kept = told(timeframe, [[(0, 1), (5, 1), (3, 1)]])
    assert opens(kept, timeframe) == [0, 1, 2]
    assert opens(kept, timeframe, 1) == [2]
    assert latest(kept, "X", [timeframe]).bars[timeframe].open == 2


@settings(max_examples=80)
@given(
    st.sampled_from(["1t", "3t", "70t", "1v", "4v", "90v"]),
    st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=130), max_size=8),
    st.booleans(),
)
def test_every_bar_by_activity_is_there_once_in_the_order_in_which_it_closed(
    timeframe: str, batches: list[list[tuple[int, int]]], stop: bool
) -> None:
    size, by_volume = int(timeframe[:-1]), timeframe.endswith("v")
    starts, have, fresh = list[int](), 0, True
    for number, (_, volume) in enumerate(each for batch in batches for each in batch):
        if fresh:
            starts.append(number)
        have += volume if by_volume else 1
        fresh = have >= size
        have = 0 if fresh else have
    kept = told(timeframe, batches, stop=stop)
    closed = starts if stop or fresh else starts[:-1]
    assert opens(kept, timeframe) == closed
    assert opens(kept, timeframe, partial=True) == starts, "one open bar at most"
    assert opens(kept, timeframe, 2, partial=True) == starts[-2:]
