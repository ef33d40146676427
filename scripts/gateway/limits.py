"""Rate limits as the gateway documents them: so many calls within a sliding window, per user."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from tickloom.scripts.gateway.stamps import SECOND_NS

_CALLERS: Final = 1000


class SlidingWindow:
    """Admits `calls` in any `seconds`; `calls` 0 admits everything. Callers not seen for long are forgotten."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls = calls
        self._window_ns = round(seconds * SECOND_NS)
        self._seen: OrderedDict[str, deque[int]] = OrderedDict()

    def admit(self, caller: str, now_ns: int) -> float:
        """Count a call; return 0.0 if it is admitted, else the seconds until one will be."""
        if not self._calls:
            return 0.0
        calls = self._seen.setdefault(caller, deque())
        self._seen.move_to_end(caller)
        while len(self._seen) > _CALLERS:
            self._seen.popitem(last=False)
        while calls and calls[0] <= now_ns - self._window_ns:
            calls.popleft()
        if len(calls) >= self._calls:
            return (calls[0] + self._window_ns - now_ns) / SECOND_NS
        calls.append(now_ns)
        return 0.0
