import json
import math

import pytest

from tickloom.messages.market import Instrument
from tickloom.scripts.gateway.contracts import choose
from tickloom.scripts.gateway.recording import LEAD_NS, FromRecording, RecordedFrame, RecordedTick, spec_from_instrument

S = 10**9
NOW = 1_763_829_000 * S
OLD = 1_381_104_000 * S
MNQ, EP = "CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25"


def play(source, seconds=100, step=S // 10, **options):
    market = FromRecording(source, choose([MNQ, EP]), start_ns=NOW, **options)
    runs = [run for k in range(int(seconds * S / step) + 1) for run in market.advance(NOW + k * step)]
    return market, runs


def some(count=50, every=S // 5):
    return [RecordedTick(OLD + k * every, (MNQ, EP)[k % 2], 100.0 + k / 4, 1 + k, k % 2) for k in range(count)]


def test_every_tick_is_served_once_in_order_with_its_content():
    market, runs = play(some())
    for at, contract in enumerate((MNQ, EP)):
        ticks = market.ticks(contract, 0, market.last(contract))
        assert ticks.price == [tick.price for tick in some()[at::2]]
        assert ticks.size == [tick.size for tick in some()[at::2]]
        assert ticks.side == [tick.side for tick in some()[at::2]]
        mine = [run for run in runs if run.contract == contract]
        assert [run.first for run in mine[1:]] == [run.last + 1 for run in mine[:-1]]
        assert mine[-1].last == market.last(contract) == 24
    assert market.finished


def test_plain_tuples_serve_as_well():
    market, _ = play([tuple(tick) for tick in some()])
    assert market.last(MNQ) == 24


@pytest.mark.parametrize("speed", [1.0, 5.0])
def test_the_pace_is_that_of_the_recording_times_the_speed(speed):
    market = FromRecording(some(), choose([MNQ, EP]), start_ns=NOW, speed=speed)
    market.advance(NOW)
    assert market.last(MNQ) + market.last(EP) + 2 == 1
    market.advance(NOW + 2 * S)
    assert market.last(MNQ) + market.last(EP) + 2 == min(50, 1 + 10 * speed)


def test_as_fast_as_possible_is_still_bounded_an_advance():
    source = (RecordedTick(OLD + k * S, MNQ, 1.0, 1, 0) for k in range(120_000))
    market = FromRecording(source, choose([MNQ]), start_ns=NOW, speed=math.inf)
    market.advance(NOW)
    counts = [market.advance(NOW + k)[0].last + 1 for k in range(1, 3)]
    assert counts == [100_000, 120_000]


def test_ticks_are_stamped_when_they_are_emitted_and_told_apart():
    market, _ = play([RecordedTick(OLD, MNQ, 1.0, 1, 1 - k % 2) for k in range(3)] + some())
    stamps = market.ticks(MNQ, 0, market.last(MNQ)).stamp
    assert [stamp - stamps[0] for stamp in stamps[:3]] == [0, 100, 200]
    assert stamps[0] == NOW
    assert stamps == sorted(set(stamps))


def test_prints_of_one_stamp_and_side_are_one_trade():
    prints = [
        (OLD, MNQ, 1.0, 1, 0),
        (OLD, MNQ, 1.25, 2, 0),
        (OLD, MNQ, 1.0, 3, 1),
        (OLD, EP, 9.0, 1, 1),
        (OLD, EP, 9.0, 1, 1),
    ]
    market, _ = play([*prints, (OLD + S, MNQ, 1.0, 1, 1)])
    mnq, ep = market.ticks(MNQ, 0, 3), market.ticks(EP, 0, 1)
    assert (mnq.start, ep.start) == ([0, 0, 2, 3], [0, 0])
    assert mnq.stamp[0] == mnq.stamp[1] < mnq.stamp[2]


def test_stamps_can_be_left_as_recorded():
    market, _ = play(some(), keep_stamps=True)
    assert market.ticks(MNQ, 0, 24).stamp == [tick.ts_ns for tick in some()[0::2]]


def test_bars_and_totals_are_those_of_the_ticks_played():
    market, _ = play(some(), keep_stamps=True)
    bars = market.bars(MNQ).roll(0, 1 << 40, 1, 1)
    mine = some()[0::2]
    assert sum(bar.volume for bar in bars) == sum(tick.size for tick in mine) == market.totals(MNQ).volume
    assert bars[0].open == mine[0].price
    assert market.totals(MNQ).high == max(tick.price for tick in mine)


def test_what_cannot_be_served_is_counted_by_reason():
    market, _ = play(
        [RecordedTick(OLD, "CON.F.US.XXX.Z25", 1.0, 1, 0), RecordedTick(OLD, MNQ, math.nan, 1, 0), *some()]
    )
    assert market.skipped == {"contract": 1, "price": 1}
    assert market.last(MNQ) == 24


def test_the_past_is_bounded():
    source = [RecordedTick(OLD + k * S // 100, MNQ, 1.0, 1, 0) for k in range(10_000)]
    market, _ = play(source, window=100)
    assert market.last(MNQ) == 9999
    assert 9700 < market.oldest(MNQ) < 9900
    with pytest.raises(LookupError):
        market.ticks(MNQ, market.oldest(MNQ) - 1, 9999)


def message(target, contract, data):
    return json.dumps({"type": 1, "target": target, "arguments": [contract, data]}).encode() + b"\x1e"


def wire(price, size=1, side=0, stamp="2013-10-07T00:00:00.1234567Z"):
    return {"symbolId": "F.US.MNQ", "price": price, "timestamp": stamp, "type": side, "volume": size}


FRAMES = [
    RecordedFrame(0, b"{}\x1e" + message("GatewayTrade", MNQ, [wire(1.0), wire(1.25, 3, 1)])),
    RecordedFrame(
        S,
        message("GatewayQuote", MNQ, {"symbol": "F.US.MNQ", "bestBid": 1.0}) + message("GatewayTrade", MNQ, wire(2.0)),
    ),
    RecordedFrame(2 * S, message("GatewayDepth", MNQ, [None, {"type": 6}]) + b'{"type":6}\x1e'),
    RecordedFrame(
        3 * S,
        b"rubbish\x1e"
        + message("GatewayTrade", MNQ, [None, {}, wire("x"), wire(3.0)])
        + message("GatewayMystery", MNQ, 1),
    ),
]


def test_recorded_frames_are_played_back_trades_as_ticks_and_the_rest_as_it_was():
    market = FromRecording(FRAMES, choose([MNQ]), start_ns=NOW, keep_stamps=True)
    assert not market.synthesize
    passed = []
    for k in range(40):
        market.advance(NOW + k * S // 10)
        passed += market.passed()
    ticks = market.ticks(MNQ, 0, market.last(MNQ))
    assert ticks.price == [1.0, 1.25, 2.0, 3.0]
    assert ticks.size == [1, 3, 1, 1]
    assert ticks.start == [0, 0, 2, 3], "an array of prints is one trade"
    assert ticks.stamp[0] == OLD + 123_456_700
    assert [(item.target, json.loads(item.data)) for item in passed] == [
        ("GatewayQuote", {"symbol": "F.US.MNQ", "bestBid": 1.0}),
        ("GatewayDepth", [None, {"type": 6}]),
    ]
    assert market.skipped == {"json": 1, "element": 3}


def test_an_empty_source_is_finished_at_once():
    market, runs = play([], seconds=1)
    assert runs == []
    assert market.finished


@pytest.mark.parametrize("speed", [0, -1, math.nan])
def test_a_speed_that_makes_no_sense_is_refused(speed):
    with pytest.raises(ValueError, match="speed"):
        FromRecording([], choose([MNQ]), start_ns=NOW, speed=speed)


def test_an_instrument_of_a_log_becomes_a_contract():
    spec = spec_from_instrument(Instrument("CON.F.US.GCE.Z13", 1, 10, symbol="F.US.GCE", tick_value=10.0))
    assert (spec.id, spec.symbol_id, spec.tick_size, spec.tick_value) == ("CON.F.US.GCE.Z13", "F.US.GCE", 0.1, 10.0)
    assert spec_from_instrument(Instrument("CON.F.US.GCE.Z13", 1, 10)).symbol_id == "F.US.GCE"


def test_an_id_of_one_word_is_name_and_symbol_as_well():
    spec = spec_from_instrument(Instrument("ES", 1, 4))
    assert (spec.id, spec.name, spec.symbol_id) == ("ES", "ES", "ES")
    assert spec_from_instrument(Instrument("CON.F.US.GCE.Z13", 1, 10)).name == "GCE"
    assert spec_from_instrument(Instrument("GCE.Z13", 1, 10)).name == "GCE"


@pytest.mark.parametrize("speed", [1.0, math.inf])
def test_a_playback_that_is_held_begins_a_moment_after_it_is_let_go_and_is_stamped_from_then_on(speed):
    ticks = [RecordedTick(OLD + k * S, MNQ, 1.0 + k, 1, 0) for k in range(3)]
    market = FromRecording(ticks, choose([MNQ]), start_ns=NOW, speed=speed, hold=True)
    assert market.advance(NOW + 100 * S) == []
    market.begin()
    began = NOW + 200 * S
    assert market.advance(began) == []
    assert market.advance(began + LEAD_NS - 1) == []
    assert [run.first for run in market.advance(began + LEAD_NS)] == [0]
    market.advance(began + LEAD_NS + 2 * S)
    assert market.ticks(MNQ, 0, 2).stamp[0] == began + LEAD_NS
    assert market.finished
