"""Real ticks through `import` and `replay`, against bars that others made of them.

Gold: QuantConnect's own bars of the same ticks. ES: polars, and pandas. BTC: plain Python, day by local day. What else
is known of the files is in the data folder's MANIFEST.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import polars as pl
import pytest

from tickloom.scripts.cli import run

DAYS = ("20131007", "20131008")
GOLD = "CON.F.US.GCE."
ES = "CON.F.US.EP.U13"
NS = 10**9
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


def coarse_quantconnect(file: Path) -> pl.DataFrame:
    """The hourly or daily bars in one of their zips that lie on the days of the ticks: the time is written out."""
    rows = []
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            match = re.fullmatch(r"gc_trade_(\d{6})\.csv", name)
            assert match is not None, name
            bars = csv.reader(io.StringIO(archive.read(name).decode()))
            rows += [(match[1], bar[0], *map(float, bar[1:5]), int(bar[5])) for bar in bars if bar[0][:8] in DAYS]
    return pl.DataFrame(rows, schema=["expiry", "time", *FIGURES], orient="row").select(
        (GOLD + pl.col("expiry")).alias("contract"),
        pl.col("time").str.to_datetime("%Y%m%d %H:%M", time_unit="ns", time_zone="UTC").alias("open_time"),
        *FIGURES,
    )


def test_hours_and_days_of_gold_are_quantconnects_but_for_the_hour_they_call_closed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their session data has 17:00 to 17:15 in New York closed: no hour from 21:00 UTC, and no such print in a day."""
    gold = data / "gold-2013"
    ticks = [gold / f"tick_{day}_trade.zip" for day in DAYS]
    succeed(capsys, "import", *ticks, "--log", tmp_path / "log", "--contract", GOLD + "{}", "--calendar", "utc")
    succeed(capsys, "replay", tmp_path / "log", "--timeframes", "1h,1d", "--out", tmp_path / "out")
    keys = ["contract", "open_time"]
    hours, days = (bars_of(tmp_path / "out", timeframe).select(*keys, *FIGURES) for timeframe in ("1h", "1d"))
    their_hours, their_days = (
        coarse_quantconnect(gold / f"{kind}_gc_trade.zip").sort(keys) for kind in ("hour", "daily")
    )
    closed = pl.col("open_time").dt.hour() == 21
    assert hours.filter(~closed).equals(their_hours)
    assert (len(their_hours), hours.filter(closed).height) == (174, 4)
    day_of = pl.col("open_time").dt.truncate("1d")
    of_their_hours = hours.filter(~closed).group_by("contract", day_of).agg(
        pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(), pl.col("volume").sum()
    )  # fmt: skip
    assert of_their_hours.sort(keys).equals(their_days)
    touched = hours.filter(closed).select("contract", day_of)
    assert days.join(touched, on=keys, how="anti").equals(their_days.join(touched, on=keys, how="anti"))
    assert (len(days), len(touched)) == (18, 4)


@lru_cache
def local_day(second: int, zone: str) -> tuple[int, int]:
    """The moments at which the local day of a moment begins and ends, in seconds."""
    day = dt.datetime.fromtimestamp(second, ZoneInfo(zone)).date()
    begin, end = (dt.datetime.combine(date, dt.time(), ZoneInfo(zone)) for date in (day, day + dt.timedelta(days=1)))
    return int(begin.timestamp()), int(end.timestamp())


def local_bucket(second: int, zone: str, width: int | None) -> tuple[int, int]:
    """The bucket `[open, close)` of a moment, in seconds: of `width` from local midnight on, or the whole local day."""
    begin, end = local_day(second, zone)
    if width is None:
        return begin, end
    start = begin + (second - begin) // width * width
    return start, min(start + width, end)


