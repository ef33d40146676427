"""Comparing frames with columns: a column at a time, and row by row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tickloom.messages.intake import Frames
from tickloom.messages.market import Prints
from tickloom.verifying import rows, same

row = st.tuples(
    st.integers(0, 1),
    st.integers(0, 2),
    st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 0.25]),
    st.integers(0, 2),
    st.integers(0, 1),
)


def prints(values: list[tuple], contracts: tuple[str, ...], *, arrays: bool) -> Prints | None:
    if not values:
        return None
    columns = [list(column) for column in zip(*values, strict=True)]
    if arrays:
        columns = [np.array(column) for column in columns]
    return Prints(contracts, *columns, list(range(len(values))), 0)


@given(st.lists(row, max_size=4), st.lists(row, max_size=4), st.booleans(), st.booleans(), st.booleans())
def test_a_column_at_a_time_says_what_row_by_row_says(one, other, equal, arrays, turned):
    first = prints(one, ("A", "B"), arrays=arrays)
    second = prints(one if equal else other, ("B", "A") if turned else ("A", "B"), arrays=not arrays)
    by_row = [rows(Frames("market/1", [], [], None, batch)) for batch in (first, second)]
    assert same(first, second) == (by_row[0] == by_row[1])
