"""Local wall clock to UTC, for whole columns. Pure, over `zoneinfo`.

An hour that the clock passed twice is told apart by order: rows stand in the order in which they happened, so the
first pass holds until the wall clock steps back by more than a minute, and the second from there on. Where it never
steps back, all is taken for the first pass. Times that the clock skipped are refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickloom.messages.market import NS, IntArray

_QUARTER = 900 * NS
"""Clocks have changed at full quarters of an hour only, as long as there was electronic trading."""

_STEP_BACK = 60 * NS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Skipped(ValueError):
    """A local time that never was, because the clock was put forward; `row` is where it stands."""

    def __init__(self, row: int, local: str, zone: str) -> None:
        self.row = row
        super().__init__(f"{local} never was in {zone}: the clock was put forward over it")


class Converted(msgspec.Struct, frozen=True):
    """Times in UTC (ns), and how many of them stood in an hour that the clock passed twice."""

    utc: IntArray
    ambiguous: int


def to_utc(local: IntArray, zone: tzinfo) -> Converted:
    """Return wall-clock times (ns since 1970-01-01 00:00 local) as UTC, in the order they happened.

    Raises:
        Skipped: a time falls where the clock was put forward.
    """
    if zone is UTC or (isinstance(zone, ZoneInfo) and zone.key == "UTC") or not len(local):
        return Converted(local, 0)
    quarter = local // _QUARTER
    quarters, place = np.unique(quarter, return_inverse=True)
    first = np.empty(len(quarters), np.int64)
    second = np.empty(len(quarters), np.int64)
    for i, value in enumerate(quarters.tolist()):
        naive = (_EPOCH + timedelta(seconds=value * 900)).replace(tzinfo=None)
        first[i] = _offset(naive, zone, 0)
        second[i] = _offset(naive, zone, 1)
    early, late = first[place], second[place]
    skipped = np.flatnonzero(early < late)
    if len(skipped):
        row = int(skipped[0])
        raise Skipped(row, _spell(int(local[row])), str(zone))
    twice = early > late
    if not twice.any():
        return Converted(local - early, 0)
    return Converted(local - np.where(_second_pass(local, twice, early - late), late, early), int(twice.sum()))


def _offset(naive: datetime, zone: tzinfo, fold: int) -> int:
    offset = naive.replace(tzinfo=zone, fold=fold).utcoffset()
    if offset is None:
        raise ValueError(f"{zone} gives no offset for {naive}")
    return (offset.days * 86_400 + offset.seconds) * NS


def _second_pass(local: IntArray, twice: NDArray[np.bool_], width: IntArray) -> NDArray[np.bool_]:
    """Return which ambiguous rows belong to the second pass."""
    second = np.zeros(len(local), np.bool_)
    rows = np.flatnonzero(twice)
    # Rows of one transition are those whose wall clock lies within one repeated stretch of another.
    apart = np.abs(np.diff(local[rows])) >= width[rows[1:]]
    for group in np.split(rows, np.flatnonzero(apart) + 1):
        back = np.flatnonzero(np.diff(local[group]) < -_STEP_BACK)
        if len(back):
            second[group[back[0] + 1 :]] = True
    return second


def _spell(local: int) -> str:
    return (_EPOCH + timedelta(seconds=local // NS)).strftime("%Y-%m-%d %H:%M:%S")
