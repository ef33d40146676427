from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tickloom.scripts.gateway.seconds import SecondBars, floor_unit, unit_end

ticks = st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 1000), st.integers(1, 9)), min_size=1, max_size=60).map(
    lambda rows: sorted(rows, key=lambda row: row[0])
)


@given(ticks, st.sampled_from([(1, 1), (1, 7), (2, 1), (2, 5), (3, 1)]), st.integers(0, 4000), st.integers(1, 4000))
def test_bars_of_any_unit_are_those_of_the_ticks(rows, unit, begin, length):
    bars = SecondBars(10_000)
    for index, (second, price, size) in enumerate(rows):
        bars.add(second, [float(price)], [size], index, index)
    expected = {}
    for index, (second, price, size) in enumerate(rows):
        opens = floor_unit(second, *unit)
        if begin <= opens < begin + length:
            expected.setdefault(opens, []).append((price, size, index))
    got = bars.roll(begin, begin + length, *unit)
    assert [bar.opens for bar in got] == sorted(expected)
    for bar in got:
        prices = [price for price, _, _ in expected[bar.opens]]
        assert (bar.open, bar.high, bar.low, bar.close) == (prices[0], max(prices), min(prices), prices[-1])
        assert bar.volume == sum(size for _, size, _ in expected[bar.opens])
        assert (bar.first, bar.last) == (expected[bar.opens][0][2], expected[bar.opens][-1][2])
        assert bar.closes == unit_end(bar.opens, *unit)


@given(st.integers(0, 4 * 10**9), st.integers(1, 6), st.integers(1, 12))
def test_every_second_lies_in_exactly_one_bar(second, unit, count):
    opens = floor_unit(second, unit, count)
    assert opens <= second < unit_end(opens, unit, count)
    assert floor_unit(unit_end(opens, unit, count), unit, count) == unit_end(opens, unit, count)
    assert floor_unit(opens, unit, count) == opens


@given(st.integers(31_536_000, 3_786_912_000).map(lambda second: datetime.fromtimestamp(second, UTC)))
def test_weeks_begin_on_monday_and_months_on_the_first(moment):
    second = int(moment.timestamp())
    week = datetime.fromtimestamp(floor_unit(second, 5, 1), UTC)
    assert week.weekday() == 0
    assert moment - week < timedelta(days=7, seconds=1)
    month = datetime.fromtimestamp(floor_unit(second, 6, 1), UTC)
    assert (month.year, month.month, month.day) == (moment.year, moment.month, 1)


def test_the_oldest_seconds_go():
    bars = SecondBars(10)
    for second in range(100):
        bars.add(second, [1.0], [1], second, second)
    assert len(bars) == 10
    assert [bar.opens for bar in bars.roll(0, 1000, 1, 1)] == list(range(90, 100))
