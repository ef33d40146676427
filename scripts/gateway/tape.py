"""What the model's ticks contain. Tick i of a contract is a pure function of (seed, contract, i).

Ticks come in blocks of `BLOCK`, each computed by itself from random bits that its number yields. A block's walk is
pinned to an anchor at either end (a bridge), and the anchors follow slow noise of several scales about the contract's
base price, so prices wander like a market's, stay on the tick grid, never run away, and any block can be computed
without those before it. Trades are 1 to 8 prints; a sweep walks through the levels. A trade never crosses a block.

Only numpy's raw PCG64 bits are used: they are the same in every numpy version, unlike its distributions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickloom.scripts.gateway.contracts import ContractSpec
from tickloom.scripts.gateway.mixing import digest

BLOCK: Final = 4096
"""Ticks in a block."""

_KEPT: Final = 12
_SCALES: Final = ((1, 0.0002), (8, 0.0007), (64, 0.0025), (1024, 0.008))
"""The anchors' noise: (period in blocks, amplitude as a part of the base price)."""


def _spread(*shares: tuple[int, int]) -> NDArray[np.int64]:
    """Return a table of 256 entries in which each value has its share."""
    table = [value for value, share in shares for _ in range(share)]
    assert len(table) == 256
    return np.array(table, dtype=np.int64)


_LENGTHS: Final = _spread((1, 208), (2, 24), (3, 11), (4, 6), (5, 3), (6, 2), (8, 2))
_SIZES: Final = _spread(
    (1, 132), (2, 46), (3, 22), (4, 13), (5, 16), (6, 6), (8, 5), (10, 9), (15, 3), (25, 2), (50, 2)
)
_STEPS: Final = _spread((1, 40), (0, 190), (-1, 26))
"""How the mid moves after a trade, in the direction of the trade."""


class Block(NamedTuple):
    """The ticks `first` to `first + BLOCK - 1`: columns as lists, prices also in ticks, `bid` in ticks after each."""

    first: int
    ticks: list[int]
    price: list[float]
    size: list[int]
    side: list[int]
    start: list[int]
    bid: list[int]


@lru_cache(maxsize=4096)
def _lattice(seed: int, contract: str, period: int, point: int) -> float:
    """Return the noise at a lattice point, in [-1, 1]."""
    return digest(seed, contract, "anchor", period, point) / (1 << 63) - 1.0


def anchor(spec: ContractSpec, seed: int, block: int) -> int:
    """Return the price, in ticks, that the walk is pinned to where `block` begins."""
    total = float(spec.base)
    for period, amplitude in _SCALES:
        point, rest = divmod(block, period)
        x = rest / period
        ease = x * x * (3.0 - 2.0 * x)
        low, high = (_lattice(seed, spec.id, period, point + k) for k in (0, 1))
        total += spec.base * amplitude * (low + (high - low) * ease)
    return round(total)


def compute_block(spec: ContractSpec, seed: int, number: int) -> Block:
    """Compute block `number` (which may be negative) from nothing but its name."""
    bits: NDArray[Any] = np.random.PCG64(digest(seed, spec.id, "block", number)).random_raw(2 * BLOCK)
    trade_bits, print_bits = bits[:BLOCK].astype(np.uint64), bits[BLOCK:].astype(np.uint64)

    def byte(source: NDArray[np.uint64], position: int) -> NDArray[np.int64]:
        return ((source >> np.uint64(8 * position)) & np.uint64(0xFF)).astype(np.int64)

    ends = np.cumsum(_LENGTHS[byte(trade_bits, 0)])
    trades = int(np.searchsorted(ends, BLOCK)) + 1
    ends = np.minimum(ends[:trades], BLOCK)
    lengths = np.diff(ends, prepend=0)
    starts = ends - lengths

    # The aggressor stays the same for a while, and the mid tends to follow it.
    side = np.cumsum(byte(trade_bits[:trades], 1) < 100) & 1
    direction = 1 - 2 * side
    walk = np.cumsum(direction * (_STEPS[byte(trade_bits[:trades], 2)] + (lengths - 1) // 3))
    low, high = anchor(spec, seed, number), anchor(spec, seed, number + 1)
    drift = (ends / BLOCK) * (float(walk[-1]) - (high - low))
    mid = low + np.rint(walk - drift).astype(np.int64)

    trade_of = np.repeat(np.arange(trades), lengths)
    depth = np.arange(BLOCK) - starts[trade_of]
    print_side, print_direction = side[trade_of], direction[trade_of]
    # A buy takes the ask, one tick above the bid; every second print of a sweep goes one level deeper.
    ticks = mid[trade_of] + (1 - print_side) + print_direction * (depth // 2)
    bid = ticks - (1 - print_side)
    first = number * BLOCK
    return Block(
        first,
        ticks.tolist(),
        (ticks * spec.numerator / spec.denominator).tolist(),
        _SIZES[byte(print_bits, 0)].tolist(),
        print_side.tolist(),
        (first + starts[trade_of]).tolist(),
        bid.tolist(),
    )


class Tape:
    """The model's ticks of one contract, with the blocks last used kept at hand."""

    def __init__(self, spec: ContractSpec, seed: int) -> None:
        self.spec = spec
        self.seed = seed
        self._blocks: OrderedDict[int, Block] = OrderedDict()

    def block(self, number: int) -> Block:
        """Return a block, computed if it is not at hand."""
        known = self._blocks.get(number)
        if known is None:
            known = self._blocks[number] = compute_block(self.spec, self.seed, number)
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        return known

    def prepare(self, number: int) -> bool:
        """Have a block at hand; True if it had to be computed."""
        if number in self._blocks:
            return False
        self.block(number)
        return True

    def pieces(self, first: int, last: int) -> Iterator[tuple[Block, int, int]]:
        """Yield (block, from, to) slices that together are the ticks `first` to `last`, inclusive."""
        while first <= last:
            block = self.block(first // BLOCK)
            low = first - block.first
            high = min(last - block.first + 1, BLOCK)
            yield block, low, high
            first = block.first + high

    def trade_end(self, index: int) -> int:
        """Return the number of the last print of the trade that tick `index` belongs to."""
        block = self.block(index // BLOCK)
        at = index - block.first
        start = block.start[at]
        while at + 1 < BLOCK and block.start[at + 1] == start:
            at += 1
        return block.first + at
