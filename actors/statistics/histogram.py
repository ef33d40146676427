"""A latency histogram of fixed size: log-linear buckets, so that every value is known to 1/32 (about 3 %).

The scheme is that of HdrHistogram (Gil Tene): values are grouped by their power of two, and each group is cut in 32
equal parts. 0 to 2^40 ns (18 minutes) takes 1,184 counters whatever the uptime; larger values land in the last one.
Recording is plain integer work: no allocation, no clock. The owner is one actor; others see `Summary` values.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_SUB_BITS = 5
_SUB = 1 << _SUB_BITS
_MAX_BITS = 40
SIZE = (_MAX_BITS - _SUB_BITS + 2) * _SUB
"""Number of counters of a histogram."""


class Summary(msgspec.Struct, frozen=True):
    """What a histogram says: number of values, percentiles and the largest, in nanoseconds (0 when empty)."""

    count: int = 0
    p50_ns: int = 0
    p90_ns: int = 0
    p99_ns: int = 0
    p999_ns: int = 0
    max_ns: int = 0


def bucket_of(value: int) -> int:
    """Return the counter that holds `value` (ns); negative values count as 0."""
    if value < _SUB:
        return max(value, 0)
    shift = value.bit_length() - _SUB_BITS - 1
    index = (shift << _SUB_BITS) + (value >> shift)
    return index if index < SIZE else SIZE - 1


def upper_bound(bucket: int) -> int:
    """Return the largest value that falls in `bucket` (ns)."""
    if bucket < _SUB:
        return bucket
    shift = (bucket >> _SUB_BITS) - 1
    return (((bucket & (_SUB - 1)) + _SUB + 1) << shift) - 1


class Histogram:
    """Counts of values by size. Not thread-safe: one owner."""

    __slots__ = ("counts", "max_ns", "total")

    def __init__(self) -> None:
        self.counts = [0] * SIZE
        self.total = 0
        self.max_ns = 0

    def record(self, value_ns: int, weight: int = 1) -> None:
        """Count `value_ns` `weight` times."""
        self.counts[bucket_of(value_ns)] += weight
        self.total += weight
        self.max_ns = max(self.max_ns, value_ns)

    def merge(self, other: Histogram) -> None:
        """Add another histogram's counts to this one."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.max_ns = max(self.max_ns, other.max_ns)

    def sparse(self) -> tuple[tuple[int, int], ...]:
        """Return the counters that are not zero, as (bucket, count): a value that can travel between actors."""
        return tuple((i, n) for i, n in enumerate(self.counts) if n)

    @classmethod
    def of(cls, sparse: Iterable[tuple[int, int]], max_ns: int = 0) -> Histogram:
        """Make a histogram of what `sparse` returned."""
        made = cls()
        for bucket, count in sparse:
            made.counts[bucket] += count
            made.total += count
        made.max_ns = max_ns
        return made

    def percentile(self, q: float) -> int:
        """Return the smallest counter bound below which a share `q` (0 to 1) of the values lies, in ns."""
        if not self.total:
            return 0
        wanted, seen = q * self.total, 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min(upper_bound(bucket), self.max_ns)
        return self.max_ns

    def summary(self) -> Summary:
        """Return count, percentiles and maximum."""
        p50, p90, p99, p999 = (self.percentile(q) for q in (0.5, 0.9, 0.99, 0.999))
        return Summary(self.total, p50, p90, p99, p999, self.max_ns)
