"""Our bars of the ES ticks beside those of nautilus_trader, set to our conventions as far as it goes.

Set are `right-open` intervals, labels on open, and no empty bars. What stays different is its label: it is taken on from
one bar to the next and not moved on by an interval without ticks, so a bar after a quiet interval bears the time at
which that one began. Its times here are those at which its timer built the bar; where bars touch, the label is the same.
"""

from __future__ import annotations

import csv
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pyarrow.compute as pc
import pytest

import tickloom
from tickloom.scripts.cli import run

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "es-2013"
ES = "CON.F.US.EP.U13"
TIMEFRAMES = ("1s", "1m", "5m")
FIGURES = ("open", "high", "low", "close", "volume")

Row = tuple[int, int, float, float, float, float, int]
"""Open and close time, open, high, low, close, volume."""


@pytest.fixture(scope="module")
def theirs() -> dict[str, list[tuple[Row, int]]]:
    """By timeframe: nautilus' bars, each with its label."""
    (source,) = DATA.glob("*.csv.gz")
    command = [os.environ["TICKLOOM_PEERS_PYTHON"], str(Path(__file__).with_name("nautilus_bars.py")), str(source)]
    printed = subprocess.run([*command, *TIMEFRAMES], stdout=subprocess.PIPE, text=True, check=True).stdout
    bars: dict[str, list[tuple[Row, int]]] = {}
    for timeframe, opens, closes, label, o, h, low, c, volume in csv.reader(printed.splitlines()):
        row = (int(opens), int(closes), float(o), float(h), float(low), float(c), int(volume))
        bars.setdefault(timeframe, []).append((row, int(label)))
    return bars


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tickloom.Replay:
    (source,) = DATA.glob("*.csv.gz")
    log = tmp_path_factory.mktemp("es") / "log"
    where = ["--log", str(log), "--contract", ES, "--timezone", "America/Chicago", "--tick-size", "0.25"]
    assert run(["import", str(source), *where, "--json"]) == 0
    return tickloom.replay(log, timeframes=TIMEFRAMES)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_every_bar_is_nautilus_own(
    timeframe: str, ours: tickloom.Replay, theirs: dict[str, list[tuple[Row, int]]]
) -> None:
    table = ours.table(ES, timeframe)
    times = [pc.cast(table[name], "int64").to_pylist() for name in ("open_time", "close_time")]
    made = list(zip(*times, *(table[name].to_pylist() for name in FIGURES), strict=True))
    bars = theirs[timeframe]
    assert made == [row for row, _ in bars]
    assert len(made) > 300
    touching = [pair for pair in pairwise(bars) if pair[0][0][1] == pair[1][0][0]]
    assert len(touching) > len(bars) // 3
    assert all(label == row[0] for _, (row, label) in touching)
