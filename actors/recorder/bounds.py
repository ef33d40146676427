"""Where a reading begins and ends, against the table of a segment and the rows of a batch. Pure.

A reading is one stretch of the log: from the first row at or past both beginnings, to before the first row after it
at or past either end. Receipt stamps may run backwards when the wall clock is set; a stretch is cut by the first row
that passes, not by every row.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa

from tickloom.actors.recorder.segment import Scan
from tickloom.actors.recorder.unpacking import values
from tickloom.messages.market import IntArray
from tickloom.messages.records import BatchNote, Kind


class Piece(msgspec.Struct, frozen=True):
    """A batch, its note, and which of its rows are wanted: `[low, high)`."""

    batch: pa.RecordBatch
    note: BatchNote
    low: int
    high: int


def seq_column(batch: pa.RecordBatch, note: BatchNote) -> IntArray:
    """Return each row's sequence number, computed where the note says it can be."""
    if not note.dense:
        return values(batch, "seq", np.int64)
    return np.cumsum(values(batch, "kind", np.uint8) != Kind.PRINT) + (note.seq[0] - 1)


class Bounds(msgspec.Struct, frozen=True):
    """`[from_ns, to_ns)` of receipt and `[from_seq, to_seq)`; None: open."""

    from_ns: int | None = None
    to_ns: int | None = None
    from_seq: int | None = None
    to_seq: int | None = None

    def first_unit(self, found: Scan) -> int:
        """Return the place of the first unit that may hold the first row; the table's length when none can."""
        totals = found.totals
        past_ns = self.from_ns is not None and totals.greatest_ns < self.from_ns
        past_seq = self.from_seq is not None and totals.last_seq < self.from_seq
        if not len(found) or past_ns or past_seq:
            return len(found)
        may = np.ones(len(found), np.bool_)
        if self.from_ns is not None:
            may &= found.column("greatest_ns") >= self.from_ns
        if self.from_seq is not None:
            may &= found.column("last_seq") >= self.from_seq
        return int(may.argmax()) if may.any() else len(may)

    def begins_within(self, least_ns: int, first_seq: int) -> bool:
        """Whether the range begins after the first row of a unit that has these: what lies before it is not wanted."""
        return (self.from_ns is not None and least_ns < self.from_ns) or (
            self.from_seq is not None and first_seq < self.from_seq
        )

    def first_row(self, batch: pa.RecordBatch, note: BatchNote) -> int:
        """Return the first wanted row of a batch; its length when there is none."""
        within = np.ones(batch.num_rows, np.bool_)
        if self.from_ns is not None and note.recv_ns[0] < self.from_ns:
            within &= values(batch, "recv_ns", np.int64) >= self.from_ns
        if self.from_seq is not None and note.seq[0] < self.from_seq:
            within &= seq_column(batch, note) >= self.from_seq
        return int(within.argmax()) if within.any() else batch.num_rows

    def end_row(self, batch: pa.RecordBatch, note: BatchNote, low: int) -> int:
        """Return the row before which the range ends, at or after `low`; the batch's length when it goes on."""
        past = np.zeros(batch.num_rows - low, np.bool_)
        if self.to_ns is not None and note.recv_ns[1] >= self.to_ns:
            past |= values(batch, "recv_ns", np.int64)[low:] >= self.to_ns
        if self.to_seq is not None and note.seq[1] >= self.to_seq:
            past |= seq_column(batch, note)[low:] >= self.to_seq
        return low + int(past.argmax()) if past.any() else int(batch.num_rows)

    def ends_with(self, note: BatchNote) -> bool:
        """Whether nothing after a batch can be in the range, going by numbers, which rise."""
        return self.to_seq is not None and note.seq[1] + 1 >= self.to_seq
