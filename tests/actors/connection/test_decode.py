from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.connection.decode import Decoder
from tickloom.messages.market import as_list
from tickloom.messages.signalr import Payload, SignalRProtocol
from tickloom.messages.stamps import parse_stamp

RS = b"\x1e"
MNQ, EP, CLE = "CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26"


def event(target: str, *arguments: object) -> bytes:
    return json.dumps({"type": 1, "target": target, "arguments": arguments}, separators=(",", ":")).encode() + RS


def wire(price=1.0, stamp="2026-01-02T03:04:05.1234567Z", kind=0, volume=1, **more):
    return {"symbolId": "F.US.X", "price": price, "timestamp": stamp, "type": kind, "volume": volume, **more}


def decode(payloads, decoder=None, admit=None):
    stamps = list(range(len(payloads)))
    return (decoder or Decoder()).decode("market/1", payloads, stamps, stamps, admit)


def rows(frames) -> list[tuple]:
    """The prints of a batch as (tick, contract, stamp, price, size, side, frame)."""
    prints = frames.prints
    if prints is None:
        return []
    columns = (prints.contract, prints.ts_ns, prints.price, prints.size, prints.side, prints.frame)
    return [
        (prints.first_tick + i, prints.contracts[c], *rest)
        for i, (c, *rest) in enumerate(zip(*map(as_list, columns), strict=True))
    ]


# ------------------------------------------------------------------------------------------ golden frames


@pytest.mark.parametrize("name", ["net9-market", "net9-glued"])
def test_what_the_real_server_sent_is_what_its_truth_says(golden, name):
    capture = golden(name)
    got = rows(decode(capture.payloads))
    for contract, truth in capture.truth.items():
        assert [[ts, price, size, side] for _, c, ts, price, size, side, _ in got if c == contract] == truth["ticks"]
    assert len(got) == sum(len(truth["ticks"]) for truth in capture.truth.values())


def test_the_real_server_s_bad_elements_are_told_apart_and_every_good_print_is_kept(golden):
    capture = golden("net9-faults")
    truth = capture.truth[EP]
    frames = decode(capture.payloads)
    bad = Counter(truth["bad"])
    absurd_kinds = ["negative_price", "zero_price", "off_tick", "zero_volume", "negative_volume", "huge_number"]
    unreadable = [
        "missing_field",
        "null_element",
        "null_field",
        "huge_integer",
        "string_price",
        "null_batch",
        "object_batch",
    ]
    others = ["bad_timestamp", "future_timestamp", "unknown_type", "unknown_target"]
    assert set(bad) == {*absurd_kinds, *unreadable, *others}
    # what is well-formed, if absurd, is a print: judging it is validation's
    prints = [list(row[2:6]) for row in rows(frames)]
    absurd = sum(bad[kind] for kind in absurd_kinds)
    good = iter(truth["ticks"])
    expected = next(good)
    extra = 0
    for row in prints:
        if row == expected:
            expected = next(good, None)
        else:
            extra += 1
    assert expected is None
    assert extra == absurd
    reasons = Counter(malformed.reason for malformed in frames.malformed)
    assert reasons == {
        "timestamp": bad["bad_timestamp"] + bad["future_timestamp"],
        "side": bad["unknown_type"],
        "unknown_target": bad["unknown_target"],
        "schema": sum(bad[kind] for kind in unreadable),
    }
    stood_for = sum(malformed.prints for malformed in frames.malformed)
    assert stood_for == sum(bad.values()) - absurd - bad["unknown_target"] - bad["null_batch"]


def test_the_real_server_s_quotes_are_sparse_and_its_depth_begins_with_a_reset(golden):
    frames = decode(golden("net9-market").payloads)
    quotes = [quote for _, quote in frames.quotes]
    assert all(quote.contract == MNQ for quote in quotes)
    assert None not in (quotes[0].bid, quotes[0].ask, quotes[0].open, quotes[0].volume)
    assert any(quote.open is None and quote.bid is not None for quote in quotes[1:])
    book = [depth for _, depth in frames.depth]
    assert book[0].levels[0].kind == 6
    assert {level.kind for level in book[0].levels} >= {6, 1, 2}
    assert all(level.ts_ns > 1_700_000_000 * 10**9 for depth in book for level in depth.levels)
    assert frames.malformed == ()


