"""What the tests of the bar folds share: how items become messages, messages bars, and a slow, obvious oracle."""

from __future__ import annotations

import csv
import gzip
import io
import random
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from tickloom.actors.bars.deltas import conflate
from tickloom.actors.bars.digest import combine_digests
from tickloom.actors.bars.fold import TimeframeFold, TimeframeState
from tickloom.actors.bars.reduce import ReduceFold, ReduceState
from tickloom.actors.bars.rolling import roll
from tickloom.config.buckets import rule_for
from tickloom.config.calendars import calendar_from, find_calendar
from tickloom.messages.bars import Bar, BarColumns, BarFlag, Bars, Reduced
from tickloom.messages.control import AnyControl, Beat, Gap, SessionStopped
from tickloom.messages.intake import Validated
from tickloom.messages.market import NS, Trades

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
ES = "CON.F.US.EP.U13"
PAUSES = calendar_from(
    "pauses",
    {
        "zone": "UTC",
        "sittings": [
            {"open": "22:00", "close": "22:20"},
            {"open": "22:30", "close": "22:59:30"},
            {"open": "23:05", "close": "21:00"},
        ],
        "breaks": [{"open": "22:40", "close": "22:43"}, {"open": "23:10", "close": "23:12:30"}],
    },
)
"""Sittings, breaks and a change of the trading day within two hours."""
CALENDARS = {"pauses": PAUSES}


class Tick(NamedTuple):
    """A validated trade; `tick` is its arrival number."""

    contract: str
    ts: int
    price: int
    size: int
    side: int
    tick: int


Item = Tick | AnyControl


def trades_of(ticks: Sequence[Tick], *, arrays: bool = False) -> Trades:
    """Return ticks of one contract as a message."""
    columns: list[Any] = [[t.ts for t in ticks], [t.price for t in ticks], [t.size for t in ticks]]
    columns += [[t.side for t in ticks], [t.tick for t in ticks]]
    if arrays:
        columns = [np.array(column, dtype=np.int64) for column in columns]
    return Trades(ticks[0].contract, *columns)


def validated(items: Iterable[Item], seq: int, *, arrays: bool = False) -> Validated:
    """Gather ticks by contract between control records, as validation does."""
    out: list[Trades | AnyControl] = []
    held: dict[str, list[Tick]] = {}

    def let_go() -> None:
        out.extend(trades_of(ticks, arrays=arrays) for ticks in held.values())
        held.clear()

    weight = 0
    for item in items:
        if isinstance(item, Tick):
            held.setdefault(item.contract, []).append(item)
            weight += 1
        else:
            let_go()
            out.append(item)
    let_go()
    return Validated(seq, tuple(out), seq, weight)


def cut(things: Sequence[Any], rng: random.Random | None) -> list[Sequence[Any]]:
    """Cut a sequence into random parts; into one without a generator, and now and then with one."""
    if rng is None or len(things) < 2 or rng.random() < 0.25:
        return [things] if things else []
    edges = sorted(rng.sample(range(1, len(things)), rng.randint(0, len(things) - 1)))
    return [things[a:b] for a, b in zip([0, *edges], [*edges, len(things)], strict=True)]


def final_bars(outputs: Iterable[Bars]) -> list[Bar]:
    """Return every final bar once, as objects, by contract and open time."""
    bars = []
    for output in outputs:
        bars += output.settled
        for block in output.columns:
            bars += rows_of(block)
    return sorted(bars, key=lambda bar: (bar.contract, bar.open_time))


def rows_of(block: BarColumns) -> list[Bar]:
    """Return the bars of a block one by one."""
    columns = (getattr(block, field).tolist() for field in BarColumns.__struct_fields__[2:-1])
    return [Bar(block.contract, block.timeframe, *row) for row in zip(*columns, strict=True)]


class Run(NamedTuple):
    """What a run gave: final bars by timeframe, everything that was said, and the digest."""

    bars: dict[str, list[Bar]]
    said: dict[str, list[Bars]]
    digest: str
    digests: dict[tuple[str, str], bytes]


