"""The shell of the Parquet sink: the only one of them that touches a disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from tickloom.actors.bars.tables import bars_table
from tickloom.actors.shell import RoutedActor
from tickloom.actors.sinks.files import sweep, tidy, write_parquet
from tickloom.actors.sinks.keeper import HistoryActor
from tickloom.actors.sinks.parquet import File, ParquetFold
from tickloom.messages.market import Reject
from tickloom.supervision import ActorContext, Exit

REJECTS_SCHEMA = pa.schema(
    [
        ("contract", pa.string()),
        ("tick", pa.int64()),
        ("time", pa.timestamp("ns", "UTC")),
        ("price", pa.float64()),
        ("size", pa.int64()),
        ("side", pa.int8()),
        ("reason", pa.dictionary(pa.int32(), pa.string())),
        ("detail", pa.string()),
    ]
)
"""Columns of the files under `OUT/rejects`: a print as it was received, and why it was refused."""


class ParquetActor(RoutedActor):
    """Writes files as the fold lets them go. A write that fails crashes the actor; the next one begins with that
    file."""

    def __init__(self, context: ActorContext, fold: ParquetFold, out: Path) -> None:
        super().__init__(context, fold, {}, lambda state, _: state)
        self._out = out

    def on_start(self) -> None:
        """Remove what a process left behind that died while it wrote."""
        sweep(self._out)

    def on_exit(self, reason: Exit) -> None:
        """Leave no empty folder behind."""
        tidy(self._out)

    def emit(self, output: Any) -> None:
        """Write one file, whole or not at all."""
        assert isinstance(output, File)
        if output.rejects:
            table = rejects_table(output.rejects)
        else:
            known = {} if output.instrument is None else {output.instrument.contract: output.instrument}
            table = bars_table(output.bars, known)
        write_parquet(table, self._out, f"{output.folder}/{output.name}")


def rejects_table(rejects: tuple[Reject, ...]) -> pa.Table:
    """Return rejected prints as a table with `REJECTS_SCHEMA`."""
    columns = [
        [r.contract for r in rejects],
        [r.tick for r in rejects],
        [r.ts_ns for r in rejects],
        [r.price for r in rejects],
        [min(max(r.size, -(2**63)), 2**63 - 1) for r in rejects],
        [r.side for r in rejects],
        [r.reason for r in rejects],
        [r.detail for r in rejects],
    ]
    arrays = []
    for values, field in zip(columns, REJECTS_SCHEMA, strict=True):
        if pa.types.is_dictionary(field.type):
            arrays.append(pa.array(values, pa.string()).dictionary_encode())
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=REJECTS_SCHEMA)


__all__ = ["REJECTS_SCHEMA", "HistoryActor", "ParquetActor", "rejects_table"]
