"""The last bars of one contract and timeframe, as an immutable value: bounded by rows and bytes, assembled when read.

Settled bars are kept in blocks of int64 columns, `ROW_BYTES` a bar; the last few, which do not fill a block yet, as
objects. Bars that are closed but may still be revised are kept beside them by open time, so a reader always sees
the last word. Adding copies a few pointers, not the bars: a fold can keep a history in its state.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tickloom.actors.bars.tables import FIELDS, block_of, tail
from tickloom.messages.bars import Bar, BarColumns

BLOCK_ROWS = 256
"""Settled bars that make a block."""

ROW_BYTES = 8 * len(FIELDS)
"""What a settled bar takes in a block."""

OBJECT_BYTES = 420
"""What a bar takes as an object, its integers included (an upper bound for 64-bit CPython)."""


class History(msgspec.Struct, frozen=True):
    """At most `max_rows` settled bars in at most `max_bytes`, oldest first, and the closed ones that are not settled
    yet.

    `blocks` come before `recent`. When there is no room the oldest block goes; rows beyond `max_rows` within the
    oldest block that stays are not shown.

    Raises:
        ValueError: no room for a single block.
    """

    max_rows: int
    max_bytes: int
    blocks: tuple[BarColumns, ...] = ()
    recent: tuple[Bar, ...] = ()
    closed: dict[int, Bar] = {}
    rows: int = 0

    def __post_init__(self) -> None:
        if self.max_rows < 1 or self.max_bytes < BLOCK_ROWS * (ROW_BYTES + OBJECT_BYTES):
            least = BLOCK_ROWS * (ROW_BYTES + OBJECT_BYTES)
            raise ValueError(
                f"a history of {self.max_rows} rows in {self.max_bytes} bytes holds nothing: "
                f"give it a row and {least} bytes"
            )

    @property
    def size(self) -> int:
        """The bytes that its bars take, at most."""
        objects = len(self.recent) + len(self.closed)
        return sum(map(len, self.blocks)) * ROW_BYTES + objects * OBJECT_BYTES

    def show(self, bars: Sequence[Bar]) -> History:
        """Return the history with bars that were closed or revised, in place of what it knew of them."""
        if not bars:
            return self
        closed = {**self.closed, **{bar.open_time: bar for bar in bars}}
        return msgspec.structs.replace(self, closed=closed)

    def settle(self, bars: Sequence[Bar]) -> History:
        """Return the history with further final bars, in order of open time."""
        if not bars:
            return self
        closed = {start: bar for start, bar in self.closed.items() if start > bars[-1].open_time}
        blocks, recent = self.blocks, (*self.recent, *bars)
        while len(recent) >= BLOCK_ROWS:
            blocks, recent = (*blocks, block_of(list(recent[:BLOCK_ROWS]))), recent[BLOCK_ROWS:]
        return self._within(blocks, recent, closed)

    def settle_columns(self, block: BarColumns) -> History:
        """Return the history with a block of final bars, in order of open time."""
        if not len(block):
            return self
        closed = {start: bar for start, bar in self.closed.items() if start > block.open_time[-1]}
        if len(block) > self.max_rows:  # a copy, or the whole block would stay in memory for its tail
            block = tail(block, self.max_rows)
            block = msgspec.structs.replace(block, **{field: getattr(block, field).copy() for field in FIELDS})
        blocks = self.blocks
        if self.recent:
            blocks = (*blocks, block_of(list(self.recent)))
        return self._within((*blocks, block), (), closed)

    def _within(self, blocks: tuple[BarColumns, ...], recent: tuple[Bar, ...], closed: dict[int, Bar]) -> History:
        room = self.max_bytes - (len(recent) + len(closed)) * OBJECT_BYTES
        rows = sum(map(len, blocks))
        drop = 0
        while drop < len(blocks) and (
            rows - len(blocks[drop]) + len(recent) >= self.max_rows or rows * ROW_BYTES > room
        ):
            rows -= len(blocks[drop])
            drop += 1
        recent = recent[-self.max_rows :]
        shown = min(rows + len(recent), self.max_rows)
        return History(self.max_rows, self.max_bytes, blocks[drop:], recent, closed, shown)

    def bars(self, last: int | None = None) -> list[Bar | BarColumns]:
        """Return the newest `last` bars (all by default), oldest first; those that may still be revised included."""
        closed = [bar for _, bar in sorted(self.closed.items())]
        want = self.rows + len(closed) if last is None else max(last, 0)
        closed = closed[len(closed) - want :] if want < len(closed) else closed
        want = min(want - len(closed), self.rows)
        recent = self.recent[len(self.recent) - want :] if want < len(self.recent) else self.recent
        want -= len(recent)
        blocks: list[BarColumns] = []
        for block in reversed(self.blocks):
            if want <= 0:
                break
            blocks.append(tail(block, want))
            want -= len(blocks[-1])
        return [*reversed(blocks), *recent, *closed]
