"""What a subscription is to be sent next, from where it stands; and the record of what was handed over.

`TradeWire.chunk` is a pure function of (contract, cursor, last tick, switches), remembered within one beat of the
pump: subscriptions that are in step share the bytes, one that lags gets its own. Nothing queues up here: what a slow
connection has not taken is not encoded yet.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tickloom.scripts.gateway.mixing import digest
from tickloom.scripts.gateway.prints import Layout, Printer
from tickloom.scripts.gateway.shaping import Cursor, Item, shape
from tickloom.scripts.gateway.switches import Switches
from tickloom.scripts.gateway.ticks import Market

CHUNK_TICKS: Final = 4000
"""Ticks encoded at most in one go; a subscription that is further behind gets the next chunk in the next beat."""


class Chunk(NamedTuple):
    """Frames for one subscription: `items` is None when they are the ticks `first` to `last`, each once, in order."""

    data: bytes
    messages: int
    first: int
    last: int
    items: list[Item] | None
    dropped: list[int]
    cursor: Cursor


class TradeWire:
    """Encodes the market's trades for any subscription."""

    def __init__(self, market: Market, chaos_seed: int) -> None:
        self._market = market
        self._printers = {spec.id: Printer(spec) for spec in market.specs}
        self._seeds = {spec.id: digest(chaos_seed, spec.id, "faults") for spec in market.specs}
        self._beat: dict[tuple[str, Cursor, int], Chunk] = {}

    def begin(self) -> None:
        """Forget the chunks of the beat before."""
        self._beat.clear()

    def chunk(self, contract: str, cursor: Cursor, switches: Switches) -> Chunk:
        """Return the next frames for a subscription at `cursor`; there must be ticks to come, or one held back.

        Raises:
            LookupError: the cursor lies before the oldest tick that is still known.
        """
        last = min(self._market.last(contract), cursor.next + CHUNK_TICKS - 1)
        key = (contract, cursor, last)
        known = self._beat.get(key)
        if known is None:
            known = self._beat[key] = self._compute(contract, cursor, last, switches)
        return known

    def _compute(self, contract: str, cursor: Cursor, last: int, switches: Switches) -> Chunk:
        layout = Layout(switches.batch_max, switches.frame_max)
        printer = self._printers[contract]
        if not switches.shaping and cursor.held is None:
            ticks = self._market.ticks(contract, cursor.next, last)
            data, messages = printer.encode(ticks, layout)
            return Chunk(data, messages, cursor.next, last, None, [], Cursor(last + 1))
        shaped = shape(cursor, last, self._seeds[contract], switches)
        data, messages = b"", 0
        if shaped.items:
            oldest = min(item.tick for item in shaped.items)
            newest = max(item.tick for item in shaped.items)
            ticks = self._market.ticks(contract, oldest, newest)
            data, messages = printer.encode_items(shaped.items, ticks, layout)
        return Chunk(data, messages, cursor.next, last, shaped.items, shaped.dropped, shaped.cursor)


class Ledger:
    """What one connection was sent of one contract's trades, in bounded memory.

    `runs` are [from, to] pairs in the order of sending, repeats and all. Once a list is full nothing more is noted in
    it and `truncated` says so; the counts go on.
    """

    def __init__(self, contract: str, limit: int = 200_000) -> None:
        self.contract = contract
        self._limit = limit
        self._runs: list[list[int]] = []
        self._dropped: list[list[int]] = []
        self._bad: list[tuple[int, str]] = []
        self.ticks = 0
        self.messages = 0
        self.truncated = False

    def _put(self, pairs: list[list[int]], first: int, last: int) -> None:
        if pairs and pairs[-1][1] == first - 1:
            pairs[-1][1] = last
        elif len(pairs) < self._limit:
            pairs.append([first, last])
        else:
            self.truncated = True

    def sent(self, chunk: Chunk) -> None:
        """Note what was handed to the transport."""
        self.messages += chunk.messages
        if chunk.items is None:
            self.ticks += chunk.last - chunk.first + 1
            self._put(self._runs, chunk.first, chunk.last)
        else:
            for item in chunk.items:
                if item.bad is None:
                    self.ticks += 1
                    self._put(self._runs, item.tick, item.tick)
                elif len(self._bad) < self._limit:
                    self._bad.append((item.tick, item.bad))
                else:
                    self.truncated = True
        for index in chunk.dropped:
            self._put(self._dropped, index, index)

    def dropped(self, first: int, last: int) -> None:
        """Note ticks that are never sent."""
        self._put(self._dropped, first, last)

    def report(self) -> dict[str, Any]:
        """Return the record as `/truth/sent` shows it: `ranges` is the union of `runs`, in order of ticks."""
        ranges: list[list[int]] = []
        for first, last in sorted(self._runs):
            if ranges and first <= ranges[-1][1] + 1:
                ranges[-1][1] = max(ranges[-1][1], last)
            else:
                ranges.append([first, last])
        return {
            "ticks": self.ticks,
            "messages": self.messages,
            "ranges": ranges,
            "runs": self._runs,
            "dropped": self._dropped,
            "bad": [{"i": index, "kind": kind} for index, kind in self._bad],
            "truncated": self.truncated,
        }
