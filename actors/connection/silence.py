"""Whether a contract has been silent for so long that its connection is to be replaced. Pure; times are arguments.

A link may be alive, pings and all, and bring nothing: a subscription that the gateway has forgotten, a feed that hangs
behind it. Silence is the only sign of that, and it is also what a quiet contract does. So only the time in which its
market is open counts; a connection is replaced by one beside it, which costs a quiet contract nothing; the wait doubles
with every replacement that changed nothing; and all contracts together ask for no more than one in `limit` seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

LONGEST = 3600.0
"""The wait grows no further than this, in seconds."""


class _Contract(msgspec.Struct):
    mark: int  # what changes whenever something of it comes
    since: float  # silent, with its market open, since then
    wait: float


class Silence:
    """Follows the contracts of a hub. All times but `now_ns` (wall clock, ns) are monotonic seconds.

    Args:
        limit: seconds of silence that are too long; 0: none are.
        is_open: whether the market of a contract is open at a time (ns).
    """

    def __init__(self, limit: float, is_open: Callable[[str, int], bool]) -> None:
        self.limit = limit
        self.is_open = is_open
        self._contracts: dict[str, _Contract] = {}
        self._last = float("-inf")

    def look(
        self, contracts: Iterable[str], mark: Callable[[str], int], now_ns: int, now: float, *, up: bool
    ) -> str | None:
        """Return why the connection is to be replaced; None nearly always. To be called about once a second.

        Args:
            contracts: those that are followed.
            mark: a number of a contract's that changes whenever something of it comes.
            now_ns, now: the wall clock and the monotonic clock.
            up: whether there is a link. Without one nothing can come.
        """
        if not self.limit:
            return None
        known = self._contracts
        self._contracts = {}
        silent = []
        for contract in contracts:
            state = known.get(contract)
            if state is None or state.mark != mark(contract):
                state = _Contract(mark(contract), now, self.limit)
            elif not up or not self.is_open(contract, now_ns):
                state.since = now
            elif now - state.since >= state.wait:
                silent.append((contract, state))
            self._contracts[contract] = state
        if not silent or now - self._last < self.limit:
            return None
        self._last = now
        contract, longest = max(silent, key=lambda each: each[1].wait)
        why = f"{contract} has sent nothing for {now - longest.since:.0f} s while its market is open"
        for _, state in silent:
            state.since, state.wait = now, min(2 * state.wait, max(LONGEST, self.limit))
        return why
