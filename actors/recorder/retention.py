"""Which closed segments are let go. Time is that of the log: the newest receipt stamp written, never a clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tickloom.actors.recorder import index
from tickloom.actors.recorder.files import Files
from tickloom.actors.recorder.opening import Closed
from tickloom.actors.recorder.options import LogOptions, WriterCounters


class Retention:
    """The closed segments of a log, oldest first, and the rule by which the oldest go.

    Args:
        closed: those there already.
        options: `retain_bytes` and `retain_ns` count.
        files: the operations to remove them with.
    """

    def __init__(self, closed: Iterable[Closed], options: LogOptions, files: Files) -> None:
        self._closed = deque(closed)
        self._bytes = sum(segment.size for segment in self._closed)
        self._options = options
        self._files = files
        self._newest_ns = 0

    def saw(self, recv_ns: int) -> None:
        """Say how far receipt has come."""
        self._newest_ns = max(self._newest_ns, recv_ns)

    def add(self, segment: Closed) -> None:
        """Add a segment that was closed just now."""
        self._closed.append(segment)
        self._bytes += segment.size

    def apply(self, counters: WriterCounters) -> None:
        """Remove what must go; the segment closed last stays. One that cannot be removed is counted and left."""
        while len(self._closed) > 1 and self._must_go():
            oldest = self._closed.popleft()
            self._bytes -= oldest.size
            try:
                self._files.remove(oldest.path)
                index.drop(oldest.path)
            except OSError:
                counters.kept_old += 1
            else:
                counters.removed += 1

    def _must_go(self) -> bool:
        """Whether the oldest must: the log is too large, or all in it was received too long ago."""
        size, age = self._options.retain_bytes, self._options.retain_ns
        if size is not None and self._bytes > size:
            return True
        return age is not None and self._closed[1].created_ns < self._newest_ns - age
