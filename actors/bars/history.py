"""The last bars of one contract and timeframe, as an immutable value: bounded by rows and bytes, assembled when read.

Settled bars are kept in blocks of int64 columns, `ROW_BYTES` a bar; the last few, which do not fill a block yet, as
objects. Bars that are closed but may still be revised are kept beside them by their place, so a reader always sees the
last word. Adding copies a few pointers, not the bars: a fold can keep a history in its state.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tickloom.actors.bars.blocks import FIELDS, block_of, consecutive, made_of, place, tail
from tickloom.messages.bars import Bar, BarColumns

BLOCK_ROWS = 64
"""Settled bars that make a block: few, because until then each takes five times as much as an object."""

ROW_BYTES = 8 * len(FIELDS) + 28
"""What a settled bar takes in a block, with its share of the arrays' heads."""

OBJECT_BYTES = 640
"""What a bar takes as an object, its integers included: an upper bound for 64-bit CPython, held by a test."""

LEAST_BYTES = BLOCK_ROWS * (ROW_BYTES + OBJECT_BYTES)
"""The least memory that holds a block and the objects before the next."""


class History(msgspec.Struct, frozen=True):
    """At most `max_rows` settled bars in at most `max_bytes`, oldest first, and the closed ones that are not settled
    yet.

    `blocks` come before `recent`; `rows` counts the settled bars that are shown, `held` those in blocks. When there is
    no room the oldest block goes; what the oldest block that stays has beyond `max_rows` is not shown.

    Raises:
        ValueError: no room for a single block.
    """

    max_rows: int
    max_bytes: int
    blocks: tuple[BarColumns, ...] = ()
    recent: tuple[Bar, ...] = ()
    closed: dict[int, Bar] = {}
    rows: int = 0
    held: int = 0

    def __post_init__(self) -> None:
        if self.max_rows < 1 or self.max_bytes < LEAST_BYTES:
            raise ValueError(
                f"a history of {self.max_rows} rows in {self.max_bytes} bytes holds nothing: "
                f"give it a row and {LEAST_BYTES} bytes"
            )

    @property
    def size(self) -> int:
        """The bytes that its bars take, at most."""
        return self.held * ROW_BYTES + (len(self.recent) + len(self.closed)) * OBJECT_BYTES

    def show(self, bars: Sequence[Bar]) -> History:
        """Return the history with bars that were closed or revised, in place of what it knew of them."""
        if not bars:
            return self
        closed = {**self.closed, **{place(bar): bar for bar in bars}}
        shown = History(self.max_rows, self.max_bytes, self.blocks, self.recent, closed, self.rows, self.held)
        if shown.size <= self.max_bytes:
            return shown
        return shown._within(self.blocks, self.held, self.recent, min(closed) - 1)

    def settle(self, bars: Sequence[Bar]) -> History:
        """Return the history with further final bars, in the order in which they became final."""
        if not bars:
            return self
        blocks, recent, held = self.blocks, (*self.recent, *bars), self.held
        while len(recent) >= BLOCK_ROWS:
            rows = consecutive(recent[:BLOCK_ROWS])
            blocks, recent = (*blocks, block_of(recent[:rows])), recent[rows:]
            held += rows
        return self._within(blocks, held, recent, place(bars[-1]))

    def settle_columns(self, block: BarColumns) -> History:
        """Return the history with a block of final bars, in order of open time."""
        if not len(block):
            return self
        last = int(block.open_time[-1])
        most = min(self.max_rows, (self.max_bytes - LEAST_BYTES) // ROW_BYTES + BLOCK_ROWS)
        if len(block) > most:  # a copy, or the whole block would stay in memory for its tail
            short = tail(block, most)
            fields = (getattr(short, field).copy() for field in FIELDS)
            block = made_of(block.contract, block.timeframe, fields, short.first)
        before = (block_of(self.recent),) if self.recent else ()
        held = self.held + len(self.recent) + len(block)
        return self._within((*self.blocks, *before, block), held, (), last)

    def bounded(self, max_rows: int, max_bytes: int) -> History:
        """Return the history within other bounds; the oldest of what is beyond them goes at once."""
        if (max_rows, max_bytes) == (self.max_rows, self.max_bytes):
            return self
        other = History(max_rows, max_bytes, self.blocks, self.recent, self.closed, self.rows, self.held)
        return other._within(self.blocks, self.held, self.recent, min(self.closed, default=0) - 1)

    def _within(self, blocks: tuple[BarColumns, ...], rows: int, recent: tuple[Bar, ...], settled: int) -> History:
        """Return the history with these bars, `rows` of them in blocks, less what is beyond its bounds and what is no
        longer pending."""
        closed = {start: bar for start, bar in self.closed.items() if start > settled}
        room = self.max_bytes - (len(recent) + len(closed)) * OBJECT_BYTES
        drop = 0
        while drop < len(blocks) and (
            rows - len(blocks[drop]) + len(recent) >= self.max_rows or rows * ROW_BYTES > room
        ):
            rows -= len(blocks[drop])
            drop += 1
        recent = recent[-self.max_rows :]
        shown = min(rows + len(recent), self.max_rows)
        return History(self.max_rows, self.max_bytes, blocks[drop:] if drop else blocks, recent, closed, shown, rows)

    def bars(self, last: int | None = None) -> list[Bar | BarColumns]:
        """Return the newest `last` bars (all by default), oldest first; those that may still be revised included."""
        closed = [bar for _, bar in sorted(self.closed.items())]
        want = self.rows + len(closed) if last is None else max(last, 0)
        closed = closed[max(len(closed) - want, 0) :]
        want = min(want - len(closed), self.rows)
        recent = self.recent[max(len(self.recent) - want, 0) :]
        want -= len(recent)
        blocks: list[BarColumns] = []
        for block in reversed(self.blocks):
            if want <= 0:
                break
            blocks.append(tail(block, want))
            want -= len(blocks[-1])
        return [*reversed(blocks), *recent, *closed]
