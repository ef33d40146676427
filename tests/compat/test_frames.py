"""History and live bars become one frame, and each bar is in it once."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl

from tickloom.actors.bars.tables import bars_table
from tickloom.compat import frames
from tickloom.messages.bars import Bar, BarFlag
from tickloom.messages.market import NS, Instrument
from tickloom.messages.projectx import HistoryBar

ZONE = "America/Chicago"
MINUTE = 60 * NS
START = int(datetime(2026, 3, 8, 7, 30, tzinfo=UTC).timestamp()) * NS
"""01:30 in Chicago; half an hour later clocks go from 2 to 3."""
MNQ = Instrument("MNQ", 1, 4)


def bar(minute: int, *, flags: int = 0, volume: int = 10, final: bool = True) -> Bar:
    at = START + minute * MINUTE
    return Bar("MNQ", "1m", at, at + MINUTE, 400, 408, 392, 404, volume, 5, 4000, 5, 5, 0, flags, final)


def live(*bars: Bar) -> pl.DataFrame:
    return frames.from_table(bars_table(bars, {"MNQ": MNQ}, "1m"), ZONE)


def past(*minutes: int) -> pl.DataFrame:
    stamps = [datetime.fromtimestamp((START + minute * MINUTE) // NS, UTC).isoformat() for minute in minutes]
    return frames.from_history([HistoryBar(stamp, 90.0, 103.0, 89.5, 95.0, 100) for stamp in reversed(stamps)], ZONE)


def test_prices_are_points_and_times_are_the_zones() -> None:
    frame = frames.joined(None, live(bar(0)))
    assert frame.schema == frames.schema(ZONE)
    assert frame.rows() == [(datetime(2026, 3, 8, 1, 30, tzinfo=ZoneInfo(ZONE)), 100.0, 102.0, 98.0, 101.0, 10)]


def test_the_hour_that_does_not_exist_is_in_no_bar_and_no_bar_is_skipped() -> None:
    frame = frames.joined(None, live(bar(29), bar(30)))
    first, second = frame["timestamp"].to_list()
    assert (first.hour, first.minute, second.hour, second.minute) == (1, 59, 3, 0)
    assert second.timestamp() - first.timestamp() == 60


def test_history_comes_first_and_the_live_bar_wins_where_both_have_it() -> None:
    frame = frames.joined(past(0, 1, 2), live(bar(1), bar(2)))
    assert frame["close"].to_list() == [95.0, 101.0, 101.0]
    assert frame.schema == frames.schema(ZONE)


def test_a_bar_the_session_began_inside_of_is_put_together_with_historys() -> None:
    frame = frames.joined(past(0, 1), live(bar(1, flags=BarFlag.PARTIAL), bar(2)))
    assert frame.rows()[1][1:] == (90.0, 103.0, 89.5, 101.0, 110)
    assert frame.height == 3


def test_a_partial_bar_that_history_does_not_have_stands_alone() -> None:
    frame = frames.joined(past(0), live(bar(1, flags=BarFlag.PARTIAL)))
    assert frame["volume"].to_list() == [100, 10]


def test_without_live_bars_there_is_history_and_without_either_an_empty_frame() -> None:
    assert frames.joined(past(0), live()).height == 1
    assert frames.joined(None, live()).schema == frames.schema(ZONE)
    assert frames.from_history([], ZONE).is_empty()


def test_a_frame_of_the_other_library_gets_our_dtypes() -> None:
    theirs = pl.DataFrame(
        {
            "timestamp": pl.Series([START + MINUTE, START]).cast(pl.Datetime("ns", "UTC")),
            **{name: [1, 2] for name in ("open", "high", "low", "close")},
            "volume": [3.0, 4.0],
            "extra": ["x", "y"],
        }
    )
    ours = frames.from_peer(theirs, ZONE)
    assert ours.schema == frames.schema(ZONE)
    assert ours["volume"].to_list() == [4, 3]
    assert frames.from_peer(pl.DataFrame(), ZONE).schema == frames.schema(ZONE)
