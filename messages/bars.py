"""Bars and the deltas they are made of. A delta is an element of a commutative monoid: merging is exact in any order.

`open` belongs to the smallest (ts, tick), `close` to the largest; high and low are extremes; the rest are sums. All
prices are integers in ticks. The laws are held by property tests; nothing here acts.
"""

from __future__ import annotations

from enum import IntFlag

import msgspec

from tickloom.messages.market import Ints


class BarFlag(IntFlag):
    """What a reader of a bar should know. Flags are OR-ed when deltas merge.

    PARTIAL: the session ended, or began, inside the bar. GAP: part of its time was not received. HEALED: repaired
    from history. EMPTY: no trade; the prices repeat the last close. REVISED: a late tick changed it after it was
    closed. CONFLATED: under pressure its ticks were folded before their actor saw them; the values are exact all
    the same.
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
    """Many deltas of one contract as int64 columns, one row a bucket, buckets rising. Same meaning as `Delta`."""

    contract: str
    bucket: Ints
    open: Ints
    open_ts: Ints
    open_tick: Ints
    high: Ints
    low: Ints
    close: Ints
    close_ts: Ints
    close_tick: Ints
    volume: Ints
    trades: Ints
    notional: Ints
    buy: Ints
    sell: Ints

    def __len__(self) -> int:
        return len(self.bucket)


class Reduced(msgspec.Struct, frozen=True, gc=False):
    """What the finest reduction tells every timeframe: deltas, then how far event time has come.

    `rows` are small batches, `columns` large ones; both may be present. `watermarks` gives the contracts whose
    watermark (ns) moved; `beat` is the latest clock beat (ns; 0: none), which moves every contract's. `seq` is the
    log sequence number of the last record folded in. `mono_ns`/`weight` are for latency only: the oldest receipt
    and the number of trades within. `gaps` are (contract, from_ns, to_ns) that became known. `stop` asks that open
    bars be let go as partial.
    """

    seq: int
    rows: tuple[Delta, ...] = ()
    columns: tuple[DeltaColumns, ...] = ()
    watermarks: tuple[tuple[str, int], ...] = ()
    beat: int = 0
    gaps: tuple[tuple[str, int, int], ...] = ()
    mono_ns: int = 0
    weight: int = 0
    stop: bool = False


class Bar(msgspec.Struct, frozen=True, gc=False):
    """A bar in exact form. `open_time` and `close_time` are its bucket `[open_time, close_time)` in ns UTC; prices are
    in ticks.

    `vwap` is `notional / volume` (ticks); `trade_count` prints. `revision` counts the changes since it was first
    closed. `final` is False for an update of a bar that is still open.
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
