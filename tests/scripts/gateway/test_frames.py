import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.scripts.gateway.frames import (
    GLUE_BYTES,
    RS,
    into_frames,
    invocation,
    invocation_raw,
    number,
    stamp,
    text_frame,
    tick_stamp,
)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1023, 1024, 65_535, 65_536, 100_000])
def test_a_frame_says_its_size_the_shortest_way(size, parse_frames):
    assert parse_frames(text_frame(b"x" * size)) == [(0x81, b"x" * size)]


messages = st.lists(st.integers(0, 30_000).map(lambda size: b"m" * size + RS), max_size=30)


@given(messages, st.integers(0, 7))
def test_messages_are_never_split_and_keep_their_order(parse_frames, messages, frame_max):
    frames = parse_frames(into_frames(messages, frame_max))
    assert b"".join(payload for _, payload in frames) == b"".join(messages)
    for first, payload in frames:
        assert first == 0x81
        assert payload.endswith(RS)
        assert not frame_max or payload.count(RS) <= frame_max
        assert payload.count(RS) == 1 or len(payload) <= GLUE_BYTES


def test_without_a_limit_small_messages_share_one_frame(parse_frames):
    assert len(parse_frames(into_frames([b"{}" + RS] * 50, 0))) == 1


def test_an_invocation_has_no_id_and_ends_with_its_mark():
    whole = invocation("GatewayTrade", "CON.F.US.EP.Z25", [1, None])
    assert whole == invocation_raw("GatewayTrade", "CON.F.US.EP.Z25", b"[1,null]")
    assert json.loads(whole.removesuffix(RS)) == {
        "type": 1,
        "target": "GatewayTrade",
        "arguments": ["CON.F.US.EP.Z25", [1, None]],
    }


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_json_and_exact(value):
    assert json.loads(number(value)) == value


@pytest.mark.parametrize(("value", "text"), [(21000.0, b"21000"), (21000.25, b"21000.25"), (58.01, b"58.01")])
def test_numbers_are_the_shortest(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.0000000Z"),
        (1_763_829_000_123_456_789, "2025-11-22T16:30:00.1234567Z"),
        (1_704_067_199_999_999_999, "2023-12-31T23:59:59.9999999Z"),
    ],
)
def test_stamps_have_seven_digits_and_are_cut_not_rounded(ns, text):
    assert stamp(ns, zulu=True) == text


def test_the_two_spellings_of_utc_alternate():
    assert tick_stamp(2, 0).endswith("00.0000000Z")
    assert tick_stamp(3, 0).endswith("00.0000000+00:00")
