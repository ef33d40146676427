from __future__ import annotations

import copy
import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.bars.activity import ActivityFold, ActivityState
from tickloom.actors.bars.deltas import LIMIT, BarOverflowError
from tickloom.config.timeframes import Timeframe
from tickloom.messages.bars import Bar, BarFlag, Bars
from tickloom.messages.control import Gap, Midway, SessionStarted, SessionStopped
from tickloom.messages.intake import Validated
from tickloom.messages.market import Trades

T = 1_700_000_000_000_000_000
STOP = SessionStopped(recv_ns=T)


def fold_of(name: str, **options: Any) -> ActivityFold:
    return ActivityFold(Timeframe.parse(name), **options)


def step(
    fold: ActivityFold, state: ActivityState, *items: Any, seq: int | None = None
) -> tuple[ActivityState, list[Bars]]:
    state, outputs = fold.step(state, [Validated(state.seq + 1 if seq is None else seq, items)])
    return state, list(outputs)


def reference(ticks: list[Any], n: int, by_volume: bool) -> list[list[Any]]:
    """Cut trades into bars by arrival, in six lines; the last one may be short."""
    bars: list[list[Any]] = [[]]
    for tick in ticks:
        bars[-1].append(tick)
        if (sum(t.size for t in bars[-1]) if by_volume else len(bars[-1])) >= n:
            bars.append([])
    return bars if bars[-1] else bars[:-1]


def values(ticks: list[Any]) -> tuple[int, ...]:
    prices, stamps = [t.price for t in ticks], [t.ts for t in ticks]
    return (
        min(stamps),
        max(stamps),
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        sum(t.size for t in ticks),
        len(ticks),
        sum(t.price * t.size for t in ticks),
        sum(t.size for t in ticks if t.side == 0),
        sum(t.size for t in ticks if t.side == 1),
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 120), st.integers(1, 40), st.booleans(), st.sampled_from([1, 8, 10**9]))
def test_bars_equal_the_reference_however_the_trades_were_cut(
    loom: Any, seed: int, count: int, n: int, by_volume: bool, vector_rows: int
) -> None:
    rng = random.Random(seed)
    ticks = [
        loom.Tick(
            rng.choice("AAB"), T + rng.randint(-5, 5) + i // 3, rng.randint(-9, 9), rng.choice([0, 1, 2, 50]), i % 3, i
        )
        for i in range(count)
    ]
    fold = fold_of(f"{n}{'v' if by_volume else 't'}", vector_rows=vector_rows, updates=False)
    state, said = fold.initial(), []
    start = 0
    while start < count:
        stop = start + rng.choice([1, 3, 50])
        message = loom.validated(ticks[start:stop], state.seq + 1, arrays=rng.random() < 0.5)
        state, outputs = fold.step(state, [message, message])
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=ActivityState)
        said += outputs
        start = stop
    state, outputs = step(fold, state, STOP)
    said += outputs
    digests = fold.digests(state)
    for contract in "AB":
        own = [t for t in ticks if t.contract == contract]
        parts = reference(own, n, by_volume)
        bars = [bar for output in said for bar in output.settled if bar.contract == contract]
        assert [msgspec.structs.astuple(bar)[2:13] for bar in bars] == [values(part) for part in parts]
        whole = parts and (sum(t.size for t in parts[-1]) if by_volume else len(parts[-1])) >= n
        flags = [0] * len(parts)
        if parts and not whole:
            flags[-1] = int(BarFlag.PARTIAL)
        assert [bar.flags for bar in bars] == flags
        assert [bar.number for bar in bars] == list(range(1, len(parts) + 1))
        alone_state, _ = fold.step(fold.initial(), [loom.validated(own, 1), Validated(2, (STOP,))])
        assert fold.digests(alone_state).items() <= digests.items()


def test_a_print_is_never_split_across_volume_bars() -> None:
    fold = fold_of("10v")
    for rows in (10**9, 1):
        fold = fold_of("10v", vector_rows=rows)
        trades = Trades("A", [T] * 4, [1, 2, 3, 4], [4, 27, 9, 1], [0] * 4, [0, 1, 2, 3])
        _, (said,) = step(fold, fold.initial(), trades)
        assert [bar.volume for bar in said.closed] == [31, 10]
        assert said.closed == said.settled
        assert said.updated == ()


