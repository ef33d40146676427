"""What a market, of whatever kind, hands to the rest of the emulator: runs of ticks, and ticks as columns.

Ticks of a contract are numbered 0, 1, 2 … from the start of the process; the model has negative numbers too, for the
history before it. A tick is one print; prints of one trade (a sweep) share the `start` of the trade, which is the
number of its first print, and its stamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tickloom.scripts.gateway.contracts import ContractSpec
from tickloom.scripts.gateway.seconds import SecondBars


class Run(NamedTuple):
    """Ticks `first` to `last` (inclusive) of a contract have just happened."""

    contract: str
    first: int
    last: int


class Ticks(NamedTuple):
    """Ticks of one contract as columns; row k is tick `first + k`. Stamps are ns UTC, sides 0 buy and 1 sell."""

    first: int
    stamp: list[int]
    price: list[float]
    size: list[int]
    side: list[int]
    start: list[int]


class Totals:
    """The session of one contract so far, as quotes report it."""

    __slots__ = ("bid", "high", "last", "last_ns", "low", "opened", "previous", "volume")

    def __init__(self, previous: float) -> None:
        self.previous = previous
        """The settlement that `change` is measured from."""
        self.opened = self.high = self.low = self.last = previous
        self.bid = previous
        self.volume = 0
        self.last_ns = 0

    def add(self, price: list[float], size: list[int], bid: float, stamp_ns: int) -> None:
        """Count some ticks in, the newest of which leaves the best bid at `bid`."""
        if self.volume == 0:
            self.opened = self.high = self.low = price[0]
        self.high = max(self.high, max(price))
        self.low = min(self.low, min(price))
        self.last = price[-1]
        self.volume += sum(size)
        self.bid = bid
        self.last_ns = stamp_ns


class Recorded(NamedTuple):
    """A quote or depth message that a recording holds, to be passed on as it was: `data` is the second argument."""

    contract: str
    target: str
    data: bytes


class Market(Protocol):
    """A stream of ticks for some contracts. It knows no clock: `advance` is told the time."""

    @property
    def specs(self) -> Sequence[ContractSpec]:
        """The contracts it has."""

    @property
    def start_ns(self) -> int:
        """When it began (ns UTC)."""

    @property
    def synthesize(self) -> bool:
        """Whether quotes and depth are to be made from the trades; if not, `passed` brings them."""

    def advance(self, now_ns: int) -> list[Run]:
        """Let time pass to `now_ns`; return the ticks that happened, in order."""

    def begin(self) -> None:
        """Somebody follows the trades of a contract: what was held until then may begin."""

    def prepare(self) -> None:
        """Get some of the work for the next `advance` done, when there is time for it (a millisecond at most)."""

    def passed(self) -> list[Recorded]:
        """Return (once) the recorded quotes and depth that fell due in the last `advance`."""

    def ticks(self, contract: str, first: int, last: int) -> Ticks:
        """Return ticks `first` to `last`, inclusive; both must lie between `oldest` and `last`."""

    def last(self, contract: str) -> int:
        """Return the number of the newest tick (one less than the first to come when there is none)."""

    def oldest(self, contract: str) -> int:
        """Return the number of the oldest tick that can still be asked for."""

    def bars(self, contract: str) -> SecondBars:
        """Return the one-second bars of the contract."""

    def totals(self, contract: str) -> Totals:
        """Return the session's totals of the contract."""

    def set_rate(self, rate: float, contract: str | None, now_ns: int) -> None:
        """Change the pace to `rate` ticks a second: of one contract, or of all together."""

    def burst(self, count: int, contract: str | None, now_ns: int) -> None:
        """Have `count` extra ticks happen at once, in one contract or in each."""

    def describe(self) -> dict[str, object]:
        """Return what `/truth/info` says of the market."""