def trades_of_btc(file: Path) -> Iterator[tuple[int, float, int, bool]]:
    """Milliseconds, price, thousandths of a coin, and whether the buyer came first, of every trade as it arrived."""
    with gzip.open(file, "rt") as lines:
        for line in lines:
            told = json.loads(line.partition(" ")[2]).get("data", {})
            if told.get("e") == "trade":
                yield told["T"], float(told["p"]), round(float(told["q"]) * 1000), told["m"]


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/St_Johns"])
def test_bars_of_a_market_that_never_closes_are_plain_arithmetic_on_its_own_wall_clock(
    zone: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = (data / "btcusdt-2024").glob("*.gz")
    where = ("--log", tmp_path / "log", "--contract", "BTCUSDT", "--tick-size", "0.1", "--size-step", "0.001")
    report = succeed(capsys, "import", source, *where, "--calendar", f"24/7@{zone}")
    trades = sorted(trades_of_btc(source), key=lambda trade: trade[0])  # stable: equal stamps stay as they arrived
    assert report["ticks"] == len(trades) > 20_000
    widths = {"1s": 1, "5s": 5, "45s": 45, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "90m": 5400, "4h": 14400}
    names = [*widths, "1d"]
    summary = succeed(capsys, "replay", tmp_path / "log", "--timeframes", ",".join(names), "--out", tmp_path / "out")
    assert (summary["ticks"], summary["rejected"], summary["lost"]) == (len(trades), 0, 0)
    for name in names:
        groups: dict[tuple[int, int], list[tuple[int, float, int, bool]]] = {}
        for trade in trades:
            groups.setdefault(local_bucket(trade[0] // 1000, zone, widths.get(name)), []).append(trade)
        expected = []
        for (opens, closes), inside in sorted(groups.items()):
            prices, sizes = [trade[1] for trade in inside], [trade[2] for trade in inside]
            sold = sum(size for _, _, size, maker in inside if maker)
            sides = (sum(sizes), len(inside), sum(sizes) - sold, sold)
            expected.append((opens * NS, closes * NS, prices[0], max(prices), min(prices), prices[-1], *sides))
        made = bars_of(tmp_path / "out", name).select(
            pl.col("open_time", "close_time").dt.epoch("ns"),
            *FIGURES, "trades", "buy_volume", "sell_volume",
        )  # fmt: skip
        assert made.rows() == expected, name


PANDAS = {name: name.replace("m", "min") for name in ("1s", "45s", "1m", "5m", "15m", "90m", "1h", "2h", "4h")}


def test_es_bars_are_what_pandas_resamples_from_the_sessions_open_on_chicagos_clock(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = (data / "es-2013").glob("*.csv.gz")
    where = ("--log", tmp_path / "log", "--contract", ES, "--timezone", "America/Chicago", "--tick-size", "0.25")
    succeed(capsys, "import", source, *where)
    succeed(capsys, "replay", tmp_path / "log", "--timeframes", ",".join(PANDAS), "--out", tmp_path / "out")
    ticks = pd.read_csv(source)
    ticks.index = pd.DatetimeIndex(ticks["DateTime"]).tz_localize("America/Chicago")
    for name, rule in PANDAS.items():
        grouped = ticks.resample(rule, closed="left", label="left", origin="start_day", offset="17h")
        theirs = grouped["Price"].ohlc().assign(volume=grouped["Volume"].sum(), trades=grouped["Price"].count())
        theirs = theirs[theirs["trades"] > 0]  # pandas fills the night of the holiday with empty ones
        made = bars_of(tmp_path / "out", name)
        opens = made["open_time"].dt.convert_time_zone("America/Chicago").to_list()
        assert opens == [moment.to_pydatetime() for moment in theirs.index], name
        assert made.select(*FIGURES, "trades").rows() == list(theirs.itertuples(index=False, name=None)), name


@pytest.mark.parametrize("first", ["2013-11-01", "2014-03-07"])
def test_sessions_keep_to_the_wall_clock_across_its_changes_as_pandas_does_by_the_local_day_and_not_by_24_hours(
    first: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock changes on the Sunday, while CME is closed. By the naive wall clock `17h` is 17:00 on every day."""
    wall = pd.date_range(f"{first} 08:00", periods=6 * 24 * 5, freq="10min")
    minutes, weekday = wall.hour * 60 + wall.minute, wall.day_of_week
    shut = (minutes // 60 == 16) | (weekday == 5) | ((weekday == 4) & (minutes >= 960))
    wall = wall[~(shut | ((weekday == 6) & (minutes < 1020)))]
    ticks = pd.DataFrame({"price": range(1000, 1000 + len(wall)), "size": 1}, index=wall)
    ticks.assign(time=wall.strftime("%Y-%m-%d %H:%M:%S")).to_csv(tmp_path / "ticks.csv", index=False)
    where = ("--log", tmp_path / "log", "--contract", ES, "--timezone", "America/Chicago", "--tick-size", "0.25")
    succeed(capsys, "import", tmp_path / "ticks.csv", *where, "--columns", "time,price,size")
    succeed(capsys, "replay", tmp_path / "log", "--timeframes", "4h,1d", "--out", tmp_path / "out")
    aware = ticks.tz_localize("America/Chicago")
    for name, rule, by_hours in (("1d", "D", "24h"), ("4h", "4h", "4h")):
        how = {"closed": "left", "label": "left", "offset": "17h"}
        theirs = ticks.resample(rule, **how)["price"].ohlc().dropna()
        made = bars_of(tmp_path / "out", name)
        opens = made["open_time"].dt.convert_time_zone("America/Chicago").dt.replace_time_zone(None).to_list()
        assert opens == [moment.to_pydatetime() for moment in theirs.index], name
        assert made.select(FIGURES[:4]).rows() == list(theirs.itertuples(index=False, name=None)), name
        astray = aware.resample(by_hours, **how)["price"].ohlc().dropna().index.tz_localize(None)
        agree = [moment.to_pydatetime() in opens for moment in astray]
        before = [moment.weekday() in (3, 4) for moment in astray]
        assert agree == before, f"{name}: an hour off as soon as the clock has changed, and not before"
