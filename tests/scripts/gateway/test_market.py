import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.scripts.gateway.contracts import choose
from tickloom.scripts.gateway.market import ModelMarket

S = 1_000_000_000
START = 1_763_829_000 * S
MNQ, CLE = "CON.F.US.MNQ.Z25", "CON.F.US.CLE.F26"


def a_market(rate=300.0, **options):
    return ModelMarket(choose([MNQ, CLE]), seed=5, rate=rate, start_ns=START, **options)


def content(market, contract):
    ticks = market.ticks(contract, 0, market.last(contract))
    return ticks.price, ticks.size, ticks.side, ticks.start


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 2 * S), min_size=1, max_size=30))
def test_slicing_time_differently_changes_no_tick(steps):
    sliced, whole = a_market(), a_market()
    now = START
    for step in steps:
        now += step
        sliced.advance(now)
    whole.advance(now)
    for contract in (MNQ, CLE):
        assert sliced.last(contract) == whole.last(contract)
        assert content(sliced, contract) == content(whole, contract)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-S, 2 * S), min_size=1, max_size=30))
def test_ticks_are_stamped_when_they_happen_and_stamps_never_fall(steps):
    market, now = a_market(), START
    newest = {MNQ: 0, CLE: 0}
    latest = START
    for step in steps:
        now += step
        latest = max(latest, now)
        for run in market.advance(now):
            stamps = market.ticks(run.contract, run.first, run.last).stamp
            assert stamps == sorted(stamps)
            assert stamps[0] >= max(newest[run.contract], now // 100 * 100)
            assert stamps[-1] <= max(newest[run.contract], latest) + 100 * (run.last - run.first)
            newest[run.contract] = stamps[-1]


def test_runs_follow_one_another_without_a_gap_and_end_with_a_whole_trade():
    market, expected = a_market(), {MNQ: 0, CLE: 0}
    for k in range(1, 500):
        for run in market.advance(START + k * 7_000_000):
            assert run.first == expected[run.contract]
            ticks = market.ticks(run.contract, run.first, run.last)
            assert ticks.start[0] == run.first
            expected[run.contract] = run.last + 1
            after = market._streams[run.contract].tape.block((run.last + 1) // 4096)
            assert after.start[(run.last + 1) % 4096] == run.last + 1
    assert min(expected.values()) > 50


def test_the_rate_is_that_of_all_contracts_together_shared_by_weight():
    market = a_market(rate=700.0)
    market.advance(START + 100 * S)
    counts = [market.last(contract) + 1 for contract in (MNQ, CLE)]
    assert counts == [pytest.approx(50_000, abs=8), pytest.approx(20_000, abs=8)]


@pytest.mark.parametrize("history", [0, 120])
def test_bars_are_those_of_the_ticks_history_included(history):
    market = a_market(history_s=history, history_rate=3.0)
    for k in range(1, 300):
        market.advance(START + k * 37_000_000)
    for contract in (MNQ, CLE):
        ticks = market.ticks(contract, market.oldest(contract), market.last(contract))
        bars = market.bars(contract).roll(0, 1 << 40, 1, 5)
        assert sum(bar.volume for bar in bars) == sum(ticks.size)
        assert len(bars) >= history // 5 + 2
        for bar in bars:
            mine = [p for p, stamp in zip(ticks.price, ticks.stamp, strict=True) if bar.opens <= stamp / S < bar.closes]
            assert (bar.open, bar.high, bar.low, bar.close) == (mine[0], max(mine), min(mine), mine[-1])


def test_history_lies_before_the_start_and_the_first_tick_after_it():
    market = a_market(history_s=10, history_rate=2.0)
    market.advance(START + S)
    ticks = market.ticks(MNQ, -20, 3)
    assert ticks.stamp[0] == START - 10 * S
    assert ticks.stamp[19] == START - S // 2
    assert ticks.stamp[20] >= START
    assert ticks.stamp == sorted(ticks.stamp)


def test_a_burst_comes_at_once_and_a_change_of_rate_from_its_moment_on():
    market = a_market(rate=0.0)
    market.burst(5000, MNQ, START)
    (run,) = market.advance(START + 1000)
    assert (run.contract, run.first) == (MNQ, 0)
    assert 4999 <= run.last < 5007
    market.set_rate(100.0, CLE, START + S)
    market.advance(START + 11 * S)
    assert market.last(CLE) + 1 == pytest.approx(1000, abs=8)
    assert market.last(MNQ) == run.last


def test_totals_are_those_of_the_session():
    market = a_market()
    for k in range(1, 50):
        market.advance(START + k * S // 10)
    ticks, totals = market.ticks(MNQ, 0, market.last(MNQ)), market.totals(MNQ)
    assert (totals.opened, totals.high, totals.low, totals.last) == (
        ticks.price[0],
        max(ticks.price),
        min(ticks.price),
        ticks.price[-1],
    )
    assert totals.volume == sum(ticks.size)
    assert totals.last_ns == ticks.stamp[-1]
    assert totals.bid == totals.last - (0.25 if ticks.side[-1] == 0 else 0.0), "a buy is at the ask, a sell at the bid"


def test_what_has_not_happened_or_is_no_longer_known_cannot_be_asked_for():
    market = a_market(rate=2000.0, window=1000)
    for k in range(1, 4000):
        market.advance(START + k * 1_000_000)
    assert market.oldest(MNQ) > 0
    market.ticks(MNQ, market.oldest(MNQ), market.last(MNQ))
    with pytest.raises(LookupError):
        market.ticks(MNQ, market.oldest(MNQ) - 1, market.last(MNQ))
    with pytest.raises(LookupError):
        market.ticks(MNQ, 0, market.last(MNQ) + 1)


def test_preparing_changes_nothing_but_what_is_at_hand():
    prepared, plain = a_market(rate=50_000.0), a_market(rate=50_000.0)
    for k in range(1, 200):
        prepared.prepare()
        assert prepared.advance(START + k * 3_000_000) == plain.advance(START + k * 3_000_000)
    assert content(prepared, MNQ) == content(plain, MNQ)
