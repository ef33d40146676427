"""Prints that come while their market is closed are in bars of their own, and counted by contract."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tickloom
from tickloom.actors.bars.blocks import block_of
from tickloom.actors.ledger.fold import MOST_COUNTED, LedgerFold, outside
from tickloom.config.calendars import find_calendar
from tickloom.config.sessions import Sessions
from tickloom.messages.bars import Bar, Bars, Forget
from tickloom.messages.market import NS
from tickloom.scripts.cli import run

CHICAGO = ZoneInfo("America/Chicago")
ES = "CON.F.US.EP.Z25"
FRIDAY = int(dt.datetime(2025, 10, 31, 12, tzinfo=CHICAGO).timestamp())
"""Noon before a weekend on which the clock goes back."""


def fold(calendar: str = "cme_equity") -> LedgerFold:
    sessions = Sessions(find_calendar(calendar))
    return LedgerFold(lambda contract: sessions)


def bar(second: int, trades: int = 1, contract: str = "A", timeframe: str = "1s") -> Bar:
    opens = second * NS
    return Bar(contract, timeframe, opens, opens + NS, 1, 1, 1, 1, 1, trades, 1, 0, 0, 0, 0, True)


def is_shut(second: int) -> bool:
    """CME's index futures by the wall clock: shut from 16:00 to 17:00, and from Friday 16:00 to Sunday 17:00."""
    local = dt.datetime.fromtimestamp(second, CHICAGO)
    day, hour = local.weekday(), local.hour
    return hour == 16 or day == 5 or (day == 4 and hour >= 16) or (day == 6 and hour < 17)


@given(st.lists(st.tuples(st.integers(0, 4 * 86_400), st.integers(1, 5)), min_size=1, max_size=30), st.booleans())
def test_bars_between_sittings_are_counted_one_by_one_and_in_blocks(rows: list[tuple[int, int]], block: bool) -> None:
    bars = [bar(FRIDAY + second, trades) for second, trades in sorted(dict(rows).items())]
    message = Bars("1s", 1, columns=(block_of(bars),)) if block else Bars("1s", 1, settled=tuple(bars))
    state, _ = fold().step(fold().initial(), [message])
    expected = sum(bar.trades for bar in bars if is_shut(bar.open_time // NS))
    assert outside(state) == ({"A": expected} if expected else {})


def test_the_finest_timeframe_that_knows_sessions_tells_and_one_that_is_removed_does_not() -> None:
    saturday = FRIDAY + 86_400
    ledger, state = fold(), fold().initial()
    for name in ("5t", "1m", "1d"):
        state, _ = ledger.step(state, [Bars(name, 1, settled=(bar(saturday, len(name), timeframe=name),))])
    assert outside(state) == {"A": 2}
    state, _ = ledger.step(state, [Bars("1m", 2, settled=(bar(saturday + 60, 7, timeframe="1m"),))])
    assert outside(state) == {"A": 9}
    state, _ = ledger.step(state, [Forget("1m"), Forget("1d")])
    assert outside(state) == {}, "what is counted by prints alone knows of no session"


def test_names_without_end_are_counted_together() -> None:
    bars = tuple(bar(FRIDAY + 86_400, contract=f"C{number}") for number in range(MOST_COUNTED + 5))
    state, _ = fold().step(fold().initial(), [Bars("1s", 1, settled=bars)])
    assert len(outside(state)) == MOST_COUNTED + 1
    assert outside(state)[""] == 5


def test_a_feed_that_prints_on_a_saturday_is_counted_and_the_days_around_are_untouched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = [FRIDAY, FRIDAY + 60, FRIDAY + 86_400, FRIDAY + 86_460, FRIDAY + 90_000, FRIDAY + 3 * 86_400]
    lines = [f"{second * NS},{100 + number}.0,1" for number, second in enumerate(seconds)]
    (tmp_path / "ticks.csv").write_text("\n".join(["time,price,size", *lines]))
    where = ["--log", str(tmp_path / "log"), "--contract", ES, "--tick-size", "0.25", "--time-format", "ns"]
    assert run(["import", str(tmp_path / "ticks.csv"), *where, "--calendar", "cme_equity", "--json"]) == 0
    with tickloom.Playback(tmp_path / "log", timeframes=["1m", "1d"], speed=float("inf")) as playback:
        playback.wait(30)
        assert playback.statistics().outside == {ES: 3}
        days = playback.table(ES, "1d").to_pylist()
    assert [(day["trades"], day["open"], day["close"]) for day in days] == [(2, 100, 101), (3, 102, 104), (1, 105, 105)]
