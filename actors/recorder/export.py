"""Writing a log out for other programs: prints as Parquet or CSV, everything as JSON lines.

The target appears when it is complete; a file of that name is replaced then. Nothing else is: no file of the log
that is read, no device, no folder. Where the name is a link, the file it points at is written.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from tickloom.actors.recorder.errors import TargetRefused
from tickloom.actors.recorder.places import clear_dead, naming, partial_for
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.segment import number_of
from tickloom.actors.recorder.unpacking import values
from tickloom.messages.control import encode_control
from tickloom.messages.market import Side
from tickloom.messages.records import ControlRecord, FrameRecord, Kind, unroll

Format = Literal["parquet", "csv", "jsonl"]

_TIME = pa.timestamp("ns", "UTC")
_COLUMNS = ["seq", "tick", "recv_ns", "ts_ns", "source", "contract", "price", "size", "side", "kind"]
PRINTS = pa.schema(
    [
        ("seq", pa.int64()),
        ("tick", pa.int64()),
        ("received", _TIME),
        ("time", _TIME),
        ("source", pa.dictionary(pa.int32(), pa.utf8())),
        ("contract", pa.dictionary(pa.int32(), pa.utf8())),
        ("price", pa.float64()),
        ("size", pa.int64()),
        ("side", pa.dictionary(pa.int8(), pa.utf8())),
    ]
)
"""The columns of Parquet and CSV, one row a print, in order of arrival. CSV spells names out."""


class Export(msgspec.Struct, frozen=True):
    """What was written: `rows` prints, or frames and records for JSON lines."""

    path: Path
    format: str
    rows: int
    size: int


def export(
    log: Path | str,
    target: Path | str,
    *,
    format: Format | None = None,  # noqa: A002 - the word users know
    from_ns: int | None = None,
    to_ns: int | None = None,
) -> Export:
    """Write a log, or a stretch of it, to one file.

    Args:
        log: the log's directory, or one of its segments.
        target: the file to make.
        format: None: by the target's name (`.parquet`, `.csv`, `.jsonl`).
        from_ns, to_ns: receipt stamps (ns UTC), `[from_ns, to_ns)`.

    Raises:
        ValueError: the format is not known.
        TargetRefused: the target lies in the log, or is no regular file.
        DamagedLog: the log does not read back; nothing is written.
        OSError: the target cannot be written.
    """
    target = Path(target)
    kind = format if format is not None else target.suffix.lstrip(".").lower()
    writers = {"parquet": _parquet, "csv": _csv, "jsonl": _json_lines}
    if kind not in writers:
        raise ValueError(f"{target}: there is no format {kind!r}: name a file *.parquet, *.csv or *.jsonl")
    real = _real(Path(log), target)
    partial = partial_for(real)
    try:
        with LogReader(log) as reader, naming(target):
            clear_dead(real)
            with os.fdopen(_create(partial), "wb") as file:
                rows = writers[kind](reader, file, from_ns, to_ns)
            partial.replace(real)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return Export(target, kind, rows, real.stat().st_size)


def _real(log: Path, target: Path) -> Path:
    """Return the file that is to be written, which is where the links lead.

    Raises:
        TargetRefused: it is none that may be made or replaced.
    """
    real = Path(os.path.realpath(target))
    read = log if log.is_dir() or number_of(log) is None else log.parent
    if read.exists() and any(each.exists() and each.samefile(read) for each in (real, *real.parents)):
        raise TargetRefused(f"{target} is, or lies in, what is read: name a file elsewhere")
    if real.is_dir():
        raise TargetRefused(f"{target} is a folder: name a file in it")
    if os.path.lexists(real) and not real.is_file():
        raise TargetRefused(f"{target} is no regular file, and is not replaced: name another")
    if not real.parent.is_dir():
        raise TargetRefused(f"{target} cannot be made: there is no folder {target.parent}; make it, or name another")
    return real


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def print_batches(reader: LogReader, from_ns: int | None = None, to_ns: int | None = None) -> Iterator[pa.RecordBatch]:
    """Yield a log's prints as batches of `PRINTS`."""
    for batch in reader.batches(_COLUMNS, from_ns=from_ns, to_ns=to_ns):
        kind = values(batch, "kind", np.uint8)
        keep = (kind == Kind.TRADE) | (kind == Kind.PRINT)
        rows = batch if keep.all() else batch.filter(pa.array(keep))
        if rows.num_rows:
            yield pa.RecordBatch.from_arrays(
                [
                    rows.column("seq"),
                    rows.column("tick"),
                    rows.column("recv_ns").cast(_TIME),
                    rows.column("ts_ns").cast(_TIME),
                    rows.column("source"),
                    rows.column("contract"),
                    rows.column("price"),
                    rows.column("size"),
                    _sides(rows),
                ],
                schema=PRINTS,
            )


def _sides(rows: pa.RecordBatch) -> pa.Array:
    side = values(rows, "side", np.int8)
    known = np.where((side == Side.BUY) | (side == Side.SELL), side, np.int8(Side.UNKNOWN))
    return pa.DictionaryArray.from_arrays(pa.array(known, pa.int8()), _names_of_sides())


@cache
def _names_of_sides() -> pa.Array:
    """Only when it is wanted: the first array that Arrow makes of Python objects imports pandas, where it is there."""
    return pa.array([side.name.lower() for side in Side], pa.utf8())


def _parquet(reader: LogReader, file: BinaryIO, from_ns: int | None, to_ns: int | None) -> int:
    rows = 0
    with parquet.ParquetWriter(file, PRINTS, compression="zstd") as writer:
        for batch in print_batches(reader, from_ns, to_ns):
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _csv(reader: LogReader, file: BinaryIO, from_ns: int | None, to_ns: int | None) -> int:
    plain = pa.schema([(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in PRINTS])
    rows = 0
    with csv.CSVWriter(file, plain) as writer:
        for batch in print_batches(reader, from_ns, to_ns):
            writer.write_batch(batch.cast(plain))
            rows += batch.num_rows
    return rows


def _json_lines(reader: LogReader, file: BinaryIO, from_ns: int | None, to_ns: int | None) -> int:
    encoder = msgspec.json.Encoder()
    rows = 0
    for record in unroll(reader.items(raw=True, from_ns=from_ns, to_ns=to_ns)):
        file.write(_line(record) if isinstance(record, ControlRecord) else encoder.encode(_plain(record)))
        file.write(b"\n")
        rows += 1
    return rows


def _line(record: ControlRecord) -> bytes:
    return b'{"seq":%d,' % record.seq + encode_control(record.record)[1:]


def _plain(record: FrameRecord) -> dict[str, Any]:
    """Return a frame as what JSON can say; a payload that is no UTF-8 is given in base64."""
    line: dict[str, Any] = {
        "seq": record.seq,
        "recv_ns": record.recv_ns,
        "mono_ns": record.mono_ns,
        "source": record.source,
    }
    if record.payload is not None:
        try:
            line["payload"] = record.payload.decode()
        except UnicodeDecodeError:
            line["payload_base64"] = base64.b64encode(record.payload).decode()
    extra = record.extra
    if record.prints:
        line["prints"] = record.prints
    if extra.quotes:
        line["quotes"] = extra.quotes
    if extra.depth:
        line["depth"] = extra.depth
    if extra.malformed:
        line["malformed"] = [
            {"reason": reason, "detail": detail, "prints": prints} for reason, detail, prints in extra.malformed
        ]
    if extra.events:
        line["events"] = [{"target": target, "data": data.decode(errors="replace")} for target, data in extra.events]
    return line