def test_user_events_lose_their_wrapper(golden):
    capture = golden("net9-user")
    frames = decode(capture.payloads)
    expected = [(each["target"], each["payload"].get("data", each["payload"])) for each in capture.truth]
    got = [(target, json.loads(payload)) for _, target, payload in frames.events]
    assert any("action" in each["payload"] for each in capture.truth)
    assert len(got) > 5
    assert all(each in expected for each in got[2:])  # the first two are the accounts as they stand
    assert all("action" not in payload for _, payload in got)
    assert frames.malformed == ()


@pytest.mark.parametrize("name", ["net9-market", "net9-faults", "net9-glued", "net9-user"])
@given(data=st.data())
def test_a_real_session_cut_anywhere_decodes_to_the_same(golden, name, data):
    capture = golden(name)
    engine = SignalRProtocol()
    engine.start(0.0)
    stream = b"".join(capture.frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=40)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    payloads = [e.data for piece in pieces for e in engine.receive(piece, 0.0) if isinstance(e, Payload)]
    assert b"".join(payloads) == b"".join(capture.payloads)
    whole, cut = decode(capture.payloads), decode(payloads)
    assert [row[:6] for row in rows(cut)] == [row[:6] for row in rows(whole)]
    assert Counter(m.reason for m in cut.malformed) == Counter(m.reason for m in whole.malformed)
    assert [each for _, *each in cut.quotes] == [each for _, *each in whole.quotes]
    assert [each for _, *each in cut.events] == [each for _, *each in whole.events]


@pytest.mark.parametrize("name", ["net9-market", "net9-faults", "net9-glued"])
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_however_frames_are_batched_the_prints_and_their_numbers_are_the_same(golden, name, sizes):
    payloads = golden(name).payloads
    whole = decode(payloads, Decoder(1000))
    decoder = Decoder(1000)
    got, malformed, at, turn = [], [], 0, 0
    while at < len(payloads):
        size = sizes[turn % len(sizes)]
        frames = decode(payloads[at : at + size], decoder)
        got += [(*row[:6], row[6] + at) for row in rows(frames)]
        malformed += [(m.frame + at, m.reason, m.detail, m.prints) for m in frames.malformed]
        at, turn = at + size, turn + 1
    assert got == rows(whole)
    assert [row[0] for row in got] == list(range(1000, 1000 + len(got)))
    assert malformed == [(m.frame, m.reason, m.detail, m.prints) for m in whole.malformed]
    assert decoder.next_tick == 1000 + len(got)


# ------------------------------------------------------------------------------------------ against an oracle

numbers = st.one_of(
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**30), 10**30),
    st.sampled_from([1e308, -0.0, 2.0, 2.5]),
)
real_stamps = ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.1+00:00", "2026-01-02T03:04:59.9999999-05:30"]
stamps = st.sampled_from([*real_stamps, "nope", "", "2999-01-01T00:00:00Z"])
odd = st.one_of(st.none(), st.booleans(), st.text(max_size=5), st.lists(st.integers(), max_size=2))
elements = st.one_of(
    st.builds(wire, st.floats(-1e6, 1e6), stamps, st.sampled_from([0, 1]), st.integers(-5, 100)),
    st.builds(wire, numbers | odd, stamps | odd, numbers | odd, numbers | odd),
    st.dictionaries(st.sampled_from(["price", "timestamp", "type", "volume", "x"]), numbers | stamps | odd, max_size=5),
    odd,
)


def is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def oracle(element):
    """What an element is, by rules written down afresh: (stamp, price, size, side), or a reason."""
    if not isinstance(element, dict):
        return "schema"
    price, stamp, kind, volume = (element.get(k) for k in ("price", "timestamp", "type", "volume"))
    if not (is_number(price) and is_number(kind) and is_number(volume) and isinstance(stamp, str)):
        return "schema"
    if kind not in (0, 1):
        return "side"
    if volume != math.floor(volume) or not -(2**63) <= volume < 2**63:
        return "schema"
    ts = parse_stamp(stamp)
    if ts is None:
        return "timestamp"
    return ts, float(price), int(volume), int(kind)


