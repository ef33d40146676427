"""Bars as blocks of columns and one by one, what tells one from another, and a bar's flags in words. No Arrow in here:
who only builds and keeps bars need not load it (30 MB and a third of a second)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from tickloom.messages.bars import Bar, BarColumns, BarFlag
from tickloom.messages.market import IntArray

FIELDS: Final = tuple(name for name in BarColumns.__struct_fields__[2:] if name != "first")
"""The integer columns of `BarColumns`, in order."""

_NAMES: Final = tuple((int(flag), (flag.name or "").lower()) for flag in BarFlag if flag)


def flag_names(flags: int) -> str:
    """Return a bar's flags as words joined by `|`: `partial gap healed empty revised conflated`, those that hold."""
    return "|".join(name for bit, name in _NAMES if flags & bit)


def place(bar: Bar) -> int:
    """Return what tells a bar from the others of its contract and timeframe, and rises from each to the next: its
    number, if it is one by activity, or else its open time."""
    return bar.number or bar.open_time


def places(block: BarColumns) -> IntArray:
    """Return the same of the bars of a block."""
    return np.arange(block.first, block.first + len(block)) if block.first else block.open_time


def consecutive(bars: Sequence[Bar]) -> int:
    """Return how many of the first bars may stand in one block: by activity those whose numbers are consecutive."""
    first = bars[0].number
    if not first or bars[-1].number - first == len(bars) - 1:
        return len(bars)
    return next(at for at, bar in enumerate(bars) if bar.number != first + at)


def made_of(contract: str, timeframe: str, columns: Iterable[Any], first: int) -> BarColumns:
    """Return a block of columns in the order of `FIELDS`; `first` is the number of its first bar, 0 of bars by time."""
    made = BarColumns(contract, timeframe, *columns)
    return replace(made, first=first) if first else made


def block_of(bars: Sequence[Bar]) -> BarColumns:
    """Return bars of one contract and timeframe, at least one, as columns.

    Only of consecutive bars by activity the block can tell which number each had.
    """
    rows = np.array([[getattr(bar, field) for field in FIELDS] for bar in bars], dtype=np.int64)
    return made_of(bars[0].contract, bars[0].timeframe, np.ascontiguousarray(rows.T), bars[0].number)


def rows_of(block: BarColumns) -> list[Bar]:
    """Return the bars of a block one by one."""
    columns = (getattr(block, field).tolist() for field in FIELDS)
    bars = [Bar(block.contract, block.timeframe, *row) for row in zip(*columns, strict=True)]
    return [replace(bar, number=block.first + at) for at, bar in enumerate(bars)] if block.first else bars


def in_order(bars: Sequence[Bar], blocks: Sequence[BarColumns]) -> list[Bar | BarColumns]:
    """Return bars and blocks of one timeframe in order of open time; those by activity as they closed.

    What a timeframe says at once can be blocks with bars between them; a contract's bar never lies within its blocks.
    """
    return sorted((*bars, *blocks), key=_begins)


def runs_in_order(bars: Sequence[Bar], blocks: Sequence[BarColumns]) -> list[tuple[Bar, ...] | BarColumns]:
    """Return the same for one contract, bars with no block between them together."""
    runs: list[tuple[Bar, ...] | BarColumns] = []
    between: list[Bar] = []
    for item in in_order(bars, blocks):
        if isinstance(item, Bar):
            between.append(item)
            continue
        if between:
            runs.append(tuple(between))
            between = []
        runs.append(item)
    return [*runs, tuple(between)] if between else runs


def _begins(item: Bar | BarColumns) -> int:
    return place(item) if isinstance(item, Bar) else item.first or item.open_time.item(0)


def tail(block: BarColumns, rows: int) -> BarColumns:
    """Return the last rows of a block, without a copy."""
    if len(block) <= rows:
        return block
    start = len(block) - rows
    columns = (getattr(block, field)[start:] for field in FIELDS)
    return made_of(block.contract, block.timeframe, columns, block.first + start if block.first else 0)
