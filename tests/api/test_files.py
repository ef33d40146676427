"""The Parquet files of sessions and replays: every row once, under names that stay, for whatever reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest
from pyarrow import parquet

import tickloom
from tickloom.actors.recorder.importing.ticks import import_ticks
from tickloom.messages.market import NS
from tickloom.supervision.faults import FaultPlan

T0 = 1_709_899_200 * NS
Import = Callable[..., Path]


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    """Import prints `(ns after T0, price, size)` to a log; keyword arguments are settings of its session."""

    def make(prints: list[tuple[int, float, int]], contract: str = "X", name: str = "log", **settings: Any) -> Path:
        csv = tmp_path / "ticks.csv"
        csv.write_text("time,price,size\n" + "".join(f"{T0 + at},{price},{size}\n" for at, price, size in prints))
        import_ticks(csv, tmp_path / name, contract, tick_size="0.01", time_format="ns", settings=settings)
        return tmp_path / name

    return make


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("**/*.parquet")) for row in parquet.ParquetFile(path).read().to_pylist()]


@pytest.mark.parametrize("point", ["before_commit", "after_commit", "on_emit"])
def test_bars_and_rejects_of_one_second_are_all_in_files_and_once_though_the_actor_crashes(
    imported: Import, tmp_path: Path, point: str
) -> None:
    prints = [(i * 3000, (100 + i) / 100, i % 10 and 1) for i in range(3000)]
    log = imported(prints, sinks={"roll_rows": 100}, validation={"zero_size": "reject"})
    plan = FaultPlan()
    plan.crash("/observers/parquet", point)
    result = tickloom.replay(log, timeframes=["1s", "1t"], out=tmp_path / "out", batch_rows=64, faults=plan)
    assert (result.summary.rejected, result.summary.lost, result.summary.restarts) == (300, 0, 1)
    assert len(rows_in(tmp_path / "out" / "rejects")) == 300
    closes = [row["close"] for row in rows_in(tmp_path / "out" / "bars" / "timeframe=1t")]
    assert closes == [price for _, price, size in prints if size]


NAMES = ("BTC/USDT", "../../../../../escaped/x", "..", "a=b&c d%41", "日経 225")
"""Contracts whose names are no names of folders, or not safe ones."""

READERS: dict[str, Callable[[str], pa.Table]] = {
    "polars": lambda folder: pl.scan_parquet(folder, hive_partitioning=True).collect().to_arrow(),
    "pandas": lambda folder: pa.Table.from_pandas(pd.read_parquet(folder)),
    "duckdb": lambda folder: duckdb.sql(
        f"from read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    ).to_arrow_table(),
    "pyarrow": parquet.read_table,
    "pyarrow.dataset": lambda folder: pyarrow.dataset.dataset(
        folder, partitioning=pyarrow.dataset.HivePartitioning.discover(infer_dictionary=True)
    ).to_table(),
}
"""A call of each reader, of all bars below a folder."""


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("contract", [*NAMES, "CON.F.US.EP.U13"])
def test_a_contract_reads_back_as_it_is_called_and_its_files_are_nowhere_else(
    imported: Import, tmp_path: Path, contract: str, reader: str
) -> None:
    log = imported([(second * NS, 1.0, 1) for second in range(100)], contract)
    out = tmp_path / "a" / "b" / "out"
    tickloom.replay(log, timeframes=["1s", "1m", "7t"], out=out)
    files = list(tmp_path.rglob("*.parquet"))
    assert len(files) == 3
    assert {len(path.relative_to(out).parts) for path in files} == {4}
    table = READERS[reader](str(out / "bars"))
    assert set(table["contract"].to_pylist()) == {contract}
    assert sorted(set(table["timeframe"].to_pylist())) == ["1m", "1s", "7t"]
    assert table.num_rows == 100 + 2 + 15


def test_such_files_are_found_again_to_be_compared(imported: Import, tmp_path: Path) -> None:
    log = imported([(second * NS, 1.0, 1) for second in range(9)], "BTC/USDT")
    tickloom.replay(log, timeframes=["1s"], out=tmp_path / "out")
    verified = tickloom.replay(log, timeframes=["1s"], verify=True, against=tmp_path / "out").verified
    assert verified is not None
    assert (verified.files, verified.bars) == (1, 9)


def test_a_replay_sweeps_what_was_left_behind_and_leaves_nothing_but_its_files(
    imported: Import, tmp_path: Path
) -> None:
    log, out = imported([(second * NS, 1.0, 1) for second in range(9)]), tmp_path / "out"
    (out / ".unfinished").mkdir(parents=True)
    (out / ".unfinished" / "20251124T143000Z-000012-17.parquet.4711-1.tmp").write_bytes(b"PAR1")
    tickloom.replay(log, timeframes=["1s"], out=out)
    assert [path.suffix for path in out.rglob("*") if path.is_file()] == [".parquet"]
    assert [path.name for path in out.iterdir()] == ["bars"]
