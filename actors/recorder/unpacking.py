"""From record batches of the log back to intake items. Pure but for what it gathers: a run of frames not yet let go.

A run ends at a control record, where the source changes, where a sequence or arrival number is missing, where
payloads begin or stop being kept, and when it has grown to `max_rows`; not at a batch's end. Columns are views of the
batch wherever a batch is one run.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tickloom.messages.control import decode_control
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Depth, IntArray, Malformed, Prints, Quote
from tickloom.messages.records import BatchNote, Extra, Kind, decode_extra

_LONG = 1 << 17
"""Rows of the largest batches that are written: what is the same for all of them is made once."""

_RAMP: IntArray = np.arange(_LONG)
_NOUGHTS: IntArray = np.zeros(_LONG, np.int64)
_RAMP.flags.writeable = _NOUGHTS.flags.writeable = False

DECODED = ("contract", "ts_ns", "price", "size", "side")


def columns_needed(notes: list[BatchNote], *, raw: bool) -> list[str]:
    """Return the columns that items can be made of for batches with these notes: the fewer, the faster."""
    names = ["recv_ns", "source", "kind"]
    if raw:
        names += ["mono_ns", "payload"]
    if not all(note.dense for note in notes):
        names += ["seq", "tick"]
    if any(note.prints for note in notes):
        names += DECODED
    if any(note.extras for note in notes):
        names.append("extra")
    if any(note.controls for note in notes):
        names.append("record")
    return names


def values(batch: pa.RecordBatch, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """Return a fixed-width column as an array that shares its memory; what lies under nulls means nothing."""
    column = batch.column(name)
    if isinstance(column, pa.DictionaryArray):
        column = column.indices
    buffer = column.buffers()[1]
    width = np.dtype(dtype).itemsize
    return np.frombuffer(buffer, dtype=dtype, count=len(column), offset=column.offset * width)


def ramp(count: int) -> IntArray:
    """Return 0, 1, 2 … as an array nobody can write to."""
    return _RAMP[:count] if count <= _LONG else np.arange(count)


def noughts(count: int) -> IntArray:
    """Return noughts as an array nobody can write to."""
    return _NOUGHTS[:count] if count <= _LONG else np.zeros(count, np.int64)


class Inconsistent(ValueError):
    """A batch whose rows contradict one another, or its note."""


def check_rows(batch: pa.RecordBatch, note: BatchNote) -> None:
    """See that a batch's rows are of known kinds, as many of each as its note says, and that prints are whole.

    Raises:
        Inconsistent: they are not.
    """
    kind = values(batch, "kind", np.uint8)
    if batch.column("kind").null_count or (len(kind) and kind.max() > Kind.CONTROL):
        raise Inconsistent("it has a row of no known kind")
    frame, further, control = (int(np.count_nonzero(kind == each)) for each in (Kind.FRAME, Kind.PRINT, Kind.CONTROL))
    prints = len(kind) - frame - control
    if (len(kind), prints - further + frame, prints, control) != (note.rows, note.frames, note.prints, note.controls):
        raise Inconsistent("its note is wrong about its rows")
    names = batch.schema.names
    wrong = [name for name in DECODED if name in names and batch.column(name).null_count != frame + control]
    if wrong:
        raise Inconsistent(f"a print has no {wrong[0]}, or what is none has one")


class _Run(msgspec.Struct, gc=False):
    """A stretch of frames of one source with contiguous numbers, as columns."""

    seq: int
    source: str
    recv_ns: IntArray
    mono_ns: IntArray | None
    payloads: list[bytes] | None
    contracts: tuple[str, ...]
    contract: IntArray
    ts_ns: IntArray
    price: NDArray[np.float64]
    size: IntArray
    side: NDArray[np.int8]
    frame: IntArray
    tick: int
    extras: list[tuple[int, Extra]]


class Assembler:
    """Makes items of batches fed in order.

    Args:
        raw: frames carry their payloads and monotonic stamps; otherwise `payloads` is None and `mono_ns` all zero.
        max_rows: about how many frames or prints an item may have; no less than one batch's run.
    """

    def __init__(self, *, raw: bool, max_rows: int = 65_536) -> None:
        self._raw = raw
        self._max = max_rows
        self._runs: list[_Run] = []
        self._size = 0
        self._next_tick: int | None = None

    def feed(self, batch: pa.RecordBatch, note: BatchNote, low: int = 0, high: int | None = None) -> Iterator[Numbered]:
        """Take rows `[low, high)` of a batch; yield the items that are complete by it.

        `low` and `high` must not part a frame.

        Raises:
            Inconsistent: rows are not what the note says, or of no known kind.
            msgspec.ValidationError: an extra or a record is not what this version writes.
        """
        high = batch.num_rows if high is None else high
        if low >= high:
            return
        rows = _Rows(batch, note, low, high)
        bounds = rows.bounds(raw=self._raw)
        for start, stop in pairwise(bounds):
            if rows.kind[start] == Kind.CONTROL:
                yield from self.flush()
                yield rows.control(start)
            else:
                yield from self._take(rows.run(start, stop, raw=self._raw))

    def flush(self) -> Iterator[Numbered]:
        """Yield the run not yet let go, if there is one."""
        if self._runs:
            runs, self._runs, self._size, self._next_tick = self._runs, [], 0, None
            yield _item(runs)

    def _take(self, run: _Run) -> Iterator[Numbered]:
        size = max(len(run.recv_ns), len(run.price))
        if self._runs and (self._size + size > self._max or not self._goes_on(run)):
            yield from self.flush()
        self._runs.append(run)
        self._size += size
        if len(run.price):
            self._next_tick = run.tick + len(run.price)
        if self._size >= self._max:
            yield from self.flush()

    def _goes_on(self, run: _Run) -> bool:
        """Whether `run` can be of one item with those gathered."""
        last = self._runs[-1]
        return (
            last.source == run.source
            and last.seq + len(last.recv_ns) == run.seq
            and (last.payloads is None) == (run.payloads is None)
            and (not len(run.price) or self._next_tick in (None, run.tick))
        )


class _Rows:
    """Rows `[low, high)` of one batch, seen as frames and records.

    What the note answers is not looked for: in a batch of nothing but single prints of one source, hardly anything is.
    """

    def __init__(self, batch: pa.RecordBatch, note: BatchNote, low: int, high: int) -> None:
        check_rows(batch, note)
        self._batch = batch
        self._note = note
        self._low, self._high = low, high
        self.kind = values(batch, "kind", np.uint8)
        self._single = note.rows == note.frames + note.controls
        """No frame takes more than one row."""
        if self._single:
            self._heads, self._before = ramp(high)[low:], low
        else:
            self._heads = np.flatnonzero(self.kind[:high] != Kind.PRINT)
            self._before = int(np.searchsorted(self._heads, low))
            self._heads = self._heads[self._before :]
        self._seq = None if note.dense else values(batch, "seq", np.int64)
        self._recv = values(batch, "recv_ns", np.int64)
        self._source = values(batch, "source", np.int32)
        self._sources = batch.column("source").dictionary.to_pylist()
        self._extras = _extras(batch, note)
        self._places = [row for row, _ in self._extras]
        self._tick = note.tick
        if note.prints:
            self._contracts = tuple(batch.column("contract").dictionary.to_pylist())
            self._contract = values(batch, "contract", np.int32)
            self._ts = values(batch, "ts_ns", np.int64)
            self._price = values(batch, "price", np.float64)
            self._size = values(batch, "size", np.int64)
            self._side = values(batch, "side", np.int8)
            if not note.dense:
                self._ticks = values(batch, "tick", np.int64)
            elif low and note.tick is not None:
                self._tick = note.tick + int(np.count_nonzero(_has_print(self.kind[:low])))

    def bounds(self, *, raw: bool) -> list[int]:
        """Return the rows at which runs and records begin, and the end."""
        kind, heads = self.kind[self._low : self._high], self._heads
        breaks = [np.array([self._low, self._high])]
        if self._note.controls:
            controls = np.flatnonzero(kind == Kind.CONTROL) + self._low
            breaks += [controls, controls + 1]
        if len(self._sources) > 1:
            breaks.append(heads[1:][np.diff(self._source[heads]) != 0])
        if raw:
            kept = np.asarray(self._batch.column("payload").is_valid())[heads]
            breaks.append(heads[1:][kept[1:] != kept[:-1]])
        if self._seq is not None:
            breaks.append(heads[1:][np.diff(self._seq[heads]) != 1])
            if self._note.prints:
                prints = np.flatnonzero(_has_print(kind)) + self._low
                breaks.append(prints[1:][np.diff(self._ticks[prints]) != 1])
        found: list[int] = np.unique(np.concatenate(breaks)).tolist()
        return found

    def control(self, row: int) -> Numbered:
        """Return the control record in a row."""
        record = self._batch.column("record")[row].as_buffer().to_pybytes()
        return Numbered(self._seq_at(row), decode_control(record))

    def run(self, start: int, stop: int, *, raw: bool) -> _Run:
        """Return rows `[start, stop)`, which are frames of one source with contiguous numbers."""
        heads: slice | IntArray = slice(start, stop)
        if not self._single:
            heads = self._heads[slice(*np.searchsorted(self._heads, [start, stop]).tolist())]
        payloads = None
        if raw:
            column = self._batch.column("payload")
            column = column.slice(start, stop - start) if self._single else column.take(pa.array(heads))
            if not column.null_count:
                payloads = column.to_pylist()
        extras = self._extras[bisect_left(self._places, start) : bisect_left(self._places, stop)]
        return _Run(
            seq=self._seq_at(start),
            source=self._sources[self._source[start]],
            recv_ns=self._recv[heads],
            mono_ns=values(self._batch, "mono_ns", np.int64)[heads] if raw else None,
            payloads=payloads,
            extras=[
                (row - start if isinstance(heads, slice) else int(np.searchsorted(heads, row)), x) for row, x in extras
            ],
            **self._prints(start, stop, heads),
        )

    def _prints(self, start: int, stop: int, heads: slice | IntArray) -> dict[str, Any]:
        """Return the prints of a run as its columns."""
        if not self._note.prints:
            return _NO_PRINTS
        at: Any = slice(start, stop)
        count = stop - start
        if self._note.prints != self._note.rows:
            has = _has_print(self.kind[start:stop])
            count = int(np.count_nonzero(has))
            if not count:
                return _NO_PRINTS
            if count != stop - start:
                at = np.flatnonzero(has) + start
        if isinstance(heads, slice):
            frame = ramp(count) if isinstance(at, slice) else at - start
        else:
            rows = np.arange(start, stop) if isinstance(at, slice) else at
            frame = np.searchsorted(heads, rows, side="right") - 1
        if self._note.dense:
            assert self._tick is not None, "a dense batch with prints says where they begin"
            tick = self._tick
            self._tick += count
        else:
            tick = int(self._ticks[at][0])
        codes = self._contract[at]
        return {
            "contracts": self._contracts,
            "contract": noughts(count) if len(self._contracts) == 1 else codes.astype(np.int64),
            "ts_ns": self._ts[at],
            "price": self._price[at],
            "size": self._size[at],
            "side": self._side[at],
            "frame": frame,
            "tick": tick,
        }

    def _seq_at(self, row: int) -> int:
        if self._seq is not None:
            return int(self._seq[row])
        if self._single:
            return self._note.seq[0] + row
        return self._note.seq[0] + self._before + int(np.searchsorted(self._heads, row))


def _has_print(kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (kind == Kind.TRADE) | (kind == Kind.PRINT)
    return found


_NO_INTS: IntArray = np.zeros(0, np.int64)
_NO_PRINTS: dict[str, Any] = {
    "contracts": (),
    "contract": _NO_INTS,
    "ts_ns": _NO_INTS,
    "price": np.zeros(0, np.float64),
    "size": _NO_INTS,
    "side": np.zeros(0, np.int8),
    "frame": _NO_INTS,
    "tick": 0,
}


def _extras(batch: pa.RecordBatch, note: BatchNote) -> list[tuple[int, Extra]]:
    """Return the extras of a batch with their rows."""
    if not note.extras:
        return []
    column = batch.column("extra")
    found = np.flatnonzero(np.asarray(column.is_valid())).tolist()
    return list(zip(found, map(decode_extra, column.drop_null().to_pylist()), strict=True))


def _glue(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _item(runs: list[_Run]) -> Numbered:
    """Make one item of runs that follow one another."""
    first = runs[0]
    offsets = np.cumsum([0, *(len(run.recv_ns) for run in runs)]).tolist()
    recv = _glue([run.recv_ns for run in runs])
    if first.mono_ns is None:
        mono = noughts(len(recv))
    else:
        mono = _glue([run.mono_ns for run in runs if run.mono_ns is not None])
    payloads = None
    if first.payloads is not None:
        payloads = first.payloads if len(runs) == 1 else [p for run in runs for p in run.payloads or ()]
    quotes: list[tuple[int, Quote]] = []
    depth: list[tuple[int, Depth]] = []
    malformed: list[Malformed] = []
    events: list[tuple[int, str, bytes]] = []
    for run, offset in zip(runs, offsets, strict=False):
        for frame, extra in run.extras:
            at = offset + frame
            quotes.extend((at, quote) for quote in extra.quotes)
            depth.extend((at, update) for update in extra.depth)
            malformed.extend(Malformed(at, *bad) for bad in extra.malformed)
            events.extend((at, target, data) for target, data in extra.events)
    frames = Frames(
        source=first.source,
        recv_ns=recv,
        mono_ns=mono,
        payloads=payloads,
        prints=_prints(runs, offsets),
        quotes=tuple(quotes),
        depth=tuple(depth),
        malformed=tuple(malformed),
        events=tuple(events),
    )
    return Numbered(first.seq, frames)


def _prints(runs: list[_Run], offsets: list[int]) -> Prints | None:
    having = [(run, offset) for run, offset in zip(runs, offsets, strict=False) if len(run.price)]
    if not having:
        return None
    contracts = having[0][0].contracts
    same = all(run.contracts == contracts for run, _ in having)
    if not same:
        names: dict[str, int] = {}
        maps = [np.array([names.setdefault(c, len(names)) for c in run.contracts], np.int64) for run, _ in having]
        contracts = tuple(names)
    return Prints(
        contracts=contracts,
        contract=_glue(
            [run.contract for run, _ in having]
            if same
            else [remap[run.contract] for (run, _), remap in zip(having, maps, strict=True)]
        ),
        ts_ns=_glue([run.ts_ns for run, _ in having]),
        price=_glue([run.price for run, _ in having]),
        size=_glue([run.size for run, _ in having]),
        side=_glue([run.side for run, _ in having]).astype(np.int64),
        frame=_glue([run.frame + offset if offset else run.frame for run, offset in having]),
        first_tick=having[0][0].tick,
    )
