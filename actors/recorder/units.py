"""Where a segment's units lie and what their notes say, as one table of integers; and what that adds up to.

A log of a quiet market has millions of small units, so the table of a segment is loaded when it is needed and let go
when reading has moved on; the totals stay.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickloom.actors.recorder.wire import Unit
from tickloom.messages.market import IntArray
from tickloom.messages.records import BatchNote

COLUMNS = (
    "offset", "length", "n", "rows", "frames", "prints", "first_seq", "last_seq", "least_ns", "greatest_ns", "tick",
    "controls", "records", "extras", "dense",
)  # fmt: skip
"""The columns of a table of units; a row a unit, int64."""

_NO_TICK = -(2**63)


class Totals(msgspec.Struct, frozen=True, gc=False):
    """What a segment's units add up to. `first_seq` to `greatest_ns` mean nothing when there are no units.

    `next_tick` is the arrival number after the last print's; None: there is no print.
    """

    units: int = 0
    rows: int = 0
    frames: int = 0
    prints: int = 0
    controls: int = 0
    records: int = 0
    extras: int = 0
    first_seq: int = 0
    last_seq: int = 0
    least_ns: int = 0
    greatest_ns: int = 0
    next_tick: int | None = None


class Units:
    """A table that is there, or can be had.

    Args:
        table: the table, if it is there.
        load: how to get it otherwise.
    """

    def __init__(self, table: IntArray | None, load: Callable[[], IntArray] | None = None) -> None:
        self._table = table
        self._load = load

    @property
    def table(self) -> IntArray:
        """The table; loaded if need be."""
        if self._table is None:
            assert self._load is not None, "a table is there or can be loaded"
            self._table = self._load()
        return self._table

    def let_go(self) -> None:
        """Free the memory, if the table can be had again."""
        if self._load is not None:
            self._table = None


def row_of(unit: Unit) -> tuple[int, ...]:
    """Return a unit as a row of the table."""
    note = unit.note
    tick = _NO_TICK if note.tick is None else note.tick
    return (
        unit.offset, unit.length, note.n, note.rows, note.frames, note.prints, *note.seq, *note.recv_ns, tick,
        note.controls, note.records, note.extras, int(note.dense),
    )  # fmt: skip


def unit_of(row: NDArray[np.int64]) -> Unit:
    """Return the unit that a row of the table describes; the checksum is left out."""
    (offset, length, n, rows, frames, prints, first, last, least, greatest, tick, controls, records, extras, dense) = (
        row.tolist()
    )
    note = BatchNote(
        "", n, rows, frames, prints, (first, last), (least, greatest), None if tick == _NO_TICK else tick, controls,
        records, extras, bool(dense),
    )  # fmt: skip
    return Unit(offset, length, note)


def table_of(units: Sequence[Unit]) -> IntArray:
    """Return units as a table."""
    return np.array([row_of(unit) for unit in units], np.int64).reshape(len(units), len(COLUMNS))


def rising(spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return which of the spans `(first, last)`, in their order, form the longest row in which each begins after the
    one before has ended. All of them, if they are in order."""
    ends: list[int] = []  # of the rows of each length so far, the one that ends first: where, and with which span
    which: list[int] = []
    before: list[int] = []
    for place, (first, last) in enumerate(spans):
        length = bisect_left(ends, first)
        before.append(which[length - 1] if length else -1)
        if length == len(ends):
            ends.append(last)
            which.append(place)
        elif last < ends[length]:
            ends[length], which[length] = last, place
    row = []
    place = which[-1] if which else -1
    while place >= 0:
        row.append(place)
        place = before[place]
    return row[::-1]


def totals_of(table: IntArray) -> Totals:
    """Add a table up."""
    if not len(table):
        return Totals()
    column = dict(zip(COLUMNS, table.T, strict=True))
    having = np.flatnonzero(column["prints"])
    last = int(having[-1]) if len(having) else None
    return Totals(
        units=len(table),
        **{name: int(column[name].sum()) for name in ("rows", "frames", "prints", "controls", "records", "extras")},
        first_seq=int(column["first_seq"][0]),
        last_seq=int(column["last_seq"][-1]),
        least_ns=int(column["least_ns"].min()),
        greatest_ns=int(column["greatest_ns"].max()),
        next_tick=None if last is None else int(column["tick"][last] + column["prints"][last]),
    )
