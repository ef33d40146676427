"""The sequencer: one numbering for everything that enters, and one order for the log and the pipeline.

It is not an actor but a mailbox with two readers, and like a mailbox it holds a lock, for about a microsecond.
`offer` gives the item the next sequence number and puts it into the recorder's and validation's mailboxes, both or
neither. The order in the log is therefore the order in which validation works. Any thread may call it; nothing here
blocks but `put`. Only a recorder that stands still is gone without, after a while: see `outlet`.

Only the sequencer may put `Numbered` items into those two data lanes: that is why room, once seen under the lock,
stays.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from tickloom.actors.outlet import LogOutlet
from tickloom.messages.control import AnyControl, Gap
from tickloom.messages.intake import Frames, Intake, Numbered
from tickloom.supervision import Ref


class Nudge(msgspec.Struct, frozen=True):
    """A message that says nothing. Waiting for room to put it is waiting for room."""


NUDGE: Final = Nudge()


class Sequencer:
    """Numbers items and hands each to every outlet.

    Args:
        outlets: the mailboxes' refs; the first one with no room is the one that is waited for.
        next_seq: the sequence number of the next item's first row.
        log: the way to the recorder, if there is one.
    """

    def __init__(self, outlets: Sequence[Ref], next_seq: int = 1, log: LogOutlet | None = None) -> None:
        self._outlets = tuple(outlets)
        self._log = log
        self._lock = threading.Lock()
        self._next = next_seq
        self._prints = 0
        self._gaps = 0

    @property
    def next_seq(self) -> int:
        """The number the next item will get."""
        return self._next

    @property
    def prints(self) -> int:
        """Prints offered so far, those that could not be decoded included."""
        return self._prints

    @property
    def gaps(self) -> int:
        """Gaps offered so far."""
        return self._gaps

    def offer(self, item: Intake) -> bool:
        """Number `item` and hand it on; False, and nothing done, when an outlet has no room. Never blocks."""
        with self._lock:
            for outlet in self._outlets:
                if outlet.room() < 1:
                    return False
            log = self._log
            if log is not None and not log.ready():
                return False
            numbered = Numbered(self._next, item)
            if log is not None:
                log.offer(numbered)
            for outlet in self._outlets:
                outlet.offer(numbered, sender="sequencer")
            self._next = numbered.last_seq + 1
            if isinstance(item, Frames):
                if item.prints is not None:
                    self._prints += len(item.prints)
                for bad in item.malformed:
                    self._prints += bad.prints
            elif isinstance(item, Gap):
                self._gaps += 1
            return True

    def put(self, item: Intake, timeout: float | None = None) -> bool:
        """Hand `item` on, waiting for room, `timeout` seconds at most. For threads that may block.

        False: there was no room in time, or an outlet takes nothing any more; nothing was done.
        """
        while not self.offer(item):
            full, patience = self._full()
            if patience is not None and (timeout is None or patience < timeout):
                full.put(NUDGE, sender="sequencer", timeout=patience)
            elif not full.put(NUDGE, sender="sequencer", timeout=timeout):
                return self.offer(item)
        return True

    def note(self, record: AnyControl, timeout: float) -> bool:
        """Number a record that decides nothing, and hand it to the recorder alone, waiting for room.

        False: there was none in time, or there is no log; it is let go.
        """
        if self._log is None:
            return False
        while True:
            with self._lock:
                if self._log.ready():
                    self._log.offer(Numbered(self._next, record))
                    self._next += 1
                    return True
            if not self._log.ref.put(NUDGE, sender="sequencer", timeout=timeout):
                return False

    async def put_async(self, item: Intake) -> None:
        """Hand `item` on, waiting for room without blocking the event loop."""
        while not self.offer(item):
            full, patience = self._full()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await full.put_async(NUDGE, sender="sequencer")

    def settle(self, timeout: float) -> bool:
        """Hand on to the recorder what it is still owed, at the end of a session. False: it has no room for it."""
        with self._lock:
            return self._log is None or self._log.settle(timeout)

    @property
    def unlogged(self) -> int:
        """Frames that are in bars and not in the log, because the recorder stood still."""
        return 0 if self._log is None else self._log.lost

    def _full(self) -> tuple[Ref, float | None]:
        """Return whose room is waited for, and for how long that helps (s; None: as long as it takes)."""
        full = min(self._outlets, key=lambda outlet: outlet.room())
        if self._log is None or full.room() < 1:
            return full, None
        return self._log.ref, self._log.left_s()
