"""Market data as it travels between actors: columns, never one object a tick.

Two shapes of a trade exist, and they never mix. `Prints` is what the wire said, decoded and nothing more: prices
are floats, and any of them may be rubbish. `Trades` is what validation let through: one contract, prices as exact
integers in ticks. Everything after validation computes with integers only, so sums are exact and order cannot
matter.

A column is either a Python list (small live batches: no numpy call is cheaper than the loop it saves) or a numpy
array (replay, bursts). Use `as_int64` and `as_float64` where an array is wanted and `as_list` where rows are.

Times are int64 nanoseconds since the Unix epoch, UTC. Nothing in this file reads a clock or keeps state.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = list[int] | IntArray
Floats: TypeAlias = list[float] | FloatArray

NS = 1_000_000_000
"""Nanoseconds in a second."""


class Side(IntEnum):
    """The aggressor of a trade, with the wire's numbers (`type` of a GatewayTrade print)."""

    BUY = 0
    SELL = 1
    UNKNOWN = 2


def as_int64(column: Ints) -> IntArray:
    """Return `column` as an int64 array; an array comes back as it is."""
    return column if isinstance(column, np.ndarray) else np.array(column, dtype=np.int64)


def as_float64(column: Floats) -> FloatArray:
    """Return `column` as a float64 array; an array comes back as it is."""
    return column if isinstance(column, np.ndarray) else np.array(column, dtype=np.float64)


def as_list(column: Any) -> list[Any]:
    """Return `column` as a list of Python numbers; a list comes back as it is."""
    return column if isinstance(column, list) else column.tolist()


class Prints(msgspec.Struct, frozen=True, gc=False):
    """Trades as decoded from frames, unvalidated, in order of arrival.

    All columns have the same length. `contract` holds indices into `contracts`; `price` may hold NaN or infinity;
    `size` is as sent; `side` is a `Side` number. `frame` is the index of the frame, within the batch, that
    held the row. Row `i` is tick number `first_tick + i` of its session: arrival order, the second half of every
    (stamp, tick) comparison.
    """

    contracts: tuple[str, ...]
    contract: Ints
    ts_ns: Ints
    price: Floats
    size: Ints
    side: Ints
    frame: Ints
    first_tick: int

    def __len__(self) -> int:
        return len(self.price)


class Trades(msgspec.Struct, frozen=True, gc=False):
    """Validated trades of one contract, in order of arrival.

    `price` is in ticks (integer multiples of the instrument's tick size); `tick` is each row's arrival number,
    strictly rising; `size` is at least 0. `mono_ns` is the monotonic stamp at which the oldest row was received:
    latency is measured from it, nothing is computed from it.
    """

    contract: str
    ts_ns: Ints
    price: Ints
    size: Ints
    side: Ints
    tick: Ints
    mono_ns: int = 0

    def __len__(self) -> int:
        return len(self.price)


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """An element of a frame that could not be decoded: `frame` indexes the frame within its batch.

    `reason` is a reason code (`schema`, `timestamp`, `json`, `unknown_target`, …); `detail` says what was wrong, in
    words; `prints` is how many prints it stood for (0 when it was not a trade).
    """

    frame: int
    reason: str
    detail: str
    prints: int = 0


class Reject(msgspec.Struct, frozen=True, gc=False):
    """A print that validation refused, as it was received, with the reason code and the words that condemned it.

    `tick` is its arrival number (-1 when it could not be decoded far enough to be numbered). `passed`: it is named
    because the rules are tried in a dry run, and is among the trades.
    """

    contract: str
    tick: int
    ts_ns: int
    price: float
    size: int
    side: int
    reason: str
    detail: str
    passed: bool = False


class Quote(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A sparse top-of-book update: a field that is None is unchanged since the quote before it."""

    contract: str
    ts_ns: int
    last: float | None = None
    bid: float | None = None
    ask: float | None = None
    volume: int | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    change: float | None = None
    change_percent: float | None = None


class DepthLevel(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One entry of a depth update. `kind` is the wire's number (1 ask, 2 bid, 6 reset, …)."""

    ts_ns: int
    kind: int
    price: float
    volume: int
    current_volume: int


class Depth(msgspec.Struct, frozen=True, gc=False):
    """A depth update of one contract: levels in the order sent, null entries removed."""

    contract: str
    levels: tuple[DepthLevel, ...]


class Instrument(msgspec.Struct, frozen=True):
    """What is known of a contract. Prices are `ticks * tick_size`, where tick_size = `numerator / denominator` exactly.

    `calendar` names the session calendar (see `tickloom.config.calendars`); empty: that of its product. What the
    settings say of it goes before.
    """

    contract: str
    numerator: int
    denominator: int
    symbol: str = ""
    name: str = ""
    description: str = ""
    tick_value: float = 0.0
    calendar: str = ""

    @property
    def tick_size(self) -> float:
        """The tick size in points."""
        return self.numerator / self.denominator

    def to_price(self, ticks: int) -> float:
        """Return the price of `ticks`, correctly rounded: the float a decimal literal of that price would give."""
        return ticks * self.numerator / self.denominator
