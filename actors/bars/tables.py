"""Bars as Arrow tables: exact ticks become float64 prices, correctly rounded, and nothing else is lost.

One row a bar. `contract` is a dictionary column; times are timestamps in ns, UTC; `vwap` is null where nothing was
traded, and in healed bars, of which it is not known; `flags` is a dictionary column of words joined by `|` in a fixed
order (`gap|revised`), and the empty text for a bar with nothing to say about it: so `flags == ""` picks the clean bars,
and the words survive Parquet, CSV and a person's eyes. The timeframe is in the schema's metadata. In files `contract`
stays a dictionary, because that is what pyarrow and pandas take the part of the path to be that says it, too; as plain
text the two do not go together.

A price is `ticks * numerator / denominator`, one division of two integers. Where both are below 2**53 the
floating-point division of IEEE 754 is that division, correctly rounded, so it is done in bulk; Python's exact one
does the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tickloom.actors.bars.blocks import FIELDS, block_of, flag_names, rows_of, tail
from tickloom.messages.bars import Bar, BarColumns, BarFlag
from tickloom.messages.market import FloatArray, Instrument, IntArray

_EXACT: Final = 2**53

SCHEMA: Final = pa.schema(
    [
        pa.field("contract", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("open_time", pa.timestamp("ns", "UTC"), nullable=False),
        pa.field("close_time", pa.timestamp("ns", "UTC"), nullable=False),
        pa.field("open", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("close", pa.float64(), nullable=False),
        pa.field("volume", pa.int64(), nullable=False),
        pa.field("trades", pa.int64(), nullable=False),
        pa.field("vwap", pa.float64()),
        pa.field("buy_volume", pa.int64(), nullable=False),
        pa.field("sell_volume", pa.int64(), nullable=False),
        pa.field("revision", pa.int64(), nullable=False),
        pa.field("flags", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    ]
)
"""The columns of a table of bars."""


def bars_table(
    bars: Iterable[Bar | BarColumns], instruments: Mapping[str, Instrument], timeframe: str | None = None
) -> pa.Table:
    """Return bars of one timeframe as a table, in the order given.

    Args:
        bars: bars and blocks of bars, of any contracts.
        instruments: by contract, for the tick sizes.
        timeframe: what the metadata say; the bars' own by default. Needed where there may be no bars.

    Raises:
        ValueError: an unknown contract, or bars of two timeframes.
    """
    blocks = list(_blocks(bars))
    for block in blocks:
        timeframe = timeframe or block.timeframe
        if block.timeframe != timeframe:
            raise ValueError(f"bars of {timeframe} and {block.timeframe} do not fit one table: make one for each")
        if block.contract not in instruments:
            raise ValueError(f"the instrument of {block.contract} is unknown, so its prices are: give it along")
    schema = SCHEMA.with_metadata({"timeframe": timeframe or ""})
    if not blocks:
        return schema.empty_table()
    names = list(dict.fromkeys(block.contract for block in blocks))
    index = np.concatenate([np.full(len(block), names.index(block.contract), dtype=np.int32) for block in blocks])
    column = {field: np.concatenate([getattr(block, field) for block in blocks]) for field in FIELDS}
    numerators = np.array([instruments[name].numerator for name in names], dtype=np.int64)[index]
    denominators = np.array([instruments[name].denominator for name in names], dtype=np.int64)[index]
    volume = column["volume"]
    traded = volume != 0
    whole = traded & (column["flags"] & int(BarFlag.HEALED) == 0)
    vwap = divide(column["notional"], numerators, np.where(traded, volume, 1), denominators)
    one = np.ones(1, dtype=np.int64)
    words, word = np.unique(column["flags"], return_inverse=True)
    flags = pa.DictionaryArray.from_arrays(word.astype(np.int32), [flag_names(int(bits)) for bits in words])
    return pa.Table.from_arrays(
        [
            pa.DictionaryArray.from_arrays(index, names),
            pa.array(column["open_time"]).cast(SCHEMA.field("open_time").type),
            pa.array(column["close_time"]).cast(SCHEMA.field("close_time").type),
            *(
                pa.array(divide(column[field], numerators, one, denominators))
                for field in ("open", "high", "low", "close")
            ),
            pa.array(volume),
            pa.array(column["trades"]),
            pa.array(vwap, mask=~whole),
            pa.array(column["buy"]),
            pa.array(column["sell"]),
            pa.array(column["revision"]),
            flags,
        ],
        schema=schema,
    )


def divide(ticks: IntArray, numerators: IntArray, counts: IntArray, denominators: IntArray) -> FloatArray:
    """Return `ticks * numerators / (counts * denominators)` as float64, each correctly rounded.

    All are int64, none of the divisors is 0; arrays of one element go with any length.
    """
    top = np.abs(ticks.astype(np.float64)) * np.abs(numerators.astype(np.float64))
    bottom = np.abs(counts.astype(np.float64)) * np.abs(denominators.astype(np.float64))
    exact: NDArray[np.bool_] = (top < _EXACT) & (bottom < _EXACT)
    with np.errstate(over="ignore"):  # where it overflows it is computed again below
        result: FloatArray = (ticks * numerators).astype(np.float64) / (counts * denominators).astype(np.float64)
    if not exact.all():
        whole = np.broadcast_arrays(ticks, numerators, counts, denominators)
        for row in np.flatnonzero(~exact).tolist():
            tick, numerator, count, denominator = (int(values[row]) for values in whole)
            result[row] = tick * numerator / (count * denominator)
    return result


def _blocks(bars: Iterable[Bar | BarColumns]) -> Iterable[BarColumns]:
    for is_block, run in groupby(bars, key=lambda each: isinstance(each, BarColumns)):
        if is_block:
            yield from (block for block in run if isinstance(block, BarColumns) and len(block))
        else:
            rows = [bar for bar in run if isinstance(bar, Bar)]
            for _, own in groupby(rows, key=lambda bar: (bar.contract, bar.timeframe)):
                yield block_of(list(own))


__all__ = ["SCHEMA", "bars_table", "block_of", "divide", "flag_names", "rows_of", "tail"]
