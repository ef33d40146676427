"""Quotes and depth, made from the trades: a whole quote first and sparse deltas after, a reset and the book first and
changed levels after.

One board a contract, shared by all subscribers: a newcomer is sent the state as of the last update, so the deltas that
follow fit. Sizes in the book depend on the level and on how far the tape has run, so they change slowly.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from tickloom.scripts.gateway.contracts import ContractSpec
from tickloom.scripts.gateway.frames import tick_stamp
from tickloom.scripts.gateway.mixing import digest
from tickloom.scripts.gateway.ticks import Totals

LEVELS: Final = 50
"""Levels a side; the first message of depth is beyond 10 KB, as the real gateway's is."""
_DIGITS: Final = 9

ASK, BID, TRADE, RESET, NEW_BID, NEW_ASK = 1, 2, 5, 6, 9, 10
Row: TypeAlias = dict[str, Any] | None
Book: TypeAlias = dict[int, dict[int, int]]


def whole_quote(spec: ContractSpec, totals: Totals, index: int) -> dict[str, Any]:
    """Return the quote with every field filled in, as it stands at tick `index`."""
    change = totals.last - totals.previous
    stamp = tick_stamp(index, totals.last_ns)
    return {
        "symbol": spec.symbol_id,
        "symbolName": "/" + spec.name[:-2],
        "lastPrice": totals.last,
        "bestBid": totals.bid,
        "bestAsk": spec.price(spec.ticks(totals.bid) + 1),
        "change": round(change, _DIGITS),
        "changePercent": round(change / totals.previous, 6) if totals.previous else 0.0,
        "open": totals.opened,
        "high": totals.high,
        "low": totals.low,
        "volume": totals.volume,
        "lastUpdated": stamp,
        "timestamp": stamp,
    }


def sparse(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return what changed, and the symbol, which is always there."""
    return {name: value for name, value in after.items() if name == "symbol" or before.get(name) != value}


class QuoteBoard:
    """The quote of one contract."""

    def __init__(self, spec: ContractSpec) -> None:
        self._spec = spec
        self._index = -1
        self.whole: dict[str, Any] = {}

    def update(self, totals: Totals, index: int) -> dict[str, Any] | None:
        """Return the sparse quote to send, or None when no tick came since the last one."""
        if index <= self._index or not totals.last_ns:
            return None
        after = whole_quote(self._spec, totals, index)
        delta = sparse(self.whole, after)
        self._index, self.whole = index, after
        return delta


class DepthBoard:
    """The book of one contract."""

    def __init__(self, spec: ContractSpec, seed: int) -> None:
        self._spec = spec
        self._seed = digest(seed, spec.id, "book")
        self._index = -1
        self._stamp = ""
        self.book: Book = {ASK: {}, BID: {}}

    def _levels(self, bid: int, index: int) -> Book:
        def size(level: int) -> int:
            # each level is renewed at its own time, every 256 ticks or so
            mixed = (level * 0x9E3779B97F4A7C15 ^ self._seed) & 0xFFFFFFFF
            era = (index + mixed % 256) >> 8
            return 1 + (mixed ^ era * 0x85EBCA6B) % 211 % 60

        return {
            ASK: {bid + 1 + k: size(bid + 1 + k) for k in range(LEVELS)},
            BID: {bid - k: size(bid - k) for k in range(LEVELS) if bid - k > 0},
        }

    def _row(self, kind: int, level: int, volume: int, current: int) -> Row:
        price = self._spec.price(level)
        return {"timestamp": self._stamp, "type": kind, "price": price, "volume": volume, "currentVolume": current}

    def _best(self) -> tuple[int, int]:
        return min(self.book[ASK], default=0), max(self.book[BID], default=0)

    def update(self, totals: Totals, index: int) -> list[Row] | None:
        """Return the changed levels, the new best and the last trade, or None when no tick came since the last call.

        About one list in eight has a null among its entries, as the real gateway's have.
        """
        if index <= self._index or not totals.last_ns:
            return None
        self._index, self._stamp = index, tick_stamp(index, totals.last_ns)
        before, asked = self.book, self._best()
        self.book = self._levels(self._spec.ticks(totals.bid), index)
        rows: list[Row] = []
        for side in (ASK, BID):
            was, now = before[side], self.book[side]
            rows += [self._row(side, level, 0, 0) for level in was if level not in now]
            rows += [self._row(side, level, size, size) for level, size in now.items() if was.get(level) != size]
        ask, bid = self._best()
        if asked[0] != ask:
            rows.append(self._row(NEW_ASK, ask, self.book[ASK][ask], self.book[ASK][ask]))
        if bid and asked[1] != bid:
            rows.append(self._row(NEW_BID, bid, self.book[BID][bid], self.book[BID][bid]))
        rows.append(self._row(TRADE, self._spec.ticks(totals.last), 1, 0))
        mark = digest(self._seed, index)
        if mark % 8 == 0:
            rows.insert((mark >> 8) % (len(rows) + 1), None)
        return rows

    def snapshot(self) -> list[Row]:
        """Return a reset and the whole book, for a subscription that begins; only the reset when there is none yet."""
        rows = [self._row(RESET, 0, 0, 0)]
        for side in (ASK, BID):
            rows += [self._row(side, level, size, size) for level, size in self.book[side].items()]
        return rows if self._stamp else []

    def truth(self) -> dict[str, list[dict[str, float]]]:
        """Return the book as it stands, best first."""
        sides = {"asks": sorted(self.book[ASK].items()), "bids": sorted(self.book[BID].items(), reverse=True)}
        return {
            name: [{"price": self._spec.price(level), "volume": size} for level, size in side]
            for name, side in sides.items()
        }
