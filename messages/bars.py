"""Bars and the deltas they are made of. A delta is an element of a commutative monoid: merging is exact in any order.

`open` belongs to the smallest (ts, tick), `close` to the largest; high and low are extremes; the rest are sums. All
prices are integers in ticks. The laws are held by property tests; nothing here acts.

The way is `Trades` -> `Reduced` (deltas of one second) -> `Bars` (what one timeframe has to say).
"""

from __future__ import annotations

from enum import IntFlag

import msgspec

from tickloom.messages.market import IntArray


class BarFlag(IntFlag):
    """What a reader of a bar should know. Flags are OR-ed when deltas merge.

    PARTIAL: the session ended, or began, inside the bar. GAP: part of its time was not received. HEALED: part of its
    time comes from history; open, high, low, close and volume are whole, trades, notional, buys and sells are those of
    the prints that were received. EMPTY: no trade; the prices repeat the last close. REVISED: a late tick, or history,
    changed it after it was closed. CONFLATED: under pressure its ticks were folded before their actor saw them; the
    values are exact all the same.
    """

    NONE = 0
    PARTIAL = 1
    GAP = 2
    HEALED = 4
    EMPTY = 8
    REVISED = 16
    CONFLATED = 32


class Delta(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What some trades of one contract, all within one bucket of the finest width, add to a bar.

    `bucket` is the bucket's open time (ns). `late` is 0 for ordinary rows; for a row made of a tick that arrived
    when the contract's watermark had already passed its bucket's end plus the grace, it is that watermark (ns).
    """

    contract: str
    bucket: int
    open: int
    open_ts: int
    open_tick: int
    high: int
    low: int
    close: int
    close_ts: int
    close_tick: int
    volume: int
    trades: int
    notional: int
    buy: int
    sell: int
    flags: int = 0
    late: int = 0


class DeltaColumns(msgspec.Struct, frozen=True, gc=False):
    """Many on-time deltas of one contract as int64 columns, one row a bucket, buckets strictly rising.

    Same meaning as `Delta`; `flags` holds for all rows.
    """

    contract: str
    bucket: IntArray
    open: IntArray
    open_ts: IntArray
    open_tick: IntArray
    high: IntArray
    low: IntArray
    close: IntArray
    close_ts: IntArray
    close_tick: IntArray
    volume: IntArray
    trades: IntArray
    notional: IntArray
    buy: IntArray
    sell: IntArray
    flags: int = 0

    def __len__(self) -> int:
        return len(self.bucket)


class Mark(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A flag for every bar of `contract` that overlaps `[from_ns, to_ns)`, bars yet to come included.

    `known` is the contract's newest event stamp (ns) when it became known: a bar that was final by then stays as it is.
    """

    contract: str
    from_ns: int
    to_ns: int
    flag: int
    known: int


class Patch(msgspec.Struct, frozen=True, gc=False):
    """What history adds to the bars of `contract` within `[from_ns, to_ns)`, which is whole from then on.

    `rows` are what a settled bar of `width` ns has beyond the trades that are in our bars already: its extremes, its
    open and close, which stand before and after every trade of ours within it, and the volume that we lack. Trades,
    notional, buys and sells are not known to history, and are 0. `known` as in the `Mark` of the gap; `late` is the
    contract's watermark (ns) when it came: bars that had closed by then are revised.
    """

    contract: str
    from_ns: int
    to_ns: int
    width: int
    rows: tuple[Delta, ...]
    known: int
    late: int


class Reduced(msgspec.Struct, frozen=True, gc=False):
    """What the finest reduction tells every timeframe: deltas, then how far time has come.

    `rows` are small batches, `columns` large ones; both may be present. `watermarks` gives the contracts whose newest
    event stamp (ns) moved; `beat` is the latest clock beat (ns; 0: none), which moves every contract's time. `stop`
    asks that what is still open be let go as partial, after all else in here. `refused` counts trades that came too
    late for any bar and are in none of the rows. `marks` come in the order in which they became known. `holds` gives
    the contracts whose bars, where they end later than the time given (ns), must stay open to revision from now on,
    because history may still be able to complete them.

    `seq` is the log sequence number of the last record folded in; of two with the same `seq` (a session stopped
    within it) `part` tells the later. `seq` 0 means unnumbered. `mono_ns` and `weight` are for latency only: the
    oldest receipt and the number of trades within. `more` says that it is a part of a message that failed as a whole,
    and that more of it follows: until that has come nothing is settled.
    """

    seq: int
    rows: tuple[Delta, ...] = ()
    columns: tuple[DeltaColumns, ...] = ()
    watermarks: tuple[tuple[str, int], ...] = ()
    beat: int = 0
    marks: tuple[Mark | Patch, ...] = ()
    mono_ns: int = 0
    weight: int = 0
    stop: bool = False
    part: int = 0
    refused: int = 0
    holds: tuple[tuple[str, int], ...] = ()
    more: bool = False


class Bar(msgspec.Struct, frozen=True, gc=False):
    """A bar in exact form. `open_time` and `close_time` are its bucket `[open_time, close_time)` in ns UTC; prices are
    in ticks.

    `notional / volume` is the vwap (ticks), but for a healed bar; `trades` counts prints. `revision` counts the late
    prints, and the pieces of history, since it was first closed. `final` is False for an update of a bar that is still
    open.

    A bar by time is told from the others of its contract and timeframe by its open time. Of bars by activity many may
    open at one time, a later one may open earlier, and the open time of one that grows may change: they are told apart,
    and put in order, by `number`. It counts them from 1, from where the log that they are made of begins; bars by time
    have 0.
    """

    contract: str
    timeframe: str
    open_time: int
    close_time: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int
    notional: int
    buy: int
    sell: int
    revision: int = 0
    flags: int = 0
    final: bool = True
    number: int = 0


class Forget(msgspec.Struct, frozen=True, gc=False):
    """Tell who keeps bars or counts them that a timeframe was removed, whose actor was at `path`: what is known of it
    goes."""

    timeframe: str
    path: str = ""


class BarColumns(msgspec.Struct, frozen=True, gc=False):
    """Final bars of one contract and timeframe as int64 columns, in order of open time. Same meaning as `Bar`.

    Bars by activity are in the order in which they closed, one after another: `first` is the number of the first.
    """

    contract: str
    timeframe: str
    open_time: IntArray
    close_time: IntArray
    open: IntArray
    high: IntArray
    low: IntArray
    close: IntArray
    volume: IntArray
    trades: IntArray
    notional: IntArray
    buy: IntArray
    sell: IntArray
    revision: IntArray
    flags: IntArray
    first: int = 0

    def __len__(self) -> int:
        return len(self.open_time)


class Bars(msgspec.Struct, frozen=True, gc=False):
    """What one timeframe has to say after a step. Within each tuple a contract's bars are in order of open time;
    those by activity in the order in which they closed.

    A bar goes through `updated` (still open; the last word of the step only), `closed` (once), `revised` (changed
    since, by late trades or by a mark; a bar that late trades alone made begins here, and flat bars change with the bar
    before them), and `settled` (final: it will
    not change, and is in the digest). `columns` are bars that closed and settled within the step: large batches of
    history pass through there, and no object is made for them. So what closed is `closed` and `columns`; what is
    final is `settled` and `columns`.

    `touched` names contracts whose open bars changed, where the bars themselves were not asked for (see
    `TimeframeFold`). `refused` counts trades that came too late for this timeframe's bar. `seq`, `mono_ns` and `weight`
    as in `Reduced`.
    """

    timeframe: str
    seq: int
    updated: tuple[Bar, ...] = ()
    closed: tuple[Bar, ...] = ()
    revised: tuple[Bar, ...] = ()
    settled: tuple[Bar, ...] = ()
    columns: tuple[BarColumns, ...] = ()
    refused: int = 0
    mono_ns: int = 0
    weight: int = 0
    stop: bool = False
    touched: tuple[str, ...] = ()
