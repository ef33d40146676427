"""What the product made beside the truth: every final bar by digest, and those a reader sees number by number.

Twice over, because the ways differ. The digest chain of a timeframe covers each of its final bars, all thirteen
numbers of them; the history is what `Session.table` reads from, blocks and objects, and holds every bar since the
last look. The Parquet files are added up at the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow.parquet as pq

from tickloom.actors.bars.blocks import FIELDS
from tickloom.actors.bars.fold import TimeframeState
from tickloom.engine import Engine
from tickloom.messages.bars import Bar, BarFlag
from tickloom.scripts.soaking.products import PRODUCTS
from tickloom.scripts.soaking.truth import Matrix, Truth
from tickloom.wiring import timeframe_path

KEPT: Final = ~int(BarFlag.CONFLATED)
"""`conflated` tells how busy the machine was, not what the market did."""


class Compared(msgspec.Struct):
    """How many bars were compared: by digest, number by number, and in files. `wrong` says what differed."""

    by_digest: int = 0
    by_value: int = 0
    in_files: int = 0
    wrong: list[str] = []

    def add(self, words: str) -> None:
        """Note a difference; the first few tell enough."""
        if len(self.wrong) < 20:
            self.wrong.append(words)


def compare(engine: Engine, truth: Truth, compared: Compared) -> None:
    """Compare what became final since the last time. The engine must be at rest."""
    for (product, timeframe), series in truth.series.items():
        contract = PRODUCTS[product].contract
        state = engine.committed(timeframe_path(timeframe)) or TimeframeState()
        known = state.contracts.get(contract)
        count = 0 if known is None else known.chain.rows - series.count
        what = f"{timeframe} of {contract}"
        try:
            expected = series.take(count)
        except IndexError as error:
            compared.add(f"{what}: {error}")
            continue
        if not count:
            continue
        if known is not None and known.chain.digest() != series.digest():
            compared.add(f"{what}: the digest of the first {series.count} bars differs")
        compared.by_digest += count
        found = last_rows(engine, contract, timeframe, count)
        compared.by_value += len(found)
        if len(found) != count or not np.array_equal(found, expected):
            compared.add(f"{what}: {_difference(found, expected)}")


def last_rows(engine: Engine, contract: str, timeframe: str, count: int) -> Matrix:
    """Return the newest final bars that the history keeps, as rows of thirteen numbers."""
    window = engine.window(contract, timeframe)
    parts = [np.array([_row(bar) for bar in window.tail], dtype=np.int64).reshape(-1, len(FIELDS))]
    have = len(parts[0])
    for block in reversed(window.blocks):
        if have >= count:
            break
        parts.insert(0, np.stack([getattr(block, name) for name in FIELDS], axis=1))
        have += len(block)
    rows = np.concatenate(parts)[-count:]
    rows[:, -1] &= KEPT
    return rows


def _row(bar: Bar) -> list[int]:
    return [getattr(bar, name) for name in FIELDS]


def _difference(found: Matrix, expected: Matrix) -> str:
    """Return a sentence about the first row that differs."""
    if len(found) != len(expected):
        return f"{len(found)} bars of {len(expected)} can be read"
    at = int(np.flatnonzero((found != expected).any(axis=1))[0])
    names = [name for name, a, b in zip(FIELDS, found[at], expected[at], strict=True) if a != b]
    return (
        f"the bar at {expected[at][0]} differs in {', '.join(names)}: "
        f"{found[at].tolist()}, and its prints make {expected[at].tolist()}"
    )


def compare_files(out: Path, truth: Truth, compared: Compared) -> None:
    """Add up the Parquet files of bars and of rejects."""
    for product, each in enumerate(PRODUCTS):
        for timeframe in dict.fromkeys(name for _, name in truth.series):
            series = truth.series[product, timeframe]
            bars = trades = 0
            for path in sorted(
                (out / "bars" / f"timeframe={timeframe}" / f"contract={each.contract}").glob("*.parquet")
            ):
                column = pq.ParquetFile(path).read(columns=["trades"])["trades"].to_numpy()
                bars, trades = bars + len(column), trades + int(column.sum())
            compared.in_files += bars
            if (bars, trades) != (series.bars, series.trades):
                compared.add(
                    f"{timeframe} of {each.contract}: the files hold {bars} bars of {trades} trades, and there are "
                    f"{series.bars} of {series.trades}"
                )
    refused = sum(pq.ParquetFile(path).metadata.num_rows for path in (out / "rejects").glob("*.parquet"))
    if refused != sum(truth.rejected.values()):
        compared.add(f"the files hold {refused} rejects, and there are {sum(truth.rejected.values())}")
