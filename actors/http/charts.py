"""Bars as the API gives them, and what is new in them since somebody last looked. Pure: windows in, columns out.

A bar changes while it is open and while it is pending, and never again once it is final. So what a reader has not
seen yet is: the bars that became final since, and those still changing that differ from what it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec
import numpy as np

from tickloom.actors.bars.blocks import flag_names, place, places, rows_of, tail
from tickloom.actors.sinks.history import Window
from tickloom.messages.bars import Bar, BarFlag
from tickloom.messages.market import Instrument

MOST: Final = 5_000
"""Most bars given at once."""


class Columns(msgspec.Struct, frozen=True):
    """Bars of one contract and timeframe, oldest first, one list a column.

    Times are ns since the Unix epoch, UTC (exact integers; a reader with floating-point numbers gets them to a
    microsecond). Prices are in points. `vwap` is null where nothing was traded, and in healed bars. `flags` are words
    joined by `|`, as in `Session.table`. `closed` is false for a bar that is still open. `number` counts bars by
    activity from 1 (see `Bar`); it is 0 for bars by time.
    """

    open_time: list[int]
    close_time: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[int]
    trades: list[int]
    vwap: list[float | None]
    buy_volume: list[int]
    sell_volume: list[int]
    revision: list[int]
    flags: list[str]
    closed: list[bool]
    number: list[int]


class Chart(msgspec.Struct, frozen=True):
    """Bars of a chart. `reset`: they are all there is; otherwise they replace and continue what was given before.

    Bars by time are told apart by their open time, those by activity by their number.
    """

    contract: str
    timeframe: str
    reset: bool
    bars: Columns


def columns(bars: Iterable[Bar], instrument: Instrument) -> Columns:
    """Return bars as columns, with prices in points."""
    rows = sorted(bars, key=place)
    price = instrument.to_price
    return Columns(
        open_time=[bar.open_time for bar in rows],
        close_time=[bar.close_time for bar in rows],
        open=[price(bar.open) for bar in rows],
        high=[price(bar.high) for bar in rows],
        low=[price(bar.low) for bar in rows],
        close=[price(bar.close) for bar in rows],
        volume=[bar.volume for bar in rows],
        trades=[bar.trades for bar in rows],
        vwap=[
            bar.notional * instrument.numerator / (bar.volume * instrument.denominator)
            if bar.volume and not bar.flags & BarFlag.HEALED
            else None
            for bar in rows
        ],
        buy_volume=[bar.buy for bar in rows],
        sell_volume=[bar.sell for bar in rows],
        revision=[bar.revision for bar in rows],
        flags=[flag_names(bar.flags) for bar in rows],
        closed=[bar.final for bar in rows],
        number=[bar.number for bar in rows],
    )


def decimals(instrument: Instrument) -> int:
    """Return how many decimals a price of the instrument needs: as many as its tick size has, eight at most."""
    size = Decimal(instrument.numerator) / Decimal(instrument.denominator)
    exponent = size.normalize().as_tuple().exponent
    return min(max(-exponent, 0), 8) if isinstance(exponent, int) else 0


def changing(window: Window) -> list[Bar]:
    """Return the bars that may still change, oldest first."""
    bars = window.history.closed | {key: bar for key, bar in window.open.items() if key not in window.history.closed}
    return [bar for _, bar in sorted(bars.items())]


def final_bars(window: Window, newest: int, after: int | None = None) -> list[Bar]:
    """Return the final bars that come after the one at the place `after`, the newest so many of them, oldest first."""
    history = window.history
    recent = history.recent if after is None else [bar for bar in history.recent if place(bar) > after]
    parts: list[Sequence[Bar]] = [recent[len(recent) - min(newest, len(recent)) :]]
    missing = min(newest, history.rows) - len(parts[0])
    for block in reversed(history.blocks):
        if missing <= 0:
            break
        wanted = len(block) if after is None else len(block) - int(np.searchsorted(places(block), after, "right"))
        if not wanted:
            break
        parts.append(rows_of(tail(block, min(wanted, missing))))
        missing -= len(parts[-1])
    return [bar for part in reversed(parts) for bar in part]


def newest_bars(window: Window, count: int, *, open_too: bool = True) -> list[Bar]:
    """Return the newest bars, at most `count`, oldest first; `open_too`: with those that are not closed yet."""
    live = [bar for bar in changing(window) if open_too or bar.final]
    bars = [*final_bars(window, count), *live]
    return bars[max(len(bars) - count, 0) :]


class Follower:
    """What one reader has been given of a window. Starts with the newest `count` bars.

    A final bar never comes to stand before another one, so what comes after the last one given is all that is new. If
    none is as late as that one, they are counted anew (the timeframe was removed and added again): all of it is told.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._begun = False
        self._last: int | None = None
        self._given: dict[int, Bar] = {}

    def news(self, window: Window | None) -> tuple[bool, list[Bar]]:
        """Return (everything anew?, bars that are new or differ), and remember them as given."""
        if window is None:
            fresh, news, self._given = not self._begun, [], {}
        else:
            live = changing(window)
            newest = (live or final_bars(window, 1))[-1:]
            anew = self._last is not None and any(place(bar) < self._last for bar in newest)
            if anew:
                self._last = None
            final = final_bars(window, self._count + 1, self._last)
            fresh = anew or not self._begun or len(final) > self._count
            if fresh:
                news = newest_bars(window, self._count)
            else:
                news = [bar for bar in (*final, *live) if self._given.get(place(bar)) != bar]
            if final:
                self._last = place(final[-1])
            self._given = {place(bar): bar for bar in live}
        self._begun = True
        return fresh, news
