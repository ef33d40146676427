"""Bars by activity: every `<n>t` prints, or once `<n>v` contracts have traded. Fed with the trades themselves.

These bars depend on order, and their order is that of arrival: open is the first print that arrived, close the last,
whatever their stamps say. So there is no late print and no revision; a bar that closed is final at once. How the
prints were cut into batches changes nothing, but a reordered feed gives other bars, as it must.

- A tick bar closes with its n-th print. A print of size 0 counts.
- A volume bar closes with the print that brings its volume to n or above. A print is never split: what it has beyond n
  belongs to that bar, and the next one starts from 0.
- `open_time` and `close_time` are the smallest and the largest stamp within, both included; neighbours may share one.
  Bars pay no heed to sessions: a bar begun on Friday goes on on Sunday.
- So what tells them apart is their number: how many of the contract there were before, and one.
- A gap flags the bar at hand, or the next one if there is none. The bar at hand when a session stops is let go as
  partial; so is the first of a log that is folded from its middle on.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from tickloom.actors.bars.deltas import LIMIT, overflow
from tickloom.actors.bars.digest import Chain, pack
from tickloom.actors.bars.reduce import halve
from tickloom.config.timeframes import Timeframe, Unit
from tickloom.messages.bars import Bar, BarFlag, Bars
from tickloom.messages.control import AnyControl, Gap, Midway, SessionStarted, SessionStopped
from tickloom.messages.intake import Validated
from tickloom.messages.market import Trades, as_int64, as_list

VECTOR_ROWS = 64
"""From this many trades on, arrays beat the loop."""

_PARTIAL, _GAP = int(BarFlag.PARTIAL), int(BarFlag.GAP)


class Count(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A bar being counted: what has arrived so far."""

    first_ts: int
    last_ts: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int
    notional: int
    buy: int
    sell: int


class ActivityContract(msgspec.Struct, frozen=True):
    """A contract's bar at hand (None between two bars), the flags it will carry, and its chain of final bars."""

    count: Count | None = None
    flags: int = 0
    chain: Chain = Chain()


class ActivityState(msgspec.Struct, frozen=True):
    """Contracts by id, and the number of the last record folded in."""

    contracts: dict[str, ActivityContract] = {}
    seq: int = 0


class ActivityFold:
    """The fold `(ActivityState, [Validated]) -> (ActivityState, [Bars])`, for tick and volume timeframes.

    Feeding a message twice changes nothing. Bars come as `updated`, then as `closed` and `settled` at once.

    Raises:
        ValueError: a timeframe that counts neither ticks nor volume.
    """

    def __init__(self, timeframe: Timeframe, *, updates: bool = True, vector_rows: int = VECTOR_ROWS) -> None:
        if not timeframe.is_activity:
            raise ValueError(f"timeframe '{timeframe}' counts neither ticks nor volume: use TimeframeFold")
        self.timeframe = str(timeframe)
        self.size = timeframe.count
        self.by_volume = timeframe.unit is Unit.VOLUME
        self.updates = updates
        self.vector_rows = vector_rows

    def initial(self) -> ActivityState:
        """No bars."""
        return ActivityState()

    def step(self, state: ActivityState, messages: Sequence[object]) -> tuple[ActivityState, Sequence[Bars]]:
        """Fold `messages` in order; messages of other types are passed over.

        Raises:
            BarOverflowError: a bar's notional or volume would leave int64.
        """
        contracts, seq = dict(state.contracts), state.seq
        counters: dict[str, _Counter] = {}
        outputs: list[Bars] = []
        mono_ns = weight = 0

        def flush(*, stop: bool) -> None:
            nonlocal mono_ns, weight
            closed = tuple(bar for counter in counters.values() for bar in counter.closed)
            updated = tuple(bar for counter in counters.values() for bar in counter.update()) if self.updates else ()
            for name, counter in counters.items():
                contracts[name] = counter.freeze()
            counters.clear()
            if closed or updated or stop:
                name = self.timeframe
                outputs.append(Bars(name, seq, updated, closed, (), closed, (), 0, mono_ns, weight, stop))
            mono_ns = weight = 0

        def counter(name: str) -> _Counter:
            known = counters.get(name)
            if known is None:
                known = counters[name] = _Counter(self, name, contracts.get(name, ActivityContract()))
            return known

        for message in messages:
            if not isinstance(message, Validated) or 0 < message.seq <= seq:
                continue
            seq = message.seq or seq
            if message.weight:
                weight += message.weight
                mono_ns = min(mono_ns, message.mono_ns) if mono_ns else message.mono_ns
            for item in message.items:
                if isinstance(item, Trades):
                    if len(item):
                        counter(item.contract).add(item)
                elif isinstance(item, Gap):
                    counter(item.contract).flag(_GAP)
                elif isinstance(item, Midway):
                    counter(item.contract).flag(_PARTIAL)
                elif isinstance(item, SessionStopped) or _cut_off(item, [*contracts.values(), *counters.values()]):
                    for name in dict.fromkeys([*contracts, *counters]):
                        counter(name).stop()
                    flush(stop=True)
        flush(stop=False)
        return ActivityState(contracts, seq), outputs

    def split(self, messages: Sequence[object]) -> tuple[Sequence[object], Sequence[object]] | None:
        """Halve a failing batch: by messages, then by items, then by trades. None for a single item or trade."""
        return halve(messages)

    def digests(self, state: ActivityState) -> dict[tuple[str, str], bytes]:
        """Return the digest of each contract's final bars so far, for `combine_digests`."""
        return {
            (self.timeframe, name): contract.chain.digest()
            for name, contract in state.contracts.items()
            if contract.chain.rows
        }

    def pending(self, state: ActivityState, contract: str) -> tuple[list[Bar], list[Bar]]:
        """Return no closed bars, since they are final at once, and the contract's bar at hand, if any."""
        known = state.contracts.get(contract)
        return [], _Counter(self, contract, known).update(all_of_it=True) if known is not None else []


