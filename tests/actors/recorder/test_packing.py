from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.recorder import packing
from tickloom.actors.recorder.describe import describe
from tickloom.actors.recorder.packing import TooLarge, Unfit, pack
from tickloom.actors.recorder.unpacking import Assembler
from tickloom.messages.control import Beat, Disconnected, Gap
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Depth, DepthLevel, Malformed, Prints, Quote, Side
from tickloom.messages.records import SCHEMA, Kind, unroll

INT64 = st.integers(-(2**63), 2**63 - 1)
STAMP = st.integers(0, 2**62)
TEXT = st.text(max_size=8)


@st.composite
def prints(draw: st.DrawFn, count: int) -> Prints | None:
    per_frame = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    frame = [i for i, n in enumerate(per_frame) for _ in range(n)]
    if not frame and draw(st.booleans()):
        return None
    contracts = draw(st.lists(TEXT, min_size=1, max_size=3).map(tuple))

    def column(values: st.SearchStrategy[float]) -> list[float]:
        return draw(st.lists(values, min_size=len(frame), max_size=len(frame)))

    return Prints(
        contracts,
        column(st.integers(0, len(contracts) - 1)),
        column(INT64),
        column(st.floats(allow_nan=False)),
        column(INT64),
        column(st.integers(-128, 127)),
        frame,
        draw(st.integers(0, 2**40)),
    )


@st.composite
def items_of_frames(draw: st.DrawFn) -> Frames:
    count = draw(st.integers(1, 4))
    at = st.integers(0, count - 1)

    def each(value: st.SearchStrategy[object]) -> tuple[tuple[int, object], ...]:
        return tuple(sorted(draw(st.lists(st.tuples(at, value), max_size=3)), key=lambda pair: pair[0]))

    quote = st.builds(Quote, TEXT, INT64, last=st.none() | st.floats(allow_nan=False), volume=st.none() | INT64)
    level = st.builds(DepthLevel, INT64, st.integers(0, 11), st.floats(allow_nan=False), INT64, INT64)
    depth = st.builds(Depth, TEXT, st.lists(level, max_size=2).map(tuple))
    return Frames(
        source=draw(st.sampled_from(["market/1", "market/2", "user/1"])),
        recv_ns=draw(st.lists(STAMP, min_size=count, max_size=count)),
        mono_ns=draw(st.lists(STAMP, min_size=count, max_size=count)),
        payloads=draw(st.none() | st.lists(st.binary(max_size=12), min_size=count, max_size=count)),
        prints=draw(prints(count)),
        quotes=each(quote),
        depth=each(depth),
        malformed=tuple(Malformed(i, *rest) for i, rest in each(st.tuples(TEXT, TEXT, st.integers(0, 9)))),
        events=tuple((i, *rest) for i, rest in each(st.tuples(TEXT, st.binary(max_size=9)))),
    )


RECORDS = st.one_of(
    st.builds(Beat, recv_ns=STAMP),
    st.builds(Gap, recv_ns=STAMP, contract=TEXT, from_ns=INT64, to_ns=INT64, cause=TEXT),
    st.builds(Disconnected, recv_ns=STAMP, hub=TEXT, connection=st.integers(0, 9), cause=TEXT),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Numbered]:
    seq, numbered = draw(st.integers(0, 2**40)), []
    for item in draw(st.lists(items_of_frames() | RECORDS, min_size=1, max_size=6)):
        numbered.append(Numbered(seq, item))
        seq = numbered[-1].last_seq + 1 + draw(st.sampled_from([0, 0, 0, 5]))
    return numbered


def unpack(packed: packing.Packed, *, raw: bool = True, max_rows: int = 65_536) -> list[Numbered]:
    assembler = Assembler(raw=raw, max_rows=max_rows)
    return [*assembler.feed(packed.batch, packed.note), *assembler.flush()]


@given(streams(), st.sampled_from([1, 3, 65_536]))
@settings(max_examples=150, deadline=None)
def test_items_unpack_to_the_frames_prints_and_records_that_were_packed(stream, max_rows):
    packed = pack(stream)
    packed.batch.validate(full=True)
    assert list(unroll(unpack(packed, max_rows=max_rows))) == list(unroll(stream))


@given(streams())
@settings(max_examples=100, deadline=None)
def test_a_note_says_what_the_columns_say(stream):
    packed = pack(stream)
    said = {name: getattr(packed.note, name) for name in packed.note.__struct_fields__ if name != "crc32"}
    ticks_rise = [p.tick for r in unroll(stream) for p in getattr(r, "prints", ())]
    if ticks_rise == sorted(set(ticks_rise)):
        true = describe(packed.batch)
        assert said == {name: getattr(true, name) for name in said}


