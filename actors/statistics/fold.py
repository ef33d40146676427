"""Statistics as a pure fold over reports and beats. Its size is bounded by the number of sources, never by time.

Reports are cumulative within an incarnation. When a source comes back with a new epoch, what it had reported before
is carried over, so totals survive restarts. At most `MAX_SOURCES` sources are kept; reports of further ones are
counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from tickloom.actors.statistics.histogram import Histogram, upper_bound
from tickloom.messages.control import Beat
from tickloom.messages.market import NS
from tickloom.messages.reports import Latency, Report, Statistics

MAX_SOURCES = 256
"""Most sources followed at once."""

TURN_NS = 60 * NS
"""How often the window of recent latencies is turned: it spans one to two of these."""

WINDOW_NS = 10 * NS
"""Span of the rate window."""

MAX_SAMPLES = 64
"""Most (time, ticks) samples kept for the rate."""


Latencies: TypeAlias = tuple[tuple[int, int], ...]
"""(bucket, count) pairs of a `Histogram`."""


class Source(msgspec.Struct, frozen=True):
    """The latest report of a source, the totals of its earlier incarnations, and the latencies counted by the last two
    turns of the window (None: none yet).
    """

    latest: Report
    carried: Report | None = None
    older: Latencies | None = None
    newer: Latencies | None = None


class StatisticsState(msgspec.Struct, frozen=True):
    """Sources by path, samples (ns, ticks) of the rate window, when the first beat came, refused sources, and when the
    window of recent latencies was last turned.
    """

    sources: dict[str, Source] = {}
    samples: tuple[tuple[int, int], ...] = ()
    first_ns: int = 0
    now_ns: int = 0
    refused: int = 0
    turned_ns: int = 0


def add(a: Report | None, b: Report) -> Report:
    """Return the sum of two reports under `b`'s name."""
    if a is None:
        return b
    names = a.counters.keys() | b.counters.keys()
    counters = {n: a.counters.get(n, 0) + b.counters.get(n, 0) for n in names}
    latency = Histogram.of((*a.latency, *b.latency)).sparse()
    return Report(b.source, b.epoch, counters, latency, max(a.max_ns, b.max_ns), b.gauges, b.contracts)


def total(source: Source) -> Report:
    """Return a source's totals over all its incarnations."""
    return add(source.carried, source.latest)


class StatisticsFold:
    """The fold `(StatisticsState, [Report | Beat]) -> (StatisticsState, [])`."""

    def initial(self) -> StatisticsState:
        """No source has reported."""
        return StatisticsState()

    def step(
        self, state: StatisticsState, messages: Sequence[Report | Beat]
    ) -> tuple[StatisticsState, Sequence[Report]]:
        """Fold reports and beats in order; messages of other types are passed over."""
        sources, samples = dict(state.sources), state.samples
        first, now, refused, turned = state.first_ns, state.now_ns, state.refused, state.turned_ns
        for message in messages:
            if isinstance(message, Report):
                known = sources.get(message.source)
                if known is None and len(sources) >= MAX_SOURCES:
                    refused += 1
                elif known is None:
                    sources[message.source] = Source(message)
                elif known.latest.epoch == message.epoch:
                    sources[message.source] = msgspec.structs.replace(known, latest=message)
                elif known.latest.epoch < message.epoch:
                    sources[message.source] = msgspec.structs.replace(known, latest=message, carried=total(known))
            elif isinstance(message, Beat):
                now = max(now, message.recv_ns)
                first = first or now
                if now - turned >= TURN_NS:
                    turned = now
                    for path, source in sources.items():
                        if source.latest.latency:
                            counted = total(source).latency
                            sources[path] = msgspec.structs.replace(source, older=source.newer, newer=counted)
                ticks = _ticks(sources)
                if not samples or now - samples[-1][0] >= WINDOW_NS // (MAX_SAMPLES // 2):
                    samples = (*[s for s in samples if s[0] >= now - WINDOW_NS][-MAX_SAMPLES:], (now, ticks))
        return StatisticsState(sources, samples, first, now, refused, turned), ()

    def split(self, messages: Sequence[object]) -> None:
        """Reports are idempotent: a failing batch is not worth bisecting."""


def _ticks(sources: dict[str, Source]) -> int:
    return sum(total(s).counters.get("accepted", 0) for s in sources.values())


def _latency(report: Report) -> Latency:
    s = Histogram.of(report.latency, report.max_ns).summary()
    ms = (s.p50_ns / 1e6, s.p90_ns / 1e6, s.p99_ns / 1e6, s.p999_ns / 1e6, s.max_ns / 1e6)
    return Latency(s.count, *(round(v, 4) for v in ms))


def recent(source: Source) -> Latency:
    """Return the latencies of the last one to two minutes; the largest is known as far as its bucket."""
    counts = dict(total(source).latency)
    for bucket, count in source.older or ():
        counts[bucket] -= count
    left = tuple((bucket, count) for bucket, count in sorted(counts.items()) if count)
    return _latency(Report("", 0, {}, left, upper_bound(left[-1][0]) if left else 0))


def snapshot(state: StatisticsState) -> Statistics:
    """Return the totals as one value."""
    totals = {path: total(source) for path, source in state.sources.items()}
    latencies = {path: _latency(report) for path, report in totals.items() if report.latency}
    slowest = max(latencies.values(), key=lambda each: each.p99_ms, default=Latency())
    rejected = {
        name.removeprefix("rejected_"): count
        for report in totals.values()
        for name, count in report.counters.items()
        if name.startswith("rejected_")
    }
    rate = 0.0
    if len(state.samples) > 1:
        (t0, n0), (t1, n1) = state.samples[0], state.samples[-1]
        rate = (n1 - n0) * NS / (t1 - t0) if t1 > t0 else 0.0
    return Statistics(
        seconds=(state.now_ns - state.first_ns) / NS,
        ticks=_ticks(state.sources),
        ticks_per_second=round(rate, 1),
        rejected=rejected,
        counters={path: report.counters for path, report in totals.items()},
        latency=slowest,
        latency_by_source=latencies,
        latency_recent={path: recent(source) for path, source in state.sources.items() if source.latest.latency},
        sources_refused=state.refused,
        gauges={path: report.gauges for path, report in totals.items() if report.gauges},
        contracts={
            name: {"accepted": accepted, "rejected": rejected}
            for report in totals.values()
            for name, (accepted, rejected) in report.contracts.items()
        },
    )
