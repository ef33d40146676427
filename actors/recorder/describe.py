"""What a batch's columns say about it: its note, computed anew. Pure.

The writer makes notes of items; care makes them of columns, to check the writer's and to describe batches it glued.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tickloom.actors.recorder.unpacking import DECODED, Inconsistent, values
from tickloom.messages.records import BatchNote, Kind

_BEAT = '{"record":"beat"'


def describe(batch: pa.RecordBatch) -> BatchNote:
    """Return the note that belongs to a batch with all columns; `crc32` is empty and `n` zero.

    Raises:
        Inconsistent: the batch is empty, has rows of no known kind, or numbers that do not rise.
    """
    kind = values(batch, "kind", np.uint8)
    if not len(kind) or batch.column("kind").null_count or int(kind.max()) > max(Kind) or kind[0] == Kind.PRINT:
        raise Inconsistent("it is empty, begins within a frame, or has a row of no known kind")
    seq = values(batch, "seq", np.int64)
    recv = values(batch, "recv_ns", np.int64)
    heads = kind != Kind.PRINT
    if bool((np.diff(seq)[heads[1:]] <= 0).any()) or bool((np.diff(seq)[~heads[1:]] != 0).any()):
        raise Inconsistent("its sequence numbers do not rise from frame to frame")
    follows = kind[:-1][~heads[1:]]
    if bool(((follows != Kind.TRADE) & (follows != Kind.PRINT)).any()):
        raise Inconsistent("a further print follows a row without one")
    has = np.flatnonzero((kind == Kind.TRADE) | (kind == Kind.PRINT))
    tick = values(batch, "tick", np.int64)[has]
    if bool((np.diff(tick) <= 0).any()):
        raise Inconsistent("its arrival numbers do not rise")
    controls = np.flatnonzero(kind == Kind.CONTROL)
    record, extra = batch.column("record"), batch.column("extra")
    if bool(np.asarray(record.is_valid()).any()) != bool(len(controls)) or len(record.drop_null()) != len(controls):
        raise Inconsistent("records stand in rows that are none, or are missing")
    for name in DECODED:
        if not np.array_equal(np.asarray(batch.column(name).is_valid()).nonzero()[0], has):
            raise Inconsistent(f"a print has no {name}, or what is none has one")
    entries = int(heads.sum())
    return BatchNote(
        crc32="",
        n=0,
        rows=batch.num_rows,
        frames=entries - len(controls),
        prints=len(has),
        seq=(int(seq[0]), int(seq[-1])),
        recv_ns=(int(recv.min()), int(recv.max())),
        tick=int(tick[0]) if len(tick) else None,
        controls=len(controls),
        records=sum(not text.startswith(_BEAT) for text in record.drop_null().to_pylist()),
        extras=batch.num_rows - extra.null_count,
        dense=int(seq[-1]) - int(seq[0]) + 1 == entries and not bool((np.diff(tick) != 1).any()),
    )