def test_the_bar_at_hand_is_reported_while_it_grows() -> None:
    fold = fold_of("3t")
    state, (said,) = step(fold, fold.initial(), Trades("A", [T, T], [5, 6], [1, 1], [0, 0], [0, 1]))
    (bar,) = said.updated
    assert (bar.open, bar.close, bar.trades, bar.final, bar.number) == (5, 6, 2, False, 1)
    assert fold.pending(state, "A") == ([], [bar])
    assert fold.pending(state, "B") == ([], [])
    _, (said,) = step(fold, state, Trades("A", [T], [7], [1], [0], [2]))
    assert said.updated == ()
    assert [(bar.trades, bar.close, bar.final, bar.number) for bar in said.closed] == [(3, 7, True, 1)]


def test_a_gap_flags_the_bar_at_hand_or_the_next_one() -> None:
    fold = fold_of("2t")
    gap = Gap(recv_ns=T, contract="A", from_ns=T, to_ns=T + 1, cause="test")
    trades = [Trades("A", [T], [5], [1], [0], [i]) for i in range(6)]
    _, said = step(fold, fold.initial(), trades[0], gap, trades[1], gap, trades[2], trades[3], trades[4], trades[5])
    flags = [bar.flags for output in said for bar in output.closed]
    assert flags == [BarFlag.GAP, BarFlag.GAP, BarFlag.NONE]


def test_the_first_bar_of_a_log_that_is_folded_from_its_middle_is_partial(loom: Any) -> None:
    fold = fold_of("2t")
    trades = loom.trades_of([loom.Tick("A", T + n, 100, 1, 0, n) for n in range(4)])
    _, (said,) = step(fold, fold.initial(), Midway(recv_ns=T, contract="A"), trades)
    assert [bar.flags for bar in said.closed] == [BarFlag.PARTIAL, BarFlag.NONE]


def test_a_session_that_starts_anew_lets_the_bar_of_one_that_was_cut_off_go() -> None:
    fold = fold_of("5t")
    trade = Trades("A", [T], [5], [1], [0], [0])

    def started(resumed: bool) -> SessionStarted:
        return SessionStarted(recv_ns=T, version="1", settings={}, instruments=(), timeframes=(), resumed=resumed)

    state, _ = step(fold, fold.initial(), started(resumed=False), trade)
    resumed, said = step(fold, state, started(resumed=True), trade)
    assert [bar.trades for output in said for bar in output.updated] == [2]
    _, said = step(fold, resumed, started(resumed=False), trade)
    assert [(o.stop, [(b.trades, b.flags) for b in o.settled]) for o in said] == [
        (True, [(2, BarFlag.PARTIAL)]),
        (False, []),
    ]


def test_what_was_folded_before_is_passed_over() -> None:
    fold = fold_of("2t")
    message = Validated(4, (Trades("A", [T], [5], [1], [0], [0]),), 7, 1)
    state, (said,) = fold.step(fold.initial(), [message, message])
    assert (said.seq, said.mono_ns, said.weight, said.updated[0].trades) == (4, 7, 1, 1)
    assert fold.step(state, [message]) == (state, [])


@pytest.mark.parametrize("vector_rows", [1, 10**9])
def test_a_print_that_would_overflow_is_refused_and_the_state_is_as_it_was(vector_rows: int) -> None:
    fold = fold_of("100t", vector_rows=vector_rows)
    state, _ = step(fold, fold.initial(), Trades("A", [T], [5], [1], [0], [0]))
    before = copy.deepcopy(state)
    bad: list[Any] = [Validated(2, (Trades("A", [T, T], [5, LIMIT], [1, 1], [0, 0], [1, 2]),))]
    with pytest.raises(BarOverflowError):
        fold.step(state, bad)
    assert state == before
    halves = fold.split(bad)
    assert halves is not None
    state, _ = fold.step(state, halves[0])
    assert state.contracts["A"].count.trades == 2
    assert fold.split(halves[1]) is None


def test_large_sums_that_fit_are_exact_in_arrays() -> None:
    fold = fold_of("64t", vector_rows=1)
    price = np.where(np.arange(64) % 2 == 0, 2**50, -(2**50) + 1)
    ones = np.ones(64, dtype=np.int64)
    _, (said,) = step(fold, fold.initial(), Trades("A", ones * T, price, ones * 2**9, ones, np.arange(64)))
    (bar,) = said.settled
    assert isinstance(bar, Bar)
    assert bar.notional == 32 * 2**9


def test_a_timeframe_with_a_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="'1m' counts neither ticks nor volume"):
        fold_of("1m")
