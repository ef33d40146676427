from __future__ import annotations

from tickloom.actors.recorder.losses import Losses
from tickloom.messages.control import Beat, Gap, Subscribed
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Prints


def test_nothing_lost_is_nothing_to_say():
    losses = Losses()
    assert not losses
    assert losses.records("x") == []


def test_each_contract_gets_its_own_stretch(kit):
    losses = Losses()
    items = kit.number([kit.frames(3, contract="A"), kit.frames(3, 3, contract="B"), kit.frames(3, 6, contract="A")])
    losses.take(items[:2])
    losses.take(items[2:])
    found = losses.records("no room")
    stretch = {
        name: [p for item in items for p in item.item.prints.ts_ns if item.item.prints.contracts == (name,)]
        for name in "AB"
    }
    assert [(n.item.contract, n.item.from_ns, n.item.to_ns) for n in found] == [
        (name, min(stamps), max(stamps) + 1) for name, stamps in stretch.items()
    ]
    assert [n.seq for n in found] == [1, 2]
    assert {n.item.cause for n in found} == {"the log could not be written (no room): 9 frames with 9 prints lost"}


def test_beats_go_and_other_records_stay_up_to_a_bound(kit):
    losses = Losses()
    told = [Subscribed(recv_ns=i, hub="m", connection=i, contract="A", instrument=kit.MNQ) for i in range(1500)]
    losses.take(kit.number([Beat(recv_ns=1), *told, Beat(recv_ns=2)]))
    found = losses.records("x")
    assert [n.item for n in found] == told[:1024]
    assert losses.dropped == 1500 - 1024
    assert losses.frames == 0


def test_records_and_gaps_come_in_order(kit):
    losses = Losses()
    told = Subscribed(recv_ns=1, hub="m", connection=1, contract="A", instrument=kit.MNQ)
    losses.take(kit.number([told, kit.frames(2, contract="A"), told, kit.frames(2, 2, contract="B"), told]))
    assert [(n.seq, type(n.item).__name__) for n in losses.records("x")] == [
        (1, "Subscribed"), (2, "Gap"), (3, "Gap"), (4, "Subscribed"), (7, "Subscribed"),
    ]  # fmt: skip


def test_the_ledger_does_not_grow_with_the_loss(kit):
    losses = Losses()
    for at in range(0, 50_000, 1000):
        losses.take(kit.number([kit.frames(1000, at, prints=0)], first=at + 1))
    assert losses.frames == 50_000
    assert len(losses._seqs) <= 256
    (gap,) = losses.records("x")
    assert isinstance(gap.item, Gap)


def test_columns_at_odds_do_not_stop_the_ledger(kit):
    losses = Losses()
    odd = Prints(("A",), [0, 0], [1, 2**80], [1.0, 1.0], [1], [0], [0, 5], 0)
    losses.take([Numbered(1, Frames("m", [2**80], [0], None, odd))])
    (gap,) = losses.records("x")
    assert (gap.item.contract, losses.prints) == ("", 2)
