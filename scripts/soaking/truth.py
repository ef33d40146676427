"""The truth: what every bar must be, worked out from the good prints alone, with none of the code it checks.

It sees each product's good rows in order of time and the few that came out of order, in exact ticks. Rows become
seconds, seconds become bars; bars that nothing can change any more become rows of thirteen numbers, in order of open
time, which wait until they are compared. The digest over them is written down here once more: SHA-256 links of 128
rows. Memory is bounded by what is compared how often.

Rules it holds the product to, from `docs/architecture.md`:

- open belongs to the smallest (stamp, arrival), close to the largest;
- a print that comes when the newest stamp has passed its bar's end by the grace is a revision of that bar;
- a bar that overlaps a gap says so; one that the session's beginning or end cuts is partial.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tickloom.messages.market import NS, IntArray
from tickloom.scripts.soaking.hours import Hours
from tickloom.scripts.soaking.market import Chunk, Own, Stray

Matrix = NDArray[np.int64]

GRACE_NS: Final = 250_000_000
LATEST_NS: Final = 9 * NS
"""How far behind the newest stamp a row comes at most."""

PARTIAL, GAP, REVISED = 1, 2, 16

(_AT, _OPEN, _OPEN_TS, _OPEN_TICK, _HIGH, _LOW, _CLOSE, _CLOSE_TS, _CLOSE_TICK, _VOLUME, _TRADES, _NOTIONAL, _BUY,
 _SELL) = range(14)  # fmt: skip

LINK_ROWS: Final = 128
ROW_BYTES: Final = 13 * 8


def seconds(own: Own) -> Matrix:
    """Return one row for each second that a product's rows, in order of time, lie in."""
    ts, tick, price, size, side = own.ts, own.tick, own.price, own.size, own.side
    first, last = int(ts[0]) // NS, int(ts[-1]) // NS
    edges = np.searchsorted(ts, np.arange(first + 1, last + 1) * NS)
    starts = np.unique(np.concatenate(([0], edges)))
    ends = np.append(starts[1:], len(ts)) - 1
    made = np.empty((len(starts), 14), dtype=np.int64)
    made[:, _AT] = ts[starts] // NS * NS
    made[:, _OPEN], made[:, _OPEN_TS], made[:, _OPEN_TICK] = price[starts], ts[starts], tick[starts]
    made[:, _CLOSE], made[:, _CLOSE_TS], made[:, _CLOSE_TICK] = price[ends], ts[ends], tick[ends]
    made[:, _HIGH], made[:, _LOW] = np.maximum.reduceat(price, starts), np.minimum.reduceat(price, starts)
    made[:, _TRADES] = ends - starts + 1
    made[:, _VOLUME] = np.add.reduceat(size, starts)
    made[:, _NOTIONAL] = np.add.reduceat(price * size, starts)
    made[:, _BUY] = np.add.reduceat(np.where(side == 0, size, 0), starts)
    made[:, _SELL] = np.add.reduceat(np.where(side == 1, size, 0), starts)
    return made