@given(st.lists(st.lists(elements, max_size=6), max_size=30), st.booleans())
def test_every_good_print_is_kept_in_order_and_every_bad_element_is_counted_once(batches, glue):
    payloads = [event("GatewayTrade", "C", batch) for batch in batches]
    if glue:
        payloads = [b"".join(payloads)] if payloads else []
    frames = decode(payloads)
    verdicts = [oracle(element) for batch in batches for element in batch]
    assert [row[2:6] for row in rows(frames)] == [v for v in verdicts if not isinstance(v, str)]
    assert sum(m.prints for m in frames.malformed) == sum(isinstance(v, str) for v in verdicts)
    expected = Counter(v for v in verdicts if isinstance(v, str))
    assert Counter(m.reason for m in frames.malformed) == expected


# ------------------------------------------------------------------------------------------ one thing at a time


def test_one_object_is_taken_as_well_as_an_array():
    frames = decode([event("GatewayTrade", "C", wire(5.25)), event("GatewayTrade", "C", [wire(5.5)])])
    assert [row[3] for row in rows(frames)] == [5.25, 5.5]
    assert frames.malformed == ()


def test_an_integer_price_and_a_volume_written_as_a_float_are_fine():
    assert [row[3:5] for row in rows(decode([event("GatewayTrade", "C", [wire(5, volume=3.0)])]))] == [(5.0, 3)]


def test_fields_and_arguments_unknown_to_us_change_nothing():
    frames = decode([event("GatewayTrade", "C", [wire(1.5, extra={"a": [None]})], "more", 7)])
    assert [row[3] for row in rows(frames)] == [1.5]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_a_price_that_is_no_number_is_passed_on_for_validation_to_refuse(text):
    good, bad = json.dumps(wire(2.5)), json.dumps(wire(1)).replace('"price": 1', f'"price": {text}')
    payload = f'{{"type":1,"target":"GatewayTrade","arguments":["C",[{good},{bad},{good}]]}}'.encode() + RS
    prices = [row[3] for row in rows(decode([payload]))]
    assert (prices[0], prices[2]) == (2.5, 2.5)
    assert not math.isfinite(prices[1])


def test_a_number_beyond_floats_is_a_bad_element():
    good, bad = json.dumps(wire(2.5)), json.dumps(wire(1)).replace('"price": 1', '"price": 1e999')
    payload = f'{{"type":1,"target":"GatewayTrade","arguments":["C",[{bad},{good}]]}}'.encode() + RS
    frames = decode([payload])
    assert [row[3] for row in rows(frames) if math.isfinite(row[3])] == [2.5]


def test_a_cut_off_message_gives_up_its_whole_prints():
    payload = event("GatewayTrade", "C", [wire(1), wire(2), wire(3)])
    frames = decode([payload[:-60] + RS])
    assert [row[3] for row in rows(frames)] == [1.0, 2.0]
    assert [(m.reason, m.prints) for m in frames.malformed] == [("json", 1)]


def test_a_cut_off_message_does_not_spoil_the_one_it_is_glued_to():
    first, second = event("GatewayTrade", "C", [wire(1), wire(2)]), event("GatewayTrade", "D", [wire(3)])
    frames = decode([first[:-50] + second])
    assert [(row[1], row[3]) for row in rows(frames)] == [("C", 1.0), ("D", 3.0)]
    assert sum(m.prints for m in frames.malformed) == 1


