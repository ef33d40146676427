"""Trades of one contract into deltas of one second: the inner loops of the finest reduction.

Three ways to one result, which a property test compares: a loop (few trades), arrays in order of time (nearly all large
batches: no sort, no division), and arrays out of order (sorted first; the late ones go through the loop, and all of
them do where that is cheaper). The rules are in `reduce`; here is how they are computed fast.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tickloom.actors.bars.deltas import COLUMN_ROWS, LIMIT, join, overflow, run_starts, to_columns, to_rows
from tickloom.messages.bars import Delta, DeltaColumns
from tickloom.messages.market import NS, IntArray, Trades, as_int64, as_list

WIDTH_NS = NS
"""Width of the finest bucket."""

VECTOR_ROWS = 64
"""What the array path costs, in trades that the loop folds in the same time. As much again if there are several
seconds, and `SECOND_ROWS` for each; a list holds a third of what an array does (`benchmarks/fold.py` prints the
figures)."""

SECOND_ROWS = 3
"""See `VECTOR_ROWS`."""

SORT_ROWS = 192
"""What the array path costs, in the same measure, where trades are out of order and are sorted first."""

LATE_ROWS = 512
"""From so many trades on it is looked which of them are late; fewer go through the loop if any may be."""

RUN_ROWS = 6
"""What a run of late trades costs, in the same measure, beside those trades themselves: the loop folds them anyway."""

NEVER = -(2**63)
"""A stamp before every other."""

Cell: TypeAlias = list[int]
"""A delta growing: open, open_ts, open_tick, high, low, close, close_ts, close_tick, volume, trades, notional, buy,
sell."""

Columns: TypeAlias = tuple[IntArray, IntArray, IntArray, IntArray, IntArray]
"""Stamps, prices, sizes, sides and arrival numbers."""

_max, _min, _sum, _all = np.maximum.reduce, np.minimum.reduce, np.add.reduce, np.logical_and.reduce


class Seconds:
    """One contract's seconds, growing within one step. `newest` is its newest event stamp so far."""

    __slots__ = ("_beat", "_cells", "_columns", "_grace", "_late", "_lateness", "contract", "newest", "refused")

    def __init__(self, contract: str, newest: int, grace_ns: int, lateness_ns: int) -> None:
        self.contract = contract
        self.newest = newest
        self.refused = 0
        self._grace = grace_ns
        self._lateness = lateness_ns
        self._beat = 0
        self._cells: dict[int, Cell] = {}
        self._late: dict[tuple[int, int], Cell] = {}
        self._columns: list[DeltaColumns] = []

    def add(self, trades: Trades, beat: int, vector_rows: int) -> None:
        """Fold trades in order of arrival; `beat` is the last clock beat before them."""
        self._beat = beat
        if not _worth_arrays(trades, vector_rows):
            self._rows(trades)
            return
        ts = as_int64(trades.ts_ns)
        # in order of time, what is on time at the front is on time to the end
        if _all(ts[1:] >= ts[:-1]) and not self._is_late(int(ts[0])):
            self.newest = max(self.newest, int(ts[-1]))
            self._arrays(_columns_of(trades))
            return
        columns = self._sort_out(trades, ts, at_any_cost=not vector_rows)
        if columns is None:
            self._rows(trades)
        elif len(columns[0]):
            self._arrays(columns)

    def _rows(self, trades: Trades) -> None:
        """Fold trades by the loop."""
        self._loop(
            as_list(trades.ts_ns),
            as_list(trades.price),
            as_list(trades.size),
            as_list(trades.side),
            as_list(trades.tick),
        )

    def _is_late(self, ts: int) -> bool:
        end = ts - ts % WIDTH_NS + WIDTH_NS + self._grace
        return end <= self._beat or end <= self.newest or ts < self.newest - self._lateness

    def _sort_out(self, trades: Trades, ts: IntArray, *, at_any_cost: bool) -> Columns | None:
        """Fold late and refused trades by the loop, and return the others in order of (stamp, arrival).

        Unless it is wanted `at_any_cost`: where the loop is quicker for all of them, do nothing and return None. Each
        look at the stamps costs, so the cheaper ones come first.
        """
        worth = _worth(trades)
        if worth < SORT_ROWS and not at_any_cost:
            return None
        late, newest = None, int(_max(ts))
        if self._may_be_late(int(_min(ts)), newest):
            if worth < LATE_ROWS and not at_any_cost:
                return None
            late, before = self._late_ones(ts)
            if worth < SORT_ROWS + _cost_of(late) and not at_any_cost:
                return None
        columns = _columns_of(trades)
        if late is not None:
            columns = self._take_out(columns, late, before)
        self.newest = max(self.newest, newest)
        return _pick(columns, np.argsort(columns[0], kind="stable"))

    def _may_be_late(self, oldest: int, newest: int) -> bool:
        """Whether a trade between these stamps can be late or refused, in whatever order they came."""
        known = max(newest, self.newest)
        end = oldest - oldest % WIDTH_NS + WIDTH_NS + self._grace
        return end <= max(known, self._beat) or oldest < known - self._lateness

    def _late_ones(self, ts: IntArray) -> tuple[NDArray[np.bool_], IntArray]:
        """Return which trades are late or refused, and the newest stamp when each arrived."""
        before = np.empty_like(ts)
        before[0] = self.newest
        np.maximum.accumulate(ts[:-1], out=before[1:])
        np.maximum(before, self.newest, out=before)
        end = ts - ts % WIDTH_NS + (WIDTH_NS + self._grace)
        late = end <= np.maximum(before, self._beat)
        late |= ts < np.maximum(before, NEVER + self._lateness) - self._lateness
        return late, before

    def _take_out(self, columns: Columns, late: NDArray[np.bool_], before: IntArray) -> Columns:
        """Fold the late and refused trades by the loop, run by run; return the others."""
        rows = np.flatnonzero(late)
        if not len(rows):
            return columns
        ts, price, size, side, tick = (column[rows].tolist() for column in columns)
        edges = np.flatnonzero(np.diff(rows) > 1) + 1
        starts = [0, *edges.tolist()]
        for start, stop, known in zip(starts, [*starts[1:], len(ts)], before[rows[starts]].tolist(), strict=True):
            self.newest = known
            self._loop(ts[start:stop], price[start:stop], size[start:stop], side[start:stop], tick[start:stop])
        return _pick(columns, np.flatnonzero(~late))

    def _loop(
        self,
        stamps: list[int],
        prices: list[int],
        sizes: list[int],
        sides: list[int],
        ticks: list[int],
    ) -> None:
        """Fold trades one by one. The cell of the second at hand lives in local names."""
        newest, beat = self.newest, self._beat
        grace, lateness = self._grace, self._lateness
        low_ts = high_ts = 0  # the second at hand: none
        o = o_ts = o_tick = h = lo = c = c_ts = c_tick = volume = count = notional = buy = sell = 0
        cell: Cell | None = None
        for ts, price, size, side, tick in zip(stamps, prices, sizes, sides, ticks, strict=True):
            if ts < newest:
                if ts < newest - lateness:
                    self.refused += 1
                    continue
                known = newest
            else:
                known, newest = newest, ts
            if not low_ts <= ts < high_ts:
                if cell is not None:
                    cell[:] = (o, o_ts, o_tick, h, lo, c, c_ts, c_tick, volume, count, notional, buy, sell)
                low_ts = ts - ts % WIDTH_NS
                high_ts = low_ts + WIDTH_NS
                watermark = known if known > beat else beat
                if high_ts + grace > watermark:
                    cell = self._cells.get(low_ts)
                    if cell is None:
                        cell = self._cells[low_ts] = [price, ts, tick, price, price, price, ts, tick, 0, 0, 0, 0, 0]
                else:
                    cell = self._late.get((low_ts, watermark))
                    if cell is None:
                        cell = [price, ts, tick, price, price, price, ts, tick, 0, 0, 0, 0, 0]
                        self._late[low_ts, watermark] = cell
                o, o_ts, o_tick, h, lo, c, c_ts, c_tick, volume, count, notional, buy, sell = cell
            if ts >= c_ts:  # arrival numbers rise: among equal stamps the later trade closes, the earlier one opens
                c, c_ts, c_tick = price, ts, tick
            elif ts < o_ts:
                o, o_ts, o_tick = price, ts, tick
            if price > h:
                h = price
            elif price < lo:
                lo = price
            volume += size
            count += 1
            notional += price * size
            if side == 0:
                buy += size
            elif side == 1:
                sell += size
        if cell is not None:
            cell[:] = (o, o_ts, o_tick, h, lo, c, c_ts, c_tick, volume, count, notional, buy, sell)
        self.newest = newest

    def _arrays(self, columns: Columns) -> None:
        """Fold on-time trades in order of (stamp, arrival)."""
        ts, price, _, _, tick = columns
        n = len(ts)
        first, last = int(ts[0]) // WIDTH_NS, int(ts[-1]) // WIDTH_NS
        if first == last:
            self._second(columns)
            return
        if last - first >= n // 4:
            starts = run_starts(ts // WIDTH_NS)
        else:  # few seconds: look their edges up
            edges = np.searchsorted(ts, np.arange(first + 1, last + 1, dtype=np.int64) * WIDTH_NS)
            if last - first < COLUMN_ROWS:
                self._few(columns, list(dict.fromkeys((0, *edges.tolist()))))
                return
            starts = np.concatenate(([0], edges[np.flatnonzero(np.diff(edges, prepend=0))]))
        high, low = np.maximum.reduceat(price, starts), np.minimum.reduceat(price, starts)
        volume, notional, buy, sell = self._sums(columns, starts, max(int(_max(high)), -int(_min(low))))
        ends = np.empty_like(starts)
        np.subtract(starts[1:], 1, out=ends[:-1])
        ends[-1] = n - 1
        opened, closed = ts[starts], ts[ends]
        sums = (volume, ends - starts + 1, notional, buy, sell)
        fields = (price[starts], opened, tick[starts], high, low, price[ends], closed, tick[ends], *sums)
        self._columns.append(DeltaColumns(self.contract, opened // WIDTH_NS * WIDTH_NS, *fields))

    def _few(self, columns: Columns, starts: list[int]) -> None:
        """Fold on-time trades, in order of (stamp, arrival), of the few seconds that begin at `starts`."""
        ts, price, _, _, tick = columns
        at = np.array(starts)
        high, low = np.maximum.reduceat(price, at).tolist(), np.minimum.reduceat(price, at).tolist()
        sums = (column.tolist() for column in self._sums(columns, at, max(max(high), -min(low))))
        stops = (*starts[1:], len(ts))
        for start, stop, top, bottom, volume, notional, buy, sell in zip(starts, stops, high, low, *sums, strict=True):
            last = stop - 1
            opened = (price.item(start), ts.item(start), tick.item(start))
            closed = (price.item(last), ts.item(last), tick.item(last))
            self._put((*opened, top, bottom, *closed, volume, stop - start, notional, buy, sell))

    def _second(self, columns: Columns) -> None:
        """Fold on-time trades of one second, in order of (stamp, arrival)."""
        ts, price, size, side, tick = columns
        high, low = int(_max(price)), int(_min(price))
        if max(high, -low, 1) * len(ts) * int(_max(_unsigned(size))) >= LIMIT:
            sums = [int(column[0]) for column in self._exact(columns, np.zeros(1, dtype=np.int64))]
            volume, notional, buy, sell = sums
        else:
            volume, notional = int(_sum(size)), int(np.dot(price, size))
            if _max(_unsigned(side)) <= 1:
                sell = int(np.dot(size, side))
                buy = volume - sell
            else:
                sell = int(_sum(size * (side == 1)))
                buy = int(_sum(size * (side == 0)))
        opened = (price.item(0), ts.item(0), tick.item(0))
        closed = (price.item(-1), ts.item(-1), tick.item(-1))
        self._put((*opened, high, low, *closed, volume, len(ts), notional, buy, sell))

    def _put(self, new: tuple[int, ...]) -> None:
        """Merge what trades of one second add up to into the second's cell."""
        bucket = new[1] - new[1] % WIDTH_NS
        cell = self._cells.get(bucket)
        if cell is None:
            self._cells[bucket] = list(new)
            return
        if new[1:3] < (cell[1], cell[2]):
            cell[:3] = new[:3]
        if new[6:8] > (cell[6], cell[7]):
            cell[5:8] = new[5:8]
        cell[3], cell[4] = max(cell[3], new[3]), min(cell[4], new[4])
        cell[8:] = [a + b for a, b in zip(cell[8:], new[8:], strict=True)]

    def _sums(self, columns: Columns, starts: IntArray, peak: int) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """Return volume, notional, buy and sell of each run; no price is above `peak` in magnitude."""
        ts, price, size, side, _ = columns
        if max(peak, 1) * len(ts) * int(_max(_unsigned(size))) >= LIMIT:
            return self._exact(columns, starts)
        volume = np.add.reduceat(size, starts)
        notional = np.add.reduceat(price * size, starts)
        if _max(_unsigned(side)) <= 1:
            sell = np.add.reduceat(size * side, starts)
            return volume, notional, volume - sell, sell
        buy = np.add.reduceat(size * (side == 0), starts)
        return volume, notional, buy, np.add.reduceat(size * (side == 1), starts)

    def _exact(self, columns: Columns, starts: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """Return volume, notional, buy and sell with Python's integers, for when int64 might wrap on the way."""
        ts, price, size, side, _ = columns
        big = size.astype(object)
        parts = (big, price.astype(object) * big, np.where(side == 0, big, 0), np.where(side == 1, big, 0))
        volume, notional, buy, sell = (np.add.reduceat(part, starts) for part in parts)
        for start, *sums in zip(starts, volume, notional, buy, sell, strict=True):
            if not all(-LIMIT < value < LIMIT for value in sums):
                raise overflow(self.contract, int(ts[start]))
        return volume.astype(np.int64), notional.astype(np.int64), buy.astype(np.int64), sell.astype(np.int64)

    def take(self, column_rows: int) -> tuple[list[Delta], list[DeltaColumns]]:
        """Return what was folded: as rows, and as columns if there are `column_rows` on-time rows or more.

        Raises:
            BarOverflowError: a delta's notional would leave int64.
        """
        name = self.contract
        on_time: Any = self._cells.items()
        behind: Any = self._late.items()
        rows = [Delta(name, bucket, *cell) for bucket, cell in on_time]
        late = [Delta(name, bucket, *(*cell, 0, mark)) for (bucket, mark), cell in behind]
        for row in (*rows, *late):
            if not (-LIMIT < row.notional < LIMIT and -LIMIT < row.volume < LIMIT):
                raise overflow(name, row.bucket)
        if not self._columns and len(rows) < column_rows:
            return rows + late, []
        block = join([*self._columns, to_columns(rows)] if rows else self._columns)
        return (late, [block]) if len(block) >= column_rows else (to_rows(block) + late, [])


def _worth_arrays(trades: Trades, vector_rows: int) -> bool:
    """Whether arrays beat the loop. They do for trades over many seconds, which become columns anyway."""
    n, ts = len(trades), trades.ts_ns
    if n <= vector_rows or not vector_rows:
        return not vector_rows
    seconds = abs(int(ts[-1]) - int(ts[0])) // WIDTH_NS + 1
    if seconds == 1 and isinstance(ts, np.ndarray):
        return True
    several = 0 if seconds == 1 else vector_rows + SECOND_ROWS * seconds
    return seconds >= COLUMN_ROWS or _worth(trades) >= vector_rows + several


def _worth(trades: Trades) -> int:
    """How many trades are there, counted by what arrays make of them: lists must become arrays first."""
    n = len(trades)
    return n if isinstance(trades.ts_ns, np.ndarray) else n // 3


def _cost_of(late: NDArray[np.bool_]) -> int:
    """What late trades cost, in trades that the loop folds in the same time."""
    runs = int(np.count_nonzero(late[1:] & ~late[:-1])) + int(late[0])
    return int(np.count_nonzero(late)) + RUN_ROWS * runs


def _columns_of(trades: Trades) -> Columns:
    return (
        as_int64(trades.ts_ns),
        as_int64(trades.price),
        as_int64(trades.size),
        as_int64(trades.side),
        as_int64(trades.tick),
    )


def _unsigned(column: IntArray) -> NDArray[np.uint64]:
    """View a column whose values should not be negative so that those that are become very large."""
    return column.view(np.uint64)


def _pick(columns: Columns, rows: IntArray | slice) -> Columns:
    ts, price, size, side, tick = columns
    return ts[rows], price[rows], size[rows], side[rows], tick[rows]
