"""What is said of many rows at once is what is said of each."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.validation.columns import Columns, alone, decide, on_grid, steady, stretch, usual
from tickloom.actors.validation.rules import MAX_TICKS, Reference, Rules
from tickloom.messages.market import NS, Instrument

T0 = 1_763_990_000 * NS
INSTRUMENTS = (Instrument("A", 1, 4), Instrument("B", 1, 1), Instrument("C", 5, 1), Instrument("D", 25, 1000))
RULES = (
    Rules(),
    Rules(zero_size="accept", max_size=5, future_ns=0),
    Rules(band=0.0, band_ticks=2, price_low=0.0, price_high=30.0),
    Rules(regressing="reject", max_age_ns=NS),
    Rules(duplicates="reject"),
    Rules(dry_run=True, band=0.01),
)

near = st.sampled_from([20.0, 20.25, 20.5, 25.0, 30.0, 30.25, -5.0, 0.0, 20.1, 5e11, math.nan, math.inf, -math.inf])
rows = st.lists(
    st.tuples(st.integers(-2, 3), near, st.sampled_from([0, 1, 5, 6, -1]), st.integers(0, 2), st.integers(-1, 2)),
    min_size=1,
    max_size=12,
)
tame = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([20.0, 20.25, 20.5]), st.just(1), st.just(0), st.just(3)),
    min_size=1,
    max_size=12,
)


def columns_of(
    instrument: Instrument, given_rows: list[tuple[int, float, int, int, int]]
) -> tuple[Columns, np.ndarray]:
    ts, price, size, side, recv = (np.array(column) for column in zip(*given_rows, strict=True))
    prices = price.astype(np.float64)
    ticks, good = on_grid(instrument, prices)
    tick = np.arange(len(ts))
    return Columns(tick, T0 + ts, prices, size, side, T0 + recv, ticks), good


@given(rows | tame, st.sampled_from(INSTRUMENTS), st.sampled_from(RULES))
def test_rows_that_pass_at_a_glance_pass_each_for_itself(
    some: list[tuple[int, float, int, int, int]], instrument: Instrument, rules: Rules
) -> None:
    columns, good = columns_of(instrument, some)
    plain = usual(rules, instrument, *columns[:6])
    if plain is not None:
        assert alone(rules, columns, good).all()
        for ours, theirs in zip(plain, columns, strict=True):
            assert ours.tolist() == theirs.tolist()


def test_ordinary_rows_pass_at_a_glance() -> None:
    columns, _ = columns_of(INSTRUMENTS[0], [(0, 20.0, 1, 0, 3), (0, 20.25, 2, 1, 3), (2, 20.0, 1, 2, 3)])
    assert usual(Rules(), INSTRUMENTS[0], *columns[:6]) is not None
    assert steady(Rules(), Reference(T0, 81), columns)


@pytest.mark.parametrize(
    "row",
    [
        (0, 20.1, 1, 0, 3),
        (0, math.nan, 1, 0, 3),
        (0, -math.inf, 1, 0, 3),
        (0, MAX_TICKS / 2.0, 1, 0, 3),
        (0, 20.0, 0, 0, 3),
        (0, 20.0, 10**9, 0, 3),
        (6 * NS, 20.0, 1, 0, 3),
    ],
)
def test_one_row_that_may_fail_is_looked_at(row: tuple[int, float, int, int, int]) -> None:
    columns, _ = columns_of(INSTRUMENTS[0], [(0, 20.0, 1, 0, 3), row])
    assert usual(Rules(), INSTRUMENTS[0], *columns[:6]) is None


@given(rows | tame, st.sampled_from(RULES), st.integers(-2, 3), st.integers(-2, 125))
def test_a_steady_stretch_is_decided_as_any_other(
    some: list[tuple[int, float, int, int, int]], rules: Rules, newest: int, last: int
) -> None:
    columns, good = columns_of(INSTRUMENTS[0], some)
    kept = columns.at(np.flatnonzero(alone(rules, columns, good)))
    if len(kept.tick):
        reference = Reference(T0 + newest, last)
        quick, slow = stretch(rules, reference, kept), decide(rules, reference, kept)
        assert quick.taken == slow.taken
        assert msgspec.structs.astuple(quick.reference) == msgspec.structs.astuple(slow.reference)
        assert quick.late.tolist() == slow.late.tolist()
        everybody = np.arange(quick.taken)
        ours, theirs = (everybody if each.accepted is None else each.accepted for each in (quick, slow))
        assert ours.tolist() == theirs.tolist()
