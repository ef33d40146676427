"""The roll-up plan: which timeframe feeds from which.

Ticks are reduced once, at one-second buckets (the base). A timeframe can feed from another if every bucket of the
finer one lies within one bucket of the coarser, for every calendar; it feeds from the coarsest such, so that it
merges the fewest rows. What nests, because all of them begin with their stretch of session and end with it at the
latest (see `tickloom.config.buckets`):

- an intraday width in another it divides: `15m` into `1h`, and every one from the base;
- any intraday width in any number of days, weeks or months: stretches lie within trading days;
- days in days by count (`2d` into `4d`), weeks in weeks, months in months; `1d` alone in weeks and months, since
  only it never straddles one;
- nothing in ticks and volume, which count prints in order of arrival and so feed from the prints themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from tickloom.config.timeframes import Timeframe, Unit

BASE: Final = "1s base"
PRINTS: Final = "prints"


class Feed(msgspec.Struct, frozen=True):
    """One line of the plan: `timeframe` merges the rows of `source`, another timeframe's name, `BASE` or `PRINTS`."""

    timeframe: str
    source: str
    ratio: int
    """How many source buckets a full bucket holds, nominally; 0 where the number is not fixed."""


def nests(fine: Timeframe, coarse: Timeframe) -> bool:
    """Whether every bucket of `fine` lies within one bucket of `coarse`, whatever the calendar."""
    if fine == coarse or fine.is_activity or coarse.is_activity:
        return False
    if coarse.is_intraday:
        return fine.is_intraday and coarse.seconds % fine.seconds == 0
    if fine.is_intraday:
        return True
    if fine.unit is coarse.unit:
        return coarse.count % fine.count == 0
    return fine.unit is Unit.DAY and fine.count == 1


def roll_up(timeframes: Iterable[Timeframe]) -> tuple[Feed, ...]:
    """Return the plan for these timeframes, finest first."""
    frames = sorted(set(timeframes))
    feeds = []
    for frame in frames:
        if frame.is_activity:
            feeds.append(Feed(str(frame), PRINTS, 0))
            continue
        source = max((other for other in frames if nests(other, frame)), default=None)
        if source is None:
            feeds.append(Feed(str(frame), BASE, frame.seconds if frame.is_intraday else 0))
        else:
            fixed = source.unit is frame.unit or frame.is_intraday
            feeds.append(Feed(str(frame), str(source), frame.seconds // source.seconds if fixed else 0))
    return tuple(feeds)


def render(feeds: Iterable[Feed]) -> str:
    """Return the plan as text, one line a timeframe: `1h    from 15m (4 each)`."""
    lines = []
    for feed in feeds:
        each = f" ({feed.ratio} each)" if feed.ratio > 1 else ""
        lines.append(f"{feed.timeframe:<6}from {feed.source}{each}")
    return "\n".join(lines)
