"""The live view in a terminal: one contract's bars being woven, and how the session fares. Values in, rich out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tickloom.messages.bars import Bar, BarFlag
from tickloom.messages.market import NS, Instrument
from tickloom.messages.reports import Health, Statistics

BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTHS = {"opened": 8, "open": 9, "high": 9, "low": 9, "close": 9, "volume": 7, "trades": 6}
"""Least widths: a price like 24,471.25 is never cut off."""

STATUS_STYLE = {"healthy": "green", "degraded": "yellow", "unhealthy": "bold red"}


def spark(values: Sequence[float], width: int = 24) -> str:
    """Return the last `width` values as a line of block characters between their lowest and highest."""
    shown = values[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(BLOCKS[int((v - low) / span * (len(BLOCKS) - 1))] for v in shown)


def price(instrument: Instrument, ticks: int) -> str:
    """Return a price with as many decimals as the tick size has."""
    decimals = max(len(str(instrument.denominator)) - 1, len(f"{instrument.tick_size:f}".rstrip("0").partition(".")[2]))
    return f"{instrument.to_price(ticks):,.{decimals}f}"


def clock(ns: int) -> str:
    """Return a stamp as HH:MM:SS UTC."""
    return datetime.fromtimestamp(ns // NS, UTC).strftime("%H:%M:%S")


def bars_table(
    instrument: Instrument, timeframes: Sequence[str], bars: Mapping[str, Bar], closes: Mapping[str, Sequence[float]]
) -> Table:
    """One row a timeframe: the bar being woven (or the last one), and the closes before it."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    table.add_column("", style="bold", no_wrap=True)
    for name, least in _WIDTHS.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=least)
    # where there is little room this column gives way: a price cut off is worse than none
    table.add_column("closes before", style="cyan", no_wrap=True, overflow="crop")
    for timeframe in timeframes:
        bar = bars.get(timeframe)
        if bar is None:
            table.add_row(timeframe, *["·"] * 7, "")
            continue
        style = "green" if bar.close > bar.open else "red" if bar.close < bar.open else ""
        flags = BarFlag(bar.flags) & ~BarFlag.CONFLATED
        table.add_row(
            timeframe + ("*" if flags else ""),
            clock(bar.open_time),
            *(price(instrument, p) for p in (bar.open, bar.high, bar.low)),
            Text(price(instrument, bar.close), style=style),
            f"{bar.volume:,}",
            f"{bar.trades:,}",
            spark(closes.get(timeframe, ())),
        )
    return table


def status_line(statistics: Statistics, health: Health, restarts: int) -> Text:
    """One line: throughput, latency, what was refused, and health with its reasons."""
    latency = statistics.latency
    line = Text()
    line.append(f"{statistics.ticks:,} ticks", style="bold")
    line.append(f"  {statistics.ticks_per_second:,.0f}/s")
    if latency.trades:
        line.append(f"  p50 {latency.p50_ms:.2f} ms  p99 {latency.p99_ms:.2f} ms")
    line.append(f"  rejected {sum(statistics.rejected.values()):,}")
    if restarts:
        line.append(f"  restarts {restarts}", style="yellow")
    line.append("  ")
    line.append(health.status, style=STATUS_STYLE[health.status])
    if health.reasons:
        line.append(f": {health.reasons[0]}", style="dim")
    return line


def screen(
    title: str,
    instrument: Instrument,
    timeframes: Sequence[str],
    bars: Mapping[str, Bar],
    closes: Mapping[str, Sequence[float]],
    statistics: Statistics,
    health: Health,
    restarts: int,
) -> RenderableType:
    """The whole view: title, bars, status."""
    heading = Text()
    heading.append(title, style="bold magenta")
    heading.append(f"   {instrument.contract}", style="bold")
    if instrument.description:
        heading.append(f"  {instrument.description}", style="dim")
    return Group(
        heading,
        Text(),
        bars_table(instrument, timeframes, bars, closes),
        Text(),
        status_line(statistics, health, restarts),
    )
