"""The market of a soak: seeded, complete, and true to what it says of itself."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tickloom.messages.control import Disconnected, Gap
from tickloom.messages.intake import Frames
from tickloom.messages.market import NS, as_int64
from tickloom.scripts.soaking.market import Chunk, Market
from tickloom.scripts.soaking.products import PRODUCTS, begins
from tickloom.scripts.soaking.troubles import BAD, INTERVALS

LENGTH = 600 * NS


def chunks(seed: int = 5, rate: int = 400) -> list[Chunk]:
    begin = begins(LENGTH)
    return list(Market(seed, begin, begin + LENGTH, rate).chunks())


@pytest.fixture(scope="module")
def made() -> list[Chunk]:
    return chunks()


def frames(chunk: Chunk) -> list[Frames]:
    return [item for item in chunk.items if isinstance(item, Frames)]


def test_a_seed_is_a_market(made: list[Chunk]) -> None:
    for again, chunk in zip(chunks(), made, strict=True):
        assert again.rejected == chunk.rejected
        for one, other in zip(frames(again), frames(chunk), strict=True):
            assert one.source == other.source
            if one.prints is not None and other.prints is not None:
                assert np.array_equal(as_int64(one.prints.ts_ns), as_int64(other.prints.ts_ns))
                assert np.array_equal(one.prints.price, other.prints.price, equal_nan=True)
    assert [each.rejected for each in chunks(seed=6)] != [each.rejected for each in made]


def test_every_print_is_good_or_bad_and_numbered_once(made: list[Chunk]) -> None:
    next_tick = 0
    for chunk in made:
        good = sum(len(own.ts) for own in chunk.own) + len(chunk.strays)
        assert chunk.prints == good + sum(chunk.rejected.values())
        for item in frames(chunk):
            if item.prints is not None:
                assert item.prints.first_tick == next_tick
                next_tick += len(item.prints)


def test_good_rows_are_what_is_sent(made: list[Chunk]) -> None:
    for chunk in made:
        sent = {}
        for item in frames(chunk):
            if item.prints is not None:
                p = item.prints
                columns = zip(p.contract, p.ts_ns, p.price, p.size, p.side, strict=True)
                sent |= {p.first_tick + i: row for i, row in enumerate(columns)}
        for own in chunk.own:
            product = PRODUCTS[own.product]
            for ts, tick, price, size, side in zip(*own[1:], strict=True):
                index, ts_sent, price_sent, size_sent, side_sent = sent[int(tick)]
                assert (index, ts_sent, size_sent, side_sent) == (own.product, ts, size, side)
                assert price_sent * product.denominator / product.numerator == pytest.approx(price, abs=1e-7)


def test_everything_goes_wrong_within_ten_minutes(made: list[Chunk]) -> None:
    kinds = Counter(kind for chunk in made for kind in chunk.kinds)
    assert set(kinds) == set(INTERVALS)
    assert set(sum((chunk.rejected for chunk in made), Counter())) == {*BAD, "schema"}
    assert sum(len(chunk.strays) for chunk in made) > 20


def test_an_outage_sends_nothing_and_says_what_is_missing(made: list[Chunk]) -> None:
    outages = [chunk.outage for chunk in made if chunk.outage is not None]
    stamps = np.concatenate([own.ts for chunk in made for own in chunk.own])
    for begin, end in outages:
        assert not ((stamps >= begin) & (stamps < end)).any()
    items = [item for chunk in made for item in chunk.items]
    lost = [item for item in items if isinstance(item, Disconnected) and item.cause == "an outage"]
    gaps = {(item.from_ns, item.to_ns) for item in items if isinstance(item, Gap)}
    assert len(lost) == len(outages) >= 2
    assert gaps == set(outages)


def test_a_burst_is_ten_times_as_dense(made: list[Chunk]) -> None:
    burst = next(chunk for chunk in made if "burst" in chunk.kinds)
    stamps = np.concatenate([own.ts for own in burst.own])
    assert stamps.max() - stamps.min() <= NS // 2
    assert len(stamps) > 400 * 5 - 50
