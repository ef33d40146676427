from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.recorder import packing
from tickloom.actors.recorder.backlog import Backlog
from tickloom.messages.control import Beat
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.records import unroll


def drain(backlog, limit):
    batches = []
    while len(backlog):
        batch = backlog.batch(limit)
        batches.append(batch)
        backlog.take_off(batch, 0)
    return batches


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4)), min_size=1, max_size=12), limit=st.integers(1, 20)
)
def test_batches_are_the_items_in_order_and_of_bounded_size(kit, sizes, limit):
    items = kit.number([kit.frames(count, prints=prints) for count, prints in sizes])
    backlog = Backlog(None)
    backlog.add(items, 0)
    batches = drain(backlog, limit)
    assert list(unroll(item for batch in batches for item in batch.items)) == list(unroll(items))
    assert all(batch.packed.note.rows <= max(2 * limit, 4) for batch in batches)
    assert (backlog.rows, len(backlog)) == (0, 0)


def test_an_item_stays_until_its_batch_is_taken_off(kit):
    backlog = Backlog(None)
    backlog.add(kit.number([kit.frames(3)]), 5)
    assert backlog.batch(10).items == backlog.batch(10).items
    assert (len(backlog), backlog.since) == (1, 5)
    backlog.take_off(backlog.batch(10), 9)
    assert (len(backlog), backlog.since) == (0, 9)


@given(st.lists(st.tuples(st.integers(0, 25), st.integers(1, 8)), max_size=20))
def test_whatever_comes_again_each_number_is_taken_once(kit, stretches):
    (whole,) = kit.number([kit.frames(40)])
    known = list(unroll([whole]))
    backlog = Backlog(None)
    for start, count in stretches:
        part = kit.number([kit.frames(count, start)], first=start + 1, tick=start)
        backlog.add(part, 0)
    seqs = [r.seq for item in backlog.clear() for r in unroll([item])]
    assert seqs == sorted(set(seqs))
    assert set(seqs) <= {r.seq for r in known}
    assert len(seqs) + backlog.repeated == sum(count for _, count in stretches)


def test_an_item_too_large_in_bytes_is_halved_until_it_fits(kit, monkeypatch):
    monkeypatch.setattr(packing, "MAX_BYTES", 40)
    items = kit.number([kit.frames(16)])
    backlog = Backlog(None)
    backlog.add(items, 0)
    batches = drain(backlog, 4096)
    assert list(unroll(item for batch in batches for item in batch.items)) == list(unroll(items))
    assert len(batches) >= 5


def test_an_unfit_item_comes_alone_with_the_reason(kit):
    good = kit.number([kit.frames(2), kit.frames(2, 2), Beat(recv_ns=1)])
    bad = Numbered(3, Frames("m", [1, 2], [0, 0], [b"only one"]))
    backlog = Backlog(None)
    backlog.add([good[0], bad, good[2]], 0)
    batches = drain(backlog, 4096)
    assert [batch.packed is None for batch in batches] == [False, True, False]
    assert batches[1].items == [bad]
    assert "payloads" in batches[1].fault


@pytest.mark.parametrize(("rows", "size", "exceeds"), [(9, 10**6, True), (10, 10**6, False), (10, 20, True)])
def test_it_knows_when_too_much_waits(kit, rows, size, exceeds):
    backlog = Backlog(None)
    backlog.add(kit.number([kit.frames(10)]), 0)
    assert backlog.exceeds(rows, size) is exceeds
