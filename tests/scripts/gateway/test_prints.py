import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.scripts.gateway.contracts import CATALOGUE
from tickloom.scripts.gateway.frames import tick_stamp
from tickloom.scripts.gateway.prints import Layout, Printer
from tickloom.scripts.gateway.shaping import Item
from tickloom.scripts.gateway.switches import ELEMENT_KINDS, MESSAGE_KINDS, WIRE_KINDS
from tickloom.scripts.gateway.ticks import Ticks

MNQ = CATALOGUE["CON.F.US.MNQ.Z25"]
RS = b"\x1e"


def some_ticks(first=100, lengths=(1, 3, 1, 1, 2), base_ns=1_763_829_000_999_999_500):
    start, stamp = [], []
    for length in lengths:
        begin = first + len(start)
        start += [begin] * length
        stamp += [base_ns + 100 * (begin - first)] * length
    count = len(start)
    return Ticks(
        first,
        stamp,
        [24_300 + 0.25 * (k % 7) for k in range(count)],
        [1 + k % 5 for k in range(count)],
        [k % 2 for k in range(count)],
        start,
    )


def expected(ticks):
    return [
        {
            "symbolId": "F.US.MNQ",
            "price": ticks.price[k],
            "timestamp": tick_stamp(ticks.first + k, ticks.stamp[k]),
            "type": ticks.side[k],
            "volume": ticks.size[k],
        }
        for k in range(len(ticks.stamp))
    ]


def decode(frames):
    """Return the GatewayTrade arrays in frames, and the number of messages in each frame."""
    arrays, counts = [], []
    for first, payload in frames:
        assert first == 0x81
        *messages, rest = payload.split(RS)
        assert rest == b""
        counts.append(len(messages))
        for message in map(json.loads, messages):
            assert (message["type"], message["target"], message["arguments"][0]) == (1, "GatewayTrade", MNQ.id)
            assert "invocationId" not in message
            arrays.append(message["arguments"][1])
    return arrays, counts


layouts = st.builds(Layout, st.sampled_from([0, 1, 2, 20, 500]), st.sampled_from([0, 1, 2, 5]))
trades = st.lists(st.integers(1, 8), min_size=1, max_size=60)


@settings(deadline=None)
@given(trades, layouts, st.integers(-10, 10**9))
def test_every_layout_says_the_same_ticks(parse_frames, lengths, layout, first):
    ticks = some_ticks(first, lengths)
    data, messages = Printer(MNQ).encode(ticks, layout)
    arrays, counts = decode(parse_frames(data))
    assert [element for array in arrays for element in array] == expected(ticks)
    assert len(arrays) == messages == sum(counts)
    assert not layout.frame_max or max(counts) <= layout.frame_max
    if layout.batch_max:
        assert {len(array) for array in arrays[:-1]} <= {layout.batch_max}
        assert len(arrays[-1]) <= layout.batch_max
    else:
        assert [len(array) for array in arrays] == list(lengths), "each trade is an array of its own"


@settings(deadline=None)
@given(trades, layouts)
def test_items_that_are_the_ticks_as_they_are_say_the_same(parse_frames, lengths, layout):
    ticks = some_ticks(0, lengths)
    items = [Item(index) for index in range(len(ticks.stamp))]
    plain = decode(parse_frames(Printer(MNQ).encode(ticks, layout)[0]))
    assert decode(parse_frames(Printer(MNQ).encode_items(items, ticks, layout)[0])) == plain


def one_broken(kind, parse_frames, at=101):
    ticks = some_ticks()
    items = [Item(100), Item(101), Item(at, kind), Item(104)]
    frames = parse_frames(Printer(MNQ).encode_items(items, ticks, Layout(500, 0))[0])
    return frames, expected(ticks)


@pytest.mark.parametrize("kind", ELEMENT_KINDS)
def test_a_broken_element_differs_from_its_tick_in_one_thing_and_stands_among_whole_ones(kind, parse_frames):
    frames, good = one_broken(kind, parse_frames)
    ((*before, broken, after),), _ = decode(frames)
    assert before == good[:2]
    assert after == good[4]
    if kind == "null_element":
        assert broken is None
    else:
        assert len([name for name, value in good[1].items() if broken.get(name) != value]) == 1


@pytest.mark.parametrize("at", [100, 101, 102, 103])
def test_a_field_that_is_missing_or_null_is_each_of_them_in_turn(at, parse_frames):
    victim = ("price", "timestamp", "type", "volume")[at % 4]
    missing = decode(one_broken("missing_field", parse_frames, at)[0])[0][0][2]
    null = decode(one_broken("null_field", parse_frames, at)[0])[0][0][2]
    assert victim not in missing
    assert null[victim] is None


@pytest.mark.parametrize("kind", MESSAGE_KINDS)
def test_a_broken_message_comes_beside_whole_ones_and_is_json(kind, parse_frames):
    frames, good = one_broken(kind, parse_frames)
    messages = [json.loads(part) for _, payload in frames for part in payload.split(RS) if part]
    assert [message["arguments"][1] for message in messages[::2]] == [good[:2], [good[4]]]
    broken = messages[1]
    assert broken["target"] == ("GatewayMystery" if kind == "unknown_target" else "GatewayTrade")
    assert not isinstance(broken["arguments"][1], list)


@pytest.mark.parametrize("kind", WIRE_KINDS)
def test_a_broken_frame_comes_between_whole_ones(kind, parse_frames):
    frames, good = one_broken(kind, parse_frames)
    assert decode(frames[:1])[0] == [good[:2]]
    assert decode(frames[-1:])[0] == [[good[4]]]
    broken = frames[1:-1]
    text = b"".join(payload for _, payload in broken)
    if kind == "garbage_json":
        with pytest.raises(json.JSONDecodeError):
            json.loads(text.removesuffix(RS))
    elif kind == "split_message":
        assert len(broken) == 2
        assert json.loads(text.removesuffix(RS)) == {"type": 6}
    elif kind == "binary_frame":
        assert broken == [(0x82, b'{"type":6}' + RS)]
    else:
        assert len(text) > 10_000


def test_the_cache_of_templates_is_bounded():
    printer = Printer(MNQ)
    for k in range(45_000):
        ticks = Ticks(k, [1_763_829_000_000_000_000], [float(k)], [1], [0], [k])
        data, _ = printer.encode(ticks, Layout())
        assert b'"price":%d,' % k in data
    assert len(printer._whole) <= 20_000
