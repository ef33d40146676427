"""What connections receive becomes one stream of intake: decoded, told apart from what came already, gaps first.

What must live here: the order in which gaps and frames are emitted, and from when to when two connections are
compared. What must not: how they are compared (`overlap`), what is missing at a handover (`handover`) and what waits
for it (`telling`), where frames come from (`carriers`).

Theory of operation. A gap is emitted before the frames that close it: their prints move the market's time, and bars the
gap touches may be final then. While two connections deliver, an `Overlap` lets pass what is new of either. It stays for
a while after one of them has ended, because what both brought may still be under way: until stamps prove that nothing
can come twice, or, where contracts are quiet and for events, which have no such stamps, until some time has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from tickloom.actors.connection.decode import Decoder
from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.connection.handover import Missing
from tickloom.actors.connection.overlap import Overlap
from tickloom.messages.control import Gap
from tickloom.messages.intake import Frames, Intake
from tickloom.messages.projectx import ACCOUNT, LOGOUT


class Received(NamedTuple):
    """What a connection received at once: payloads, and for each when, by the wall and the monotonic clock (ns)."""

    payloads: list[bytes]
    walls: list[int]
    monos: list[int]


Take: TypeAlias = Callable[[str, Received], None]
"""Takes what a connection received, with the connection's name as `Frames.source`."""


class Delivery:
    """The one stream of a hub. Feed it everything its connections receive, in order of arrival.

    Args:
        hub: which one.
        decoder: of the whole session, so that prints are numbered in order of arrival.
        gaps: what is known to be missing.
        emit: takes frames and gaps in their order; must not block.
        on_logout: called when the gateway ends the session, with a sentence saying so.
        lateness_ns: how late a print may be against the newest before it (see `overlap`).
        linger: how long two connections are compared after one of them ended, unless stamps decide; in seconds.
        wall_ns, monotonic: time, as parameters.
    """

    def __init__(
        self,
        hub: Literal["market", "user"],
        decoder: Decoder,
        gaps: GapTracker,
        emit: Callable[[Intake], None],
        *,
        on_logout: Callable[[str], None],
        lateness_ns: int,
        linger: float,
        wall_ns: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self.gaps = gaps
        self._hub = hub
        self._decoder = decoder
        self._emit = emit
        self._on_logout = on_logout
        self._lateness_ns = lateness_ns
        self._linger = linger
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._through: Take | None = None
        self._overlap: Overlap | None = None
        self._compare_until = 0.0
        self._accounts: dict[int, bytes] = {}  # what was last said of each
        self._quotes: dict[str, int] = {}  # how many came of each contract

    # ------------------------------------------------------------------------------------------ what comes

    def take(self, source: str, received: Received) -> None:
        """Take what connection `source` received, by the way it goes at present."""
        (self._through or self.pass_on)(source, received)

    def divert(self, through: Take | None) -> None:
        """Have everything go through `through` from now on, which calls `pass_on` in its time; None: straight on."""
        self._through = through

    def pass_on(self, source: str, received: Received) -> None:
        """Emit what is new of what connection `source` received, after the gaps it closes."""
        overlap = self._overlap
        if overlap is not None and source not in (overlap.old, overlap.new):
            overlap = None
        admit = None if overlap is None else partial(overlap.admit, source)
        frames = self._decoder.decode(source, received.payloads, received.walls, received.monos, admit)
        if overlap is not None:
            frames = overlap.filtered(frames)
            # stamps tell when all prints of two connections have met; quiet contracts and events are given some time
            decided = overlap.done and self._hub == "market"
            if decided or (overlap.over and self._monotonic() > self._compare_until):
                self._overlap = None
        if frames.prints is not None:
            for gap in self.gaps.saw(frames.prints, self._wall_ns(), measure=overlap is None):
                self._emit(gap)
        self._emit(frames)
        for _, quote in frames.quotes:
            self._quotes[quote.contract] = self._quotes.get(quote.contract, 0) + 1
        if frames.events:
            self._look_at_events(frames)

    def _look_at_events(self, frames: Frames) -> None:
        for _, target, payload in frames.events:
            if target == ACCOUNT:
                self._accounts[_account_id(payload)] = payload
            elif target == LOGOUT:
                words = payload.decode("utf-8", "replace")[1:-1][:120]
                self._on_logout(
                    "the gateway ended this session because another one took over" + (f" ({words})" if words else "")
                )

    def mark(self, contract: str) -> int:
        """Return a number that changes with every print and quote of a contract: neither part of it ever falls."""
        return self.gaps.newest(contract) + self._quotes.get(contract, 0)

    def forget(self, contract: str) -> None:
        """The contract is no longer wanted."""
        self._quotes.pop(contract, None)

    # ------------------------------------------------------------------------------------------ two connections

    @property
    def comparing(self) -> bool:
        """Whether two connections are being compared."""
        return self._overlap is not None

    def compare(self, old: str, new: str) -> Overlap:
        """Let pass from now on what is new of either of two connections; return what they make together."""
        self._overlap = Overlap(old, new, self._lateness_ns, self._accounts.values())
        return self._overlap

    def ended(self, overlap: Overlap, source: str) -> None:
        """Connection `source` has delivered its last into `overlap`. What comes of the other is compared a while on."""
        overlap.end(source)
        self._compare_until = self._monotonic() + self._linger

    # ------------------------------------------------------------------------------------------ what is missing

    def lost(self, cause: str) -> None:
        """There is no connection any more: everything is missing from here on, and there is nothing to compare."""
        self._overlap = None
        self.gaps.lost(cause)

    def tell(self, missing: Missing, cause: str) -> None:
        """Tell what is missing of a contract: at once, or as soon as it is known up to where."""
        contract, from_ns, to_ns = missing
        if to_ns is None:
            self.gaps.lost(cause, (contract,))
            self.gaps.confirmed(contract, self._wall_ns())
        else:
            self._emit(Gap(recv_ns=self._wall_ns(), contract=contract, from_ns=from_ns, to_ns=to_ns, cause=cause))

    def on_time(self) -> None:
        """Tell the gaps of contracts that have stayed quiet. To be called about once a second."""
        for gap in self.gaps.on_time(self._wall_ns()):
            self._emit(gap)


class _Named(msgspec.Struct):
    id: int


def _account_id(payload: bytes) -> int:
    return msgspec.json.decode(payload, type=_Named).id  # the decoder let no other account pass
