"""What is missing when one connection takes over from another: decided from what the two have delivered. Pure.

What must live here: the judgement, contract by contract. What must not: when to hand over (`replacement`), what two
connections make together (`overlap`), and that a gap is told in time (`telling`).

Theory of operation. The old connection was subscribed all the time, the new one is since some moment. Nothing is
missing if the new one began at or before the old one's newest stamp. Otherwise it depends on how the old one went. If
it answered its last unsubscription it had delivered all the gateway meant to send on it, and a contract is merely
quiet, unless the new one had prints that the old one never brought: then the gateway, or the link, was holding them
back, and what it held back before the new one began is lost. If it broke off, or did not answer any more, silence
proves nothing, and what lies between the two is missing.

Stamps need not rise. An older print may have been on its way while younger ones had come, so both the comparison and
the gap leave room for it (`GapTracker.room`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.connection.overlap import Overlap


class Missing(NamedTuple):
    """A contract of which something is missing: from `from_ns` on, up to `to_ns` (None: up to what comes next)."""

    contract: str
    from_ns: int
    to_ns: int | None


def missing(
    overlap: Overlap,
    contracts: Iterable[str],
    gaps: GapTracker,
    before: Callable[[str], int],
    *,
    answered: bool,
    held_back: Collection[str] = (),
) -> list[Missing]:
    """Return what is missing as the new connection of `overlap` takes over.

    Args:
        overlap: of the two connections, fed with all they delivered.
        contracts: those that are followed.
        gaps: knows how far each contract's stamps go astray.
        before: the newest stamp of a contract when the two connections met.
        answered: whether the old one answered its last unsubscription.
        held_back: contracts whose first print came on the new connection, and had not come on the old one, before the
            old one was unsubscribed.
    """
    found = []
    for contract in contracts:
        room = gaps.room(contract)
        if overlap.covered(contract, room):
            continue
        newest, first = overlap.bounds(contract)
        if answered and contract not in held_back:
            continue
        if newest is None:
            newest = before(contract)
        found.append(Missing(contract, newest - room, None if first is None else max(first, newest) + 1))
    return found


def held_back(overlap: Overlap, contracts: Iterable[str], gaps: GapTracker) -> list[str]:
    """Return the contracts of which the new connection has prints, and the old one has not come as far."""
    return [
        contract
        for contract in contracts
        if overlap.bounds(contract)[1] is not None and not overlap.covered(contract, gaps.room(contract))
    ]
