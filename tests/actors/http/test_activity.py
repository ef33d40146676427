"""Charts of bars by activity: each is there once, in the order in which they closed, whatever their open times are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.bars.activity import ActivityFold, ActivityState
from tickloom.actors.http.charts import Follower, columns, newest_bars
from tickloom.actors.sinks.history import HistoryFold, HistoryState, Window
from tickloom.config.timeframes import Timeframe
from tickloom.messages.bars import Bar
from tickloom.messages.intake import Validated
from tickloom.messages.market import NS, Instrument, Trades

X = Instrument("X", 1, 1)
T0 = 1_709_899_200 * NS


class Kept:
    """Prints of a contract on their way through a timeframe's fold into a history."""

    def __init__(self, timeframe: str) -> None:
        self.timeframe = timeframe
        self.fold, self.history = ActivityFold(Timeframe.parse(timeframe)), HistoryFold(10**6, 1 << 26)
        self.state: ActivityState = self.fold.initial()
        self.kept: HistoryState = self.history.step(self.history.initial(), [X])[0]
        self.prints = 0

    def give(self, stamps: list[int]) -> None:
        """Prints with these stamps (seconds); the price of each is its number."""
        count = len(stamps)
        numbers = list(range(self.prints, self.prints + count))
        trades = Trades("X", [T0 + each * NS for each in stamps], numbers, [1] * count, [0] * count, numbers)
        self.prints += count
        self.state, said = self.fold.step(self.state, [Validated(self.prints, (trades,))])
        self.kept, _ = self.history.step(self.kept, said)

    @property
    def window(self) -> Window | None:
        return self.kept.windows.get(("X", self.timeframe))

    def bars(self, count: int) -> list[Bar]:
        return [] if self.window is None else newest_bars(self.window, count)


def test_columns_have_bars_of_one_open_time_in_the_order_in_which_they_closed() -> None:
    kept = Kept("1t")
    kept.give([5, 5, 3, 4])
    made = columns(kept.bars(10), X)
    assert made.close == [0, 1, 2, 3]
    assert made.number == [1, 2, 3, 4]
    assert made.open_time == [T0 + each * NS for each in (5, 5, 3, 4)]


@settings(max_examples=150)
@given(
    st.sampled_from(["1t", "3t", "4v"]),
    st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=90), st.booleans()), max_size=10),
    st.integers(1, 100),
)
def test_whatever_their_stamps_are_a_reader_ends_up_with_the_bars_that_are_there(
    timeframe: str, steps: list[tuple[list[int], bool]], count: int
) -> None:
    kept, follower, reader = Kept(timeframe), Follower(count), dict[int, Bar]()

    def look() -> None:
        nonlocal reader
        fresh, news = follower.news(kept.window)
        shown = {bar.number: bar for bar in news}
        assert len(shown) == len(news), "nothing twice"
        reader = shown if fresh else reader | shown

    for stamps, looking in steps:
        kept.give(stamps)
        if looking:
            look()
    look()
    there = kept.bars(count)
    size = int(timeframe[:-1])
    assert [bar.open for bar in there] == list(range(0, kept.prints, size))[-count:]
    assert [reader[number] for number in sorted(reader)][-len(there) :] == there
    assert follower.news(kept.window) == (False, [])


def test_a_timeframe_that_was_removed_and_added_again_begins_anew() -> None:
    for count in (1, 2, 7):  # an open bar alone, a closed one alone, and both
        first, second, follower = Kept("2t"), Kept("2t"), Follower(100)
        first.give([0] * 50)
        second.give([1] * count)
        follower.news(first.window)
        assert follower.news(second.window) == (True, second.bars(100))
        assert follower.news(second.window) == (False, [])
