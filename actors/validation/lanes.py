"""How prints of one contract that plainly pass are let through one by one, in the short runs of a live feed.

A lane says yes only where the row function of `fold` would accept a print and nothing is held; whatever else there is,
is for that to judge. A property test compares the two. Short runs have a few prints of a few contracts, so what does
not change from print to print is looked up once a run (`Lane`), and what does not change at all once (`Limits`).
"""

from __future__ import annotations

import numpy as np

from tickloom.actors.validation.rules import END_NS, FIRST_NS, GRID_TOLERANCE, MAX_TICKS, Reference, Rules, within_band
from tickloom.messages.market import Instrument, Ints, Trades, as_int64


class Rows:
    """Accepted rows of one contract, growing within one step: lists, or arrays when one stretch is all there is."""

    __slots__ = ("blocks", "price", "side", "size", "tick", "ts")

    def __init__(self) -> None:
        self.ts: list[int] = []
        self.price: list[int] = []
        self.size: list[int] = []
        self.side: list[int] = []
        self.tick: list[int] = []
        self.blocks: list[tuple[Ints, Ints, Ints, Ints, Ints]] = []

    def add(self, ts: int, price: int, size: int, side: int, tick: int) -> None:
        """Add a row."""
        self.ts.append(ts)
        self.price.append(price)
        self.size.append(size)
        self.side.append(side)
        self.tick.append(tick)

    def add_block(self, ts: Ints, price: Ints, size: Ints, side: Ints, tick: Ints) -> None:
        """Add rows as columns."""
        self._seal()
        self.blocks.append((ts, price, size, side, tick))

    def _seal(self) -> None:
        if self.ts:
            self.blocks.append((self.ts, self.price, self.size, self.side, self.tick))
            self.ts, self.price, self.size, self.side, self.tick = [], [], [], [], []

    def trades(self, contract: str, mono_ns: int) -> Trades:
        """Return all of it as trades."""
        if not self.blocks:
            return Trades(contract, self.ts, self.price, self.size, self.side, self.tick, mono_ns)
        self._seal()
        if len(self.blocks) == 1:
            ts, price, size, side, tick = self.blocks[0]
        else:
            ts, price, size, side, tick = (
                np.concatenate([as_int64(column) for column in columns]) for columns in zip(*self.blocks, strict=True)
            )
        return Trades(contract, ts, price, size, side, tick, mono_ns)


class Limits:
    """The rules of a contract as the numbers that a plain print is held to. `shut`: the row function has to see all."""

    __slots__ = (
        "band_ticks",
        "denominator",
        "future",
        "high",
        "instrument",
        "largest",
        "least",
        "low",
        "numerator",
        "patience",
        "rules",
        "shut",
    )

    def __init__(self, rules: Rules, instrument: Instrument) -> None:
        self.rules, self.instrument = rules, instrument
        self.numerator, self.denominator = instrument.numerator, instrument.denominator
        self.low, self.high = rules.range
        self.least = 1 if rules.zero_size == "reject" else 0
        self.largest = rules.max_size
        self.future = rules.future_ns
        self.patience = 0 if rules.regressing == "reject" else rules.lateness_ns
        self.band_ticks = rules.band_ticks
        self.shut = rules.duplicates == "reject" or rules.max_age_ns > 0


class Lane:
    """Lets prints of one contract pass, one after the other: on the grid, of a fair size, in time, near the last.

    `newest` and `last` are the newest stamp and the last price, in ticks, with those that passed; `count` is how many.
    They go into `accepted`, which has the rows of each contract in the order in which its first one passed.
    """

    __slots__ = ("_accepted", "_limits", "_rows", "count", "last", "name", "newest")

    def __init__(self, name: str, limits: Limits, reference: Reference, accepted: dict[str, Rows]) -> None:
        assert reference.last is not None
        self.name = name
        self.newest, self.last = reference.newest_ns, reference.last
        self.count = 0
        self._limits = limits
        self._accepted = accepted
        self._rows: Rows | None = None

    def takes(self, tick: int, ts: int, price: float, size: int, side: int, gateway: int) -> bool:
        """Let a print pass, if that is plain."""
        limits = self._limits
        if not limits.low <= price <= limits.high:  # NaN is in no range
            return False
        exact = price * limits.denominator / limits.numerator
        if not -MAX_TICKS <= exact <= MAX_TICKS:
            return False
        ticks = round(exact)
        if not -GRID_TOLERANCE <= exact - ticks <= GRID_TOLERANCE:
            return False
        newest = self.newest
        if not limits.least <= size <= limits.largest:
            return False
        if ts > gateway + limits.future or ts < newest - limits.patience or not FIRST_NS <= ts < END_NS:
            return False
        if not -limits.band_ticks <= ticks - self.last <= limits.band_ticks and not within_band(
            limits.rules, self.last, ticks
        ):
            return False
        if ts > newest:
            self.newest = ts
        self.last = ticks
        self.count += 1
        rows = self._rows
        if rows is None:
            rows = self._rows = self._accepted.setdefault(self.name, Rows())
        rows.ts.append(ts)
        rows.price.append(ticks)
        rows.size.append(size)
        rows.side.append(side)
        rows.tick.append(tick)
        return True
