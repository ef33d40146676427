"""What the bars of a burst must be: plain arithmetic on the ticks the gateway says it emitted, and on nothing of ours.

Every contract trades around the clock here, so a bar of width w holds the stamps whose quotient by w is the same. A
bar is (open, high, low, close, volume, trades, bought, sold); the ticks come in order of time and number.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlencode

import msgspec
import pyarrow.parquet as pq

Bar: TypeAlias = tuple[float, float, float, float, int, int, int, int]
Bars: TypeAlias = dict[int, Bar]
"""Bars by open time (ns)."""

PIECE: Final = 100_000
BUY, SELL = 0, 1
COLUMNS: Final = ("open", "high", "low", "close", "volume", "trades", "buy_volume", "sell_volume")


class Tick(msgspec.Struct, gc=False):
    """A tick as the gateway tells of it."""

    i: int
    t_ns: int
    price: float
    volume: int
    type: int


_ticks = msgspec.json.Decoder(Tick)


def emitted(url: str, contract: str, total: int) -> Iterator[list[Tick]]:
    """Yield the first `total` ticks of a contract as the gateway remembers them, in pieces."""
    for first in range(0, total, PIECE):
        query = urlencode({"contract": contract, "from": first, "to": min(first + PIECE, total) - 1})
        with urllib.request.urlopen(f"{url}/truth?{query}", timeout=60) as answer:  # noqa: S310 - our own, on loopback
            yield _ticks.decode_lines(answer.read())


class Truth:
    """Bars of one contract in each of `widths` (ns by timeframe), growing as ticks are added in order."""

    def __init__(self, widths: dict[str, int]) -> None:
        self._widths = widths
        self.bars: dict[str, Bars] = {name: {} for name in widths}
        self.ticks = 0

    def add(self, ticks: list[Tick]) -> None:
        """Add ticks, in order of time and number: into the finest bars, and from those into the others."""
        seconds: Bars = {}
        for tick in ticks:
            price, size = tick.price, tick.volume
            one = (price, price, price, price, size, 1, size * (tick.type == BUY), size * (tick.type == SELL))
            at = tick.t_ns // 10**9 * 10**9
            seconds[at] = together(seconds[at], one) if at in seconds else one
        for name, width in self._widths.items():
            bars = self.bars[name]
            for second, bar in seconds.items():
                at = second // width * width
                bars[at] = together(bars[at], bar) if at in bars else bar
        self.ticks += len(ticks)


def together(a: Bar, b: Bar) -> Bar:
    """Return the bar of two stretches, `b` after `a`."""
    return (a[0], max(a[1], b[1]), min(a[2], b[2]), b[3], a[4] + b[4], a[5] + b[5], a[6] + b[6], a[7] + b[7])


def written(out: Path, contract: str, timeframe: str) -> tuple[Bars, int]:
    """Return the bars in the files of a contract and timeframe, and how many there are there twice."""
    bars: Bars = {}
    rows = 0
    for path in sorted((out / "bars" / f"timeframe={timeframe}" / f"contract={contract}").glob("*.parquet")):
        table = pq.ParquetFile(path).read(columns=["open_time", *COLUMNS])
        stamps = table["open_time"].cast("int64").to_pylist()
        values = zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)
        bars |= dict(zip(stamps, values, strict=True))
        rows += len(stamps)
    return bars, rows - len(bars)
