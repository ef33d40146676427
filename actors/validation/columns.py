"""The rules of `rules`, over columns of one contract: what the row function says of each row, without asking it.

Theory of operation. Most rules look at a row alone (`alone`). A row that fails one of them leaves no trace, so such
rows are taken out first, and the others stand next to one another. What is left are the rules between rows. Lateness
and regression look at the newest stamp before, and what they reject leaves no trace either. The band looks at the price
before, and what leaves it is held: there a stretch ends, and the row function goes on. A repetition ends one, too.
Nothing here changes anything; `fold` does.

Nearly always every row passes. `usual` and `steady` find that out from extremes and order, in a fraction of the passes;
where they cannot tell, `alone` and `decide` say it row by row.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickloom.actors.validation.rules import (
    END_NS,
    FIRST_NS,
    GRID_TOLERANCE,
    MAX_RECENT,
    MAX_TICKS,
    Reference,
    Row,
    Rules,
)
from tickloom.messages.market import FloatArray, Instrument, IntArray

Mask = NDArray[np.bool_]

_LEAST = -(2**63)
_NONE: IntArray = np.arange(0)


class Columns(NamedTuple):
    """Prints of one contract in order of arrival; `gateway` is their receipt by the gateway's clock, `ticks` the price.

    `ticks` is 0 where there is no price on the grid.
    """

    tick: IntArray
    ts: IntArray
    price: FloatArray
    size: IntArray
    side: IntArray
    gateway: IntArray
    ticks: IntArray

    def at(self, rows: IntArray | slice) -> Columns:
        """Return some rows."""
        return Columns(
            self.tick[rows],
            self.ts[rows],
            self.price[rows],
            self.size[rows],
            self.side[rows],
            self.gateway[rows],
            self.ticks[rows],
        )


class Stretch(msgspec.Struct, frozen=True):
    """What is decided of the first `taken` rows: those `accepted` (indices; None: all of them), and those `late`, with
    the newest stamp before each. `reference` is what there is to go by afterwards.
    """

    taken: int
    accepted: IntArray | None
    late: IntArray
    newest: IntArray
    reference: Reference


def on_grid(instrument: Instrument, price: FloatArray) -> tuple[IntArray, Mask]:
    """Return prices in ticks, and which of them are on the grid and finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        exact = _exact(instrument, price)
        rounded = np.rint(exact)
        good = np.abs(exact - rounded) <= GRID_TOLERANCE  # False for NaN and infinities
        good &= np.abs(exact) <= MAX_TICKS
    return np.where(good, rounded, 0.0).astype(np.int64), good


def _exact(instrument: Instrument, price: FloatArray) -> FloatArray:
    """Return prices in ticks, unrounded; what would multiply or divide by one is left out."""
    exact = price if instrument.denominator == 1 else price * float(instrument.denominator)
    return exact if instrument.numerator == 1 else exact / instrument.numerator


def usual(
    rules: Rules,
    instrument: Instrument,
    tick: IntArray,
    ts: IntArray,
    price: FloatArray,
    size: IntArray,
    side: IntArray,
    gateway: IntArray,
) -> Columns | None:
    """Return the prints, if it is plain that every one of them is on the grid and passes `alone`; else None."""
    if rules.max_age_ns or not len(tick):
        return None
    if int(size.min()) < (1 if rules.zero_size == "reject" else 0) or int(size.max()) > rules.max_size:
        return None
    low, high = rules.range
    if not (price.min() >= low and price.max() <= high):  # NaN is neither
        return None
    if rules.future_ns < 0 or not (ts <= gateway).all():
        return None
    if int(ts.min()) < FIRST_NS or int(ts.max()) >= END_NS:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        exact = _exact(instrument, price)
        rounded = np.rint(exact)
        off = exact - rounded
        if not (off.max() <= GRID_TOLERANCE and off.min() >= -GRID_TOLERANCE):
            return None
        if not (rounded.max() < MAX_TICKS and rounded.min() > -MAX_TICKS):
            return None
    return Columns(tick, ts, price, size, side, gateway, rounded.astype(np.int64))


def alone(rules: Rules, columns: Columns, good: Mask) -> Mask:
    """Return which rows pass every rule that looks at a row alone; `good` says which have a price on the grid."""
    good = good & (columns.size >= (1 if rules.zero_size == "reject" else 0))
    good &= columns.size <= rules.max_size
    good &= columns.ts <= columns.gateway + rules.future_ns
    good &= (columns.ts >= FIRST_NS) & (columns.ts < END_NS)
    if rules.max_age_ns:
        good &= columns.ts >= columns.gateway - rules.max_age_ns
    low, high = rules.range
    if low > -np.inf:
        good &= columns.price >= low
    if high < np.inf:
        good &= columns.price <= high
    return good


def stretch(rules: Rules, reference: Reference, columns: Columns) -> Stretch:
    """Decide on as many rows as can be decided together; none when the first one leaves the band, or repeats another.

    Every row must have passed `alone`, nothing may be held, and there must be a price to go by.
    """
    assert reference.last is not None
    if steady(rules, reference, columns):
        newest_ns, last = int(columns.ts[-1]), int(columns.ticks[-1])
        return Stretch(len(columns.ts), None, _NONE, _NONE, Reference(newest_ns, last))
    return decide(rules, reference, columns)


