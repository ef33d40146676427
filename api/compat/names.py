"""The other library's timeframe names beside ours. Its numbers are the gateway's: unit 1 second, 2 minute, 4 day,
5 week, 6 month; an hour is 60 minutes.

Source: project-x-py 4.4.1 (PyPI), `RealtimeDataManager.timeframes` as it is after construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tickloom.config.timeframes import Timeframe

TIMEFRAMES: Final[dict[str, tuple[int, int]]] = {
    "1sec": (1, 1),
    "5sec": (5, 1),
    "10sec": (10, 1),
    "15sec": (15, 1),
    "30sec": (30, 1),
    "1min": (1, 2),
    "5min": (5, 2),
    "15min": (15, 2),
    "30min": (30, 2),
    "1hr": (60, 2),
    "4hr": (240, 2),
    "1day": (1, 4),
    "1week": (1, 5),
    "1month": (1, 6),
}
"""(interval, unit) by name."""

DEFAULT: Final = ("5min",)
"""What is built when nothing is said."""


def chosen(names: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Return what `RealtimeDataManager.timeframes` holds for these names.

    Raises:
        ValueError: the list is empty, or has a name that the other library does not know.
    """
    if names is not None and not names:
        raise ValueError("timeframes is an empty list: leave it out for 5min, or name some")
    found: dict[str, dict[str, Any]] = {}
    for name in names if names is not None else DEFAULT:
        if name not in TIMEFRAMES:
            raise ValueError(f"timeframe {name!r} is none of {', '.join(TIMEFRAMES)}")
        interval, unit = TIMEFRAMES[name]
        found[name] = {"interval": interval, "unit": unit, "name": name}
    return found


def ours(name: str) -> str:
    """Return our canonical name: `4hr` is `4h`, `1month` is `1mo`."""
    return str(Timeframe.parse(name))
