"""Statistics survive restarts, count nothing twice, and do not grow."""

from __future__ import annotations

import msgspec

from tickloom.actors.statistics.fold import MAX_SAMPLES, MAX_SOURCES, StatisticsFold, snapshot
from tickloom.messages.control import Beat
from tickloom.messages.market import NS
from tickloom.messages.reports import Report

V = "pipeline/validation"


def test_a_repeated_report_counts_once_and_a_restart_carries_over() -> None:
    fold = StatisticsFold()
    reports = [
        Report(V, 1, {"accepted": 10, "rejected_jump": 1}),
        Report(V, 1, {"accepted": 10, "rejected_jump": 1}),
        Report(V, 1, {"accepted": 15, "rejected_jump": 1}),
        Report(V, 2, {"accepted": 4}),
        Report(V, 1, {"accepted": 999}),
    ]
    state, _ = fold.step(fold.initial(), reports)
    said = snapshot(state)
    assert said.ticks == 19
    assert said.rejected == {"jump": 1}


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    fold = StatisticsFold()
    state = fold.initial()
    for second in range(60):
        ticks = second * 100 if second < 30 else 3000 + (second - 30) * 1000
        state, _ = fold.step(state, [Report(V, 1, {"accepted": ticks}), Beat(recv_ns=(1000 + second) * NS)])
    assert snapshot(state).ticks_per_second == 1000.0


def test_the_state_is_as_large_after_a_million_seconds_as_after_a_hundred() -> None:
    fold = StatisticsFold()

    def size_after(seconds: range) -> int:
        state = fold.initial()
        for s in seconds:
            reports = [Report(f"a/{s % 500}", 1, {"accepted": 2**40 + s}), Beat(recv_ns=(10**9 + s * 100) * NS)]
            state, _ = fold.step(state, reports)
        assert len(state.samples) <= MAX_SAMPLES
        assert len(state.sources) == MAX_SOURCES
        return len(msgspec.msgpack.encode(msgspec.structs.replace(state, refused=0)))

    assert size_after(range(10_000)) <= size_after(range(1_000)) * 1.01


def test_latency_is_the_slowest_source_s() -> None:
    fold = StatisticsFold()
    fast, slow = ((100, 5),), ((400, 5),)
    state, _ = fold.step(fold.initial(), [Report("1s", 1, {}, fast, 10**9), Report("1d", 1, {}, slow, 10**9)])
    said = snapshot(state)
    assert said.latency == said.latency_by_source["1d"]
    assert said.latency.p99_ms > said.latency_by_source["1s"].p99_ms > 0


def test_gauges_are_the_latest_and_contracts_are_shown_by_outcome() -> None:
    fold = StatisticsFold()
    reports = [
        Report("/pressure", 0, {"overflows": 1}, gauges={"halvings": 2.0}),
        Report("/pressure", 0, {"overflows": 3}, gauges={"halvings": 0.0}),
        Report(V, 0, {"accepted": 5}, contracts={"ES": (5, 1), "": (0, 2)}),
    ]
    state, _ = fold.step(fold.initial(), reports)
    said = snapshot(state)
    assert said.gauges == {"/pressure": {"halvings": 0.0}}
    assert said.counters["/pressure"] == {"overflows": 3}
    assert said.contracts == {"ES": {"accepted": 5, "rejected": 1}, "": {"accepted": 0, "rejected": 2}}


def test_recent_latencies_are_those_of_the_last_one_to_two_minutes() -> None:
    fold = StatisticsFold()
    slow, fast = (600, 100), (100, 7)
    state = fold.initial()
    reports = [Report("1s", 1, {}, (slow,), 10**9), *(Report("1s", 1, {}, (fast, slow), 10**9) for _ in range(3))]
    for minute, report in enumerate(reports):
        state, _ = fold.step(state, [report, Beat(recv_ns=(1000 + 61 * minute) * NS)])
    said = snapshot(state)
    assert said.latency_by_source["1s"].trades == 107
    assert (said.latency_recent["1s"].trades, said.latency_recent["1s"].max_ms < 1.0) == (0, True)
    state, _ = fold.step(state, [Report("1s", 1, {}, ((100, 12), slow), 10**9)])
    assert snapshot(state).latency_recent["1s"].trades == 5, "and what came since"


def test_recent_latencies_survive_a_restart_of_their_source() -> None:
    fold = StatisticsFold()
    state, _ = fold.step(fold.initial(), [Report("1s", 1, {}, ((100, 10),), 9), Beat(recv_ns=1000 * NS)])
    state, _ = fold.step(state, [Report("1s", 2, {}, ((100, 3),), 9), Beat(recv_ns=1061 * NS)])
    state, _ = fold.step(state, [Report("1s", 2, {}, ((100, 4),), 9)])
    assert snapshot(state).latency_by_source["1s"].trades == 14
    assert snapshot(state).latency_recent["1s"].trades == 4