def test_an_element_that_is_not_json_does_not_spoil_its_neighbours():
    good = json.dumps(wire(2.5), separators=(",", ":"))
    payload = f'{{"type":1,"target":"GatewayTrade","arguments":["C",[{good},{{"price":,}},{good}]]}}'.encode() + RS
    frames = decode([payload])
    assert [row[3] for row in rows(frames)] == [2.5, 2.5]
    assert [(m.reason, m.prints) for m in frames.malformed] == [("json", 1)]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"garbage" + RS, "json"),
        (b"\xff\xfe\x00" + RS, "json"),
        (b"[1,2]" + RS, "schema"),
        (b'{"target":"GatewayTrade"}' + RS, "schema"),
        (b'{"type":1,"target":"GatewayTrade"}' + RS, "schema"),
        (b'{"type":1,"target":"GatewayTrade","arguments":[]}' + RS, "schema"),
        (b'{"type":1,"target":"GatewayTrade","arguments":[5,[]]}' + RS, "schema"),
        (b'{"type":1,"target":"GatewayTrade","arguments":["C",null]}' + RS, "schema"),
        (b'{"type":1,"target":"GatewayTrade","arguments":["C","x"]}' + RS, "schema"),
        (b'{"type":1,"target":"GatewayQuote","arguments":["C",{"lastPrice":"x"}]}' + RS, "schema"),
        (b'{"type":1,"target":"GatewayQuote","arguments":["C",{"volume":1.5}]}' + RS, "schema"),
        (b'{"type":1,"target":"GatewayQuote","arguments":["C",{"timestamp":"x"}]}' + RS, "timestamp"),
        (b'{"type":1,"target":"GatewayDepth","arguments":["C",[{"type":1}]]}' + RS, "schema"),
        (b'{"type":1,"target":"GatewayDepth","arguments":["C",[{"timestamp":"x","type":1}]]}' + RS, "timestamp"),
        (b'{"type":1,"target":"GatewayUserOrder","arguments":[7]}' + RS, "schema"),
        (b'{"type":1,"target":"GatewayMystery","arguments":[]}' + RS, "unknown_target"),
        (b'{"type":1,"target":"GatewayTrade","arguments":["C",' + b"[" * 90_000 + RS, "depth"),
        (b'{"type":1,"x":' + b"[" * 90_000 + b"]" * 90_000 + b"}" + RS, "depth"),
    ],
)
def test_bad_input_is_told_by_reason_and_spoils_nothing(payload, reason):
    good = event("GatewayTrade", "C", [wire(1.5)])
    frames = decode([good, payload, good + payload + good])
    assert [row[3] for row in rows(frames)] == [1.5, 1.5, 1.5]
    assert [(m.frame, m.reason) for m in frames.malformed] == [(1, reason), (2, reason)]
    assert all(len(m.detail) <= 200 for m in frames.malformed)


@given(st.lists(st.binary(max_size=120).map(lambda noise: noise + RS), max_size=20))
def test_noise_never_raises_and_gives_no_prints(payloads):
    frames = decode(payloads)
    assert frames.prints is None
    assert len(frames) == len(payloads)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_a_damaged_frame_never_raises_and_leaves_its_neighbours_alone(at, damage):
    payload = event("GatewayTrade", "C", [wire(1), wire(2), wire(3)])
    good = event("GatewayTrade", "D", [wire(7)])
    broken = payload[:-1][:at] + damage.replace(RS, b"?") + payload[:-1][at + len(damage) :] + RS
    frames = decode([good, broken, good])
    assert [row[3] for row in rows(frames) if row[6] != 1] == [7.0, 7.0]


def test_what_steers_the_session_is_no_market_data_and_no_fault():
    payload = b'{"type":6}\x1e{"type":3,"invocationId":"1","result":null}\x1e{"type":77}\x1e\x1e'
    frames = decode([payload])
    assert (frames.prints, frames.malformed, frames.events) == (None, (), ())


def test_null_entries_of_depth_are_a_habit_and_no_fault():
    level = {"timestamp": "2026-01-02T03:04:05Z", "type": 1, "price": 5, "volume": 2, "currentVolume": 2}
    frames = decode([event("GatewayDepth", "C", [None, level, None]), event("GatewayDepth", "C", level)])
    assert [(len(d.levels), d.levels[0].price, d.levels[0].volume) for _, d in frames.depth] == [
        (1, 5.0, 2),
        (1, 5.0, 2),
    ]
    assert frames.malformed == ()


