"""What was not received, as facts: from the last print before a loss to the first one after it. No clock, no I/O.

A gap is event time, `[from_ns, to_ns)`. It starts *at* the last stamp received, because prints that share it may be
missing, and ends just after the first stamp received afterwards, for the same reason: rather a tick too wide than one
too narrow. Where stamps do not rise it starts earlier, by twice what they have gone astray so far (`room`): an older
print may have been on its way still. The stamps are the exchange's on both ends, so no two clocks are compared.

A stamp ahead of our clock by more than `future_ns` is rubbish (validation refuses the print) and tells nothing here.

A contract that stays quiet after the link is back has no first print. After `settle_ns` its gap is closed at the moment
its subscription was confirmed, by our clock corrected by the feed's usual delay as far as it is known: what the gateway
sent later would have been received.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from tickloom.messages.control import Gap
from tickloom.messages.market import Prints, as_int64, as_list

FEW: Final = 64
"""Up to so many prints are looked at row by row."""


class _Contract(msgspec.Struct):
    newest: int  # the newest stamp received; before the first, when its subscription was first confirmed
    traded: bool = False
    cause: str = ""  # why it is missing; empty while it is not
    confirmed: int = 0  # when its subscription was confirmed again; 0: not yet
    disorder: int = 0  # how far a stamp has been behind the newest before it


class GapTracker:
    """Follows the contracts of one hub. Every method that can close gaps returns them, in the order of the log."""

    def __init__(
        self, settle_ns: int = 5_000_000_000, lateness_ns: int = 1_000_000_000, future_ns: int = 5_000_000_000
    ) -> None:
        self.settle_ns = settle_ns
        self.lateness_ns = lateness_ns  # a stamp further behind than this is no disorder, but a stray
        self.future_ns = future_ns
        self._contracts: dict[str, _Contract] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """The contracts that have an open gap."""
        return tuple(name for name, contract in self._contracts.items() if contract.cause)

    def confirmed(self, contract: str, now_ns: int) -> None:
        """The contract's subscription is confirmed at `now_ns`, for the first time or again."""
        known = self._contracts.get(contract)
        if known is None:
            self._contracts[contract] = _Contract(now_ns)
        elif known.cause:
            known.confirmed = now_ns

    def newest(self, contract: str) -> int:
        """Return the newest stamp received of a contract, or when it was first confirmed; 0 if it is unknown."""
        known = self._contracts.get(contract)
        return 0 if known is None else known.newest

    def room(self, contract: str) -> int:
        """Return how much wider (ns) than its stamps a contract's gap is at either end: twice the disorder seen so far.

        What was on its way may have been later than anything that came.
        """
        known = self._contracts.get(contract)
        return 0 if known is None else 2 * known.disorder

    def resume(self, contract: str, newest: int, cause: str) -> None:
        """Go on from a process that is gone: it received the contract up to `newest`, and nobody has since."""
        self._contracts[contract] = _Contract(newest, traded=True, cause=cause)

    def forget(self, contract: str) -> None:
        """The contract is no longer wanted."""
        self._contracts.pop(contract, None)

    def lost(self, cause: str, contracts: Iterable[str] | None = None) -> None:
        """The link is gone: from the newest stamp on, nothing is known of these contracts (None: of all)."""
        for name in tuple(self._contracts) if contracts is None else contracts:
            contract = self._contracts.get(name)
            if contract is None:
                continue
            if not contract.cause:
                contract.cause = cause
            contract.confirmed = 0

    def saw(self, prints: Prints, now_ns: int, *, measure: bool = True) -> list[Gap]:
        """Take in a batch of prints; return the gaps they close. These belong before the batch.

        `measure` False: the batch is made of what two connections deliver, whose order says nothing about the feed's.
        """
        gaps: list[Gap] = []
        if measure and len(prints) <= FEW and self._follow(prints, now_ns):
            return gaps
        for name, stamps in _columns(prints):
            contract = self._contracts.get(name)
            if contract is None:
                continue  # a contract nobody asked for: validation refuses it
            if max(stamps) > now_ns + self.future_ns:
                stamps = [ts for ts in stamps if ts <= now_ns + self.future_ns]
                if not stamps:
                    continue
            if contract.cause:
                # prints may come before the answer to the subscription; either way the link is back
                gaps.append(self._close(name, contract, stamps[0] + 1 + 2 * contract.disorder, now_ns))
            newest = contract.newest if contract.traded else stamps[0]
            if measure:
                self._measure(contract, stamps, newest)
            contract.newest = max(newest, max(stamps))
            contract.traded = True
        return gaps

    def _follow(self, prints: Prints, now_ns: int) -> bool:
        """Take in a short batch of contracts of which nothing is missing, row by row; False, and nothing done, for any
        other."""
        names, latest, limit = prints.contracts, now_ns + self.future_ns, self.lateness_ns
        newest: dict[int, int] = {}
        behind: dict[int, int] = {}
        for index, ts in zip(as_list(prints.contract), as_list(prints.ts_ns), strict=True):
            if ts > latest:
                return False
            before = newest.get(index)
            if before is None:
                contract = self._contracts.get(names[index])
                if contract is None or contract.cause or not contract.traded:
                    return False
                before = newest[index] = contract.newest
            if ts > before:
                newest[index] = ts
            elif behind.get(index, 0) < before - ts <= limit:
                behind[index] = before - ts
        for index, ts in newest.items():
            self._contracts[names[index]].newest = ts
        for index, most in behind.items():
            contract = self._contracts[names[index]]
            contract.disorder = max(contract.disorder, most)
        return True

    def _measure(self, contract: _Contract, stamps: Sequence[int], newest: int) -> None:
        """Note how far a stamp was behind the newest before it, if that is further than ever."""
        most, limit = contract.disorder, self.lateness_ns
        for ts in stamps:
            if ts >= newest:
                newest = ts
            elif most < newest - ts <= limit:
                most = newest - ts
        contract.disorder = most

    def on_time(self, now_ns: int) -> list[Gap]:
        """Close the gaps of contracts that have stayed quiet since their subscription was confirmed."""
        return [
            self._close(name, contract, contract.confirmed, now_ns)
            for name, contract in self._contracts.items()
            if contract.cause and contract.confirmed and now_ns - contract.confirmed >= self.settle_ns
        ]

    def _close(self, name: str, contract: _Contract, to_ns: int, now_ns: int) -> Gap:
        gap = Gap(
            recv_ns=now_ns,
            contract=name,
            from_ns=contract.newest - 2 * contract.disorder,
            to_ns=max(to_ns, contract.newest + 1),
            cause=contract.cause,
        )
        contract.cause, contract.confirmed = "", 0
        return gap


def _columns(prints: Prints) -> list[tuple[str, list[int]]]:
    """Return the stamps of every contract in a batch, in order of arrival."""
    if len(prints) > FEW:
        contract, ts = as_int64(prints.contract), as_int64(prints.ts_ns)
        rows = ((name, ts[contract == index].tolist()) for index, name in enumerate(prints.contracts))
        return [(name, stamps) for name, stamps in rows if stamps]
    found: dict[int, list[int]] = {}
    for index, ts_ns in zip(as_list(prints.contract), as_list(prints.ts_ns), strict=True):
        found.setdefault(index, []).append(ts_ns)
    return [(prints.contracts[index], stamps) for index, stamps in found.items()]
