"""A gate on the way from a log into the actors: open, or shut and opened for so many frames at a time.

One thread sends items through (`admit`), others open and shut it. Nothing is lost by shutting it: what is not let
through stands.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from tickloom.actors.recorder.slicing import slice_frames
from tickloom.messages.intake import Frames, Numbered


class Gate:
    """Open unless made `shut`. A record counts as one frame."""

    def __init__(self, *, shut: bool = False) -> None:
        self._moved = threading.Condition()
        self._shut = shut
        self._wanted = 0
        self._passed = 0
        self._over = False
        self._anew = False

    @property
    def shut(self) -> bool:
        """Whether it lets nothing through by itself."""
        return self._shut

    @property
    def passed(self) -> int:
        """Frames and records let through so far."""
        return self._passed

    @property
    def over(self) -> bool:
        """Whether it was ended."""
        return self._over

    def close(self) -> None:
        """Let nothing more through until it is opened, or stepped."""
        with self._moved:
            self._shut = True

    def open(self) -> None:
        """Let everything through."""
        with self._moved:
            self._shut, self._wanted, self._anew = False, 0, True
            self._moved.notify_all()

    def end(self) -> None:
        """Nothing comes through any more, whoever waits for it."""
        with self._moved:
            self._over = True
            self._moved.notify_all()

    def step(self, count: int, timeout: float | None = None) -> int:
        """Shut it, let `count` frames or records through, and return how many there were when they are.

        Fewer than asked for: the log has ended, or the time has.
        """
        with self._moved:
            self._shut, self._anew = True, True
            before = self._passed
            self._wanted = count
            self._moved.notify_all()
            self._moved.wait_for(lambda: self._over or not self._wanted, timeout)
            self._wanted = 0
            return self._passed - before

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until somebody steps, opens or ends it."""
        with self._moved:
            self._moved.wait_for(self.hurried, seconds)

    def hurried(self) -> bool:
        """Whether whoever waits for the time of an item should not."""
        return self._over or self._wanted > 0

    def anew(self) -> bool:
        """Whether time stood since this was last asked, so that what is due must be reckoned anew."""
        with self._moved:
            anew, self._anew = self._anew or self._shut, False
            return anew

    def admit(self, numbered: Numbered) -> Iterator[Numbered]:
        """Yield an item, in parts if need be, as the gate lets it through; what comes after the end is left out.

        A part counts as through when the next one is asked for.
        """
        rest: Numbered | None = numbered
        while rest is not None:
            with self._moved:
                self._moved.wait_for(lambda: self._over or self._wanted or not self._shut)
                if self._over:
                    return
                stepping = self._shut
                size = len(rest.item) if isinstance(rest.item, Frames) else 1
                take = min(self._wanted, size) if stepping else size
            part, rest = (rest, None) if take == size else _cut(rest, take)
            yield part
            with self._moved:
                self._passed += take
                if stepping and self._wanted:
                    self._wanted -= take
                    self._moved.notify_all()


def _cut(numbered: Numbered, size: int) -> tuple[Numbered, Numbered | None]:
    part = slice_frames(numbered, 0, size)
    assert part is not None, "there is at least one frame to take"
    return part, slice_frames(numbered, size, None)
