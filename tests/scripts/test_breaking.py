"""The fuzz target: what must hold of any bytes, here for those that hypothesis makes and recorded ones that are broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tickloom.actors.connection.decode import Decoder
from tickloom.scripts.breaking import HEAD, Broken, exercise, seeds, with_mutations

GOLDEN = Path(__file__).parents[1] / "actors" / "connection" / "golden"
TRADE = b'{"type":1,"target":"GatewayTrade","arguments":["C",[{"price":1,"timestamp":"2026-01-02T03:04:05Z","type":0,"volume":1}]]}'
pieces = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [TRADE, b"\x1e", TRADE + b"\x1e", b'{"type":6}\x1e', b'{"type":7}\x1e', b"[" * 2000, b"NaN", b"1e999"]
    ),
)


@given(st.binary(min_size=HEAD, max_size=HEAD), st.lists(pieces, max_size=30))
@example(bytes(HEAD), [TRADE, b"\x1e", TRADE[:40], b"\x1e", TRADE, b"\x1e"])
@example(b"\x01" * HEAD, [TRADE, b"\x1e"] * 3)
def test_no_bytes_break_the_way_in(head, parts):
    exercise(head + b"".join(parts))


def test_recorded_frames_pass_and_so_do_those_broken_at_random():
    corpus = seeds(GOLDEN)
    assert len(corpus) >= 10
    for each in corpus:
        exercise(each)
    assert with_mutations(1.0, corpus, seed=5, say=print) > 10


def test_it_sees_when_batches_make_a_difference(monkeypatch):
    decode = Decoder.decode

    def forgetful(self, source, payloads, *rest):
        return decode(self, source, payloads[:1], *[column[:1] for column in rest])

    monkeypatch.setattr(Decoder, "decode", forgetful)
    with pytest.raises(Broken):
        exercise(bytes([7] * HEAD) + (TRADE + b"\x1e") * 5)
