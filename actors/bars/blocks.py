"""Bars as blocks of columns and one by one, and a bar's flags in words. No Arrow in here: who only builds and keeps
bars need not load it (30 MB and a third of a second)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from tickloom.messages.bars import Bar, BarColumns, BarFlag

FIELDS: Final = BarColumns.__struct_fields__[2:]
"""The integer columns of `BarColumns`, in order."""

_NAMES: Final = tuple((int(flag), (flag.name or "").lower()) for flag in BarFlag if flag)


def flag_names(flags: int) -> str:
    """Return a bar's flags as words joined by `|`: `partial gap healed empty revised conflated`, those that hold."""
    return "|".join(name for bit, name in _NAMES if flags & bit)


def block_of(bars: Sequence[Bar]) -> BarColumns:
    """Return bars of one contract and timeframe, at least one, as columns."""
    rows = np.array([[getattr(bar, field) for field in FIELDS] for bar in bars], dtype=np.int64)
    return BarColumns(bars[0].contract, bars[0].timeframe, *np.ascontiguousarray(rows.T))


def rows_of(block: BarColumns) -> list[Bar]:
    """Return the bars of a block one by one."""
    columns = (getattr(block, field).tolist() for field in FIELDS)
    return [Bar(block.contract, block.timeframe, *row) for row in zip(*columns, strict=True)]


def in_order(bars: Sequence[Bar], blocks: Sequence[BarColumns]) -> list[Bar | BarColumns]:
    """Return bars and blocks of one timeframe in order of open time.

    What a timeframe says at once can be blocks with bars between them; a contract's bar never lies within its blocks.
    """
    return sorted((*bars, *blocks), key=_opens)


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


def _opens(item: Bar | BarColumns) -> int:
    return item.open_time if isinstance(item, Bar) else item.open_time.item(0)


def tail(block: BarColumns, rows: int) -> BarColumns:
    """Return the last rows of a block, without a copy."""
    if len(block) <= rows:
        return block
    start = len(block) - rows
    return BarColumns(block.contract, block.timeframe, *(getattr(block, field)[start:] for field in FIELDS))
