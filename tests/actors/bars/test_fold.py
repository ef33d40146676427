from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickloom.messages.control import Beat, Gap, SessionStopped
from tickloom.messages.market import NS

T0 = 1_700_000_000 * NS - 1_700_000_000 * NS % (3600 * NS)
WIDTHS = {"1s": NS, "5s": 5 * NS, "1m": 60 * NS, "1h": 3600 * NS}
SLOW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def markets(draw: st.DrawFn, stop: bool = True) -> tuple[list[Any], int, int]:
    """Trades of two contracts, mostly in order, with beats and gaps between; a grace and a lateness."""
    grace = draw(st.sampled_from([0, 300_000_000, NS, 3 * NS]))
    lateness = draw(st.sampled_from([0, 2 * NS, 10 * NS, 90 * NS]))
    move = st.tuples(
        st.sampled_from("ttttttttttbg"),
        st.sampled_from("AB"),
        st.sampled_from([0, 0, 0, 1, 500_000_000, NS, 2 * NS, 7 * NS, 61 * NS]),
        st.sampled_from([0, 0, 0, 0, 1, 900_000_000, 2 * NS, 6 * NS, 40 * NS, 100 * NS]),
        st.integers(-3, 3),
        st.integers(0, 3),
        st.integers(0, 2),
    )
    # hypothesis makes lists of about five unless told otherwise, and five trades are never late
    moves = draw(st.one_of(st.lists(move, max_size=8), st.lists(move, min_size=60, max_size=140)))
    items: list[Any] = []
    now = T0 + draw(st.integers(0, 3700)) * NS
    for number, (kind, contract, step, back, price, size, side) in enumerate(moves):
        now += step
        if kind == "t":
            items.append((contract, now - back, price, size, side, number))
        elif kind == "b":
            items.append(Beat(recv_ns=now + size * NS - back))
        else:
            items.append(Gap(recv_ns=now, contract=contract, from_ns=now - back, to_ns=now - back + size * 20 * NS, cause="test"))
    if stop:
        items.append(SessionStopped(recv_ns=now + draw(st.sampled_from([-NS, 0, NS, 30 * NS]))))
    return items, grace, lateness


@SLOW
@given(markets(), st.integers(0, 10**9), st.sampled_from([1, 5, 10**9]), st.sampled_from([1, 4, 48]), st.sampled_from([1, 4, 32]))
def test_bars_equal_the_oracle_however_the_input_is_cut_conflated_saved_and_vectorised(
    loom: Any, market: Any, seed: int, vector_rows: int, column_rows: int, bulk_rows: int
) -> None:
    items, grace, lateness = market
    items = [loom.Tick(*item) if isinstance(item, tuple) else item for item in items]
    whole = loom.run(items, WIDTHS, grace=grace, lateness=lateness)
    parts = loom.run(
        items,
        WIDTHS,
        grace=grace,
        lateness=lateness,
        seed=seed,
        vector_rows=vector_rows,
        column_rows=column_rows,
        bulk_rows=bulk_rows,
    )
    for name, width in WIDTHS.items():
        expected = loom.oracle(items, width, grace, lateness)
        assert loom.as_oracle(whole.bars[name]) == expected
        assert loom.as_oracle(parts.bars[name]) == expected
    assert parts.digest == whole.digest
