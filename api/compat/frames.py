"""Bars as the other library's frames: six columns, open time in the manager's zone, prices as floats.

Columns and dtypes: `timestamp` Datetime[us, zone], `open high low close` Float64, `volume` Int64. Source: frames that
project-x-py 4.4.1 gave for the emulator's bars (`tests/compat/test_peer.py` compares them where it is installed).
Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from tickloom.messages.projectx import HistoryBar
from tickloom.messages.stamps import parse_stamp

COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")
FLAGS: Final = "flags"
"""Carried as far as `joined`, and not beyond."""


def schema(zone: str) -> pl.Schema:
    """Return the columns and dtypes of a frame."""
    prices = dict.fromkeys(COLUMNS[1:5], pl.Float64())
    return pl.Schema({"timestamp": pl.Datetime("us", zone), **prices, "volume": pl.Int64()})


def from_table(table: pa.Table, zone: str) -> pl.DataFrame:
    """Return a session's table as a frame, `flags` as a seventh column."""
    frame = pl.DataFrame(pl.from_arrow(table.select(["open_time", *COLUMNS[1:], FLAGS])))
    return frame.select(_stamped(pl.col("open_time"), zone), *COLUMNS[1:], pl.col(FLAGS).cast(pl.String))


def from_history(bars: Sequence[HistoryBar], zone: str) -> pl.DataFrame:
    """Return bars of the gateway's history endpoint as a frame, oldest first. One without a stamp is left out."""
    rows = sorted((stamp, bar) for bar in bars if (stamp := parse_stamp(bar.t)) is not None)
    plain = pl.DataFrame(
        {
            "open_time": pl.Series([stamp for stamp, _ in rows], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC")),
            "open": pl.Series([bar.o for _, bar in rows], dtype=pl.Float64),
            "high": pl.Series([bar.h for _, bar in rows], dtype=pl.Float64),
            "low": pl.Series([bar.l for _, bar in rows], dtype=pl.Float64),
            "close": pl.Series([bar.c for _, bar in rows], dtype=pl.Float64),
            "volume": pl.Series([bar.v for _, bar in rows], dtype=pl.Int64),
        }
    )
    return plain.select(_stamped(pl.col("open_time"), zone), *COLUMNS[1:])


def from_peer(frame: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Return a frame of the other library's client with our dtypes, oldest first; columns beyond the six are left."""
    if frame.is_empty():
        return pl.DataFrame(schema=schema(zone))
    stamped = frame.with_columns(_stamped(pl.col("timestamp"), zone))
    return stamped.select(pl.col(name).cast(dtype) for name, dtype in schema(zone).items()).sort("timestamp")


def joined(history: pl.DataFrame | None, live: pl.DataFrame) -> pl.DataFrame:
    """Return history followed by live bars, without flags; where both have a bar, it is the live one.

    The exception is a live bar that began inside its time (`partial`): prints before the session are in history's row
    alone, so the two are put together as the other library does: its open, the extremes of both, the live close, and
    the sum of the volumes.
    """
    if live.is_empty():
        return live.select(COLUMNS) if history is None else history
    plain = live.select(COLUMNS)
    if history is None or history.is_empty():
        return plain
    first = live["timestamp"][0]
    before = history.filter(pl.col("timestamp") < first)
    same = history.filter(pl.col("timestamp") == first)
    if same.is_empty() or "partial" not in live[FLAGS][0].split("|"):
        return pl.concat([before, plain])
    known, begun = same.row(-1, named=True), plain.row(0, named=True)
    both = {
        "timestamp": [first],
        "open": [known["open"]],
        "high": [max(known["high"], begun["high"])],
        "low": [min(known["low"], begun["low"])],
        "close": [begun["close"]],
        "volume": [known["volume"] + begun["volume"]],
    }
    return pl.concat([before, pl.DataFrame(both, schema=plain.schema), plain[1:]])


def _stamped(column: pl.Expr, zone: str) -> pl.Expr:
    return column.dt.convert_time_zone(zone).dt.cast_time_unit("us").alias("timestamp")
