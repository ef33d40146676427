"""Where messages that reached nobody are written down: the last few whole, all of them counted by reason."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was not handled: from whom, for whom, why, and when (wall clock, ns UTC)."""

    message: Any
    sender: str
    receiver: str
    reason: str
    at_ns: int


class DeadLetters:
    """A bounded ring of dead letters with exact counts. Any thread may use it; nothing in it blocks for long."""

    def __init__(self, keep: int = 256) -> None:
        self._lock = threading.Lock()
        self._ring: deque[DeadLetter] = deque(maxlen=keep)
        self._by_reason: Counter[str] = Counter()
        self._by_receiver: dict[str, Counter[str]] = {}

    def add(self, letter: DeadLetter) -> None:
        """Write one down. The oldest kept one makes room; the counts keep everything."""
        with self._lock:
            self._ring.append(letter)
            self._by_reason[letter.reason] += 1
            self._by_receiver.setdefault(letter.receiver, Counter())[letter.reason] += 1

    def recent(self) -> list[DeadLetter]:
        """Return the kept letters, oldest first."""
        with self._lock:
            return list(self._ring)

    def counts(self) -> dict[str, int]:
        """Return how many there were, by reason, since the tree was made."""
        with self._lock:
            return dict(self._by_reason)

    def counts_for(self, receiver: str) -> dict[str, int]:
        """Return how many there were for one receiver's path, by reason."""
        with self._lock:
            return dict(self._by_receiver.get(receiver, ()))

    def forget(self, receiver: str) -> None:
        """Drop the counts of a receiver that is gone for good; the counts by reason keep them."""
        with self._lock:
            self._by_receiver.pop(receiver, None)

    def __len__(self) -> int:
        with self._lock:
            return self._by_reason.total()
