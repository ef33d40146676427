"""The sequencer's way to the recorder: waited for while that helps, and no longer.

A disk can be slower than the feed for a moment, and then everything waits for it: nothing is lost, and TCP holds the
server back. A disk that stands still must not hold up the feed. After `patience` the log is gone without: what enters
goes to validation alone, and is added up as a loss. When the recorder has room again, half of what it ever had, the
`Gap` records that say so take the sequence numbers of what is missing, and the log goes on. So bars are made of
everything that was received, and the log says where it has less; that is how a full disk is dealt with, too.

Not thread-safe: the sequencer calls it under its lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from tickloom.actors.recorder.losses import Losses
from tickloom.messages.intake import Numbered
from tickloom.messages.market import NS
from tickloom.supervision import Ref

PATIENCE_NS: Final = 3 * NS
"""How long the recorder may be without room before the feed goes on without it."""

CAUSE: Final = "the recorder had no room for it"
"""What the gaps say."""


class LogOutlet:
    """The recorder's mailbox, as the sequencer sees it.

    Args:
        ref: the recorder.
        monotonic_ns: the time.
        stalled: told True when the log is gone without, and False when it goes on.
        patience_ns: see the module.
    """

    def __init__(
        self,
        ref: Ref,
        monotonic_ns: Callable[[], int],
        stalled: Callable[[bool], None] = lambda stalls: None,
        patience_ns: int = PATIENCE_NS,
    ) -> None:
        self.ref = ref
        self.lost = 0
        self._now = monotonic_ns
        self._stalled = stalled
        self._patience_ns = patience_ns
        self._most = 1
        self._since: int | None = None
        self._letting_go = False
        self._losses = Losses()
        self._owed: deque[Numbered] = deque()

    @property
    def letting_go(self) -> bool:
        """Whether the log is gone without at the moment."""
        return self._letting_go

    def ready(self) -> bool:
        """Whether an item may be offered now: there is room for it, or no more patience."""
        room = self.ref.room()
        self._most = max(self._most, room)
        if self._letting_go and self._catch_up():
            self._letting_go, self._since = False, None
            self._stalled(False)
            room = self.ref.room()
        if self._letting_go or room:
            self._since = self._since if self._letting_go else None
            return True
        now = self._now()
        if self._since is None:
            self._since = now
        if now - self._since < self._patience_ns:
            return False
        self._letting_go = True
        self._stalled(True)
        return True

    def left_s(self) -> float | None:
        """Return how many seconds it is still waited for; None: there is room."""
        if self._since is None:
            return None
        return max(self._since + self._patience_ns - self._now(), 0) / NS

    def offer(self, numbered: Numbered) -> None:
        """Hand an item on, or add it to what is let go."""
        if self._letting_go:
            frames = self._losses.frames
            self._losses.take([numbered])
            self.lost += self._losses.frames - frames
        else:
            self.ref.offer(numbered, sender="sequencer")

    def settle(self, timeout: float) -> bool:
        """Hand on what is owed, waiting for room; for the end of a session. False: not all of it."""
        self._owed.extend(self._losses.records(CAUSE))
        self._losses = Losses()
        while self._owed and self.ref.put(self._owed[0], sender="sequencer", timeout=timeout):
            self._owed.popleft()
        return not self._owed

    def _catch_up(self) -> bool:
        """Hand on what is owed, as there is room; True: nothing is, and the log goes on."""
        if not self._owed and self.ref.room() * 2 >= self._most:
            self._owed.extend(self._losses.records(CAUSE))
            self._losses = Losses()
            if not self._owed:
                return True
        before = len(self._owed)
        while self._owed and self.ref.offer(self._owed[0], sender="sequencer"):
            self._owed.popleft()
        return bool(before) and not self._owed and not self._losses
