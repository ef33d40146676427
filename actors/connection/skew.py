"""How far the gateway's clock is from ours, from the `Date` of its answers. Pure.

A `Date` header has whole seconds, and a server may write the same one for a second (Kestrel renews it by a timer): its
clock read between it and two seconds later, at some time between our request and its answer. Each answer therefore
bounds the offset from both sides, and the bounds of several answers intersect to about a second. A clock that drifts or
is set makes the intersection empty; then the old bounds go. It is good enough to time a renewal, not to measure a
feed's delay.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

NS = 1_000_000_000


class ClockSkew:
    """The offset of the gateway's clock (theirs minus ours), bounded from both sides. All in ns."""

    def __init__(self) -> None:
        self._low: int | None = None
        self._high: int | None = None

    def heard(self, date: str | None, asked_ns: int, answered_ns: int) -> None:
        """Take in the `Date` of an answer to a request sent and answered at these times of our wall clock."""
        if date is None or answered_ns < asked_ns:
            return
        try:
            when = parsedate_to_datetime(date)
        except ValueError:
            return
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        second = int(when.timestamp()) * NS
        low, high = second - answered_ns, second + 2 * NS - asked_ns
        if self._low is None or self._high is None or max(low, self._low) > min(high, self._high):
            self._low, self._high = low, high
        else:
            self._low, self._high = max(low, self._low), min(high, self._high)

    @property
    def offset_ns(self) -> int | None:
        """The best estimate (the middle of the bounds); None before the first answer."""
        if self._low is None or self._high is None:
            return None
        return (self._low + self._high) // 2

    @property
    def bounds(self) -> tuple[int, int] | None:
        """The least and the most it can be; None before the first answer."""
        return None if self._low is None or self._high is None else (self._low, self._high)

    @property
    def uncertainty_ns(self) -> int | None:
        """How far the estimate can be off; None before the first answer."""
        if self._low is None or self._high is None:
            return None
        return (self._high - self._low) // 2
