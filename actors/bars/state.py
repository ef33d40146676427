"""What a timeframe's fold keeps and needs, as values: live bars, a contract's state, and the rules of its buckets.

Nothing here acts. A `ContractState` is saved as it is and can be gone on from; states of different contracts never
meet, so those of shards are simply put side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from tickloom.actors.bars.digest import Chain
from tickloom.actors.bars.seconds import NEVER
from tickloom.messages.bars import Delta, Mark
from tickloom.messages.market import IntArray

ALWAYS = 2**63 - 1
"""A stamp after every other."""

BULK_ROWS = 32
"""From this many buckets of the timeframe on, bars that close and settle at once are made as columns."""


class Hours(Protocol):
    """When a market trades. See `tickloom.config.sessions`."""

    def last_open(self, ts_ns: int) -> int | None:
        """Return the last moment before an instant at which the market trades; None: there is none for a year."""


class BucketRule(Protocol):
    """Which bucket `[open, close)` an instant (ns UTC) falls in; buckets partition time. See
    `tickloom.config.buckets`."""

    @property
    def sessions(self) -> Hours:
        """The hours of the market; asked for flat bars only."""

    def bucket(self, ts_ns: int) -> tuple[int, int]:
        """Return open and close of the bucket of an instant."""

    def buckets(self, ts_ns: IntArray) -> tuple[IntArray, IntArray]:
        """Return opens and closes for a column of instants."""


class Live(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A bar that may still change: what its trades add up to, its end, and the late prints since it was closed."""

    delta: Delta
    close_time: int
    revision: int = 0


class ContractState(msgspec.Struct, frozen=True):
    """A contract's bars that may still change, by open time, and what is needed to go on.

    `newest` is its newest event stamp; `due` the earliest end among the open bars, `fixed` among the closed ones;
    `floor` the end of the last settled bar, `price` its close. Bars that end after `hold` are not settled: history may
    still complete them. The size is bounded by grace, lateness, and the patience with history, not by time.
    """

    newest: int = NEVER
    open: dict[int, Live] = {}
    closed: dict[int, Live] = {}
    marks: tuple[Mark, ...] = ()
    due: int = ALWAYS
    fixed: int = ALWAYS
    floor: int = NEVER
    price: int = 0
    chain: Chain = Chain()
    hold: int = ALWAYS


class Weaving(msgspec.Struct, frozen=True):
    """What a timeframe's weavers have in common. `rules` gives a contract's buckets; `flats` asks for flat bars."""

    timeframe: str
    rules: Callable[[str], BucketRule]
    grace_ns: int
    lateness_ns: int
    flats: bool = False
    bulk_rows: int = BULK_ROWS
