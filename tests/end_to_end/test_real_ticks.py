"""Real ticks through `import` and `replay`, against bars that others made of them.

Gold: QuantConnect's own minute bars of the same ticks. ES: polars. What else is known of the files is in the data
folder's MANIFEST.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tickloom.scripts.cli import run

DAYS = ("20131007", "20131008")
GOLD = "CON.F.US.GCE."
ES = "CON.F.US.EP.U13"
FIGURES = ["open", "high", "low", "close", "volume"]


def succeed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Run a command in this process and return what it printed as JSON."""
    code = run([str(argument) for argument in (*arguments, "--json")])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    found: dict[str, Any] = json.loads(printed.out.splitlines()[-1])
    return found


def bars_of(out: Path, timeframe: str) -> pl.DataFrame:
    return (
        pl.scan_parquet(out / "bars" / f"timeframe={timeframe}" / "**" / "*.parquet", hive_partitioning=True)
        .with_columns(pl.col("contract").cast(pl.String))
        .sort("contract", "open_time")
        .collect()
    )


def quantconnect(file: Path) -> pl.DataFrame:
    """The minute bars in one of their zips: milliseconds since midnight UTC, open, high, low, close, volume."""
    rows = []
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            match = re.fullmatch(r"(\d{8})_gc_minute_trade_(\d{6})\.csv", name)
            assert match is not None, name
            bars = csv.reader(io.StringIO(archive.read(name).decode()))
            rows += [(match[2], match[1], int(bar[0]), *map(float, bar[1:5]), int(bar[5])) for bar in bars]
    columns = ["expiry", "day", "ms", *FIGURES]
    midnight = pl.col("day").str.to_datetime("%Y%m%d", time_unit="ns", time_zone="UTC")
    return pl.DataFrame(rows, schema=columns, orient="row").select(
        (GOLD + pl.col("expiry")).alias("contract"),
        (midnight + pl.duration(milliseconds="ms")).alias("open_time"),
        *FIGURES,
    )


@pytest.mark.parametrize("calendar", ["cme_metals", "utc"])
def test_every_minute_of_gold_is_quantconnects(
    calendar: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = data / "gold-2013"
    theirs = pl.concat([quantconnect(gold / f"minute_{day}_trade.zip") for day in DAYS]).sort("contract", "open_time")
    ticks = [gold / f"tick_{day}_trade.zip" for day in DAYS]
    report = succeed(
        capsys, "import", *ticks, "--log", tmp_path / "log", "--contract", GOLD + "{}", "--calendar", calendar
    )
    assert set(report["rows"]) == set(theirs["contract"])
    summary = succeed(capsys, "replay", tmp_path / "log", "--timeframes", "1m", "--out", tmp_path / "out")
    assert (summary["ticks"], summary["rejected"], summary["lost"]) == (report["ticks"], 0, 0)
    ours = bars_of(tmp_path / "out", "1m").select(theirs.columns)
    assert len(ours) > 2000
    assert ours.equals(theirs)


def test_es_bars_are_what_polars_makes_of_the_same_ticks(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = (data / "es-2013").glob("*.csv.gz")
    where = ("--log", tmp_path / "log", "--contract", ES, "--timezone", "America/Chicago", "--tick-size", "0.25")
    report = succeed(capsys, "import", source, *where)
    ticks = pl.read_csv(source).select(
        time=pl.col("DateTime").str.to_datetime("%Y-%m-%d %H:%M:%S%.3f", time_unit="ns")
        .dt.replace_time_zone("America/Chicago")
        .dt.convert_time_zone("UTC"),
        price="Price",
        size="Volume",
    )  # fmt: skip
    assert report["ticks"] == len(ticks)
    widths = ("1s", "1m", "5m", "1h")
    summary = succeed(capsys, "replay", tmp_path / "log", "--timeframes", ",".join(widths), "--out", tmp_path / "out")
    assert (summary["ticks"], summary["rejected"], summary["lost"]) == (len(ticks), 0, 0)
    for width in widths:
        expected = (
            ticks.group_by(open_time=pl.col("time").dt.truncate(width), maintain_order=True)
            .agg(
                open=pl.col("price").first(), high=pl.col("price").max(), low=pl.col("price").min(),
                close=pl.col("price").last(), volume=pl.col("size").sum(), trades=pl.len().cast(pl.Int64),
                vwap=(pl.col("price") * pl.col("size")).sum() / pl.col("size").sum(),
            )
            .sort("open_time")
        )  # fmt: skip
        made = bars_of(tmp_path / "out", width)
        exact = ["open_time", *FIGURES, "trades"]
        assert made.select(exact).equals(expected.select(exact)), width
        assert (made["vwap"] - expected["vwap"]).abs().max() < 1e-9, width
    assert summary["bars"] == sum(len(bars_of(tmp_path / "out", width)) for width in widths)
