"""Whether a link is alive, decided by WebSocket pings and what else was heard. Pure; times are monotonic seconds.

SignalR's own pings come every 15 s and its timeout is 30 s: long, for a half-open link. A WebSocket ping is answered by
the peer's stack at once, so it measures the round trip and finds a dead link within `interval + patience`. A peer that
sends anything at all is alive, whether or not it answers pings.
"""

from __future__ import annotations


class Heartbeat:
    """When to ping, what the pongs say, and when to give the link up.

    Args:
        interval: seconds between pings; 0: never ping.
        patience: seconds a ping may stay unanswered while nothing else is heard.
        now: when the link came up.
    """

    def __init__(self, interval: float, patience: float, now: float) -> None:
        self.interval = interval
        self.patience = patience
        self.round_trip: float | None = None
        self._next = now + interval if interval > 0 else float("inf")
        self._number = 0
        self._sent_at: float | None = None

    def next_deadline(self) -> float:
        """Return when `on_time` or `overdue` next has something to decide."""
        if self._sent_at is not None:
            return self._sent_at + self.patience
        return self._next

    def on_time(self, now: float, heard: float) -> bytes | None:
        """Return the body of a ping to send now, or None."""
        if self._sent_at is not None:
            if heard > self._sent_at:  # alive, though the pong is missing: ping again in due time
                self._sent_at = None
                self._next = now + self.interval
            return None
        if now < self._next:
            return None
        self._number += 1
        self._sent_at = now
        return self._number.to_bytes(8, "big")

    def overdue(self, now: float, heard: float) -> bool:
        """Whether the link is dead: a ping has gone unanswered for too long, and nothing else was heard since."""
        return self._sent_at is not None and heard <= self._sent_at and now - self._sent_at >= self.patience

    def on_pong(self, body: bytes, now: float) -> float | None:
        """Take a pong; return the round trip in seconds, or None if it answers no ping of ours that is still open."""
        if self._sent_at is None or body != self._number.to_bytes(8, "big"):
            return None
        self.round_trip = now - self._sent_at
        self._sent_at = None
        self._next = now + self.interval
        return self.round_trip
