"""Items that wait to be written, and the batches they make. Pure: knows no file and no clock but what it is told.

An item leaves when the caller says that its batch is in the file, not before. Numbers only rise: what was taken once is
passed over when it comes again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tickloom.actors.recorder.packing import Packed, Pause, TooLarge, Unfit, no_pause, pack
from tickloom.actors.recorder.slicing import slice_frames, slices
from tickloom.messages.intake import Frames, Numbered


class Batch(msgspec.Struct, frozen=True):
    """The oldest items, packed; or, if `packed` is None, one item that no batch can hold, and why."""

    items: list[Numbered]
    packed: Packed | None
    fault: str = ""


class Backlog:
    """Items in order.

    Args:
        taken: the last sequence number in the log; None: it is empty.
        pause: called now and then while a batch is packed.

    Attributes:
        rows: about how many rows they will be.
        since: when the oldest of them began to wait, or when the last batch was taken off (monotonic ns).
        repeated: how many frames and records were passed over.
    """

    def __init__(self, taken: int | None, pause: Pause = no_pause) -> None:
        self.rows = 0
        self.since = 0
        self.repeated = 0
        self._pause = pause
        self._taken = -1 if taken is None else taken
        self._items: list[Numbered] = []

    def __len__(self) -> int:
        return len(self._items)

    def add(self, items: Iterable[Numbered], now_ns: int) -> None:
        """Take items, in order of their numbers."""
        if not self._items:
            self.since = now_ns
        taken, rows = self._taken, self.rows
        try:
            for numbered in items:
                fresh = numbered if numbered.seq > taken else self._fresh(numbered, taken)
                if fresh is None:
                    continue
                item = fresh.item
                if type(item) is Frames:
                    count = len(item.recv_ns)
                    if not count:
                        continue
                    prints = item.prints
                    if prints is None or (more := len(prints.price)) < count:
                        more = count
                    rows += more
                    taken = fresh.seq + count - 1
                else:
                    rows += 1
                    taken = fresh.seq
                self._items.append(fresh)
        finally:
            self._taken, self.rows = taken, rows

    def batch(self, limit: int) -> Batch:
        """Return the oldest items that make one batch of about `limit` rows, at most twice as many."""
        count = self._group(limit)
        while True:
            group = self._items[:count]
            try:
                return Batch(group, pack(group, self._pause))
            except TooLarge:
                if count == 1:
                    first = self._items[0]
                    assert isinstance(first.item, Frames), "only frames can be too large"
                    self._items[:1] = slices(first, len(first.item) // 2)
            except Unfit as error:
                if count == 1:
                    return Batch(group, None, str(error))
            count = max(1, count // 2)

    def take_off(self, batch: Batch, now_ns: int) -> None:
        """Forget the items of a batch: they are in the file, or given up."""
        del self._items[: len(batch.items)]
        self.rows = sum(map(_rows, self._items))
        self.since = now_ns

    def clear(self) -> list[Numbered]:
        """Return all items, and forget them."""
        items, self._items, self.rows = self._items, [], 0
        return items

    def exceeds(self, rows: int, size: int) -> bool:
        """Whether more than so many rows, or bytes of payload, wait."""
        return self.rows > rows or sum(map(_payload_bytes, self._items)) > size

    def _fresh(self, numbered: Numbered, taken: int) -> Numbered | None:
        """Return what has not been taken yet of an item that begins at or below the last number taken."""
        frames = isinstance(numbered.item, Frames)
        known = min(taken - numbered.seq + 1, len(numbered.item) if isinstance(numbered.item, Frames) else 1)
        self.repeated += known
        return slice_frames(numbered, known, None) if frames else None

    def _group(self, limit: int) -> int:
        """Return how many of the oldest items make one batch; an item with too many rows is parted first."""
        first = self._items[0]
        if _rows(first) > 2 * limit and isinstance(first.item, Frames) and len(first.item) > 1:
            self._items[:1] = slices(first, max(1, len(first.item) * limit // _rows(first)))
        if self.rows <= 2 * limit:
            return len(self._items)
        rows = 0
        for count, numbered in enumerate(self._items):
            rows += _rows(numbered)
            if rows > limit and count:
                return count
        return len(self._items)


def _rows(numbered: Numbered) -> int:
    """Return about how many rows an item takes."""
    item = numbered.item
    if not isinstance(item, Frames):
        return 1
    return max(len(item.recv_ns), 0 if item.prints is None else len(item.prints.price))


def _payload_bytes(numbered: Numbered) -> int:
    item = numbered.item
    return sum(map(len, item.payloads)) if isinstance(item, Frames) and item.payloads is not None else 0
