"""The roll-up plan: every timeframe is told, in rows of its own buckets, just what the reduction says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.bars.deltas import LIMIT
from tickloom.actors.bars.fold import TimeframeFold
from tickloom.actors.bars.rolling import Branch, along, roll
from tickloom.config.buckets import BucketRule
from tickloom.config.calendars import find_calendar
from tickloom.config.plan import BASE, roll_up
from tickloom.config.settings import Settings
from tickloom.config.timeframes import Timeframe
from tickloom.messages.bars import DeltaColumns, Reduced
from tickloom.messages.market import NS
from tickloom.wiring import plan_of

NAMES = ("1s", "5s", "15s", "1m", "4m", "15m", "1h", "1d", "100t")
START = 1_762_000_000 * NS
"""A few hours before the clocks of the United States go back in 2025."""


def columns(gaps: list[int], volume: int = 1) -> DeltaColumns:
    """A row of one trade for each second that the gaps lead to."""
    bucket = START + np.cumsum(np.array(gaps, dtype=np.int64)) * NS
    n = len(bucket)
    tick = np.arange(1, n + 1, dtype=np.int64)
    price = 100 + tick * 7 % 13
    ones = np.full(n, volume, dtype=np.int64)
    return DeltaColumns(
        "ES", bucket, price, bucket, tick, price, price, price, bucket, tick, ones, ones // volume, price, ones, ones - ones, 0
    )  # fmt: skip


def rules_of(name: str):
    rule = BucketRule(find_calendar("cme_equity"), Timeframe.parse(name))
    return lambda contract: rule


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=400))
@settings(max_examples=40, deadline=None)
def test_the_plan_tells_each_timeframe_what_the_reduction_told_it(gaps):
    reduced = Reduced(1, (), (columns(gaps),), watermarks=(("ES", START + sum(gaps) * NS),))
    feeds = [feed for feed in roll_up(map(Timeframe.parse, NAMES)) if not feed.timeframe.endswith("t")]
    names = [feed.timeframe for feed in feeds]
    plan = [
        Branch(rules_of(feed.timeframe), None if feed.source == BASE else names.index(feed.source)) for feed in feeds
    ]
    for name, told in zip(names, along(plan, reduced), strict=True):
        fold = TimeframeFold(name, rules_of(name), 0, 0)
        direct, by_plan = fold.step(fold.initial(), [reduced]), fold.step(fold.initial(), [told])
        assert fold.digests(by_plan[0]) == fold.digests(direct[0])
        assert fold.pending(by_plan[0], "ES") == fold.pending(direct[0], "ES")


def test_the_plan_of_a_session_is_the_one_that_is_shown():
    frames = [Timeframe.parse(name) for name in NAMES]
    plan = plan_of(Settings(), frames)
    shown = [feed for feed in roll_up(frames) if not feed.timeframe.endswith("t")]
    assert [None if b.source is None else shown[b.source].timeframe for b in plan] == [
        None if feed.source == BASE else feed.source for feed in shown
    ]


def test_a_coarse_timeframe_is_told_few_rows():
    reduced = Reduced(1, (), (columns([1] * 7_200),))
    plan = plan_of(Settings(), [Timeframe.parse(name) for name in ("1s", "1m", "1h")])
    seconds, minutes, hours = along(plan, reduced)
    assert (len(seconds.columns[0]), len(minutes.columns[0]) <= 121) == (7_200, True)
    assert len(hours.rows) + sum(map(len, hours.columns)) <= 3


def test_a_sum_too_large_is_left_to_the_timeframe_it_would_happen_in():
    reduced = Reduced(1, (), (columns([1] * 60, LIMIT // 4),))
    with pytest.raises(ValueError, match="ES"):
        roll(reduced, rules_of("1m"))
    told = along([Branch(rules_of("1s")), Branch(rules_of("1m"), 0)], reduced)
    assert told[1] is told[0]
