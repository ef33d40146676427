"""Two connections deliver the same stream for a while; this makes one of it: no print lost, none twice. No clock, no
I/O.

Prints have no ids, and equal ones occur. So each (contract, stamp, price, size, side) is counted per connection, and a
print is passed on when it makes its connection's count exceed everything passed on so far: what passes is the larger
count.

Why that is right. The old connection delivers the stream up to some point, the new one from some earlier point on. A
key whose prints all lie before the old one's end, or all after the new one's beginning, is fully counted by one of the
two, and the other's count is no larger. Only a key with prints before the beginning *and* after the end would be
missed. Equal prints have equal stamps, and a print is late by `lateness_ns` at most; so once the old connection has
delivered a stamp more than twice that beyond the first of the new one, there is no such key. `aligned` says so,
contract by contract; the old connection must not be let go before (or, for a contract that is quiet, before some time
has passed).

Memory: a key is forgotten when both connections are past its stamp by more than the lateness. A print even later than
that is taken from the old connection while it lasts, then from the new one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from tickloom.messages.intake import Frames
from tickloom.messages.market import Malformed, Prints, as_list
from tickloom.messages.projectx import ACCOUNT

_RESET = 6  # a depth level of this kind begins a snapshot
_SWEEP = 4096  # how many keys may gather before settled ones are looked for


class _Side(msgspec.Struct):
    """What one connection has delivered of one contract."""

    first: int
    newest: int


class Overlap:
    """The overlap of an old and a new connection of one hub. Feed it everything both deliver, in order of arrival.

    Args:
        old, new: the connections' names, as `Frames.source`.
        lateness_ns: how late a print may be against the newest stamp before it.
        accounts: what was last said of each account, as it came: a new connection begins by saying it again.
    """

    def __init__(self, old: str, new: str, lateness_ns: int = 1_000_000_000, accounts: Collection[bytes] = ()) -> None:
        self.old = old
        self.new = new
        self.lateness_ns = lateness_ns
        self.repeated = 0
        self._accounts = frozenset(accounts)
        self._over: int | None = None
        self._counts: dict[tuple[str, int, float | None, int, int], list[int]] = {}
        self._sides: tuple[dict[str, _Side], dict[str, _Side]] = ({}, {})
        self._sweep_at = _SWEEP
        self._quotes: dict[str, int] = {}
        self._books: set[str] = set()
        self._events: dict[tuple[str, bytes], list[int]] = {}

    # ------------------------------------------------------------------------------------------ prints

    def admit(self, source: str, prints: Prints) -> Sequence[int] | None:
        """Return the rows to pass on of what connection `source` delivered (None: all)."""
        side = self._side(source)
        kept: list[int] = []
        names, other = prints.contracts, 1 - side
        rows = zip(
            as_list(prints.contract),
            as_list(prints.ts_ns),
            as_list(prints.price),
            as_list(prints.size),
            as_list(prints.side),
            strict=True,
        )
        for row, (index, ts, price, size, aggressor) in enumerate(rows):
            name = names[index]
            if ts < self._settled(name):
                if side == (1 if self._over == 0 else 0):
                    kept.append(row)
                continue
            key = (name, ts, price if price == price else None, size, aggressor)  # NaN would equal nothing
            counts = self._counts.get(key)
            if counts is None:
                if self._over == other:  # which never delivered it
                    kept.append(row)
                    self._saw(name, ts, side)
                    continue
                counts = self._counts[key] = [0, 0]
            counts[side] += 1
            if counts[side] > counts[other]:
                kept.append(row)
            self._saw(name, ts, side)
        self.repeated += len(prints) - len(kept)
        if len(self._counts) >= self._sweep_at:
            self._sweep()
        return None if len(kept) == len(prints) else kept

    def announce(self, prints: Prints) -> None:
        """The new connection has these, though they are not passed on yet."""
        for index, ts in zip(as_list(prints.contract), as_list(prints.ts_ns), strict=True):
            self._saw(prints.contracts[index], ts, 1)

    def _saw(self, contract: str, ts: int, side: int) -> None:
        seen = self._sides[side].get(contract)
        if seen is None:
            self._sides[side][contract] = _Side(ts, ts)
        elif ts > seen.newest:
            seen.newest = ts

    def _settled(self, contract: str) -> int:
        """Return the stamp before which both connections have delivered everything they will."""
        old, new = (side.get(contract) for side in self._sides)
        if old is None or new is None:
            return -(2**63)
        return min(old.newest, new.newest) - self.lateness_ns

    def _sweep(self) -> None:
        settled = {contract: self._settled(contract) for contract in self._sides[0]}
        never = -(2**63)
        self._counts = {key: counts for key, counts in self._counts.items() if key[1] >= settled.get(key[0], never)}
        self._sweep_at = max(_SWEEP, 2 * len(self._counts))

    def aligned(self, contract: str) -> bool:
        """Whether the old connection may be let go as far as this contract goes (see the module's docstring)."""
        old, new = (side.get(contract) for side in self._sides)
        return old is not None and new is not None and old.newest > new.first + 2 * self.lateness_ns

    def covered(self, contract: str, room: int = 0) -> bool:
        """Whether nothing is missing although the old connection broke off: the new one began before its last stamp.

        `room` (ns) is how late a print may come against the newest before it: so much earlier it must have begun.
        """
        old, new = (side.get(contract) for side in self._sides)
        return new is not None and old is not None and new.first <= old.newest - room

    def bounds(self, contract: str) -> tuple[int | None, int | None]:
        """Return the old connection's newest stamp and the new one's first, where there are any."""
        old, new = (side.get(contract) for side in self._sides)
        return (None if old is None else old.newest), (None if new is None else new.first)

    def end(self, source: str) -> None:
        """Connection `source` has delivered its last: the old one, or a new one that failed."""
        self._over = self._side(source)

    @property
    def over(self) -> bool:
        """Whether one of the two has delivered its last."""
        return self._over is not None

    @property
    def done(self) -> bool:
        """Whether nothing can come again: one connection is over and the other is past all it had delivered."""
        if self._over is None:
            return False
        left = self._sides[1 - self._over]
        return all(
            contract in left and left[contract].newest > ended.newest + self.lateness_ns
            for contract, ended in self._sides[self._over].items()
        )

    def _side(self, source: str) -> int:
        if source not in (self.old, self.new):
            raise ValueError(f"{source} takes no part in the overlap of {self.old} and {self.new}")
        return 0 if source == self.old else 1

    # ------------------------------------------------------------------------------------------ everything else

    def filtered(self, frames: Frames) -> Frames:
        """Return the frames with the quotes, depth updates and user events to pass on.

        Quotes hold values, not changes of values: one from either connection is good unless a newer one was passed on.
        A book is the old connection's until the new one's snapshot has come, then the new one's alone. Events of the
        user hub are counted as prints are, but for what a new connection says of an account that was known already.
        """
        side = self._side(frames.source)
        quotes = []
        for frame, quote in frames.quotes:
            if quote.ts_ns >= self._quotes.get(quote.contract, quote.ts_ns):
                self._quotes[quote.contract] = quote.ts_ns
                quotes.append((frame, quote))
        depth = []
        for frame, update in frames.depth:
            if side == 1 and (self._over == 0 or any(level.kind == _RESET for level in update.levels)):
                self._books.add(update.contract)
            if self._over == 1 - side or (update.contract in self._books) == (side == 1):
                depth.append((frame, update))
        events = []
        again: dict[int, int] = {}
        for frame, target, payload in frames.events:
            if side == 1 and target == ACCOUNT and payload in self._accounts:
                again[frame] = again.get(frame, 0) + 1
                continue
            counts = self._events.setdefault((target, payload), [0, 0])
            counts[side] += 1
            if counts[side] > counts[1 - side]:
                events.append((frame, target, payload))
            else:
                again[frame] = again.get(frame, 0) + 1
        malformed = frames.malformed
        if again:
            told = [
                Malformed(frame, "overlap", f"{count} events had come on the other connection")
                for frame, count in again.items()
            ]
            malformed = tuple(sorted((*malformed, *told), key=lambda each: each.frame))
        return msgspec.structs.replace(
            frames, quotes=tuple(quotes), depth=tuple(depth), events=tuple(events), malformed=malformed
        )
