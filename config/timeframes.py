"""Timeframes as values: their names, their order, and nothing of calendars.

A timeframe has one canonical name. Clock widths (seconds, minutes, hours) are the same thing in other units, so `60s`,
`1min` and `1m` are `1m`, and `120m` is `2h`. Days, weeks and months are made of trading days, not of hours: `24h` (a
stretch of a session) is not `1d` (a trading day), and `7d` (seven trading days) is not `1w` (the trading days of a
Monday to Sunday). `12mo` stays `12mo`. Tick and volume timeframes (`100t`, `5000v`) have no clock at all.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import total_ordering
from typing import Final

NS: Final = 1_000_000_000
"""Nanoseconds in a second."""


class TimeframeError(ValueError):
    """A timeframe that does not exist, or does not fit; the message names it and the nearest that does."""


class Unit(IntEnum):
    """What a timeframe counts, in rising order of coarseness; activity after time."""

    SECOND = 0
    MINUTE = 1
    HOUR = 2
    DAY = 3
    WEEK = 4
    MONTH = 5
    TICK = 6
    VOLUME = 7


_SYMBOL: Final = {
    Unit.SECOND: "s",
    Unit.MINUTE: "m",
    Unit.HOUR: "h",
    Unit.DAY: "d",
    Unit.WEEK: "w",
    Unit.MONTH: "mo",
    Unit.TICK: "t",
    Unit.VOLUME: "v",
}
_SPELLINGS: Final = {
    Unit.SECOND: ("s", "sec", "secs", "second", "seconds"),
    Unit.MINUTE: ("m", "min", "mins", "minute", "minutes"),
    Unit.HOUR: ("h", "hr", "hrs", "hour", "hours"),
    Unit.DAY: ("d", "day", "days"),
    Unit.WEEK: ("w", "wk", "wks", "week", "weeks"),
    Unit.MONTH: ("mo", "mon", "mth", "month", "months"),
    Unit.TICK: ("t", "tick", "ticks"),
    Unit.VOLUME: ("v", "vol", "volume"),
}
_UNITS: Final = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}
_SECONDS: Final = {Unit.SECOND: 1, Unit.MINUTE: 60, Unit.HOUR: 3600}
_NOMINAL: Final = {Unit.DAY: 86_400, Unit.WEEK: 7 * 86_400, Unit.MONTH: 2_629_746}  # the mean Gregorian month
_MOST: Final = {
    Unit.SECOND: 86_400,
    Unit.DAY: 366,
    Unit.WEEK: 53,
    Unit.MONTH: 12,
    Unit.TICK: 1_000_000_000,
    Unit.VOLUME: 1_000_000_000_000,
}
_FORM = re.compile(r"(\d+)\s*([a-z]+)")

STANDARD: Final = tuple("1s 5s 10s 15s 30s 1m 2m 3m 5m 10m 15m 30m 1h 2h 4h 1d 1w 1mo".split())  # noqa: SIM905 - a row of names
"""The timeframes by name in common use, finest first."""

DEFAULT: Final = ("1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d")
"""The eight that are built unless the settings say otherwise."""


@total_ordering
@dataclass(frozen=True, slots=True)
class Timeframe:
    """A width of bars: `count` of a `unit`. Make one with `Timeframe.parse`, or give canonical parts.

    `str()` is the canonical name. Order is by nominal length, at equal length by unit (`24h` before `1d`, `7d`
    before `1w`); ticks and volume come after all clock widths.

    Raises:
        TimeframeError: a count out of range (1 s to 24 h, 366 d, 53 w, 12 mo), or parts that are not canonical.
    """

    count: int
    unit: Unit

    def __post_init__(self) -> None:
        seconds = self.count * _SECONDS.get(self.unit, 1)
        most = _MOST[Unit.SECOND] if self.is_intraday else _MOST[self.unit]
        if not 1 <= seconds <= most:
            top = "24h" if self.is_intraday else f"{most}{_SYMBOL[self.unit]}"
            least = f"1{_SYMBOL[self.unit]}"
            hint = "; whole days are written 1d, 2d, …" if self.is_intraday and seconds > most else ""
            raise TimeframeError(f"timeframe '{self.count}{_SYMBOL[self.unit]}' is not within {least} to {top}{hint}")
        if self.is_intraday and (self.count, self.unit) != _canonical(seconds):
            raise TimeframeError(
                f"timeframe '{self.count}{_SYMBOL[self.unit]}' is not in canonical units: parse its name"
            )

    @classmethod
    def parse(cls, name: str | Timeframe) -> Timeframe:
        """Read a name: `<n>` and a unit, short or long (`1min`, `5sec`, `1hr`, `1day`, `100 ticks`).

        Case does not matter in long names and in `S`, `H`, `D`, `W`, `T`, `V`. A bare capital `M` is refused, since it
        means the month to some and the minute to others.

        Raises:
            TimeframeError: not a timeframe; the message names the nearest that is.
        """
        if isinstance(name, Timeframe):
            return name
        if not isinstance(name, str):
            raise TimeframeError(f"timeframe {name!r} is not text: write it like '1m'")
        text = name.strip()
        match = _FORM.fullmatch(text.lower())
        unit = _UNITS.get(match[2]) if match else None
        if match is None or unit is None:
            raise TimeframeError(f"timeframe '{_short(text)}' is unknown: did you mean '{nearest(text)}'?")
        if text.endswith("M") and match[2] == "m":
            count = match[1]
            raise TimeframeError(
                f"timeframe '{text}' is ambiguous: write '{count}m' for minutes, '{count}mo' for months"
            )
        if len(match[1]) > 15:
            raise TimeframeError(f"timeframe '{_short(text)}' is too long: whole days are written 1d, 2d, …")
        count = int(match[1])
        if unit in _SECONDS and 1 <= count * _SECONDS[unit] <= _MOST[Unit.SECOND]:
            return cls(*_canonical(count * _SECONDS[unit]))
        return cls(count, unit)

    @property
    def is_intraday(self) -> bool:
        """Whether it is a clock width within a session: seconds, minutes or hours."""
        return self.unit in _SECONDS

    @property
    def is_calendar(self) -> bool:
        """Whether it is made of trading days: days, weeks or months."""
        return self.unit in _NOMINAL

    @property
    def is_activity(self) -> bool:
        """Whether it counts ticks or volume instead of time."""
        return self.unit in (Unit.TICK, Unit.VOLUME)

    @property
    def seconds(self) -> int:
        """The width of an intraday timeframe in seconds; of others a nominal length, for ordering and display only."""
        return self.count * (_SECONDS.get(self.unit) or _NOMINAL.get(self.unit, 1))

    @property
    def width_ns(self) -> int:
        """The width of an intraday timeframe in ns; 0 for every other, whose buckets have no fixed width."""
        return self.seconds * NS if self.is_intraday else 0

    def __str__(self) -> str:
        return f"{self.count}{_SYMBOL[self.unit]}"

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Timeframe):
            return NotImplemented
        return self._rank() < other._rank()

    def _rank(self) -> tuple[int, int, int]:
        return (self.unit if self.is_activity else 0, self.seconds, self.unit)


def _canonical(seconds: int) -> tuple[int, Unit]:
    for unit in (Unit.HOUR, Unit.MINUTE):
        if seconds % _SECONDS[unit] == 0:
            return seconds // _SECONDS[unit], unit
    return seconds, Unit.SECOND


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def nearest(text: str) -> str:
    """Return the canonical name that `text` most likely meant; always a timeframe that exists, and fits into a day."""
    lowered = text.strip().lower()
    fraction = re.fullmatch(r"(\d+\.\d+)\s*([a-z]+)", lowered)
    if fraction and len(lowered) < 16 and (unit := _UNITS.get(fraction[2])) in _SECONDS:
        seconds = round(float(fraction[1]) * _SECONDS[unit])
        if 1 <= seconds <= _MOST[Unit.SECOND]:
            return str(Timeframe(*_canonical(seconds)))
    number = re.search(r"\d{1,15}", lowered)
    letters = re.sub(r"[^a-z]", "", lowered)[:40]
    unit = Unit.MINUTE
    if letters:
        close = difflib.get_close_matches(letters, _UNITS, n=1, cutoff=0.5)
        unit = _UNITS[close[0]] if close else next((u for s, u in _UNITS.items() if s == letters[0]), Unit.MINUTE)
    count = int(number[0]) if number else 1
    try:
        meant = Timeframe.parse(f"{count}{_SYMBOL[unit]}")
    except TimeframeError:
        return f"1{_SYMBOL[unit]}"
    if meant.is_intraday and _MOST[Unit.SECOND] % meant.seconds:
        # one that does not divide the day would be refused for the next reason
        width = _SECONDS[unit]
        fitting = (
            seconds for seconds in range(width, _MOST[Unit.SECOND] + 1, width) if _MOST[Unit.SECOND] % seconds == 0
        )
        meant = Timeframe(*_canonical(min(fitting, key=lambda seconds: abs(seconds - meant.seconds))))
    return str(meant)


def parse_timeframes(names: str | Iterable[str | Timeframe]) -> tuple[Timeframe, ...]:
    """Read several: a comma-separated text or the names one by one. Sorted, each once.

    Raises:
        TimeframeError: one of them does not exist, or there is none.
    """
    parts = [part for part in names.split(",") if part.strip()] if isinstance(names, str) else list(names)
    frames = sorted({Timeframe.parse(part) for part in parts})
    if not frames:
        raise TimeframeError("no timeframe given: name at least one, like '1m'")
    return tuple(frames)
