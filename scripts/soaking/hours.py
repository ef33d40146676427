"""When the soak's products trade, worked out from the zone database alone: the truth asks nobody whom it checks.

Opens and closes are written down here once more, by hand, and turned into moments with `datetime`. Nothing of
`tickloom.config.sessions` or `buckets` is used.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from tickloom.messages.market import NS, IntArray

DAY = 86_400


class Sitting(msgspec.Struct, frozen=True):
    """Local open and close as "HH:MM"; a close that is not later than the open is on the day after it."""

    opens: str
    closes: str


class Product(msgspec.Struct, frozen=True):
    """A contract of the soak: what it trades at, when, and how much of the market it is while it is open.

    `days` are the weekdays (0 is Monday) on which its sittings close; `base` is its price at the start, in ticks.
    """

    contract: str
    calendar: str
    numerator: int
    denominator: int
    base: int
    weight: int
    zone: str
    sittings: tuple[Sitting, ...]
    days: tuple[int, ...]


class Hours:
    """A product's sittings around `[from_ns, to_ns)`, and the buckets they are cut into."""

    def __init__(self, product: Product, from_ns: int, to_ns: int) -> None:
        zone = ZoneInfo(product.zone)
        first = dt.datetime.fromtimestamp(from_ns // NS, dt.UTC).date() - dt.timedelta(days=5)
        last = dt.datetime.fromtimestamp(to_ns // NS, dt.UTC).date() + dt.timedelta(days=5)
        sittings: list[tuple[int, int]] = []
        days: list[tuple[int, int]] = []
        date = first
        while date <= last:
            if date.weekday() in product.days:
                own = [_on(date, sitting, zone) for sitting in product.sittings]
                sittings += own
                days.append((own[0][0], own[-1][1]))
            date += dt.timedelta(days=1)
        self._sittings = _columns(sittings)
        self._days = _columns(days)

    def is_open(self, ns: int) -> bool:
        """Whether it trades at a moment."""
        opens, closes = self._sittings
        at = int(np.searchsorted(opens, ns, side="right")) - 1
        return at >= 0 and ns < int(closes[at])

    def opened(self, ns: int) -> int:
        """Return when the sitting that a moment lies in began (ns)."""
        opens, _ = self._sittings
        return int(opens[np.searchsorted(opens, ns, side="right") - 1])

    def buckets(self, ns: IntArray, width_ns: int) -> tuple[IntArray, IntArray]:
        """Return opens and closes of the bars that moments within sittings belong to; width 0: trading days."""
        opens, closes = self._sittings if width_ns else self._days
        at = np.searchsorted(opens, ns, side="right") - 1
        start, end = opens[at], closes[at]
        if not width_ns:
            return start, end
        start = start + (ns - start) // width_ns * width_ns
        return start, np.minimum(start + width_ns, end)

    def edges(self) -> list[int]:
        """Return the moments at which it opens or closes."""
        opens, closes = self._sittings
        both: list[int] = np.concatenate((opens, closes)).tolist()
        return sorted(set(both))


def _on(date: dt.date, sitting: Sitting, zone: ZoneInfo) -> tuple[int, int]:
    closes = _moment(date, sitting.closes, zone)
    opens = _moment(date, sitting.opens, zone)
    if sitting.closes <= sitting.opens:
        opens = _moment(date - dt.timedelta(days=1), sitting.opens, zone)
    return opens, closes


def _moment(date: dt.date, clock: str, zone: ZoneInfo) -> int:
    hour, minute = (int(part) for part in clock.split(":"))
    if hour == 24:
        date, hour = date + dt.timedelta(days=1), 0
    return int(dt.datetime(date.year, date.month, date.day, hour, minute, tzinfo=zone).timestamp()) * NS


def _columns(pairs: Sequence[tuple[int, int]]) -> tuple[IntArray, IntArray]:
    opens, closes = zip(*sorted(pairs), strict=True)
    return np.array(opens, dtype=np.int64), np.array(closes, dtype=np.int64)
