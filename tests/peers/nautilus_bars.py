"""The bars that nautilus_trader makes of the ES ticks: a program of its own, in an environment of its own.

    python nautilus_bars.py TICKS.csv.gz 1s 1m 5m

One line a bar: timeframe, open time, close time, the time nautilus labels it with, open, high, low, close, volume.
Its aggregator gets each tick after the timers that are due by then, as its own engines do it.
"""

from __future__ import annotations

import csv
import gzip
import sys
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from nautilus_trader.common.component import TestClock
from nautilus_trader.data.aggregation import TimeBarAggregator
from nautilus_trader.model.data import Bar, BarType, TradeTick
from nautilus_trader.model.enums import AggressorSide
from nautilus_trader.model.identifiers import TradeId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider

STEPS = {"s": ("SECOND", 1), "m": ("MINUTE", 60), "h": ("HOUR", 3600)}
NS = 10**9


def ticks_of(path: str, instrument: Any) -> list[TradeTick]:
    """Read the ticks: Chicago's wall clock in milliseconds, price, volume."""
    chicago = ZoneInfo("America/Chicago")
    ticks = []
    with gzip.open(path, "rt") as file:
        rows = csv.reader(file)
        next(rows)
        for number, (stamp, price, volume) in enumerate(rows):
            moment = datetime.fromisoformat(stamp).replace(tzinfo=chicago)
            ts = int(moment.timestamp()) * NS + moment.microsecond * 1000
            size, side = Quantity.from_int(int(volume)), AggressorSide.NO_AGGRESSOR
            price_of_it = Price(float(price), instrument.price_precision)
            ticks.append(TradeTick(instrument.id, price_of_it, size, side, TradeId(str(number)), ts, ts))
    return ticks


def main(path: str, *timeframes: str) -> None:
    """Print the bars."""
    instrument = TestInstrumentProvider.es_future(2013, 9)
    ticks = ticks_of(path, instrument)
    write = csv.writer(sys.stdout).writerow
    for timeframe in timeframes:
        unit, seconds = STEPS[timeframe[-1]]
        width = int(timeframe[:-1]) * seconds * NS

        def told(bar: Bar, timeframe: str = timeframe, width: int = width) -> None:
            figures = (bar.open, bar.high, bar.low, bar.close, bar.volume)
            write((timeframe, bar.ts_init - width, bar.ts_init, bar.ts_event, *figures))

        clock = TestClock()
        clock.set_time(ticks[0].ts_init)
        aggregator = TimeBarAggregator(
            instrument,
            BarType.from_str(f"{instrument.id}-{timeframe[:-1]}-{unit}-LAST-INTERNAL"),
            told,
            clock,
            interval_type="right-open",
            timestamp_on_close=False,
            build_with_no_updates=False,
        )
        for tick in ticks:
            for due in clock.advance_time(tick.ts_init):
                due.handle()
            aggregator.handle_trade_tick(tick)
        for due in clock.advance_time(ticks[-1].ts_init + width):
            due.handle()


if __name__ == "__main__":
    main(*sys.argv[1:])
