from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.bars.deltas import LIMIT, BarOverflowError, merge, to_rows
from tickloom.actors.bars.reduce import ReduceFold, ReduceState
from tickloom.messages.bars import BarFlag, Delta, Mark, Reduced
from tickloom.messages.control import (
    Beat,
    Connected,
    Gap,
    SessionStarted,
    SessionStopped,
    Subscribed,
    Unsubscribed,
)
from tickloom.messages.intake import Validated
from tickloom.messages.market import NS, Instrument, Trades

T = 1_700_000_000 * NS
INSTRUMENT = Instrument("A", 1, 4)


def started(resumed: bool = False) -> SessionStarted:
    return SessionStarted(recv_ns=T, version="1", settings={}, instruments=(), timeframes=(), resumed=resumed)


def subscribed(recv_ns: int) -> Subscribed:
    return Subscribed(recv_ns=recv_ns, hub="market", connection=1, contract="A", instrument=INSTRUMENT)


def trade(ts: int, tick: int, price: int = 5, size: int = 1, contract: str = "A") -> Trades:
    return Trades(contract, [ts], [price], [size], [0], [tick])


def run(fold: ReduceFold, *items: Any) -> tuple[ReduceState, list[Reduced]]:
    state, outputs = fold.step(fold.initial(), [Validated(1, items)])
    return state, list(outputs)


def rows_of(outputs: list[Reduced]) -> list[Delta]:
    """Return every delta, merged where bucket and watermark are the same, in order."""
    merged: dict[tuple[str, int, int], Delta] = {}
    for output in outputs:
        for row in (*output.rows, *(row for block in output.columns for row in to_rows(block))):
            key = (row.contract, row.bucket, row.late)
            merged[key] = merge(merged[key], row) if key in merged else row
    return [merged[key] for key in sorted(merged)]