class Loom:
    """Runs items through the reduction and timeframes, cut and conflated as a seed says."""

    Tick = Tick
    rows_of = staticmethod(rows_of)
    final_bars = staticmethod(final_bars)
    validated = staticmethod(validated)
    trades_of = staticmethod(trades_of)
    cut = staticmethod(cut)

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], Any] = {}

    def rules(self, timeframe: str, calendar: str = "utc") -> Callable[[str], Any]:
        """Return a lookup that gives every contract the same rule."""
        key = (timeframe, calendar)
        if key not in self._rules:
            self._rules[key] = rule_for(find_calendar(calendar, CALENDARS), timeframe)
        rule = self._rules[key]
        return lambda contract: rule

    def fold(self, timeframe: str, grace: int, lateness: int, calendar: str = "utc", **options: Any) -> TimeframeFold:
        """Return a timeframe's fold."""
        return TimeframeFold(timeframe, self.rules(timeframe, calendar), grace, lateness, **options)

    @staticmethod
    def reduced(items: Sequence[Item], seed: int, *, grace: int, lateness: int) -> list[Reduced]:
        """Return what the reduction says of items that come cut at random."""
        fold = ReduceFold(grace, lateness)
        state, out = fold.initial(), []
        for seq, part in enumerate(cut(items, random.Random(seed)), 1):
            state, outputs = fold.step(state, [validated(part, seq)])
            out += outputs
        return out

    def run(
        self,
        items: Sequence[Item],
        timeframes: Sequence[str],
        *,
        grace: int = 0,
        lateness: int = 0,
        seed: int | None = None,
        vector_rows: int = 10**9,
        column_rows: int = 48,
        bulk_rows: int = 32,
        calendar: str = "utc",
        emit_empty: bool = False,
        patience: int = 0,
    ) -> Run:
        """Without a seed: all in one batch, by the loops. With one: cut, conflated, saved and restored at random."""
        rng = random.Random(seed) if seed is not None else None
        reduce = ReduceFold(grace, lateness, patience, vector_rows=vector_rows, column_rows=column_rows)
        arrays = rng is not None and rng.random() < 0.5
        messages = [validated(part, seq, arrays=arrays) for seq, part in enumerate(cut(items, rng), 1)]
        reduced: list[Reduced] = []
        state = reduce.initial()
        for batch in cut(messages, rng):
            state, outputs = reduce.step(state, batch)
            reduced += outputs
            if rng is not None and rng.random() < 0.3:
                state = saved(state, ReduceState)
        bars, said, digests = {}, {}, {}
        for name in timeframes:
            fold = self.fold(
                name, grace, lateness, calendar, bulk_rows=bulk_rows, emit_empty=emit_empty, updates=rng is None
            )
            said[name], final = self.weave(fold, reduced, rng)
            bars[name] = final_bars(said[name])
            digests |= fold.digests(final)
        return Run(bars, said, combine_digests(digests), digests)

    def weave(
        self, fold: TimeframeFold, reduced: Sequence[Reduced], rng: random.Random | None = None
    ) -> tuple[list[Bars], TimeframeState]:
        """Run one timeframe over reductions."""
        waiting = list(reduced)
        if rng is not None and rng.random() < 0.5:
            waiting = [roll(message, fold.weaving.rules) for message in waiting]
        if rng is not None:
            waiting = self.pressed(waiting, rng)
        said: list[Bars] = []
        state = fold.initial()
        for batch in cut(waiting, rng):
            state, outputs = fold.step(state, batch)
            said += outputs
            if rng is not None and rng.random() < 0.3:
                state = saved(state, TimeframeState)
        return said, state

    @staticmethod
    def pressed(messages: Sequence[Reduced], rng: random.Random) -> list[Reduced]:
        """Conflate some neighbours, as a full mailbox does."""
        out: list[Reduced] = []
        for message in messages:
            merged = conflate(out[-1], message) if out and rng.random() < 0.4 else None
            if merged is None:
                out.append(message)
            else:
                out[-1] = merged
        return out

    @staticmethod
    def oracle(items: Sequence[Item], width: int, grace: int, lateness: int) -> dict[tuple[str, int], tuple[Any, ...]]:
        """Every final bar of buckets of `width` ns, computed tick by tick with nothing but dictionaries and sorting."""
        bars: dict[tuple[str, int], list[Tick]] = {}
        late: dict[tuple[str, int], int] = {}
        gaps: list[tuple[Gap, int]] = []
        newest: dict[str, int] = {}
        beat = 0
        for item in items:
            if isinstance(item, Tick):
                before = newest.get(item.contract, -(2**63))
                if item.ts < before - lateness:
                    continue
                key = (item.contract, item.ts // width * width)
                if key[1] + width + grace <= max(before, beat):
                    late[key] = late.get(key, 0) + 1
                bars.setdefault(key, []).append(item)
                newest[item.contract] = max(before, item.ts)
            elif isinstance(item, Gap):
                gaps.append((item, newest.get(item.contract, -(2**63))))
            elif isinstance(item, Beat | SessionStopped):
                beat = max(beat, item.recv_ns)
        out = {}
        for (contract, start), ticks in bars.items():
            end = start + width
            ticks = sorted(ticks, key=lambda t: (t.ts, t.tick))
            flags = BarFlag.REVISED if (contract, start) in late else BarFlag.NONE
            if end + grace > max(newest[contract], beat):
                flags |= BarFlag.PARTIAL
            for gap, known in gaps:
                if (
                    gap.contract == contract
                    and gap.from_ns < end
                    and gap.to_ns > start
                    and known < end + grace + lateness
                ):
                    flags |= BarFlag.GAP
            prices = [t.price for t in ticks]
            out[contract, start] = (
                end,
                prices[0],
                max(prices),
                min(prices),
                prices[-1],
                sum(t.size for t in ticks),
                len(ticks),
                sum(t.price * t.size for t in ticks),
                sum(t.size for t in ticks if t.side == 0),
                sum(t.size for t in ticks if t.side == 1),
                late.get((contract, start), 0),
                int(flags),
            )
        return out

    def flats(self, bars: Sequence[Bar], timeframe: str, calendar: str) -> dict[tuple[str, int], tuple[int, int]]:
        """End and price of each flat bar between bars with trades, found by looking at every second between two."""
        rule = self.rules(timeframe, calendar)("A")
        found: dict[tuple[str, int], tuple[int, int]] = {}
        for before, after in pairwise(bars):
            if before.contract == after.contract:
                for second in range(before.close_time, after.open_time, NS):
                    if rule.sessions.is_open(second):
                        start, end = rule.bucket(second)
                        found[before.contract, start] = (end, before.close)
        return found

    @staticmethod
    def as_oracle(bars: Iterable[Bar]) -> dict[tuple[str, int], tuple[Any, ...]]:
        """Return bars in the oracle's form."""
        return {(bar.contract, bar.open_time): msgspec.structs.astuple(bar)[3:-2] for bar in bars}


def saved(state: Any, kind: type) -> Any:
    """Write a state down and read it back, as a checkpoint would."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=kind)


@pytest.fixture(scope="session")
def loom() -> Loom:
    return Loom()


@pytest.fixture(scope="session")
def es() -> list[Tick]:
    """The ES sample: 200,000 trades over Labor Day 2013, prices in quarter points, stamps from Chicago's clock."""
    chicago = ZoneInfo("America/Chicago")
    if not DATA.exists():
        pytest.skip("the sample ticks are not beside the repository")
    ticks = []
    with gzip.open(DATA / "es-2013" / "es_20130901_20130903.csv.gz", "rt") as file:
        for number, (stamp, price, volume) in enumerate(csv.reader(io.StringIO(file.read().split("\n", 1)[1]))):
            moment = datetime.fromisoformat(stamp).replace(tzinfo=chicago)
            ts = int(moment.timestamp()) * NS + moment.microsecond * 1000
            ticks.append(Tick(ES, ts, round(float(price) * 4), int(volume), 2, number))
    return ticks


@pytest.fixture(scope="session")
def gold() -> Callable[[str, str], dict[str, list[list[str]]]]:
    """Return a reader of the gold files: rows by contract, for a kind (`tick`, `minute`) and a day (`20131007`)."""

    def read(kind: str, day: str) -> dict[str, list[list[str]]]:
        if not DATA.exists():
            pytest.skip("the sample ticks are not beside the repository")
        out = {}
        with zipfile.ZipFile(DATA / "gold-2013" / f"{kind}_{day}_trade.zip") as archive:
            for name in archive.namelist():
                contract = Path(name).stem.rpartition("_")[2]
                out[contract] = list(csv.reader(archive.read(name).decode().splitlines()))
        return out

    return read