def alone(stray: Stray) -> list[int]:
    """Return the row of a single print."""
    price, size = stray.price, stray.size
    sides = (size if stray.side == 0 else 0, size if stray.side == 1 else 0)
    moment = (price, stray.ts, stray.tick)
    return [stray.ts // NS * NS, *moment, price, price, *moment, size, 1, price * size, *sides]


def grouped(rows: Matrix, opens: IntArray) -> Matrix:
    """Return one row for each of `opens`, of all the rows that share it, whatever order they are in."""
    order = np.lexsort((rows[:, _OPEN_TICK], rows[:, _OPEN_TS], opens))
    first = rows[order]
    starts = np.flatnonzero(np.diff(opens[order], prepend=opens[order][0] - 1))
    order = np.lexsort((rows[:, _CLOSE_TICK], rows[:, _CLOSE_TS], opens))
    last = rows[order]
    ends = np.append(starts[1:], len(rows)) - 1
    made = np.empty((len(starts), 14), dtype=np.int64)
    made[:, : _OPEN_TICK + 1] = first[starts, : _OPEN_TICK + 1]
    made[:, _AT] = opens[order][starts]
    made[:, _HIGH] = np.maximum.reduceat(first[:, _HIGH], starts)
    made[:, _LOW] = np.minimum.reduceat(first[:, _LOW], starts)
    made[:, _CLOSE : _CLOSE_TICK + 1] = last[ends, _CLOSE : _CLOSE_TICK + 1]
    made[:, _VOLUME:] = np.add.reduceat(first[:, _VOLUME:], starts, axis=0)
    return made


class Series:
    """One product in one timeframe: the bars to come, and those that are done and wait to be compared."""

    def __init__(self, hours: Hours, width_ns: int) -> None:
        self._hours, self._width = hours, width_ns
        self._open: list[Matrix] = []
        self._revisions: Counter[int] = Counter()
        self._link, self._rest, self._count = bytes(32), b"", 0
        self.done = np.empty((0, 13), dtype=np.int64)
        self.bars = self.trades = 0

    def stray(self, ts: int, known: int) -> None:
        """Note a row that came when the newest stamp was `known`."""
        opens, closes = self._hours.buckets(np.array([ts]), self._width)
        if int(closes[0]) + GRACE_NS <= known:
            self._revisions[int(opens[0])] += 1

    def settle(self, rows: Matrix, until_ns: int, marks: list[tuple[int, int, int]], stop_ns: int | None) -> None:
        """Add rows; bars that end by `until_ns` are done. `marks` are (from, to, flag); with `stop_ns` all are."""
        rows = np.concatenate([*self._open, rows])
        self._open = []
        if not len(rows):
            return
        opens, closes = self._hours.buckets(rows[:, _AT], self._width)
        made = grouped(rows, opens)
        opens, closes = self._hours.buckets(made[:, _AT], self._width)
        over = closes <= until_ns if stop_ns is None else np.ones(len(made), dtype=bool)
        self._open.append(made[~over])
        made, opens, closes = made[over], opens[over], closes[over]
        flags = np.zeros(len(made), dtype=np.int64)
        for begin, end, flag in marks:
            flags[(opens < end) & (closes > begin)] |= flag
        if stop_ns is not None:
            flags[closes + GRACE_NS > stop_ns] |= PARTIAL
        revisions = np.array([self._revisions.pop(at, 0) for at in opens.tolist()], dtype=np.int64)
        flags[revisions > 0] |= REVISED
        columns = (_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _TRADES, _NOTIONAL, _BUY, _SELL)
        parts = (opens, closes, *(made[:, column] for column in columns), revisions, flags)
        self.done = np.concatenate([self.done, np.stack(parts, axis=1)])
        self.bars += len(made)
        self.trades += int(made[:, _TRADES].sum())

    def take(self, count: int) -> Matrix:
        """Return the next `count` bars, oldest first, and add them to the digest.

        Raises:
            IndexError: there are not that many.
        """
        if count > len(self.done):
            raise IndexError(f"{count} bars are final, and the truth has {len(self.done)}")
        taken, self.done = self.done[:count], self.done[count:]
        data = self._rest + taken.astype("<i8").tobytes()
        whole = len(data) - len(data) % (LINK_ROWS * ROW_BYTES)
        for at in range(0, whole, LINK_ROWS * ROW_BYTES):
            self._link = hashlib.sha256(self._link + data[at : at + LINK_ROWS * ROW_BYTES]).digest()
        self._rest = data[whole:]
        self._count += count
        return taken

    @property
    def count(self) -> int:
        """Bars taken so far."""
        return self._count

    def digest(self) -> bytes:
        """Return the digest over the bars taken so far."""
        return hashlib.sha256(self._link + self._rest + self._count.to_bytes(8, "little")).digest()


class Truth:
    """All products in all timeframes. `timeframes` gives their widths in ns, 0 for trading days."""

    def __init__(self, hours: list[Hours], timeframes: dict[str, int], begin_ns: int) -> None:
        self.series = {
            (product, name): Series(own, width)
            for product, own in enumerate(hours)
            for name, width in timeframes.items()
        }
        self._rows: list[list[Matrix]] = [[] for _ in hours]
        self._marks: list[tuple[int, int, int]] = [(begin_ns - 1, begin_ns, PARTIAL)]
        self.rejected: Counter[str] = Counter()
        self.prints = 0
        self.gaps = 0

    def add(self, chunk: Chunk) -> None:
        """Take in a chunk."""
        self.prints += chunk.prints
        self.rejected.update(chunk.rejected)
        for own in chunk.own:
            self._rows[own.product].append(seconds(own))
        for stray in chunk.strays:
            self._rows[stray.product].append(np.array([alone(stray)], dtype=np.int64))
            for (product, _), series in self.series.items():
                if product == stray.product:
                    series.stray(stray.ts, stray.known)
        if chunk.outage is not None:
            self._marks.append((*chunk.outage, GAP))
            self.gaps += 1

    def settle(self, now_ns: int, *, stop: bool = False) -> None:
        """Make bars of what there is; those that nothing after `now_ns` can change are done. `stop`: all are."""
        none = np.empty((0, 14), dtype=np.int64)
        rows = [np.concatenate(parts) if parts else none for parts in self._rows]
        self._rows = [[] for _ in rows]
        for (product, _), series in self.series.items():
            series.settle(rows[product], now_ns - LATEST_NS, self._marks, now_ns if stop else None)


__all__ = ["Series", "Truth", "alone", "grouped", "seconds"]
