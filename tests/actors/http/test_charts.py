"""Bars as columns, and what is new in them: whoever follows sees what is there, without being told anything twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.bars.tables import block_of
from tickloom.actors.http.charts import Follower, columns, decimals, newest_bars
from tickloom.actors.sinks.history import HistoryFold, HistoryState, Window
from tickloom.messages.bars import Bar, BarFlag, Bars
from tickloom.messages.market import Instrument

MNQ = Instrument("MNQ", 1, 4)
KEY = ("MNQ", "1s")
SECOND = 1_000_000_000


def window_of(state: HistoryState) -> Window | None:
    return state.windows.get(KEY)


def shown(bars: list[Bar]) -> dict[int, Bar]:
    return {bar.open_time: bar for bar in bars}


def test_columns_are_in_points_with_words_for_flags(make_bar: Callable[..., Bar]) -> None:
    second = make_bar(2, 103, flags=BarFlag.GAP | BarFlag.HEALED, final=False)
    made = columns([second, make_bar(1, 98)], MNQ)
    assert made.open_time == [1 * SECOND, 2 * SECOND]
    assert made.close == [24.5, 25.75]
    assert made.high == [25.25, 25.75]
    assert made.vwap == [24.5, None], "history does not know what a healed bar traded at on average"
    assert made.flags == ["", "gap|healed"]
    assert made.closed == [True, False]


def test_a_bar_without_volume_has_no_vwap(make_bar: Callable[..., Bar]) -> None:
    assert columns([make_bar(1, volume=0)], MNQ).vwap == [None]


@pytest.mark.parametrize(
    ("numerator", "denominator", "wanted"), [(1, 4, 2), (1, 10, 1), (1, 100, 2), (1, 32, 5), (5, 1, 0)]
)
def test_prices_get_the_decimals_of_their_tick(numerator: int, denominator: int, wanted: int) -> None:
    assert decimals(Instrument("X", numerator, denominator)) == wanted


def test_the_newest_bars_come_from_blocks_recent_ones_and_those_still_changing(make_bar: Callable[..., Bar]) -> None:
    fold = HistoryFold(10_000, 1 << 26)
    old = [make_bar(at) for at in range(600)]
    state, _ = fold.step(
        fold.initial(), [Bars("1s", 0, columns=(block_of(old),)), Bars("1s", 1, settled=(make_bar(600),))]
    )
    state, _ = fold.step(state, [Bars("1s", 2, closed=(make_bar(601),), updated=(make_bar(602, final=False),))])
    window = window_of(state)
    assert window is not None
    for count in (1, 2, 3, 4, 100, 602, 603, 10_000):
        times = [bar.open_time // SECOND for bar in newest_bars(window, count)]
        assert times == list(range(603))[-count:], count
    assert [bar.open_time // SECOND for bar in newest_bars(window, 2, open_too=False)] == [600, 601]


def test_a_reader_begins_with_the_newest_and_then_hears_what_changed(make_bar: Callable[..., Bar]) -> None:
    fold, follower = HistoryFold(10_000, 1 << 26), Follower(3)
    state, _ = fold.step(fold.initial(), [Bars("1s", 0, settled=tuple(make_bar(at) for at in range(10)))])
    fresh, news = follower.news(window_of(state))
    assert fresh
    assert [bar.open_time // SECOND for bar in news] == [7, 8, 9]
    assert follower.news(window_of(state)) == (False, [])
    state, _ = fold.step(state, [Bars("1s", 1, updated=(make_bar(10, 100, final=False),))])
    assert follower.news(window_of(state)) == (False, [make_bar(10, 100, final=False)])
    assert follower.news(window_of(state)) == (False, [])
    state, _ = fold.step(state, [Bars("1s", 2, closed=(make_bar(10, 101),))])
    assert follower.news(window_of(state)) == (False, [make_bar(10, 101)])
    revised = make_bar(10, 102, flags=BarFlag.REVISED)
    state, _ = fold.step(state, [Bars("1s", 3, revised=(revised,))])
    assert follower.news(window_of(state)) == (False, [revised])
    state, _ = fold.step(state, [Bars("1s", 4, settled=(revised,))])
    assert follower.news(window_of(state)) == (False, []), "what became final as it was is no news"


def test_a_reader_far_behind_begins_anew(make_bar: Callable[..., Bar]) -> None:
    fold, follower = HistoryFold(10_000, 1 << 26), Follower(3)
    state, _ = fold.step(fold.initial(), [Bars("1s", 0, settled=(make_bar(0),))])
    follower.news(window_of(state))
    state, _ = fold.step(state, [Bars("1s", 0, settled=tuple(make_bar(at) for at in range(1, 6)))])
    fresh, news = follower.news(window_of(state))
    assert fresh
    assert [bar.open_time // SECOND for bar in news] == [3, 4, 5]


def test_before_there_is_a_bar_the_chart_is_empty_and_that_is_said_once(make_bar: Callable[..., Bar]) -> None:
    follower = Follower(3)
    assert follower.news(None) == (True, [])
    assert follower.news(None) == (False, [])
    fold = HistoryFold(10_000, 1 << 26)
    state, _ = fold.step(fold.initial(), [Bars("1s", 0, updated=(make_bar(0, final=False),))])
    assert follower.news(window_of(state)) == (False, [make_bar(0, final=False)])


@st.composite
def lives(draw: st.DrawFn) -> list[list[tuple[str, int, int]]]:
    """What a timeframe might say, step by step: (what, second, close); each bar goes from open to settled."""
    steps: list[list[tuple[str, int, int]]] = []
    stage: dict[int, str] = {}
    settled = -1
    for _ in range(draw(st.integers(1, 30))):
        step: list[tuple[str, int, int]] = []
        for second in range(settled + 1, settled + 1 + draw(st.integers(1, 6))):
            close = draw(st.integers(90, 110))
            before = stage.get(second, "")
            what = draw(
                st.sampled_from({"": ["updated", "revised"], "updated": ["updated", "closed"]}.get(before, ["revised"]))
            )
            stage[second] = what
            step.append((what, second, close))
        steps.append(step)
        done = 0
        while stage.get(settled + 1 + done) in ("closed", "revised") and draw(st.booleans()):
            done += 1
        if done:
            steps.append([("settled", second, 0) for second in range(settled + 1, settled + 1 + done)])
            settled += done
    return steps


@given(life=lives(), looks=st.lists(st.booleans(), min_size=60, max_size=60), count=st.integers(1, 40))
def test_whatever_happens_a_reader_ends_up_with_what_is_there(
    life: list[list[tuple[str, int, int]]], looks: list[bool], count: int
) -> None:
    fold, follower = HistoryFold(10_000, 1 << 26), Follower(count)
    state, reader, word = fold.initial(), {}, dict[int, Bar]()

    def hear(step: list[tuple[str, int, int]]) -> Bars:
        said: dict[str, list[Bar]] = {}
        for what, second, close in step:
            if what != "settled":
                made = Bar("MNQ", "1s", second * SECOND, (second + 1) * SECOND, 100, 120, 80, close, 1, 1, close, 1, 0)
                word[second] = msgspec.structs.replace(made, final=what != "updated")
            said.setdefault(what, []).append(word[second])
        return Bars("1s", 0, **{what: tuple(bars) for what, bars in said.items()})

    def look() -> None:
        nonlocal reader
        fresh, news = follower.news(window_of(state))
        reader = shown(news) if fresh else {**reader, **shown(news)}

    for step, looking in zip(life, looks, strict=False):
        state, _ = fold.step(state, [hear(step)])
        if looking:
            look()
    look()
    window = window_of(state)
    there: Any = shown(newest_bars(window, count)) if window is not None else {}
    assert {time: reader.get(time) for time in there} == there
    look()
    assert follower.news(window) == (False, [])
