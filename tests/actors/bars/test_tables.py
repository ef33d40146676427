from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.bars.tables import SCHEMA, bars_table, block_of, divide, flag_names, rows_of, tail
from tickloom.messages.bars import Bar, BarFlag
from tickloom.messages.market import NS, Instrument

ES = Instrument("ES", 1, 4)
GC = Instrument("GC", 1, 10)
BOTH = {"ES": ES, "GC": GC}


def bar(contract: str = "ES", open_time: int = 0, **values: Any) -> Bar:
    fields = {"open": 6561, "high": 6570, "low": 6560, "close": 6562, "volume": 3, "trades": 2, "notional": 19686}
    fields |= {"buy": 1, "sell": 2} | values
    return Bar(contract, "1m", open_time, open_time + 60 * NS, **fields)


def test_a_bar_becomes_a_row_with_the_documented_columns() -> None:
    flags = int(BarFlag.REVISED | BarFlag.GAP)
    table = bars_table([bar(open_time=1_700_000_000 * NS, revision=2, flags=flags)], BOTH)
    assert " ".join(table.schema.names) == (
        "contract open_time close_time open high low close volume trades vwap buy_volume sell_volume revision flags"
    )
    row = table.to_pylist()[0]
    assert row["open_time"].isoformat() == "2023-11-14T22:13:20+00:00"
    assert row["close_time"].isoformat() == "2023-11-14T22:14:20+00:00"
    assert [row[name] for name in ("open", "high", "low", "close")] == [1640.25, 1642.5, 1640.0, 1640.5]
    assert (row["volume"], row["trades"], row["buy_volume"], row["sell_volume"]) == (3, 2, 1, 2)
    assert (row["vwap"], row["revision"], row["flags"], row["contract"]) == (1640.5, 2, "gap|revised", "ES")
    assert table.schema.metadata == {b"timeframe": b"1m"}


def test_what_was_not_traded_has_no_vwap() -> None:
    table = bars_table([bar(volume=0, notional=0), bar()], BOTH)
    assert table["vwap"].to_pylist() == [None, 1640.5]


def test_no_bars_make_an_empty_table_of_the_same_schema() -> None:
    table = bars_table([], {}, "5m")
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == 0
    assert table.schema.metadata == {b"timeframe": b"5m"}


def test_bars_and_blocks_of_several_contracts_mix_in_the_order_given() -> None:
    first = [bar("ES", 0), bar("GC", 0, open=13137), bar("ES", 60)]
    block = block_of([bar("GC", 60, open=13138), bar("GC", 120, open=13139)])
    table = bars_table([*first, block, bar("ES", 180)], BOTH)
    assert table["contract"].to_pylist() == ["ES", "GC", "ES", "GC", "GC", "ES"]
    assert table["open"].to_pylist() == [1640.25, 1313.7, 1640.25, 1313.8, 1313.9, 1640.25]


def test_flags_are_words_that_pick_the_clean_bars() -> None:
    assert flag_names(0) == ""
    assert flag_names(63) == "partial|gap|healed|empty|revised|conflated"
    table = bars_table([bar(flags=int(BarFlag.PARTIAL)), bar(), bar()], BOTH)
    clean = pl.from_arrow(table)
    assert isinstance(clean, pl.DataFrame)
    assert clean.filter(pl.col("flags") == "").height == 2


def test_bars_of_two_timeframes_are_refused() -> None:
    other = Bar("ES", "5m", 0, 300 * NS, 1, 1, 1, 1, 1, 1, 1, 0, 0)
    with pytest.raises(ValueError, match="bars of 1m and 5m do not fit one table"):
        bars_table([bar(), other], BOTH)


def test_a_contract_without_an_instrument_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="instrument of NQ is unknown"):
        bars_table([bar("NQ")], BOTH)


INTS = st.integers(-(2**62), 2**62) | st.integers(-10_000_000, 10_000_000)


@given(
    st.lists(
        st.tuples(INTS, st.integers(1, 10**6), st.integers(1, 2**40), st.integers(1, 10**9)), min_size=1, max_size=20
    )
)
def test_every_price_is_the_correctly_rounded_quotient(rows: list[tuple[int, int, int, int]]) -> None:
    columns = [np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)]
    for got, (ticks, numerator, count, denominator) in zip(divide(*columns), rows, strict=True):
        assert got == float(Fraction(ticks * numerator, count * denominator))


def test_a_price_is_the_float_that_its_decimal_literal_gives() -> None:
    ticks = np.arange(-20_000, 20_000, dtype=np.int64)
    one = np.ones(1, dtype=np.int64)
    prices = divide(ticks, one, one, np.full(1, 100, dtype=np.int64))
    assert prices.tolist() == [
        float(f"{'-' if t < 0 else ''}{abs(t) // 100}.{abs(t) % 100:02}") for t in ticks.tolist()
    ]


def test_a_block_gives_its_bars_back_and_its_tail() -> None:
    rows = [bar("ES", i, revision=i, flags=i) for i in range(5)]
    block = block_of(rows)
    assert rows_of(block) == rows
    assert rows_of(tail(block, 2)) == rows[3:]
    assert tail(block, 9) is block


def test_a_table_reaches_polars_and_pandas_types_without_a_copy_of_prices() -> None:
    table = bars_table([block_of([bar("ES", i) for i in range(1000)])], BOTH)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    assert frame.schema["open_time"] == pl.Datetime("ns", "UTC")
    column = table["close"].chunk(0)
    assert frame["close"].to_arrow().buffers()[1].address == column.buffers()[1].address
    assert isinstance(column, pa.DoubleArray)