def test_a_bad_depth_entry_leaves_the_others():
    level = {"timestamp": "2026-01-02T03:04:05Z", "type": 2, "price": 5, "volume": 2}
    frames = decode([event("GatewayDepth", "C", [level, {**level, "price": "x"}, {**level, "volume": 1e300}, level])])
    assert [len(depth.levels) for _, depth in frames.depth] == [2]
    assert len(frames.malformed) == 2


def test_a_quote_without_any_stamp_has_the_stamp_zero_and_last_updated_stands_in():
    frames = decode(
        [
            event("GatewayQuote", "C", {"bestBid": 1}),
            event("GatewayQuote", "C", {"bestBid": 1, "lastUpdated": "1970-01-01T00:00:01Z"}),
        ]
    )
    assert [quote.ts_ns for _, quote in frames.quotes] == [0, 1_000_000_000]


def test_a_logout_is_an_event_with_or_without_arguments():
    frames = decode([event("GatewayLogout"), event("GatewayLogout", "another session")])
    assert frames.events == ((0, "GatewayLogout", b"[]"), (1, "GatewayLogout", b'["another session"]'))


def test_escaped_text_as_net_core_3_1_writes_it_is_the_same_text():
    payload = (
        b'{"type":1,"target":"GatewayTrade","arguments":["CON.\\u0046.X",[' + json.dumps(wire(1)).encode() + b"]]}"
    )
    assert rows(decode([payload + RS]))[0][1] == "CON.F.X"


def test_small_batches_are_lists_and_large_ones_arrays():
    payload = event("GatewayTrade", "C", [wire(1)])
    small, large = decode([payload] * 3).prints, decode([payload] * 300).prints
    assert all(
        isinstance(c, list) for c in (small.ts_ns, small.price, small.size, small.side, small.frame, small.contract)
    )
    for column in (large.ts_ns, large.size, large.side, large.frame, large.contract):
        assert isinstance(column, np.ndarray)
        assert column.dtype == np.int64
    assert large.price.dtype == np.float64
    assert list(large.frame) == list(range(300))


def test_the_same_contract_has_the_same_name_whatever_came_before():
    decoder = Decoder()
    decode([event("GatewayTrade", "A", [wire(1)]), event("GatewayTrade", "B", [wire(2)])], decoder)
    later = rows(decode([event("GatewayTrade", "B", [wire(3)]), event("GatewayTrade", "A", [wire(4)])], decoder))
    assert [(row[0], row[1], row[3]) for row in later] == [(2, "B", 3.0), (3, "A", 4.0)]


def test_made_up_contracts_do_not_grow_the_decoder_without_bound():
    decoder = Decoder()
    for start in range(0, 12_000, 500):
        batch = [event("GatewayTrade", f"C{n}", [wire(n)]) for n in range(start, start + 500)]
        assert [row[1] for row in rows(decode(batch, decoder))] == [f"C{n}" for n in range(start, start + 500)]
    assert len(decoder._contracts) < 6000


def test_faults_of_one_frame_are_bounded_and_still_add_up():
    frames = decode([event("GatewayTrade", "C", [None] * 5000 + [wire(1, "bad")] * 5000 + [wire(2)])])
    assert len(frames.malformed) <= 512
    assert sum(m.prints for m in frames.malformed) == 10_000
    assert [row[3] for row in rows(frames)] == [2.0]


def test_rows_not_admitted_are_not_numbered_and_are_told_of():
    decoder = Decoder(10)
    payloads = [event("GatewayTrade", "C", [wire(1), wire(2)]), event("GatewayTrade", "C", [wire(3)])]
    frames = decode(payloads, decoder, admit=lambda prints: [1])
    assert [(row[0], row[3], row[6]) for row in rows(frames)] == [(10, 2.0, 0)]
    assert [(m.frame, m.reason, m.prints) for m in frames.malformed] == [(0, "overlap", 0), (1, "overlap", 0)]
    assert decoder.next_tick == 11
    assert decode(payloads, decoder, admit=lambda prints: []).prints is None
    assert decoder.next_tick == 11
