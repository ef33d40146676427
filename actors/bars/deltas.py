"""The algebra of deltas: merging them one by one and as columns. Exact, and the same in any order and any grouping.

Rules of this file: integers only; nothing is mutated; rows and columns give the same result. int64 is guarded where
sums grow: a delta whose notional (price in ticks times size, summed) or volume reaches `LIMIT` is refused with
`BarOverflowError`, so two accepted ones can be added without a check. At a price of 100,000 ticks that is a volume of
46 trillion contracts in one bar; it takes damaged data to get there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from tickloom.messages.bars import BarFlag, Delta, DeltaColumns, Patch, Reduced
from tickloom.messages.market import IntArray

COLUMN_ROWS = 48
"""From this many rows of a contract on, deltas travel as columns: below it, merging rows is cheaper than numpy's
calls."""

LIMIT = 2**62
"""Notional and volume must lie within ±LIMIT."""

MOST_ROWS = 65_536
"""Most rows of a conflated message: 18 hours of one contract, or an hour of 18."""

_COLUMNS = DeltaColumns.__struct_fields__[1:-1]


class BarOverflowError(ValueError):
    """A bar's notional would leave int64."""


def overflow(contract: str, bucket: int) -> BarOverflowError:
    """Return the error for a delta that is too large."""
    return BarOverflowError(
        f"notional or volume of {contract} in the bucket at {bucket} ns leaves int64: a price or size is damaged; "
        "tighten validation's max_size or band"
    )


def merge(a: Delta, b: Delta) -> Delta:
    """Return what two deltas of one contract add to a bar together. Commutative and associative.

    The earlier bucket and the later `late` are kept; flags are OR-ed. Two deltas never hold the same trade.

    Raises:
        BarOverflowError: the sum would leave int64.
    """
    first = a if (a.open_ts, a.open_tick) <= (b.open_ts, b.open_tick) else b
    last = b if (b.close_ts, b.close_tick) >= (a.close_ts, a.close_tick) else a
    notional, volume = a.notional + b.notional, a.volume + b.volume
    if not -LIMIT < notional < LIMIT or volume >= LIMIT:
        raise overflow(a.contract, a.bucket)
    return Delta(
        a.contract,
        a.bucket if a.bucket <= b.bucket else b.bucket,
        first.open,
        first.open_ts,
        first.open_tick,
        a.high if a.high >= b.high else b.high,
        a.low if a.low <= b.low else b.low,
        last.close,
        last.close_ts,
        last.close_tick,
        volume,
        a.trades + b.trades,
        notional,
        a.buy + b.buy,
        a.sell + b.sell,
        a.flags | b.flags,
        a.late if a.late >= b.late else b.late,
    )


def to_rows(columns: DeltaColumns, start: int = 0, stop: int | None = None) -> list[Delta]:
    """Return the rows `[start, stop)` of columns as deltas."""
    rest: Any = (columns.flags,)
    fields: Any = (getattr(columns, column)[start:stop].tolist() for column in _COLUMNS)
    return [Delta(columns.contract, *row, *rest) for row in zip(*fields, strict=True)]


def to_columns(rows: Sequence[Delta]) -> DeltaColumns:
    """Return on-time deltas of one contract, in any order, as columns; deltas of one bucket are merged."""
    flags = 0
    for row in rows:
        flags |= row.flags
    fields = (np.array([getattr(row, column) for row in rows], dtype=np.int64) for column in _COLUMNS)
    return _sorted(_made(rows[0].contract, fields, flags))


def take(columns: DeltaColumns, rows: IntArray | slice, **other: IntArray) -> DeltaColumns:
    """Return some rows of columns; a column given in `other` is taken as it is."""
    fields = (other[name] if name in other else getattr(columns, name)[rows] for name in _COLUMNS)
    return _made(columns.contract, fields, columns.flags)


def _made(contract: str, fields: Iterable[IntArray], flags: int) -> DeltaColumns:
    columns: Any = (*fields, flags)
    return DeltaColumns(contract, *columns)


def run_starts(values: IntArray) -> IntArray:
    """Return the index of each row that differs from the row before it, 0 first."""
    edges = np.flatnonzero(values[1:] != values[:-1])
    starts = np.empty(len(edges) + 1, dtype=np.int64)
    starts[0] = 0
    np.add(edges, 1, out=starts[1:])
    return starts


def roll_up(columns: DeltaColumns, opens: IntArray, starts: IntArray) -> DeltaColumns:
    """Merge neighbouring rows that share a coarser bucket.

    `opens` holds each row's coarser open time, never falling, and `starts` where it changes (`run_starts`). Within a
    bucket rows must be in order of time.

    Raises:
        BarOverflowError: a sum would leave int64.
    """
    n = len(opens)
    if len(starts) == n:  # one row a bucket already
        return columns if columns.bucket is opens else take(columns, slice(None), bucket=opens)
    ends = np.empty_like(starts)
    np.subtract(starts[1:], 1, out=ends[:-1])
    ends[-1] = n - 1
    add = np.add.reduceat
    for sums in (columns.notional, columns.volume):
        if max(int(sums.max()), -int(sums.min())) * n >= LIMIT:  # too near for comfort: exactly, then
            for bucket, total in zip(opens[starts], add(sums.astype(object), starts), strict=True):
                if not -LIMIT < total < LIMIT:
                    raise overflow(columns.contract, int(bucket))
    return DeltaColumns(
        columns.contract,
        opens[starts],
        columns.open[starts],
        columns.open_ts[starts],
        columns.open_tick[starts],
        np.maximum.reduceat(columns.high, starts),
        np.minimum.reduceat(columns.low, starts),
        columns.close[ends],
        columns.close_ts[ends],
        columns.close_tick[ends],
        add(columns.volume, starts),
        add(columns.trades, starts),
        add(columns.notional, starts),
        add(columns.buy, starts),
        add(columns.sell, starts),
        columns.flags,
    )