def _cut_off(item: Trades | AnyControl, contracts: Sequence[ActivityContract | _Counter]) -> bool:
    """Whether a session starts anew while a bar of the one before is still at hand."""
    anew = isinstance(item, SessionStarted) and not item.resumed
    return anew and any(contract.count is not None for contract in contracts)


class _Counter:
    """The working copy of one contract within a step."""

    def __init__(self, fold: ActivityFold, contract: str, state: ActivityContract) -> None:
        self.fold = fold
        self.contract = contract
        self.count, self.flags, self.chain = state.count, state.flags, state.chain
        self.closed: list[Bar] = []
        self.touched = False

    def freeze(self) -> ActivityContract:
        return ActivityContract(self.count, self.flags, self.chain)

    def update(self, *, all_of_it: bool = False) -> list[Bar]:
        if self.count is None or not (self.touched or all_of_it):
            return []
        return [self.bar(self.count, final=False)]

    def flag(self, flag: int) -> None:
        self.flags |= flag
        self.touched = True

    def stop(self) -> None:
        if self.count is not None:
            self.flags |= _PARTIAL
            self.close()
        self.flags = 0

    def add(self, trades: Trades) -> None:
        self.touched = True
        if len(trades) >= self.fold.vector_rows and self.runs(trades):
            return
        for ts, price, size, side in zip(
            as_list(trades.ts_ns), as_list(trades.price), as_list(trades.size), as_list(trades.side), strict=True
        ):
            buy, sell = (size if side == 0 else 0), (size if side == 1 else 0)
            self.put(Count(ts, ts, price, price, price, price, size, 1, price * size, buy, sell))

    def runs(self, trades: Trades) -> bool:
        """Cut the trades where bars end, and put each run as one. False, and nothing done, if int64 might wrap."""
        size, price = as_int64(trades.size), as_int64(trades.price)
        fold, n = self.fold, len(trades)
        if int(size.min()) < 0 or max(int(price.max()), -int(price.min()), 1) * n * int(size.max()) >= LIMIT:
            return False
        starts = [0]
        count = self.count
        if fold.by_volume:
            total = np.cumsum(size)
            base = -(count.volume if count is not None else 0)
            while (stop := int(np.searchsorted(total, base + fold.size)) + 1) < n:
                starts.append(stop)
                base = int(total[stop - 1])
        else:
            first = fold.size - (count.trades if count is not None else 0)
            starts += range(first, n, fold.size)
        at = np.array(starts)
        ts, side = as_int64(trades.ts_ns), as_int64(trades.side)
        ends = np.append(at[1:], n)
        add = np.add.reduceat
        columns = (
            np.minimum.reduceat(ts, at),
            np.maximum.reduceat(ts, at),
            price[at],
            np.maximum.reduceat(price, at),
            np.minimum.reduceat(price, at),
            price[ends - 1],
            add(size, at),
            ends - at,
            add(price * size, at),
            add(size * (side == 0), at),
            add(size * (side == 1), at),
        )
        for row in zip(*(column.tolist() for column in columns), strict=True):
            self.put(Count(*row))
        return True

    def put(self, b: Count) -> None:
        """Count what belongs to the bar at hand, and close it if that fills it."""
        a = self.count
        if a is not None:
            b = Count(
                min(a.first_ts, b.first_ts),
                max(a.last_ts, b.last_ts),
                a.open,
                max(a.high, b.high),
                min(a.low, b.low),
                b.close,
                a.volume + b.volume,
                a.trades + b.trades,
                a.notional + b.notional,
                a.buy + b.buy,
                a.sell + b.sell,
            )
        if not -LIMIT < b.notional < LIMIT or b.volume >= LIMIT:
            raise overflow(self.contract, b.first_ts)
        self.count = b
        if (b.volume if self.fold.by_volume else b.trades) >= self.fold.size:
            self.close()

    def close(self) -> None:
        assert self.count is not None
        bar = self.bar(self.count)
        self.closed.append(bar)
        self.chain = self.chain.extend(pack(bar))
        self.count, self.flags = None, 0

    def bar(self, c: Count, *, final: bool = True) -> Bar:
        sums = (c.volume, c.trades, c.notional, c.buy, c.sell)
        prices = (c.open, c.high, c.low, c.close)
        number = self.chain.rows + 1
        stamps = (c.first_ts, c.last_ts)
        return Bar(self.contract, self.fold.timeframe, *stamps, *prices, *sums, 0, self.flags, final, number)
