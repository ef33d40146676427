"""How many requests the gateway allows in how many seconds, kept on our side, so that 429 stays the exception. Pure.

Source: gateway.docs.projectx.com, "Rate limits": `retrieveBars` 50 in 30 s, everything else 200 in 60 s.
"""

from __future__ import annotations

from collections import deque


class Budget:
    """A sliding window: at most `limit` requests begin within any `seconds`. Times are monotonic seconds."""

    def __init__(self, limit: int, seconds: float) -> None:
        if limit < 1 or seconds <= 0:
            raise ValueError(f"a budget of {limit} requests in {seconds} s allows nothing")
        self.limit = limit
        self.seconds = seconds
        self._begun: deque[float] = deque(maxlen=limit)

    def reserve(self, now: float) -> float:
        """Take the next free place; return how many seconds from now it is (0: at once)."""
        full = len(self._begun) == self.limit
        at = max(now, self._begun[0] + self.seconds) if full else now
        self._begun.append(at)
        return at - now


BARS = (50, 30.0)
OTHER = (200, 60.0)
