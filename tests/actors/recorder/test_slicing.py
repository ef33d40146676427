from __future__ import annotations

import numpy as np
import pytest

from tickloom.actors.recorder.slicing import slice_frames, slices
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Prints
from tickloom.messages.records import unroll


def rich(kit):
    return next(n for n in kit.number(kit.everything()) if isinstance(n.item, Frames) and n.item.malformed)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_parts_of_an_item_are_the_item(kit, size):
    for whole in (rich(kit), *kit.number([kit.frames(7, prints=3)], first=5, tick=9)):
        parts = slices(whole, size)
        assert max(len(part.item) for part in parts) <= size
        assert list(unroll(parts)) == list(unroll([whole]))


def test_arrays_are_parted_as_lists_are(kit):
    (listed,) = kit.number([kit.frames(5, prints=2)])
    p = listed.item.prints
    names = ("contract", "ts_ns", "price", "size", "side", "frame")
    prints = Prints(p.contracts, *(np.array(getattr(p, name)) for name in names), p.first_tick)
    item = Frames(
        "market/1", np.array(listed.item.recv_ns), np.array(listed.item.mono_ns), listed.item.payloads, prints
    )
    assert list(unroll([slice_frames(Numbered(1, item), 2, 4)])) == list(unroll([listed]))[2:4]


def test_no_frames_are_no_item(kit):
    (whole,) = kit.number([kit.frames(3)])
    assert slice_frames(whole, 3, None) is None
    assert slice_frames(whole, 2, 2) is None
    assert list(unroll([slice_frames(whole, 0, 99)])) == list(unroll([whole]))