def join(parts: Sequence[DeltaColumns]) -> DeltaColumns:
    """Merge columns of one contract into one, buckets strictly rising again.

    Raises:
        BarOverflowError: a sum would leave int64.
    """
    if len(parts) == 1:
        return parts[0]
    flags = 0
    for part in parts:
        flags |= part.flags
    fields = (np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS)
    whole = _made(parts[0].contract, fields, flags)
    if all(_follows(a, b) for a, b in pairwise(parts)):
        return roll_up(whole, whole.bucket, run_starts(whole.bucket))
    return _sorted(whole)


def _follows(a: DeltaColumns, b: DeltaColumns) -> bool:
    """Whether all of `b` comes after all of `a` in (stamp, arrival)."""
    if a.bucket[-1] != b.bucket[0]:
        return bool(a.bucket[-1] < b.bucket[0])
    return bool((a.close_ts[-1], a.close_tick[-1]) < (b.open_ts[0], b.open_tick[0]))


def _sorted(columns: DeltaColumns) -> DeltaColumns:
    """Sort by bucket and merge rows of one bucket, whatever order their stamps are in."""
    order = np.lexsort((columns.open_tick, columns.open_ts, columns.bucket))
    first = take(columns, order)
    order = np.lexsort((columns.close_tick, columns.close_ts, columns.bucket))
    both = take(
        first,
        slice(None),
        close=columns.close[order],
        close_ts=columns.close_ts[order],
        close_tick=columns.close_tick[order],
    )
    return roll_up(both, both.bucket, run_starts(both.bucket))


def conflate(older: Reduced, newer: Reduced, *, mark: bool = False, most: int = MOST_ROWS) -> Reduced | None:
    """Return one message that says what both say, or None if they must stay two. For mailboxes under pressure.

    On-time deltas of one contract and bucket merge; late ones keep the watermark each came under, and merge only
    where that is the same. So applying the result is applying both, in everything but the number of updates. They
    must stay two if `older` stops a session, if the result could have more than `most` rows, or if a sum in it would
    leave int64: whose fault that is is the fold's to find out. With `mark` the rows
    carry `BarFlag.CONFLATED` from there on. A `newer` that repeats `older` or what came before it adds nothing.
    """
    if newer.seq and (newer.seq, newer.part) <= (older.seq, older.part):
        return older
    if older.stop:
        return None
    size = len(older.rows) + len(newer.rows) + sum(map(len, older.columns)) + sum(map(len, newer.columns))
    size += sum(len(mark.rows) for mark in (*older.marks, *newer.marks) if isinstance(mark, Patch))
    if size > most:
        return None
    flag = int(BarFlag.CONFLATED) if mark else 0
    try:
        rows, columns = _rows((*older.rows, *newer.rows), (*older.columns, *newer.columns), flag)
    except BarOverflowError:
        return None
    watermarks = dict(older.watermarks)
    for name, newest in newer.watermarks:
        watermarks[name] = max(newest, watermarks.get(name, newest))
    stamps = [m.mono_ns for m in (older, newer) if m.weight]
    return Reduced(
        newer.seq or older.seq,
        rows,
        columns,
        tuple(watermarks.items()),
        max(older.beat, newer.beat),
        older.marks + newer.marks,
        min(stamps, default=0),
        older.weight + newer.weight,
        newer.stop,
        newer.part if newer.seq else older.part,
        older.refused + newer.refused,
        tuple({**dict(older.holds), **dict(newer.holds)}.items()),
    )


def _rows(
    rows: tuple[Delta, ...], columns: tuple[DeltaColumns, ...], flag: int
) -> tuple[tuple[Delta, ...], tuple[DeltaColumns, ...]]:
    merged: dict[tuple[str, int, int], Delta] = {}
    for row in rows:
        key = (row.contract, row.bucket, row.late)
        known = merged.get(key)
        merged[key] = row if known is None else merge(known, row)
    if flag:
        merged = {key: msgspec.structs.replace(row, flags=row.flags | flag) for key, row in merged.items()}
    blocks: dict[str, list[DeltaColumns]] = {}
    for block in columns:
        blocks.setdefault(block.contract, []).append(block)
    on_time: dict[str, list[Delta]] = {}
    for row in merged.values():
        if not row.late:
            on_time.setdefault(row.contract, []).append(row)
    for name, own in on_time.items():
        if name in blocks or len(own) >= COLUMN_ROWS:
            blocks.setdefault(name, []).append(to_columns(own))
    out = []
    for parts in blocks.values():
        block = join(parts)
        out.append(msgspec.structs.replace(block, flags=block.flags | flag) if flag else block)
    kept = tuple(row for row in merged.values() if row.late or row.contract not in blocks)
    return kept, tuple(out)
