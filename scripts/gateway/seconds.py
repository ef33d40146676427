"""One-second bars of one contract, kept for a bounded time, and the bars of any unit made from them.

Prices are floats as served. Rows are keyed by the second they open in (Unix seconds); a second without a trade has no
row. Units and their alignment follow the gateway's history endpoint: 1 second, 2 minute, 3 hour, 4 day, 5 week (from
Monday), 6 month, all in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

DAY = 86_400
_LENGTHS = {1: 1, 2: 60, 3: 3600, 4: DAY, 5: 7 * DAY}
_MONDAY = 4 * DAY
"""The Unix epoch was a Thursday; weeks count from the Monday after it."""


class BarRow(NamedTuple):
    """A bar: `opens` and `closes` are Unix seconds, `first` and `last` the numbers of its ticks."""

    opens: int
    closes: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    first: int
    last: int


def floor_unit(second: int, unit: int, count: int) -> int:
    """Return when the bar of `count` units that holds `second` opens."""
    if unit == 6:
        moment = datetime.fromtimestamp(second, UTC)
        month = (moment.year * 12 + moment.month - 1) // count * count
        return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())
    length = _LENGTHS[unit] * count
    origin = _MONDAY if unit == 5 else 0
    return (second - origin) // length * length + origin


def unit_end(opens: int, unit: int, count: int) -> int:
    """Return when the bar that opens at `opens` ends."""
    if unit == 6:
        moment = datetime.fromtimestamp(opens, UTC)
        month = moment.year * 12 + moment.month - 1 + count
        return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())
    return opens + _LENGTHS[unit] * count


class SecondBars:
    """The finest bars of one contract; the oldest go once there are more than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: dict[int, list[float | int]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, second: int, price: list[float], size: list[int], first: int, last: int) -> None:
        """Count ticks `first` to `last`, all within `second`, in."""
        self._count(second, [price[0], max(price), min(price), price[-1], sum(size), first, last])

    def extend(self, seconds: list[int], *columns: list[float] | list[int]) -> None:
        """Count whole rows in: of each second its open, high, low, close, volume and the numbers of its ticks."""
        for second, *row in zip(seconds, *columns, strict=True):
            self._count(second, row)

    def _count(self, second: int, more: list[float | int]) -> None:
        row = self._rows.get(second)
        if row is None:
            self._rows[second] = more
            if len(self._rows) > self._limit:
                del self._rows[next(iter(self._rows))]
            return
        row[1] = max(row[1], more[1])
        row[2] = min(row[2], more[2])
        row[3] = more[3]
        row[4] += more[4]
        row[6] = more[6]

    def roll(self, from_second: int, to_second: int, unit: int, count: int) -> list[BarRow]:
        """Return the bars that open in [`from_second`, `to_second`), oldest first; seconds without trades make none."""
        bars: list[BarRow] = []
        opens, closes = 0, -(1 << 62)
        row: list[float | int] = []

        def finish() -> None:
            if row and from_second <= opens < to_second:
                bars.append(
                    BarRow(opens, closes, row[0], row[1], row[2], row[3], int(row[4]), int(row[5]), int(row[6]))
                )

        # a second before the range can only belong to a bar that opens before it
        for second in sorted(second for second in self._rows if second >= from_second):
            if second < closes:
                value = self._rows[second]
                row[1], row[2] = max(row[1], value[1]), min(row[2], value[2])
                row[3], row[6] = value[3], value[6]
                row[4] += value[4]
                continue
            finish()
            opens = floor_unit(second, unit, count)
            if opens >= to_second:
                return bars
            closes = unit_end(opens, unit, count)
            row = list(self._rows[second])
        finish()
        return bars
