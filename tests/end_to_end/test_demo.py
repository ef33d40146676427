"""The demo, from one end to the other: nothing is lost, and its log gives the same bars again, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import psutil
import pytest

import tickloom
from tickloom.actors.recorder.export import print_batches
from tickloom.actors.recorder.reader import LogReader

SUMMARY = [
    "ticks", "rejected", "lost", "bars", "restarts", "gaps", "seconds", "ticks_per_second", "p50_ms", "p99_ms", "log",
    "out", "digest",
]  # fmt: skip
TIMEFRAMES = ["1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d"]
MNQ = "CON.F.US.MNQ.Z25"
KEYS = ["timeframe", "contract", "open_time"]


class Ran(NamedTuple):
    """A demo that has ended: its folder, its summary, the processes it had, and what it said beside."""

    folder: Path
    summary: dict[str, Any]
    children: list[psutil.Process]
    err: list[str]


@pytest.fixture(scope="module")
def demo(launch: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("demo")
    command = launch(folder, "demo", "--seconds", "3", "--json", "--dir", "made")
    command.wait_for("the feed is up")
    children = command.children()
    return Ran(folder, command.result(), children, command.err)


def bars_of(out: Path) -> pl.DataFrame:
    """All bars of an output folder. That rows were merged under load is no property of a bar."""
    return (
        pl.scan_parquet(out / "bars" / "**" / "*.parquet", hive_partitioning=True)
        .with_columns(pl.col("contract", "timeframe", "flags").cast(pl.String))
        .with_columns(pl.col("flags").str.replace("conflated", ""))
        .sort(KEYS)
        .collect()
    )


def test_nothing_is_lost_and_the_summary_is_the_last_line(demo: Ran) -> None:
    assert list(demo.summary)[: len(SUMMARY)] == SUMMARY
    assert demo.summary["ticks"] > 300
    assert (demo.summary["lost"], demo.summary["rejected"], demo.summary["gaps"]) == (0, 0, 0)
    assert 0 < demo.summary["p50_ms"] <= demo.summary["p99_ms"]
    assert (demo.summary["log"], demo.summary["out"]) == ("made/log", "made/out")
    assert demo.err[0].startswith("gateway emulator at http://127.0.0.1:")


def test_the_emulator_is_gone_with_it(demo: Ran) -> None:
    assert len(demo.children) == 1
    assert psutil.wait_procs(demo.children, timeout=10)[1] == []


def test_a_replay_gives_the_same_digest_and_the_same_files(demo: Ran, launch: Callable[..., Any]) -> None:
    again = launch(demo.folder, "replay", "made/log", "--json", "--verify", "--out", "again").result()
    for key in ("ticks", "rejected", "lost", "bars", "gaps", "digest"):
        assert again[key] == demo.summary[key], key
    live, replayed = bars_of(demo.folder / "made" / "out"), bars_of(demo.folder / "again")
    assert len(live) == demo.summary["bars"]
    assert set(live["timeframe"]) == set(TIMEFRAMES)
    assert live.equals(replayed)


def test_the_speed_of_a_replay_changes_nothing_but_its_length(demo: Ran, launch: Callable[..., Any]) -> None:
    paced = launch(demo.folder, "replay", "made/log", "--json", "--speed", "3").result()
    assert paced["digest"] == demo.summary["digest"]
    assert paced["seconds"] >= 0.9


def test_python_gives_the_same(demo: Ran) -> None:
    again = tickloom.replay(demo.folder / "made" / "log")
    assert again.digest == demo.summary["digest"]
    assert sum(again.table(c, t).num_rows for c in again.contracts for t in TIMEFRAMES) == demo.summary["bars"]


def test_the_bars_are_what_polars_makes_of_the_logs_ticks(demo: Ran, launch: Callable[..., Any]) -> None:
    done = launch(demo.folder, "log", "export", "made/log", "ticks.parquet", "--json").result()
    assert done["rows"] == demo.summary["ticks"]
    ticks = pl.read_parquet(demo.folder / "ticks.parquet").sort("contract", "time", "tick")
    expected = (
        ticks.group_by(pl.col("contract").cast(pl.String), open_time=pl.col("time").dt.truncate("1s"))
        .agg(
            open=pl.col("price").first(), high=pl.col("price").max(), low=pl.col("price").min(),
            close=pl.col("price").last(), volume=pl.col("size").sum(), trades=pl.len().cast(pl.Int64),
        )
        .sort("contract", "open_time")
    )  # fmt: skip
    made = bars_of(demo.folder / "made" / "out").filter(timeframe="1s")
    assert made.select(expected.columns).equals(expected)


def test_its_log_can_be_played_to_a_live_session(demo: Ran, launch: Callable[..., Any], tmp_path: Path) -> None:
    log = demo.folder / "made" / "log"
    gateway = launch(tmp_path, "gateway", "--from-log", str(log), "--speed", "0.1", GATEWAY_USER="u", GATEWAY_KEY="k")
    address = gateway.wait_for_result()["url"]
    hubs = {f"TICKLOOM__GATEWAY__{hub.upper()}_HUB_URL": f"{address}/hubs/{hub}" for hub in ("market", "user")}
    env = hubs | {
        "TICKLOOM__GATEWAY__API_URL": address,
        "PROJECT_X_USERNAME": "u",
        "PROJECT_X_API_KEY": "k",
    }
    live = launch(tmp_path, "live", MNQ, "--record", "log", "--seconds", "2", "--json", **env)
    summary = live.result()
    gateway.kill()
    assert summary["lost"] == 0
    assert summary["ticks"] > 0
    played, recorded = prints_of(tmp_path / "log"), prints_of(log)
    assert recorded[: len(played)] == played, "it waited for us"


def prints_of(log: Path) -> list[tuple[Any, ...]]:
    """Price, size and side of each print of one contract, in order of arrival."""
    with LogReader(log) as reader:
        table = pl.concat(pl.DataFrame(pl.from_arrow(batch)) for batch in print_batches(reader))
    return (
        table.filter(pl.col("contract").cast(pl.String) == MNQ).select("price", "size", pl.col("side").cast(str)).rows()
    )
