"""The Parquet files of sessions and replays: every row once, under names that stay, for whatever reads them."""

from __future__ import annotations

import shutil
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
from tickloom.actors.recorder.writer import LogOptions, LogWriter
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


def names_in(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def keys_in(folder: Path) -> list[tuple[Any, ...]]:
    return sorted((row["contract"], row["open_time"], row["close_time"]) for row in rows_in(folder))


@pytest.fixture
def left(imported: Import, tmp_path: Path) -> tuple[Path, Path]:
    """A log, and the files of its session, many small ones; with a file of another session among them."""
    log = imported([(n * NS // 4, 1.0, n % 3) for n in range(120)], validation={"zero_size": "reject"})
    out = tmp_path / "out"
    tickloom.replay(log, timeframes=["1s", "5s", "7t"], out=out)
    for number, path in enumerate(sorted(out.glob("**/*.parquet"))):
        rows, (stamp, _, session) = parquet.ParquetFile(path).read(), path.name.split("-")
        path.unlink()
        for part in range(3):
            piece = rows.slice(part * rows.num_rows // 3, (part + 1) * rows.num_rows // 3 - part * rows.num_rows // 3)
            parquet.write_table(piece, path.with_name(f"{stamp}-{number * 3 + part:06}-{session}"))
    other = tmp_path / "out" / "bars" / "timeframe=1s" / "contract=X" / "20240308T120000Z-000000-1709856000001.parquet"
    shutil.copy(next(other.parent.iterdir()), other)
    return log, out


def test_a_replay_into_its_sessions_folder_puts_its_files_in_place_of_theirs_and_of_no_others(
    left: tuple[Path, Path],
) -> None:
    log, out = left
    before = names_in(out)
    result = tickloom.replay(log, timeframes=["1s", "7t"], out=out)
    after = names_in(out)
    other = [name for name in before if name.endswith("-1709856000001.parquet")]
    fives = [name for name in before if "timeframe=5s" in name]
    assert len(fives) > 1, "what was not built anew stays"
    assert set(after) & set(before) == {*other, *fives}
    (out / other[0]).unlink()
    for timeframe in ("1s", "7t"):
        folder = out / "bars" / f"timeframe={timeframe}"
        assert len(rows_in(folder)) == result.table("X", timeframe).num_rows
    assert len(set(keys_in(out / "bars" / "timeframe=1s"))) == 30
    assert len(rows_in(out / "rejects")) == result.summary.rejected == 40
    again = tickloom.replay(log, timeframes=["1s", "7t"], out=out)
    assert len(names_in(out)) == len(after) - 1
    assert again.digest == result.digest


def test_a_replay_that_dies_at_its_end_has_lost_nothing_and_the_next_one_puts_it_right(
    left: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, out = left
    bars, rejects = set(keys_in(out / "bars")), len(rows_in(out / "rejects"))
    for fails in ("rename", "unlink"):
        with monkeypatch.context() as patched:
            calls = iter(range(10**6))
            usual = getattr(Path, fails)

            def dies(path: Path, *args: Any, usual: Any = usual, calls: Any = calls, **named: Any) -> Any:
                if path.suffix == ".parquet" and next(calls) == 1:
                    raise OSError("the power went")
                return usual(path, *args, **named)

            patched.setattr(Path, fails, dies)
            with pytest.raises(OSError, match="the power went"):
                tickloom.replay(log, timeframes=["1s", "5s", "7t"], out=out)
        assert set(keys_in(out / "bars")) == bars
        assert len(rows_in(out / "rejects")) >= rejects
    result = tickloom.replay(log, timeframes=["1s", "5s", "7t"], out=out)
    next(out.glob("**/*-1709856000001.parquet")).unlink()
    assert (len(rows_in(out / "bars")), len(rows_in(out / "rejects"))) == (result.summary.bars, rejects)


@pytest.mark.parametrize(
    "part", [{"to_ns": T0 + 9 * NS}, {"settings": tickloom.Settings()}], ids=["a part", "other rules"]
)
def test_a_replay_that_has_only_some_of_what_is_in_a_file_changes_nothing_and_says_so(
    left: tuple[Path, Path], part: dict[str, Any]
) -> None:
    log, out = left
    bytes_before = {name: (out / name).read_bytes() for name in names_in(out)}
    with pytest.raises(tickloom.UsageError, match=r"parquet holds rows .* nothing was changed; name another folder"):
        tickloom.replay(log, timeframes=["7t"], out=out, **part)
    assert {name: (out / name).read_bytes() for name in names_in(out)} == bytes_before


def test_two_logs_of_one_contract_that_begin_on_one_day_stand_beside_one_another(
    imported: Import, tmp_path: Path
) -> None:
    for hour in (1, 2):
        log = imported([(hour * 3600 * NS + n * NS, 1.0, 1) for n in range(10)], name=f"log{hour}")
        tickloom.replay(log, timeframes=["1s"], out=tmp_path / "out")
    assert len(set(keys_in(tmp_path / "out" / "bars"))) == 20


def test_verifying_into_the_sessions_folder_compares_with_the_sessions_files(left: tuple[Path, Path]) -> None:
    log, out = left
    next(out.glob("**/*-1709856000001.parquet")).unlink()
    count = len(names_in(out / "bars"))
    verified = tickloom.replay(log, timeframes=["1s", "5s", "7t"], out=out, verify=True, against=out).verified
    assert verified is not None
    assert verified.files == count
    assert len(names_in(out / "bars")) < count


def test_the_folder_of_a_session_that_still_writes_its_log_is_refused(
    imported: Import, left: tuple[Path, Path]
) -> None:
    log, out = left
    before = names_in(out)
    writing = LogWriter(log, session="another", options=LogOptions())
    with writing, pytest.raises(tickloom.UsageError, match=r"still writes .*log: name another folder"):
        tickloom.replay(log, out=out)
    assert names_in(out) == before
