"""The market of a soak: chunks of prints with everything that goes wrong in them, and what is true of each.

Fast, because two days at 10,000 ticks a second are 1.7 billion: prices walk along a tape that was made once, sizes and
sides are slices of others, and which contract trades when is one of a few patterns. No chunk repeats another: tapes
are of different lengths, prices drift, patterns are drawn. Everything follows from the seed.

A chunk knows twice what it holds: as `items`, the way the connection would hand them to the sequencer, prices as
floats and bad rows among them; and as `own` and `strays`, the good rows by product in exact ticks, for the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from tickloom.messages.control import (
    Connected,
    Disconnected,
    Gap,
    SessionStarted,
    SessionStopped,
    Subscribed,
    TokenChanged,
)
from tickloom.messages.intake import Frames, Intake
from tickloom.messages.market import NS, FloatArray, IntArray, Malformed, Prints
from tickloom.scripts.soaking.hours import Hours
from tickloom.scripts.soaking.products import PRODUCTS, TIMEFRAMES, instruments
from tickloom.scripts.soaking.troubles import Schedule, Troubles

SPAN_S: Final = 5
SPAN_NS: Final = SPAN_S * NS
"""Time of a chunk; all openings and closings are multiples of it."""

TAPE: Final = 1 << 18
WALK_TICKS: Final = 150
"""Length of the tapes, and how far prices walk from where their product drifts to."""

PATTERNS: Final = 5
SLOT: Final = 40
"""Rows of a product in which at most one goes wrong: its neighbours are good."""

FEW: Final = 4 * SLOT
"""A product with fewer rows in a chunk is left in peace."""

BURST: Final = 10
"""How many times denser a burst is."""

UNKNOWN: Final = "CON.F.US.NOBODY.Z25"
HUB: Final = "market"


class Own(NamedTuple):
    """Good rows of one product in a chunk, in order of time: stamps, arrival numbers, prices (ticks), sizes, sides."""

    product: int
    ts: IntArray
    tick: IntArray
    price: IntArray
    size: IntArray
    side: IntArray


class Stray(NamedTuple):
    """A good row that came out of order; `known` is its product's newest stamp when it came (ns)."""

    product: int
    ts: int
    tick: int
    price: int
    size: int
    side: int
    known: int


class Chunk(msgspec.Struct):
    """What the market does within a span, and what is true of it."""

    end_ns: int
    items: list[Intake]
    prints: int
    own: list[Own]
    strays: list[Stray]
    rejected: Counter[str]
    outage: tuple[int, int] | None
    kinds: frozenset[str]


class Pattern(NamedTuple):
    """Who trades when within a span: products, offsets (ns, rising), and the rows of each product."""

    product: IntArray
    offset: IntArray
    rows: dict[int, IntArray]


class _Columns:
    """The columns of a chunk being made. `price` is what is sent, `ticks` what it says."""

    def __init__(self, product: IntArray, ts: IntArray, ticks: IntArray, size: IntArray, side: IntArray) -> None:
        self.product, self.ts, self.ticks, self.size, self.side = product, ts, ticks, size, side
        self.price: FloatArray = ticks * _TICK[product]


_TICK = np.array([product.numerator / product.denominator for product in PRODUCTS])
_NAMES = (*(product.contract for product in PRODUCTS), UNKNOWN)


