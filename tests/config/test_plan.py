"""A timeframe feeds from the coarsest finer one whose buckets nest in its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickloom.config.plan import BASE, PRINTS, Feed, nests, render, roll_up
from tickloom.config.timeframes import DEFAULT, STANDARD, Timeframe, parse_timeframes


def sources(names: str) -> dict[str, str]:
    return {feed.timeframe: feed.source for feed in roll_up(parse_timeframes(names))}


def test_each_feeds_from_the_coarsest_that_divides_it():
    assert sources("1s,5s,15s,1m,5m,15m,1h,1d") == {
        "1s": BASE, "5s": "1s", "15s": "5s", "1m": "15s", "5m": "1m", "15m": "5m", "1h": "15m", "1d": "1h",
    }  # fmt: skip


def test_what_nothing_divides_feeds_from_the_base():
    assert sources("2m,3m,5m") == {"2m": BASE, "3m": BASE, "5m": BASE}
    assert sources("10m,15m,30m")["30m"] == "15m"


def test_weeks_and_months_feed_from_days_and_never_from_each_other():
    assert sources("1h,1d,2d,1w,2w,1mo,3mo") == {
        "1h": BASE, "1d": "1h", "2d": "1d", "1w": "1d", "2w": "1w", "1mo": "1d", "3mo": "1mo",
    }  # fmt: skip
    assert sources("2d,1w") == {"2d": BASE, "1w": BASE}
    assert sources("5m,2d,1w") == {"5m": BASE, "2d": "5m", "1w": "5m"}


def test_ticks_and_volume_feed_from_the_prints():
    assert sources("1m,100t,200t,1000v") == {"1m": BASE, "100t": PRINTS, "200t": PRINTS, "1000v": PRINTS}


def test_the_ratio_is_given_where_it_is_fixed():
    feeds = roll_up(parse_timeframes("1s,1m,1h,1d,2d,1mo,3mo"))
    assert {feed.timeframe: feed.ratio for feed in feeds} == {
        "1s": 1, "1m": 60, "1h": 60, "1d": 0, "2d": 2, "1mo": 0, "3mo": 3,
    }  # fmt: skip


def test_it_is_printed_a_line_a_timeframe():
    assert render(roll_up(parse_timeframes("1s,1m,1d"))) == (
        "1s    from 1s base\n1m    from 1s (60 each)\n1d    from 1m"
    )


@given(st.sets(st.sampled_from([*STANDARD, "90m", "7s", "2d", "5d", "2w", "3mo", "100t"]), min_size=1))
def test_a_plan_has_every_timeframe_once_and_sources_come_before(names: set[str]):
    frames = parse_timeframes(names)
    feeds = roll_up(frames)
    assert [feed.timeframe for feed in feeds] == [str(frame) for frame in frames]
    known = {BASE, PRINTS}
    for feed in feeds:
        assert feed.source in known
        known.add(feed.timeframe)


@given(st.sampled_from(DEFAULT), st.sampled_from(DEFAULT))
def test_nesting_among_the_defaults_is_their_order(a: str, b: str):
    fine, coarse = Timeframe.parse(a), Timeframe.parse(b)
    assert nests(fine, coarse) == (fine < coarse)


def test_the_plan_is_plain_data():
    assert roll_up(parse_timeframes("1m")) == (Feed("1m", BASE, 60),)
