"""Verifying a log: its raw frames, decoded again, must say what its columns say.

Frame by frame the rows are equal, but for one thing. While a connection is replaced by another, both deliver, and a
print that came on both is recorded once. There the columns hold fewer rows than the frames; what must hold instead
is that each (contract, stamp, price, size, side) was recorded as often as the connection that delivered it most
often did; and no more often, where the log is read from within such a time, since what came before is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np

from tickloom.actors.connection.decode import Decoder
from tickloom.errors import LogDamagedError
from tickloom.messages.control import AnyControl, Connected, Disconnected, SessionStarted, Subscribed
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, IntArray, Prints, as_float64, as_int64, as_list

Row: TypeAlias = tuple[Any, ...]
"""(contract, stamp, price, size, side), prices as text so that NaN equals NaN."""

LINGER_NS: Final = 15 * NS
"""How long after the old connection has gone the new one may still bring what the old one had brought."""

HANDOVER_NS: Final = 15 * NS
"""How long after a connection was subscribed the one that it replaces may still be there."""


class _Overlap:
    """Two connections side by side: what each delivered, and what was recorded of both.

    Args:
        ends_ns: the receipt up to which it goes; None: not known yet.
        cut: it began before what is read, so one may bring what the other had brought and is recorded there.
    """

    def __init__(self, ends_ns: int | None = None, *, cut: bool = False) -> None:
        self.delivered: dict[str, Counter[Row]] = {}
        self.recorded: Counter[Row] = Counter()
        self.ends_ns = ends_ns
        self._cut = cut

    def add(self, source: str, raw: Iterable[Row], recorded: Iterable[Row]) -> None:
        self.delivered.setdefault(source, Counter()).update(raw)
        self.recorded.update(recorded)

    def wrong(self) -> Row | None:
        """Return a row that was not recorded as often as it should have been."""
        wanted: Counter[Row] = Counter()
        for counts in self.delivered.values():
            wanted |= counts
        if self._cut:
            return next(iter(self.recorded - wanted), None)
        return next((row for row in wanted | self.recorded if wanted[row] != self.recorded[row]), None)


class Verifier:
    """Goes along a log and raises where frames and columns disagree. `frames` counts what was compared.

    Args:
        name: what to call the log.
        before: the records in force where what is checked begins.
    """

    def __init__(self, name: str, before: Iterable[AnyControl] = ()) -> None:
        self._name = name
        self._decoder = Decoder(0)
        self._connections: set[tuple[str, int]] = set()
        self._overlap: _Overlap | None = None
        self.frames = 0
        market = [each for each in before if isinstance(each, Connected | Subscribed) and each.hub == "market"]
        up = next((each.connection for each in market if isinstance(each, Connected)), None)
        # what was subscribed on a connection before the one that is up is of the past
        seen = [each for each in market if up is not None and each.connection >= up]
        self._connections.update((each.hub, each.connection) for each in seen)
        taking_over = [each.recv_ns for each in seen if each.connection > 1]
        if taking_over:
            self._overlap = _Overlap(max(taking_over) + HANDOVER_NS + LINGER_NS, cut=True)

    def check(self, items: Iterable[Numbered]) -> Iterator[Numbered]:
        """Yield `items`, read with their payloads, unchanged.

        Raises:
            LogDamagedError: the frames from some number on say something else than the columns.
        """
        for numbered in items:
            item = numbered.item
            if isinstance(item, Frames):
                self._frames(numbered, item)
            elif isinstance(item, Subscribed):
                others = {c for c in self._connections if c[0] == item.hub and c[1] != item.connection}
                if others and (item.hub, item.connection) not in self._connections:
                    if self._overlap is None:
                        self._overlap = _Overlap()
                    self._overlap.ends_ns = None  # another one began before the last was over
                self._connections.add((item.hub, item.connection))
            elif isinstance(item, Connected):
                self._connections.add((item.hub, item.connection))
            elif isinstance(item, SessionStarted):
                self._close()  # whatever the session before had open ended with it
                self._connections.clear()
            elif isinstance(item, Disconnected):
                self._connections.discard((item.hub, item.connection))
                if self._overlap is not None and item.hub == "market":
                    self._overlap.ends_ns = item.recv_ns + LINGER_NS
            yield numbered
        self._close()

    def _frames(self, numbered: Numbered, item: Frames) -> None:
        if item.payloads is None or not any(item.payloads):
            return  # imported columns have no frames behind them
        again = self._decoder.decode(item.source, item.payloads, item.recv_ns, item.mono_ns)
        self.frames += len(item)
        overlap = self._overlap
        if overlap is not None and overlap.ends_ns is not None and int(item.recv_ns[0]) > overlap.ends_ns:
            self._close()
            overlap = None
        if overlap is not None:
            overlap.add(item.source, rows(again), rows(item))
        elif not same(again.prints, item.prints):
            self._refuse(f"from number {numbered.seq} on")

    def _close(self) -> None:
        overlap, self._overlap = self._overlap, None
        if overlap is not None and (row := overlap.wrong()) is not None:
            self._refuse(f"of {row[0]} at {row[1]} ns, while a connection was replaced,")

    def _refuse(self, where: str) -> None:
        raise LogDamagedError(
            f"{self._name}: the frames {where} decode to other prints than its columns hold; "
            "`log verify` says whether the file was changed, and a replay without --verify takes the columns"
        )


def same(one: Prints | None, other: Prints | None) -> bool:
    """Return whether two batches hold the same prints in the same order: as `rows`, but a column at a time."""
    if one is None or other is None:
        return not (one or other)
    if len(one) != len(other):
        return False
    table: dict[str, int] = {}
    return all(
        np.array_equal(mine, theirs) for mine, theirs in zip(_columns(one, table), _columns(other, table), strict=True)
    )


def _columns(prints: Prints, table: dict[str, int]) -> list[IntArray]:
    """Return prints as columns of integers; `table` gives the contracts numbers."""
    names = np.array([table.setdefault(name, len(table)) for name in prints.contracts], np.int64)
    price = as_float64(prints.price).copy()
    price[np.isnan(price)] = np.nan  # there are many, and as text they are one
    columns = (prints.ts_ns, prints.size, prints.side)
    return [names[as_int64(prints.contract)], price.view(np.int64), *map(as_int64, columns)]


def rows(frames: Frames) -> list[Row]:
    """Return the prints of frames as comparable rows, in order of arrival."""
    prints = frames.prints
    if prints is None:
        return []
    names = [prints.contracts[i] for i in as_list(prints.contract)]
    prices = [repr(float(price)) for price in as_list(prints.price)]
    columns = (prints.ts_ns, prices, prints.size, prints.side)
    return list(zip(names, *map(as_list, columns), strict=True))
