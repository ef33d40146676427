"""What options say, read: moments and speeds. Pure; what cannot be read is a `UsageError` that names the option."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf

from tickloom.errors import UsageError
from tickloom.messages.market import NS
from tickloom.pacing import FASTEST

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment(text: str | None, option: str) -> int | None:
    """Return an ISO 8601 time as ns UTC (UTC unless it names an offset); None stays None.

    Raises:
        UsageError: it is no time.
    """
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text}: write a time like 2025-11-22T14:30:00 or 2025-11-22T14:30:00-06:00"
        ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return (when - _EPOCH) // _MICROSECOND * 1000


def speed(text: str, option: str) -> float:
    """Return a factor on the time between receipts; `max` is infinite.

    Raises:
        UsageError: it is neither `max` nor a number above 0, or larger than there is a pace for.
    """
    if text == "max":
        return inf
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= FASTEST:
        raise UsageError(f"{option} {text}: write max, or a number above 0 and at most {FASTEST:g}, like 1 or 60")
    return factor


def spelled(ns: int | None) -> str | None:
    """Return ns UTC as people read it, to the millisecond: `2025-11-22 14:30:00.125 UTC`."""
    if ns is None:
        return None
    when = _EPOCH + timedelta(seconds=ns // NS)
    return f"{when:%Y-%m-%d %H:%M:%S}.{ns % NS // 1_000_000:03d} UTC"