class Market:
    """Makes the chunks from `begin_ns` to `end_ns`, `rate` prints a second, all from `seed`."""

    def __init__(self, seed: int, begin_ns: int, end_ns: int, rate: int) -> None:
        self.begin_ns, self.end_ns = begin_ns, end_ns
        self.rows = max(rate * SPAN_S, 1)
        self.hours = [Hours(product, begin_ns, end_ns) for product in PRODUCTS]
        self._rng = rng = np.random.default_rng([seed, 0])
        self._schedule = Schedule(seed, begin_ns, end_ns, SPAN_NS)
        self._walk = _tape(_walk(rng, TAPE), self.rows)
        self._sizes = _tape(rng.geometric(0.3, TAPE - 77), self.rows)
        self._sides = _tape(rng.choice(np.array([0, 1, 2]), TAPE - 913, p=[0.49, 0.49, 0.02]), self.rows)
        self._base = np.array([product.base for product in PRODUCTS], dtype=np.int64)
        self._up = [True] * len(PRODUCTS)
        self._frame = np.zeros(self.rows, dtype=np.int64)
        self._trading: tuple[int, ...] = ()
        self._patterns: list[Pattern] = []
        self._burst: Pattern
        self._at = 0
        self._tick = 0
        self._connection = 1
        self._outage: tuple[int, int] | None = None

    def started(self) -> list[Intake]:
        """Return the records a session begins with."""
        now = self.begin_ns
        start = SessionStarted(
            recv_ns=now, version="soak", settings={}, instruments=instruments(), timeframes=tuple(TIMEFRAMES)
        )
        return [start, *self._connected(now)]

    def stopped(self, now_ns: int) -> Intake:
        """Return the record it ends with, at `now_ns`."""
        return SessionStopped(recv_ns=now_ns)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks in order."""
        for start in range(self.begin_ns, self.end_ns, SPAN_NS):
            yield self._chunk(start, self._schedule.at(start))

    # -- a chunk ----------------------------------------------------------------------------------------------

    def _chunk(self, start: int, troubles: Troubles) -> Chunk:
        end = start + SPAN_NS
        pattern = self._pattern(start, burst="burst" in troubles.kinds)
        rows = len(pattern.product)
        columns = _Columns(
            pattern.product,
            pattern.offset + start,
            self._base[pattern.product] + self._slice(self._walk, rows),
            self._slice(self._sizes, rows),
            self._slice(self._sides, rows),
        )
        self._at += rows
        chunk = Chunk(end, [], 0, [], [], Counter(), troubles.outage, troubles.kinds)
        if "renewal" in troubles.kinds:
            chunk.items += self._renewed(start)
        if troubles.outage is not None:
            self._outage = troubles.outage
        if self._outage is not None:
            self._cut(chunk, start, pattern, columns, self._outage)
        else:
            gone = self._spoil(chunk, start, pattern, columns, troubles)
            self._whole(chunk, pattern, columns, gone)
        if "malformed" in troubles.kinds:
            self._malformed(chunk)
        self._drift()
        return chunk

    def _whole(self, chunk: Chunk, pattern: Pattern, columns: _Columns, gone: dict[int, list[int]]) -> None:
        """Send all of a chunk, and note its good rows."""
        first = self._tick
        for product, own in pattern.rows.items():
            at = np.delete(own, gone[product]) if product in gone else own
            chunk.own.append(
                Own(product, columns.ts[at], first + at, columns.ticks[at], columns.size[at], columns.side[at])
            )
        edges = [0, len(columns.ts)]
        if "trickle" in chunk.kinds:
            cuts = np.cumsum(self._rng.integers(1, 65, len(columns.ts)))
            edges[1:1] = cuts[cuts < len(columns.ts)].tolist()
        for low, high in pairwise(edges):
            self._send(chunk, columns, slice(low, high), high - low)

    def _cut(self, chunk: Chunk, start: int, pattern: Pattern, columns: _Columns, outage: tuple[int, int]) -> None:
        """Send what is not lost to an outage; at its end, say what was."""
        began, over = outage
        before, after = np.flatnonzero(columns.ts < began), np.flatnonzero(columns.ts >= over)
        first = self._tick
        place = np.full(len(columns.ts), -1, dtype=np.int64)
        place[before] = np.arange(len(before))
        place[after] = len(before) + np.arange(len(after))
        for product, own in pattern.rows.items():
            at = own[place[own] >= 0]
            if len(at):
                chunk.own.append(
                    Own(
                        product,
                        columns.ts[at],
                        first + place[at],
                        columns.ticks[at],
                        columns.size[at],
                        columns.side[at],
                    )
                )
        self._send(chunk, columns, before, len(before))
        if began >= start:
            chunk.items.append(Disconnected(recv_ns=began, hub=HUB, connection=self._connection, cause="an outage"))
        if over < chunk.end_ns:
            self._connection += 1
            gaps = [
                Gap(recv_ns=over, contract=p.contract, from_ns=began, to_ns=over, cause="an outage") for p in PRODUCTS
            ]
            chunk.items += [*self._connected(over), *gaps]
            self._outage = None
        self._send(chunk, columns, after, len(after))

    def _send(self, chunk: Chunk, columns: _Columns, at: slice | IntArray, rows: int) -> None:
        if not rows:
            return
        prints = Prints(
            _NAMES,
            columns.product[at],
            columns.ts[at],
            columns.price[at],
            columns.size[at],
            columns.side[at],
            self._frame[:rows],
            self._tick,
        )
        self._tick += rows
        received = np.array([chunk.end_ns])
        chunk.items.append(Frames(f"{HUB}/{self._connection}", received, received, None, prints))
        chunk.prints += rows

    # -- what goes wrong --------------------------------------------------------------------------------------

    def _spoil(
        self, chunk: Chunk, start: int, pattern: Pattern, columns: _Columns, troubles: Troubles
    ) -> dict[int, list[int]]:
        """Change some rows; returns which of each product's are no longer good, or no longer in order."""
        gone: dict[int, list[int]] = {}
        busy = [product for product, own in pattern.rows.items() if len(own) >= FEW]
        if not busy:
            return gone
        rng, taken = self._rng, set()
        if troubles.bad or troubles.strays:
            columns.ts, columns.product = columns.ts.copy(), columns.product.copy()
            columns.size = columns.size.copy()

        def pick() -> tuple[int, int, int] | None:
            product = busy[int(rng.integers(len(busy)))]
            slot = int(rng.integers(1, len(pattern.rows[product]) // SLOT))  # the last is whole
            if (product, slot) in taken:
                return None
            taken.add((product, slot))
            place = slot * SLOT + SLOT // 2
            return product, place, int(pattern.rows[product][place])

        if "move" in troubles.kinds and (picked := pick()) is not None:
            self._move(columns, pattern, *picked[:2])
        for reason in troubles.bad:
            if (picked := pick()) is not None:
                product, place, row = picked
                _worsen(columns, row, reason, chunk.end_ns)
                gone.setdefault(product, []).append(place)
                chunk.rejected[reason] += 1
        for behind in troubles.strays:
            if (picked := pick()) is None:
                continue
            product, place, row = picked
            if start - behind < max(self.hours[product].opened(start), self.begin_ns):
                continue  # it would fall before the product's opening
            known = int(columns.ts[pattern.rows[product][place - 1]])
            columns.ts[row] -= behind
            gone.setdefault(product, []).append(place)
            price, size, side = (int(column[row]) for column in (columns.ticks, columns.size, columns.side))
            chunk.strays.append(Stray(product, int(columns.ts[row]), self._tick + row, price, size, side, known))
        return gone

    def _move(self, columns: _Columns, pattern: Pattern, product: int, place: int) -> None:
        """Let a product's price jump by 15 %, and stay there."""
        rows = pattern.rows[product][place:]
        step = int(self._base[product]) * 15 // 100
        step = step if self._up[product] else -(step * 100 // 115)
        self._up[product] = not self._up[product]
        columns.ticks[rows] += step
        columns.price[rows] = columns.ticks[rows] * _TICK[product]
        self._base[product] += step

    def _malformed(self, chunk: Chunk) -> None:
        received = np.array([chunk.end_ns])
        bad = Malformed(0, "schema", "an element of a soak that is no print", prints=1)
        chunk.items.append(Frames(f"{HUB}/{self._connection}", received, received, None, None, malformed=(bad,)))
        chunk.rejected["schema"] += 1
        chunk.prints += 1

    def _renewed(self, now: int) -> list[Intake]:
        before = self._connection
        self._connection += 1
        changed = TokenChanged(recv_ns=now, expires_ns=now + 86_400 * NS, how="renewed")
        gone = Disconnected(recv_ns=now, hub=HUB, connection=before, cause="the new connection took over")
        return [changed, *self._connected(now), gone]

    def _connected(self, now: int) -> list[Intake]:
        number = self._connection
        follow = [
            Subscribed(recv_ns=now, hub=HUB, connection=number, contract=each.contract, instrument=each)
            for each in instruments()
        ]
        return [Connected(recv_ns=now, hub=HUB, connection=number), *follow]

    # -- tapes and patterns -----------------------------------------------------------------------------------

    def _slice(self, tape: IntArray, rows: int) -> IntArray:
        at = self._at % (len(tape) - self.rows)
        return tape[at : at + rows]

    def _drift(self) -> None:
        """Let each product's price wander a little, and come back."""
        steps = self._rng.integers(-2, 3, len(PRODUCTS))
        self._base += steps

    def _pattern(self, start: int, *, burst: bool) -> Pattern:
        trading = tuple(at for at, hours in enumerate(self.hours) if hours.is_open(start))
        if trading != self._trading:
            self._trading = trading
            self._patterns = [self._draw(trading, SPAN_NS) for _ in range(PATTERNS)]
            self._burst = self._draw(trading, SPAN_NS // BURST)
        return self._burst if burst else self._patterns[int(self._rng.integers(PATTERNS))]

    def _draw(self, trading: tuple[int, ...], within_ns: int) -> Pattern:
        weights = np.array([PRODUCTS[at].weight for at in trading], dtype=float)
        edges = np.rint(np.cumsum(weights) / weights.sum() * self.rows).astype(np.int64)
        product = np.repeat(np.array(trading, dtype=np.int64), np.diff(edges, prepend=0))
        product = self._rng.permutation(product)
        offset = np.sort(self._rng.integers(0, within_ns, self.rows))
        return Pattern(product, offset, {at: rows for at in trading if len(rows := np.flatnonzero(product == at))})


def _worsen(columns: _Columns, row: int, reason: str, received_ns: int) -> None:
    """Make a row one that validation must refuse for `reason`."""
    if reason == "not_finite":
        columns.price[row] = np.nan if row % 2 else np.inf
    elif reason == "off_grid":
        columns.price[row] += 0.4 * _TICK[columns.product[row]]
    elif reason == "jump":
        columns.price[row] *= 2
    elif reason == "size_negative":
        columns.size[row] = -5
    elif reason == "size_large":
        columns.size[row] = 1_000_000_000
    elif reason == "future":
        columns.ts[row] = received_ns + 60 * NS
    elif reason == "late":
        columns.ts[row] -= 60 * NS
    else:
        columns.product[row] = len(PRODUCTS)


def _walk(rng: np.random.Generator, length: int) -> IntArray:
    """Return a walk within ±`WALK_TICKS` that ends where it begins."""
    half = np.cumsum(rng.integers(-1, 2, length // 2))
    folded = np.abs((half + WALK_TICKS) % (4 * WALK_TICKS) - 2 * WALK_TICKS) - WALK_TICKS
    return np.concatenate((folded, folded[::-1]))


def _tape(values: Any, rows: int) -> IntArray:
    """Return values that can be sliced anywhere: their beginning follows their end."""
    return np.ascontiguousarray(np.concatenate((values, np.resize(values, rows))), dtype=np.int64)
