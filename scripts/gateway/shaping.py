"""Which ticks go out twice, late, not at all, or followed by something broken.

Decided by the tick's number, the contract and the chaos seed alone, so it is the same in every run and on every
connection. Where a connection has got to is a `Cursor`, a value: two connections with equal cursors are sent the same
bytes, and one that lags goes on from its own.
"""

from __future__ import annotations

from typing import NamedTuple

from tickloom.scripts.gateway.mixing import fractions
from tickloom.scripts.gateway.switches import Switches


class Cursor(NamedTuple):
    """How far a subscription has been served: `next` is the next tick; `held` one kept back (None: none) for `left`
    more ticks, to come out of order.
    """

    next: int
    held: int | None = None
    left: int = 0


class Item(NamedTuple):
    """What goes out: tick number `tick` as it is, or, with `bad`, something broken that stands after it."""

    tick: int
    bad: str | None = None


class Shaped(NamedTuple):
    """Items in the order of sending, the ticks that are never sent, and where that leaves the subscription."""

    items: list[Item]
    dropped: list[int]
    cursor: Cursor


def shape(cursor: Cursor, last: int, seed: int, switches: Switches) -> Shaped:
    """Decide what becomes of the ticks from the cursor to `last`. `seed` is the chaos seed mixed with the contract."""
    items: list[Item] = []
    dropped: list[int] = []
    held, left = cursor.held, cursor.left
    kinds = switches.bad_kinds
    # Four numbers a tick decide: to drop, to hold back, to double, to break. The first also picks, once it has not
    # dropped the tick, how late a held one is and which kind of broken thing follows.
    for index in range(cursor.next, last + 1):
        drop, order, double, bad = fractions(seed, index)
        if drop * 100 < switches.drop_pct:
            dropped.append(index)
            continue
        if held is None and order * 100 < switches.out_of_order_pct:
            held, left = index, 1 + int(drop * 1_000_003) % 4
            continue
        items.append(Item(index))
        if double * 100 < switches.duplicate_pct:
            items.append(Item(index))
        if bad * 100 < switches.bad_pct:
            items.append(Item(index, kinds[int(drop * 1_000_003) % len(kinds)]))
        if held is not None:
            left -= 1
            if left <= 0:
                items.append(Item(held))
                held = None
    if held is not None and not switches.out_of_order_pct:
        items.append(Item(held))
        held = None
    return Shaped(items, dropped, Cursor(last + 1, held, left if held is not None else 0))
