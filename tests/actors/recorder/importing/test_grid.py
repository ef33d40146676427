from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.recorder.importing.grid import CANDIDATES, find_step, in_steps, off_grid, parse_step


@pytest.mark.parametrize(
    ("text", "step"),
    [("0.25", Fraction(1, 4)), (0.1, Fraction(1, 10)), ("1/32", Fraction(1, 32)), (Decimal("0.005"), Fraction(1, 200)), (5, Fraction(5)), (Fraction(1, 64), Fraction(1, 64)), ("1e-3", Fraction(1, 1000))],
)  # fmt: skip
def test_a_step_is_what_it_says(text, step):
    assert parse_step(text) == step


@pytest.mark.parametrize("text", ["", "x", "0", "-0.25", "1/0", "nan", "inf", float("nan")])
def test_what_is_no_step_is_refused(text):
    with pytest.raises(ValueError, match="is no step"):
        parse_step(text)


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([1640.25, 1640.5, 1641.0], Fraction(1, 4)),
        ([1313.7, 1323.4], Fraction(1, 10)),
        ([61800.3, 61800.2], Fraction(1, 10)),
        ([0.006, 1.234], Fraction(1, 500)),
        ([110.015625, 110.03125], Fraction(1, 64)),
        ([15000.0, 15005.0], Fraction(1)),
        ([1.08505, 1.08510], Fraction(1, 20_000)),
    ],
)
def test_the_largest_usual_step_is_found(values, step):
    assert find_step(np.array(values)) == step


def test_values_on_no_grid_have_no_step():
    assert find_step(np.array([1.0, np.pi])) is None


@given(st.sampled_from(CANDIDATES), st.lists(st.integers(-10_000, 10_000), min_size=1))
def test_multiples_of_a_step_are_on_its_grid_and_count_right(step, counts):
    values = np.array([float(n * step) for n in counts])
    assert not off_grid(values, step).any()
    assert in_steps(values, step).tolist() == counts
    found = find_step(values)
    assert found is not None
    assert found >= step or found == 1


def test_a_value_between_steps_is_off():
    assert off_grid(np.array([1640.25, 1640.3]), Fraction(1, 4)).tolist() == [False, True]