def reference(ticks: list[Any]) -> list[Delta]:
    """Deltas of on-time trades in ten lines."""
    seconds: dict[tuple[str, int], list[Any]] = {}
    for t in ticks:
        seconds.setdefault((t.contract, t.ts // NS * NS), []).append(t)
    out = []
    for (contract, bucket), group in sorted(seconds.items()):
        group.sort(key=lambda t: (t.ts, t.tick))
        a, z, prices = group[0], group[-1], [t.price for t in group]
        by_side = [sum(t.size for t in group if t.side == side) for side in (0, 1)]
        sums = (sum(t.size for t in group), len(group), sum(t.price * t.size for t in group), *by_side)
        out.append(
            Delta(contract, bucket, a.price, a.ts, a.tick, max(prices), min(prices), z.price, z.ts, z.tick, *sums)
        )
    return out


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**9),
    st.integers(1, 400),
    st.sampled_from([1, 10**3, NS // 100, NS // 3, NS, 5 * NS]),
    st.sampled_from([0, 2, NS // 2, 3 * NS]),
    st.sampled_from([0, 64, 10**9]),
    st.sampled_from([1, 48]),
)
def test_loop_and_arrays_give_what_the_reference_gives(
    loom: Any, seed: int, count: int, step: int, jitter: int, vector_rows: int, column_rows: int
) -> None:
    rng = random.Random(seed)
    ticks, now = [], T
    for number in range(count):
        now += rng.choice([0, 0, rng.randrange(step + 1)])
        contract = rng.choice("AAAB")
        price, size, side = rng.randint(-50, 50), rng.randint(0, 20), rng.choice([0, 1, 1, 2] if seed % 2 else [0, 1])
        ticks.append(loom.Tick(contract, now - rng.randrange(jitter + 1), price, size, side, number))
    fold = ReduceFold(4 * NS, 10**6 * NS, vector_rows=vector_rows, column_rows=column_rows)
    state, outputs = fold.step(fold.initial(), [loom.validated(ticks, 1, arrays=rng.random() < 0.8)])
    assert rows_of(list(outputs)) == reference(ticks)
    newest = {c: max(t.ts for t in ticks if t.contract == c) for c in {t.contract for t in ticks}}
    assert state.newest == newest == dict(outputs[0].watermarks)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**9),
    st.sampled_from([100, 300, 700, 2000]),
    st.sampled_from([NS // 1000, NS // 50, NS]),
    st.sampled_from([0.0, 0.002, 0.02, 0.3, 1.0]),
    st.sampled_from([1, 1, 30]),
    st.sampled_from([NS // 100, 2 * NS, 30 * NS]),
    st.integers(-3 * NS, 3 * NS),
)
def test_however_many_come_late_every_way_says_the_same(
    loom: Any, seed: int, count: int, step: int, share: float, run: int, by: int, ahead: int
) -> None:
    rng = random.Random(seed)
    ticks, now, behind = [], T, 0
    for number in range(count):
        now += rng.randrange(step + 1)
        if number % run == 0:
            behind = rng.randrange(by) if rng.random() < share else 0
        ticks.append(loom.Tick("A", now - behind, rng.randint(-9, 9), rng.randint(0, 5), rng.randint(0, 2), number))
    middle = count // 3
    said = []
    for vector_rows in (0, 64, 10**9):
        fold = ReduceFold(NS // 2, 10 * NS, vector_rows=vector_rows, column_rows=10**9)
        arrays = vector_rows < 10**9
        parts = [loom.trades_of(part, arrays=arrays) for part in (ticks[:middle], ticks[middle:])]
        messages = [Validated(1, (parts[0], Beat(recv_ns=ticks[middle].ts + ahead), parts[1]))]
        state, outputs = fold.step(fold.initial(), messages)
        said.append((state, rows_of(list(outputs)), [output.refused for output in outputs]))
    assert said[0] == said[1] == said[2]


def test_of_equal_stamps_the_first_to_arrive_opens_and_the_last_closes() -> None:
    trades = Trades("A", [T, T, T], [7, 9, 8], [1, 1, 1], [0, 1, 2], [4, 5, 6])
    for vector_rows in (0, 10):
        (row,) = run(ReduceFold(0, NS, vector_rows=vector_rows), trades)[1][0].rows
        assert (row.open, row.open_tick, row.close, row.close_tick) == (7, 4, 8, 6)
        assert (row.volume, row.buy, row.sell) == (3, 1, 1)


@pytest.mark.parametrize("vector_rows", [0, 10**9])
def test_batches_of_one_second_merge_whichever_came_first(vector_rows: int) -> None:
    fold = ReduceFold(NS, NS, vector_rows=vector_rows)
    for order in ((0, 1), (1, 0)):
        batches = [
            Trades("A", [T + 10, T + 11], [5, 9], [1, 2], [0, 1], [0, 1]),
            Trades("A", [T + 12, T + 12], [2, 7], [3, 4], [1, 2], [2, 3]),
        ]
        (row,) = run(fold, *(batches[i] for i in order))[1][0].rows
        assert (row.open, row.high, row.low, row.close) == (5, 9, 2, 7)
        assert (row.volume, row.trades, row.notional, row.buy, row.sell) == (10, 4, 57, 1, 5)


@pytest.mark.parametrize("vector_rows", [0, 10**9])
def test_a_trade_is_late_from_the_instant_its_second_and_grace_have_passed(vector_rows: int) -> None:
    fold = ReduceFold(300, 100 * NS, vector_rows=vector_rows)
    end = T + NS + 300
    just_in_time = run(fold, trade(end - 1, 0), trade(T, 1))[1][0]
    assert [row.late for row in just_in_time.rows] == [0, 0]
    too_late = run(fold, trade(end, 0), trade(T, 1))[1][0]
    assert [(row.bucket, row.late) for row in too_late.rows] == [(T + NS, 0), (T, end)]
    by_beat = run(fold, Beat(recv_ns=end), trade(T, 1), trade(T + NS, 2))[1][0]
    assert [(row.bucket, row.late) for row in by_beat.rows] == [(T + NS, 0), (T, end)]


def test_lateness_is_decided_by_arrival_within_one_batch_too() -> None:
    trades = Trades("A", [T, T + 5 * NS, T + 1, T + 9 * NS, T + 2], [1] * 5, [1] * 5, [0] * 5, list(range(5)))
    for vector_rows in (0, 10):
        rows = run(ReduceFold(0, 100 * NS, vector_rows=vector_rows), trades)[1][0].rows
        late = sorted((row.late, row.open_tick) for row in rows if row.late)
        assert late == [(T + 5 * NS, 2), (T + 9 * NS, 4)]


@pytest.mark.parametrize("vector_rows", [0, 10**9])
def test_a_trade_too_far_behind_is_refused_and_counted(vector_rows: int) -> None:
    fold = ReduceFold(0, 10 * NS, vector_rows=vector_rows)
    stamps = [T + 20 * NS, T + 10 * NS, T + 10 * NS - 1, T + 21 * NS, T + 11 * NS - 1]
    output = run(fold, Trades("A", stamps, [1] * 5, [1] * 5, [0] * 5, list(range(5))))[1][0]
    assert output.refused == 2
    assert sorted(row.open_tick for row in output.rows) == [0, 1, 3]


def test_what_was_folded_before_is_passed_over() -> None:
    fold = ReduceFold(0, NS)
    message = Validated(3, (trade(T, 0),), 9, 1)
    state, outputs = fold.step(fold.initial(), [message, message])
    assert [(o.seq, o.weight, o.mono_ns) for o in outputs] == [(3, 1, 9)]
    assert outputs[0].rows[0].trades == 1
    again, nothing = fold.step(state, [message, Validated(2, (trade(T, 1),))])
    assert (again, list(nothing)) == (state, [])


def test_records_that_say_nothing_of_bars_make_no_output_but_move_the_number() -> None:
    fold = ReduceFold(0, NS)
    state, outputs = run(fold, Connected(recv_ns=T, hub="market", connection=1))
    assert (state.seq, outputs) == (1, [])


def test_beats_never_go_back() -> None:
    state, outputs = run(ReduceFold(0, NS), Beat(recv_ns=T + 5), Beat(recv_ns=T))
    assert (state.beat, outputs[0].beat) == (T + 5, T + 5)


def test_a_gap_carries_what_was_known_of_time_when_it_came() -> None:
    gap = Gap(recv_ns=T, contract="A", from_ns=1, to_ns=2, cause="test")
    outputs = run(ReduceFold(0, NS), gap, trade(T, 0), gap)[1]
    assert outputs[0].marks == (Mark("A", 1, 2, BarFlag.GAP, -(2**63)), Mark("A", 1, 2, BarFlag.GAP, T))


def test_bars_begun_before_a_contract_was_followed_are_marked_once() -> None:
    fold = ReduceFold(0, NS)
    state, outputs = fold.step(fold.initial(), [Validated(1, (subscribed(T),))])
    assert outputs[0].marks == (Mark("A", T - 1, T, BarFlag.PARTIAL, -(2**63)),)
    reconnected = [Validated(2, (started(resumed=True), subscribed(T + 9)))]
    assert fold.step(state, reconnected)[1] == []
    again = [Validated(2, (Unsubscribed(recv_ns=T + 5, contract="A"), subscribed(T + 9)))]
    assert [m.to_ns for m in fold.step(state, again)[1][0].marks] == [T + 9]


def test_a_stop_ends_the_session_s_time_and_what_follows_is_another_message() -> None:
    fold = ReduceFold(0, NS)
    items = (trade(T, 0), SessionStopped(recv_ns=T + 5), trade(T - 50 * NS, 1))
    state, outputs = run(fold, *items)
    assert [(o.seq, o.part, o.stop, o.beat) for o in outputs] == [(1, 0, True, T + 5), (1, 1, False, 0)]
    assert [row.late for row in outputs[1].rows] == [0]
    assert (state.newest, state.beat) == ({"A": T - 50 * NS}, 0)


def test_a_session_that_starts_anew_stops_one_that_was_cut_off_and_a_resumed_one_does_not() -> None:
    fold = ReduceFold(0, NS)
    state, _ = run(fold, started(), trade(T, 0))
    assert [o.stop for o in fold.step(state, [Validated(2, (started(),))])[1]] == [True]
    assert list(fold.step(state, [Validated(2, (started(resumed=True),))])[1]) == []
    assert run(fold, started())[1] == []


def test_a_step_leaves_the_state_it_was_given_as_it_was_also_when_it_fails() -> None:
    fold = ReduceFold(0, NS)
    state, _ = run(fold, trade(T, 0))
    before = copy.deepcopy(state)
    fold.step(state, [Validated(2, (trade(T, 1), Beat(recv_ns=T)))])
    with pytest.raises(BarOverflowError):
        fold.step(state, [Validated(2, (trade(T, 1), trade(T, 2, price=LIMIT)))])
    assert state == before


@pytest.mark.parametrize("spread", [1, 10 * NS])
def test_sums_near_the_end_of_int64_are_exact_or_refused(spread: int) -> None:
    fold = ReduceFold(0, 1000 * NS, vector_rows=0)
    ts = T + np.arange(100, dtype=np.int64) * spread
    ones, tick = np.ones(100, dtype=np.int64), np.arange(100, dtype=np.int64)
    price = np.where(tick % 2 == 0, 2**50, -(2**50) + 1)
    fits = Trades("A", ts, price, ones * 2**11, ones, tick)
    rows = rows_of(run(fold, fits)[1])
    assert sum(row.notional for row in rows) == 50 * 2**11
    over = Trades("A", ts, ones * 2**50, ones * 2**13, ones, tick)
    with pytest.raises(BarOverflowError, match="notional or volume of A"):
        run(fold, over)


def test_a_failing_batch_halves_down_to_the_guilty_trade_and_the_rest_counts() -> None:
    fold = ReduceFold(0, 100 * NS)
    prices = [1, 2, LIMIT, 4]
    good = trade(T + NS, 9)
    batch: list[Any] = [
        Validated(1, (Beat(recv_ns=T), Trades("A", [T] * 4, prices, [1] * 4, [0] * 4, [1, 2, 3, 4])), 5, 4),
        Validated(2, (good,), 5, 1),
    ]
    state, outputs, guilty = fold.initial(), [], []
    waiting = [batch]
    while waiting:
        messages = waiting.pop(0)
        try:
            state, out = fold.step(state, messages)
            outputs += out
        except BarOverflowError:
            halves = fold.split(messages)
            if halves is None:
                guilty += messages
            else:
                waiting[:0] = halves
    assert [list(g.items[0].tick) for g in guilty] == [[3]]
    assert {row.bucket: row.trades for row in rows_of(outputs)} == {T: 3, T + NS: 1}
    assert sum(o.weight for o in outputs) == 4
    assert state.seq == 2


def test_negative_times_are_refused_when_made() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        ReduceFold(-1, 0)


def test_half_of_a_failing_batch_is_no_repetition_of_what_was_told_before_it() -> None:
    fold = ReduceFold(0, 0)
    state, told = fold.step(fold.initial(), [Validated(5, (trade(T, 1),))])
    whole = Validated(9, (trade(T + 1, 2), trade(T + 2, 3)))
    halves = fold.split([whole])
    assert halves is not None
    for half in halves:
        state, more = fold.step(state, half)
        told = [*told, *more]
    assert [(reduced.seq, reduced.part) for reduced in told] == [(5, 0), (0, 0), (9, 0)]
    assert state.seq == 9


def test_two_messages_of_one_number_are_told_apart_and_others_need_it_not() -> None:
    fold = ReduceFold(0, 0)
    stop = SessionStopped(recv_ns=T)
    batch = [Validated(4, (trade(T, 1), stop)), Validated(5, (trade(T, 2), stop, trade(T, 3)))]
    _, told = fold.step(fold.initial(), batch)
    assert [(reduced.seq, reduced.part, reduced.stop) for reduced in told] == [
        (4, 0, True),
        (5, 0, True),
        (5, 1, False),
    ]
