from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.bars.digest import LINK_ROWS, Chain, combine_digests, pack, pack_columns
from tickloom.actors.bars.tables import block_of
from tickloom.messages.bars import Bar, BarFlag


def bars(count: int) -> list[Bar]:
    rng = random.Random(count)
    return [
        Bar(
            "A",
            "1s",
            i,
            i + 1,
            *(rng.randrange(-(2**40), 2**40) for _ in range(9)),
            rng.randint(0, 3),
            rng.randint(0, 63),
        )
        for i in range(count)
    ]


@given(st.integers(0, 5 * LINK_ROWS), st.lists(st.integers(0, 5 * LINK_ROWS), max_size=6), st.booleans())
def test_a_chain_does_not_depend_on_how_it_was_fed(count: int, cuts: list[int], in_columns: bool) -> None:
    rows = bars(count)
    one_by_one = Chain()
    for bar in rows:
        one_by_one = one_by_one.extend(pack(bar))
    fed = Chain()
    edges = [0, *sorted(min(cut, count) for cut in cuts), count]
    for start, stop in pairwise(edges):
        part = rows[start:stop]
        packed = pack_columns(block_of(part)) if part and in_columns else b"".join(map(pack, part))
        fed = fed.extend(packed)
        fed = msgspec.msgpack.decode(msgspec.msgpack.encode(fed), type=Chain)
    assert fed == one_by_one
    assert fed.digest() == one_by_one.digest()
    assert fed.rows == count
    assert len(fed.rest) < LINK_ROWS * len(pack(bars(1)[0]))


@given(st.integers(1, 3 * LINK_ROWS), st.data())
def test_any_changed_value_changes_the_digest(count: int, data: st.DataObject) -> None:
    rows = bars(count)
    index = data.draw(st.integers(0, count - 1))
    field = data.draw(
        st.sampled_from(
            [name for name in Bar.__struct_fields__ if name not in ("contract", "timeframe", "final", "number")]
        )
    )
    changed = list(rows)
    changed[index] = msgspec.structs.replace(rows[index], **{field: getattr(rows[index], field) ^ 1})
    assert digest(changed) != digest(rows)


def test_how_busy_the_machine_was_is_not_in_the_digest() -> None:
    (bar,) = bars(1)
    clear = msgspec.structs.replace(bar, flags=int(BarFlag.GAP))
    pressed = msgspec.structs.replace(bar, flags=int(BarFlag.GAP | BarFlag.CONFLATED))
    assert pack(clear) == pack(pressed)
    assert bytes(pack_columns(block_of([pressed]))) == pack(clear)


def test_packing_columns_leaves_them_as_they_were() -> None:
    block = block_of([msgspec.structs.replace(bar, flags=63) for bar in bars(5)])
    pack_columns(block)
    assert np.array_equal(block.flags, [63] * 5)


def test_the_overall_digest_depends_on_names_and_chains_but_not_on_their_order() -> None:
    chains = {("1s", "A"): b"x", ("1s", "B"): b"y", ("1m", "A"): b"z"}
    turned = dict(reversed(chains.items()))
    assert combine_digests(chains) == combine_digests(turned)
    swapped = {("1s", "A"): b"y", ("1s", "B"): b"x", ("1m", "A"): b"z"}
    assert combine_digests(swapped) != combine_digests(chains)
    assert combine_digests({("1s", "AB"): b"x"}) != combine_digests({("1sA", "B"): b"x"})


def digest(rows: list[Any]) -> bytes:
    return Chain().extend(b"".join(map(pack, rows))).digest()
