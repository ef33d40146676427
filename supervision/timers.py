"""A heap of calls to be made at a time. Not thread-safe: the supervising thread owns it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any


@dataclass(order=True, slots=True)
class _Entry:
    at_ns: int
    number: int
    key: Any = field(compare=False)
    call: Callable[[], object] | None = field(compare=False)


class Timers:
    """Timers by key. Setting a key again moves its timer; cancelled ones are swept out in time."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._by_key: dict[Hashable, _Entry] = {}
        self._number = 0

    def set(self, key: Hashable, at_ns: int, call: Callable[[], object]) -> None:
        """Call `call` at `at_ns`."""
        self.cancel(key)
        self._number += 1
        entry = _Entry(at_ns, self._number, key, call)
        self._by_key[key] = entry
        heapq.heappush(self._heap, entry)

    def cancel(self, key: Hashable) -> None:
        """Forget the timer of this key, if there is one."""
        entry = self._by_key.pop(key, None)
        if entry is not None:
            entry.call = None
            if len(self._heap) > 2 * len(self._by_key) + 16:
                self._heap = [kept for kept in self._heap if kept.call is not None]
                heapq.heapify(self._heap)

    def next_ns(self) -> int | None:
        """Return when the next timer is due, or None."""
        while self._heap and self._heap[0].call is None:
            heapq.heappop(self._heap)
        return self._heap[0].at_ns if self._heap else None

    def pop_due(self, now_ns: int) -> Callable[[], object] | None:
        """Take out and return the earliest call that is due, or None."""
        at = self.next_ns()
        if at is None or at > now_ns:
            return None
        entry = heapq.heappop(self._heap)
        self._by_key.pop(entry.key, None)
        return entry.call

    def __len__(self) -> int:
        return len(self._by_key)
