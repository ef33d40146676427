from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.bars.deltas import (
    LIMIT,
    BarOverflowError,
    conflate,
    join,
    merge,
    roll_up,
    run_starts,
    to_columns,
    to_rows,
)
from tickloom.messages.bars import BarFlag, Delta, DeltaColumns, Mark, Reduced
from tickloom.messages.market import NS


def delta(ticks: list[tuple[int, int, int, int]], bucket: int = 0, late: int = 0, flags: int = 0) -> Delta:
    """The delta of (tick, ts, price, size) rows, straight from the definition."""
    ordered = sorted(ticks, key=lambda t: (t[1], t[0]))
    first, last = ordered[0], ordered[-1]
    prices = [t[2] for t in ticks]
    sizes = [t[3] for t in ticks]
    return Delta(
        "A",
        bucket,
        first[2],
        first[1],
        first[0],
        max(prices),
        min(prices),
        last[2],
        last[1],
        last[0],
        sum(sizes),
        len(ticks),
        sum(t[2] * t[3] for t in ticks),
        sum(sizes[::2]),
        sum(sizes[1::2]),
        flags,
        late,
    )


@st.composite
def parts(draw: st.DrawFn, count: int) -> list[Delta]:
    """Deltas of disjoint trades, many of them with equal stamps."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(-9, 9), st.integers(0, 9)), min_size=count, max_size=count * 4
        )
    )
    ticks = [(number, *row) for number, row in enumerate(rows)]
    draw(st.randoms(use_true_random=False)).shuffle(ticks)
    out = []
    for index in range(count):
        mine = ticks[index::count]
        out.append(
            delta(mine, draw(st.integers(0, 2)), draw(st.sampled_from([0, 5, 9])), draw(st.sampled_from([0, 2, 4])))
        )
    return out


@given(parts(2))
def test_merging_is_commutative(pair: list[Delta]) -> None:
    a, b = pair
    assert merge(a, b) == merge(b, a)


@given(parts(3))
def test_merging_is_associative(triple: list[Delta]) -> None:
    a, b, c = triple
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 9), st.integers(0, 9)), min_size=2, max_size=20), st.data()
)
def test_merging_parts_in_any_order_gives_the_delta_of_the_whole(rows: Any, data: st.DataObject) -> None:
    ticks = [(number, *row) for number, row in enumerate(rows)]
    order = data.draw(st.permutations(ticks))
    pieces = [delta([tick]) for tick in order]
    while len(pieces) > 1:
        a = pieces.pop(data.draw(st.integers(0, len(pieces) - 1)))
        pieces[0] = merge(pieces[0], a)
    whole = delta(ticks)
    total = sum(size for _, _, _, size in ticks)
    assert msgspec.structs.replace(pieces[0], buy=0, sell=0) == msgspec.structs.replace(whole, buy=0, sell=0)
    assert pieces[0].buy + pieces[0].sell == total


def some_rows(seed: int, count: int, buckets: int) -> list[Delta]:
    """Deltas of one-second buckets, several a bucket, stamps within a bucket overlapping and often equal."""
    rng = random.Random(seed)
    rows = []
    for index in range(count):
        bucket = rng.randrange(buckets) * NS
        ticks = [
            (index * 10 + k, bucket + rng.choice([0, 1, 5, 500, 999_999_999]), rng.randint(-9, 9), rng.randint(0, 9))
            for k in range(rng.randint(1, 4))
        ]
        rows.append(delta(ticks, bucket))
    return rows


def by_bucket(rows: list[Delta], width: int = NS) -> list[Delta]:
    """Merge rows bucket by bucket with `merge` alone."""
    out: dict[int, Delta] = {}
    for row in rows:
        moved = msgspec.structs.replace(row, bucket=row.bucket // width * width)
        known = out.get(moved.bucket)
        out[moved.bucket] = moved if known is None else merge(known, moved)
    return [out[bucket] for bucket in sorted(out)]


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 40))
def test_rows_in_any_order_become_columns_that_say_the_same(seed: int, count: int, buckets: int) -> None:
    rows = some_rows(seed, count, buckets)
    columns = to_columns(rows)
    assert to_rows(columns) == by_bucket(rows)
    assert (np.diff(columns.bucket) > 0).all()


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 40), st.integers(1, 4))
def test_joining_columns_is_merging_their_rows(seed: int, count: int, buckets: int, cuts: int) -> None:
    rows = some_rows(seed, count, buckets)
    if seed % 2:
        rows.sort(key=lambda row: (row.bucket, row.open_ts))
    size = max(count // cuts, 1)
    pieces = [to_columns(rows[start : start + size]) for start in range(0, count, size)]
    assert to_rows(join(pieces)) == by_bucket(rows)


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 40), st.sampled_from([1, 5, 60]))
def test_rolling_columns_up_is_merging_rows_of_a_bucket(seed: int, count: int, buckets: int, width: int) -> None:
    rows = some_rows(seed, count, buckets)
    columns = to_columns(rows)
    opens = columns.bucket // (width * NS) * (width * NS)
    assert to_rows(roll_up(columns, opens, run_starts(opens))) == by_bucket(rows, width * NS)


def test_a_sum_that_would_leave_int64_is_refused_by_name_one_by_one_and_in_bulk() -> None:
    half = msgspec.structs.replace(delta([(0, 0, 1, 1)], 7 * NS), notional=LIMIT // 2 + 1)
    other = msgspec.structs.replace(half, open_tick=1, close_tick=1)
    with pytest.raises(BarOverflowError, match=f"A in the bucket at {7 * NS} ns leaves int64"):
        merge(half, other)
    with pytest.raises(BarOverflowError, match="A in the bucket"):
        to_columns([half, other])
    with pytest.raises(BarOverflowError, match="volume"):
        merge(msgspec.structs.replace(half, notional=0, volume=LIMIT - 1), half)


def test_large_sums_that_fit_are_exact_in_bulk() -> None:
    near = msgspec.structs.replace(delta([(0, 0, 1, 1)]), notional=LIMIT - 10)
    back = msgspec.structs.replace(delta([(1, 0, 1, 1)]), notional=-(LIMIT - 11))
    again = msgspec.structs.replace(delta([(2, 0, 1, 1)]), notional=LIMIT - 5)
    (row,) = to_rows(to_columns([near, back, again]))
    assert row.notional == 1 + LIMIT - 5


# -- conflation --------------------------------------------------------------------------------------------------


def test_conflation_merges_on_time_rows_and_keeps_each_late_watermark() -> None:
    older = Reduced(
        1,
        (delta([(0, 5, 3, 1)]), delta([(1, 6, 4, 2)], late=100)),
        watermarks=(("A", 6), ("B", 9)),
        beat=50,
        mono_ns=7,
        weight=2,
    )
    newer = Reduced(
        2,
        (delta([(2, 7, 5, 1)]), delta([(3, 8, 6, 1)], late=100), delta([(4, 8, 7, 1)], late=120)),
        watermarks=(("A", 8),),
        mono_ns=5,
        weight=3,
        marks=(Mark("A", 0, 1, 2, 0),),
        stop=True,
        part=1,
        refused=4,
    )
    both = conflate(older, newer)
    assert both is not None
    assert [(row.trades, row.late) for row in both.rows] == [(2, 0), (2, 100), (1, 120)]
    assert (dict(both.watermarks), both.beat) == ({"A": 8, "B": 9}, 50)
    assert (both.seq, both.part, both.stop, both.mono_ns, both.weight, both.refused) == (2, 1, True, 5, 5, 4)
    assert both.marks == newer.marks


def test_conflation_does_not_reach_across_the_end_of_a_session() -> None:
    assert conflate(Reduced(1, stop=True), Reduced(2)) is None


def test_conflation_says_no_when_the_result_would_be_too_large() -> None:
    older, newer = Reduced(1, (delta([(0, 0, 1, 1)]),)), Reduced(2, (delta([(1, 0, 1, 1)]),))
    assert conflate(older, newer, most=1) is None
    assert conflate(older, newer, most=2) is not None


def test_conflation_says_no_when_a_sum_would_leave_int64() -> None:
    huge = delta([(0, 0, LIMIT - 1, 1)])
    older, newer = Reduced(1, (huge,)), Reduced(2, (huge,))
    assert conflate(older, newer) is None
    assert conflate(older, Reduced(2, (delta([(1, NS, LIMIT - 1, 1)], bucket=NS),))) is not None


def test_a_repeated_message_adds_nothing_to_the_one_that_waits() -> None:
    message = Reduced(5, (delta([(0, 0, 1, 1)]),))
    assert conflate(message, message) is message
    assert conflate(message, Reduced(4, (delta([(0, 0, 1, 1)]),))) is message


def test_conflation_flags_rows_and_columns_only_when_asked() -> None:
    columns = to_columns(some_rows(1, 20, 10))
    older, newer = Reduced(1, (delta([(900, 0, 1, 1)], 50 * NS),)), Reduced(2, (), (columns,))
    plain, marked = conflate(older, newer), conflate(older, newer, mark=True)
    assert plain is not None
    assert marked is not None
    assert [block.flags for block in plain.columns] == [0]
    assert [block.flags for block in marked.columns] == [BarFlag.CONFLATED]
    assert not plain.rows  # rows join their contract's columns
    assert isinstance(plain.columns[0], DeltaColumns)
    assert plain.columns[0].bucket[-1] == 50 * NS