def decide(rules: Rules, reference: Reference, columns: Columns) -> Stretch:
    """As `stretch`, for any rows."""
    assert reference.last is not None
    t = columns.ts
    newest = np.maximum(np.maximum.accumulate(t), reference.newest_ns)
    in_time = t >= np.maximum(newest, _LEAST + rules.lateness_ns) - rules.lateness_ns
    rising = newest == t if rules.regressing == "reject" else None
    if rising is not None and not rules.dry_run:
        in_time &= rising
    rows = None if in_time.all() else np.flatnonzero(in_time)
    kept = columns if rows is None else columns.at(rows)
    p = kept.ticks
    if not len(p):
        everybody = np.arange(len(t))
        return Stretch(len(t), everybody[:0], everybody, newest, reference)
    before = np.empty_like(p)
    before[0] = reference.last
    before[1:] = p[:-1]
    ok = np.abs(p - before) <= np.maximum(rules.band * np.abs(before), rules.band_ticks)
    if rising is not None and rules.dry_run:
        ok &= rising if rows is None else rising[rows]
    length = len(p) if ok.all() else int(np.argmin(ok))
    seen = None
    if rules.duplicates == "reject":
        seen = _Seen(reference, kept, newest if rows is None else newest[rows])
        length = seen.first_repeated(length)
    if rows is None:
        taken, accepted = length, None
    else:
        taken, accepted = len(t) if length == len(p) else int(rows[length]), rows[:length]
    late = np.flatnonzero(~in_time[:taken]) if rows is not None else np.arange(0)
    if not length:
        return Stretch(taken, accepted, late, newest[late], reference)
    newest_ns = int(newest[taken - 1])
    recent = () if seen is None else seen.before(length, newest_ns)
    return Stretch(taken, accepted, late, newest[late], Reference(newest_ns, int(p[length - 1]), (), recent))


def steady(rules: Rules, reference: Reference, columns: Columns) -> bool:
    """Whether it is plain that all of a stretch is accepted: in order of time, and no two prices a band apart."""
    t, p, last = columns.ts, columns.ticks, reference.last
    if last is None or rules.duplicates == "reject" or int(t[0]) < reference.newest_ns:
        return False
    low, high = min(int(p.min()), last), max(int(p.max()), last)
    least = max(low, -high, 0)  # the smallest magnitude among them
    return high - low <= max(rules.band * least, rules.band_ticks) and bool((t[1:] >= t[:-1]).all())


class _Seen:
    """Which rows of a stretch repeat one accepted before with the newest stamp, and what is remembered after it."""

    def __init__(self, reference: Reference, columns: Columns, newest: IntArray) -> None:
        self._reference = reference
        self._ts, self._newest = columns.ts, newest
        self._columns = (columns.ticks, columns.size, columns.side)

    def first_repeated(self, limit: int) -> int:
        """Return the first of `limit` rows that repeats another; `limit` when none does."""
        ts, newest = self._ts[:limit], self._newest[:limit]
        rows = np.flatnonzero(ts == newest)  # others do not have the newest stamp
        recent = self._reference.recent
        known = np.array(recent, dtype=np.int64).reshape(-1, 3)
        stamps = np.concatenate([np.full(len(recent), self._reference.newest_ns), ts[rows]])
        columns = [np.concatenate([known[:, i], column[rows]]) for i, column in enumerate(self._columns)]
        keys = _mixed(stamps, *columns)
        in_order = np.sort(keys)
        if not (in_order[1:] == in_order[:-1]).any():
            return limit  # no two are equal, which is nearly always
        order = np.argsort(keys, kind="stable")
        again = np.sort(order[1:][keys[order][1:] == keys[order][:-1]])
        for candidate in again[again >= len(recent)] - len(recent):
            row = int(rows[candidate])
            if self._row(row) in self.before(row, int(self._ts[row])):
                return row
        return limit

    def before(self, stop: int, stamp: int) -> tuple[Row, ...]:
        """Return what is remembered of that stamp when the rows up to `stop` were accepted."""
        first = int(np.searchsorted(self._newest, stamp))
        rows = np.flatnonzero(self._ts[first:stop] == stamp)[-MAX_RECENT:] + first
        known = self._reference.recent if stamp == self._reference.newest_ns else ()
        return (*known, *map(self._row, rows))[-MAX_RECENT:]

    def _row(self, i: int) -> Row:
        ticks, size, side = self._columns
        return int(ticks[i]), int(size[i]), int(side[i])


def _mixed(stamps: IntArray, ticks: IntArray, size: IntArray, side: IntArray) -> NDArray[np.uint64]:
    """Return a number for each row that equal rows share, and others hardly ever do."""
    mixed = stamps.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed += ticks.view(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed += size.view(np.uint64) * np.uint64(0x165667B19E3779F9)
    mixed += side.view(np.uint64) << np.uint64(61)
    return mixed
