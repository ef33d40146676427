"""The steps that prices and sizes move in: read from what the user says, or found from the values. Pure."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tickloom.messages.market import FloatArray, IntArray

_TOLERANCE = 1e-6
_MAX_WHOLE = 2.0**53
_DIGITS = 18
"""So many digits a step's numerator and denominator may have: more do not fit 64 bits."""

CANDIDATES = tuple(
    sorted(
        {
            Fraction(1),
            *(Fraction(1, 2**k) for k in range(1, 9)),
            *(Fraction(n, 10**k) for k in range(1, 10) for n in (1, 2, 5)),
            *(Fraction(25, 10**k) for k in range(2, 10)),
        },
        reverse=True,
    )
)
"""Tick sizes in use, the largest first: decimal steps of 1, 2, 2.5 and 5, and halves down to 1/256."""


def parse_step(text: str | float | Decimal | Fraction) -> Fraction:
    """Return a step as an exact fraction: `0.25`, `1/32`, `0.1` are what they say.

    Raises:
        ValueError: it is no positive number, or one that no price moves in.
    """
    try:
        if isinstance(text, Fraction) or (isinstance(text, str) and "/" in text):
            step = Fraction(text)
        else:
            number = Decimal(str(text))
            if number and abs(number.adjusted()) > _DIGITS:  # before its zeros are written out
                raise ValueError
            step = Fraction(number)
    except (ValueError, ZeroDivisionError, InvalidOperation, OverflowError):
        raise ValueError(f"{text!r} is no step: give a number such as 0.25 or 1/32") from None
    if step <= 0:
        raise ValueError(f"{text!r} is no step: it must be above zero")
    if max(step.numerator, step.denominator) > 10**_DIGITS:
        raise ValueError(f"{text!r} is no step: give a number such as 0.25 or 1/32, of {_DIGITS} digits at most")
    return step


def off_grid(values: FloatArray, step: Fraction) -> NDArray[np.bool_]:
    """Return which values are no multiple of `step`."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond floats is no multiple of anything
        steps = values * step.denominator / step.numerator
        return ~(np.abs(steps - np.rint(steps)) <= _TOLERANCE)


def uncountable(values: FloatArray, step: Fraction) -> NDArray[np.bool_]:
    """Return which values `in_steps` does not take: those off the grid, and those of more than 2^53 steps."""
    with np.errstate(over="ignore"):
        return off_grid(values, step) | (np.abs(values * step.denominator / step.numerator) > _MAX_WHOLE)


def find_step(values: FloatArray) -> Fraction | None:
    """Return the largest of `CANDIDATES` that all values are multiples of; None: there is none."""
    different = np.unique(values)
    return next((step for step in CANDIDATES if not off_grid(different, step).any()), None)


def in_steps(values: FloatArray, step: Fraction) -> IntArray:
    """Return values as whole numbers of steps; those of `uncountable` are not to be asked for."""
    whole: IntArray = np.rint(values * step.denominator / step.numerator).astype(np.int64)
    return whole