@given(streams(), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_how_items_are_split_over_batches_does_not_show(stream, size):
    assembler = Assembler(raw=True)
    found = []
    for start in range(0, len(stream), size):
        packed = pack(stream[start : start + size])
        found += assembler.feed(packed.batch, packed.note)
    found += assembler.flush()
    assert list(unroll(found)) == list(unroll(stream))


def test_lists_and_arrays_pack_alike(kit):
    (listed,) = kit.number([kit.frames(5, prints=2)])
    item, p = listed.item, listed.item.prints
    arrays = Prints(
        p.contracts,
        *(np.array(getattr(p, n)) for n in ("contract", "ts_ns", "price", "size", "side", "frame")),
        p.first_tick,
    )
    same = Numbered(1, Frames(item.source, np.array(item.recv_ns), np.array(item.mono_ns), item.payloads, arrays))
    assert pack([same]).batch.equals(pack([listed]).batch)
    mixed = kit.number([item, same.item, item])
    assert list(unroll(unpack(pack(mixed)))) == list(unroll(mixed))


def test_a_frame_of_several_prints_takes_a_row_each_and_one_payload(kit):
    packed = pack(kit.number([kit.frames(2, prints=3)]))
    assert packed.batch.schema.equals(SCHEMA)
    assert packed.batch.column("kind").to_pylist() == [Kind.TRADE, Kind.PRINT, Kind.PRINT] * 2
    assert packed.batch.column("seq").to_pylist() == [1, 1, 1, 2, 2, 2]
    assert packed.batch.column("payload").to_pylist() == [b'{"frame":0}', None, None, b'{"frame":1}', None, None]
    assert packed.batch.column("tick").to_pylist() == [0, 1, 2, 3, 4, 5]


def test_decoded_columns_are_null_where_there_is_no_print(kit):
    packed = pack(kit.number([kit.frames(1, prints=0), Beat(recv_ns=kit.START), kit.frames(1)]))
    assert packed.batch.column("price").null_count == 2
    assert packed.batch.column("source").to_pylist() == ["market/1", None, "market/1"]
    assert packed.batch.column("record").to_pylist()[1].startswith('{"record":"beat"')


def test_nan_prices_survive(kit):
    prints = Prints(("A",), [0, 0], [1, 2], [float("nan"), float("inf")], [1, 1], [0, 0], [0, 1], 0)
    item = Frames("m", [1, 2], [1, 2], None, prints, quotes=((0, Quote("A", 1, last=float("nan"))),))
    found = unpack(pack([Numbered(1, item), Numbered(3, Beat(recv_ns=1))]))
    back = found[0].item
    assert np.isnan(back.prints.price[0])
    assert back.prints.price[1] == np.inf
    assert np.isnan(back.quotes[0][1].last)


def test_a_side_beyond_a_byte_is_no_side(kit):
    item = Frames("m", [1], [1], None, Prints(("A",), [0], [1], [1.0], [1], [300], [0], 0))
    (back,) = unpack(pack([Numbered(1, item)]))
    assert back.item.prints.side.tolist() == [Side.UNKNOWN]


def test_decoded_only_reading_gives_everything_but_payloads_and_monotonic_stamps(kit):
    stream = kit.number(kit.everything())
    found = list(unroll(unpack(pack(stream), raw=False)))
    for got, said in zip(found, unroll(stream), strict=True):
        if hasattr(said, "payload"):
            said = msgspec.structs.replace(said, payload=None, mono_ns=0)
        assert got == said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recv_ns": [1, 2, 3]}, "column has"),
        ({"payloads": [b""]}, "payloads"),
        ({"mono_ns": [2**70, 1]}, "int64"),
        ({"quotes": ((5, Quote("A", 1)),)}, "outside"),
    ],
)
def test_an_item_whose_columns_are_at_odds_is_unfit(kit, change, words):
    good = kit.frames(2)
    fields = {name: getattr(good, name) for name in good.__struct_fields__}
    with pytest.raises(Unfit, match=words):
        pack([Numbered(1, Frames(**(fields | change)))])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame": [0, 2]}, "outside"),
        ({"frame": [1, 0]}, "order"),
        ({"contract": [0, 3]}, "does not list"),
        ({"size": [1]}, "column has"),
        ({"size": [1, 2**64]}, "int64"),
    ],
)
def test_prints_at_odds_with_their_frames_are_unfit(kit, change, words):
    good = kit.frames(2).prints
    fields = {name: getattr(good, name) for name in good.__struct_fields__}
    with pytest.raises(Unfit, match=words):
        pack([Numbered(1, Frames("m", [1, 2], [1, 2], None, Prints(**(fields | change))))])


def test_numbers_must_rise(kit):
    with pytest.raises(Unfit, match="rise"):
        pack([Numbered(5, Beat(recv_ns=1)), Numbered(5, Beat(recv_ns=1))])
    with pytest.raises(Unfit, match="nothing"):
        pack([])


def test_more_payload_than_a_batch_may_hold_is_refused_as_a_whole(kit, monkeypatch):
    monkeypatch.setattr(packing, "MAX_BYTES", 20)
    with pytest.raises(TooLarge):
        pack(kit.number([kit.frames(2)]))
    assert pack(kit.number([kit.frames(1)])).note.frames == 1


def test_a_batch_is_packed_in_parts_between_which_others_have_a_turn_and_it_is_the_same_batch():
    items = [
        Numbered(
            1 + 3 * n,
            Frames("market/1", [n] * 3, [n] * 3, [b"x"] * 3, Prints(("A",), [0], [n], [1.0], [1], [0], [2], n)),
        )
        for n in range(40)
    ]
    turns = []
    paused = pack(items, lambda: turns.append(1))
    assert len(turns) >= 6
    assert paused == pack(items)
