"""The histogram is of fixed size and knows every value to one part in 32."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.statistics.histogram import SIZE, Histogram, bucket_of, upper_bound


@given(st.integers(0, 2**40 - 1))
def test_a_value_is_known_to_one_part_in_32(value: int) -> None:
    bound = upper_bound(bucket_of(value))
    assert value <= bound <= value + value / 32 + 1


def test_buckets_rise_without_holes_to_the_last() -> None:
    bounds = [upper_bound(i) for i in range(SIZE)]
    assert bounds == sorted(set(bounds))
    assert [bucket_of(b) for b in bounds] == list(range(SIZE))
    assert bucket_of(2**62) == SIZE - 1
    assert bucket_of(-5) == 0


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_percentiles_are_those_of_the_sorted_values_to_one_part_in_32(values: list[int], q: float) -> None:
    h = Histogram()
    for v in values:
        h.record(v)
    exact = next(v for i, v in enumerate(sorted(values), 1) if i >= q * len(values))
    assert exact <= h.percentile(q) <= exact + exact / 32 + 1


@given(st.lists(st.integers(0, 10**9)), st.lists(st.integers(0, 10**9)))
def test_merging_equals_recording_everything_in_one(a: list[int], b: list[int]) -> None:
    one, left, right = Histogram(), Histogram(), Histogram()
    for v in a + b:
        one.record(v)
    for h, values in ((left, a), (right, b)):
        for v in values:
            h.record(v)
    left.merge(Histogram.of(right.sparse(), right.max_ns))
    assert left.summary() == one.summary()
    assert len(left.counts) == SIZE
