"""A market that plays back what was recorded instead of a model: `FromRecording`.

The source is any iterable of `RecordedTick` (or plain tuples) and `RecordedFrame`. Ticks are paced by their stamps or
their receipt, frames by the offset at which they were received; `speed` divides the time between them. Trades are
stamped anew with the time of their emission, so that a live client sees a live market, unless `keep_stamps` leaves
them as recorded. Quotes and depth within recorded frames are passed on as they are; from ticks alone they are
synthesized. With `hold` nothing is played before `begin`, and the first tick a moment after it.

What cannot be served (another contract, a price that is no number) is counted by reason in `skipped`. The past is
kept for `window` ticks a contract.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from tickloom.messages.market import Instrument
from tickloom.scripts.gateway.contracts import ContractSpec
from tickloom.scripts.gateway.frames import RS
from tickloom.scripts.gateway.seconds import DAY, SecondBars
from tickloom.scripts.gateway.stamps import SECOND_NS, STEP_NS
from tickloom.scripts.gateway.ticks import Recorded, Run, Ticks, Totals

AT_ONCE: Final = 50_000
"""Ticks taken from the source at most in one advance, however fast it is played."""
SWEEP: Final = 100
"""Prints of one trade at most."""
LEAD_NS: Final = SECOND_NS // 2
"""How long after `begin` a playback that was held begins: a client subscribes to one contract after another."""


class RecordedTick(NamedTuple):
    """A print: its stamp (ns UTC), contract, price in points, size and side (0 buy, 1 sell).

    `due_ns` is when it is to be played, from any origin (None: at its stamp): the receipt, where that is known, since a
    stamp may be rubbish.
    """

    ts_ns: int
    contract: str
    price: float
    size: int
    side: int
    due_ns: int | None = None


class RecordedFrame(NamedTuple):
    """The payload of a frame of the market hub, and when it was received (ns, from any origin)."""

    offset_ns: int
    payload: bytes


TickSource: TypeAlias = Iterable[RecordedTick | RecordedFrame | tuple[int, str, float, int, int]]
"""What is played back; in order, all ticks or all frames."""


def spec_from_instrument(instrument: Instrument) -> ContractSpec:
    """Return the gateway's view of an instrument that a log names. An id of one word is its name and symbol as well."""
    contract = instrument.contract
    rest, _, _ = contract.rpartition(".")
    return ContractSpec(
        contract,
        instrument.name or rest.rpartition(".")[2] or contract,
        instrument.description or contract,
        instrument.symbol or rest.removeprefix("CON.") or contract,
        instrument.numerator,
        instrument.denominator,
        instrument.tick_value,
        0,
    )


class _Message(msgspec.Struct):
    type: int = 0
    target: str = ""
    arguments: list[msgspec.Raw] = []


class _Past:
    """The last ticks of one contract, as columns that are cut from the front now and then."""

    def __init__(self, window: int, bars: SecondBars) -> None:
        self._window = window
        self.base = 0
        self.stamp, self.size = array("q"), array("q")
        self.side, self.start = array("b"), array("q")
        self.price = array("d")
        self.bars = bars
        self.totals = Totals(0.0)

    def __len__(self) -> int:
        return self.base + len(self.stamp)

    def trim(self) -> None:
        if len(self.stamp) > 2 * self._window:
            for column in (self.stamp, self.size, self.side, self.start, self.price):
                del column[: self._window]
            self.base += self._window


class FromRecording:
    """Plays `source` back for the contracts in `specs`, from the first `advance` on, or held until `begin`."""

    def __init__(
        self,
        source: TickSource,
        specs: Sequence[ContractSpec],
        *,
        start_ns: int,
        speed: float = 1.0,
        keep_stamps: bool = False,
        hold: bool = False,
        window: int = 1_000_000,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self.specs = tuple(specs)
        self.start_ns = start_ns // SECOND_NS * SECOND_NS
        self.skipped: Counter[str] = Counter()
        self._source: Iterator[Any] = iter(source)
        self._speed = speed
        self._keep = keep_stamps
        self._held = hold
        self._lead_ns = LEAD_NS if hold else 0
        self._begun_ns = 0
        self._newest = 0
        self._past = {spec.id: _Past(window, SecondBars(2 * DAY)) for spec in specs}
        self._specs = {spec.id: spec for spec in specs}
        self._passed: list[Recorded] = []
        head: Any = next(self._source, None)
        self._next = head
        self.finished = head is None
        self._origin = _due(head) if head is not None else 0
        self.synthesize = not isinstance(head, RecordedFrame)

    def advance(self, now_ns: int) -> list[Run]:
        """Let time pass to `now_ns`; return the ticks that happened, in order."""
        if self._held:
            return []
        if not self._begun_ns:
            self._begun_ns = now_ns + self._lead_ns
        if now_ns < self._begun_ns:
            return []
        now_ns = self._newest = max(self._newest, now_ns // STEP_NS * STEP_NS)
        # infinity times nothing is no number
        reached = math.inf if math.isinf(self._speed) else (now_ns - self._begun_ns) * self._speed
        first: dict[str, int] = {}
        self._passed = []
        taken = 0
        while self._next is not None and taken < AT_ONCE and _due(self._next) - self._origin <= reached:
            for contract, prints in self._take():
                past = self._past.get(contract)
                if past is None:
                    self.skipped["contract"] += len(prints)
                    continue
                first.setdefault(contract, len(past))
                self._append(past, self._specs[contract], prints, now_ns)
                taken += len(prints)
        runs = [Run(contract, start, len(self._past[contract]) - 1) for contract, start in first.items()]
        for run in runs:
            self._past[run.contract].trim()
        return [run for run in runs if run.last >= run.first]

    def _take(self) -> list[tuple[str, list[RecordedTick]]]:
        """Take the next of the source; prints of one contract, stamp and side that follow one another are one trade."""
        item = self._step()
        if isinstance(item, RecordedFrame):
            return self._frame(item)
        prints = [RecordedTick(*item)]
        key = (prints[0].ts_ns, prints[0].contract, prints[0].side)
        while len(prints) < SWEEP and self._next is not None and not isinstance(self._next, RecordedFrame):
            following = RecordedTick(*self._next)
            if (following.ts_ns, following.contract, following.side) != key:
                break
            prints.append(following)
            self._step()
        return [(prints[0].contract, prints)]

    def _step(self) -> Any:
        taken, self._next = self._next, next(self._source, None)
        self.finished = self._next is None
        return taken

    def _append(self, past: _Past, spec: ContractSpec, prints: list[RecordedTick], now_ns: int) -> None:
        start = len(past)
        if not self._keep and past.stamp:
            # Trades of one advance are told apart by 100 ns; prints that came as one trade share their stamp.
            previous = past.stamp[-1]
            now_ns = max(now_ns, previous + STEP_NS)
        for tick in prints:
            if not math.isfinite(tick.price):
                self.skipped["price"] += 1
                continue
            stamp = tick.ts_ns if self._keep else now_ns
            index = len(past)
            past.stamp.append(stamp)
            past.price.append(tick.price)
            past.size.append(tick.size)
            past.side.append(tick.side)
            past.start.append(start)
            past.bars.add(stamp // SECOND_NS, [tick.price], [tick.size], index, index)
            bid = tick.price if tick.side else tick.price - spec.tick_size
            if not past.totals.last_ns:
                past.totals.previous = tick.price
            past.totals.add([tick.price], [tick.size], spec.price(spec.ticks(bid)), stamp)

    def _frame(self, frame: RecordedFrame) -> list[tuple[str, list[RecordedTick]]]:
        """Return the trades in a recorded frame, by contract; quotes and depth are set aside for `passed`."""
        trades: list[tuple[str, list[RecordedTick]]] = []
        for text in frame.payload.split(RS):
            if not text:
                continue
            try:
                message = msgspec.json.decode(text, type=_Message)
                if message.type != 1 or len(message.arguments) != 2:
                    continue
                contract = msgspec.json.decode(message.arguments[0], type=str)
                if message.target == "GatewayTrade":
                    data = msgspec.json.decode(message.arguments[1])
                    prints = [self._print(contract, element) for element in (data if type(data) is list else [data])]
                    trades.append((contract, [tick for tick in prints if tick is not None]))
                elif message.target in ("GatewayQuote", "GatewayDepth"):
                    self._passed.append(Recorded(contract, message.target, bytes(message.arguments[1])))
            except msgspec.DecodeError:
                self.skipped["json"] += 1
        return trades

    def _print(self, contract: str, element: Any) -> RecordedTick | None:
        try:
            moment = _parse_stamp(element["timestamp"])
            return RecordedTick(moment, contract, float(element["price"]), int(element["volume"]), int(element["type"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            self.skipped["element"] += 1
            return None

    def begin(self) -> None:
        """Begin the playback, if it is held."""
        self._held = False

    def prepare(self) -> None:
        """Do nothing: the source is read when it is due."""

    def passed(self) -> list[Recorded]:
        """Return (once) the recorded quotes and depth that fell due in the last `advance`."""
        passed, self._passed = self._passed, []
        return passed

    def ticks(self, contract: str, first: int, last: int) -> Ticks:
        """Return ticks `first` to `last`, inclusive.

        Raises:
            LookupError: they are not all between `oldest` and `last`.
        """
        past = self._past[contract]
        low, high = first - past.base, last - past.base + 1
        if low < 0 or high > len(past.stamp):
            raise LookupError(f"ticks {first} to {last} of {contract} are not all there")
        return Ticks(
            first,
            past.stamp[low:high].tolist(),
            past.price[low:high].tolist(),
            past.size[low:high].tolist(),
            past.side[low:high].tolist(),
            past.start[low:high].tolist(),
        )

    def last(self, contract: str) -> int:
        """Return the number of the newest tick of `contract`; -1 when none has happened yet."""
        return len(self._past[contract]) - 1

    def oldest(self, contract: str) -> int:
        """Return the number of the oldest tick of `contract` that is still kept."""
        return self._past[contract].base

    def bars(self, contract: str) -> SecondBars:
        """Return the one-second bars of what was played back."""
        return self._past[contract].bars

    def totals(self, contract: str) -> Totals:
        """Return the totals of `contract` so far."""
        return self._past[contract].totals

    def set_rate(self, rate: float, contract: str | None, now_ns: int) -> None:
        """Do nothing: a recording has its own pace."""

    def burst(self, count: int, contract: str | None, now_ns: int) -> None:
        """Do nothing: a recording has no ticks but its own."""

    def describe(self) -> dict[str, object]:
        """Return how far the playback is, and what could not be served."""
        return {
            "source": "recording",
            "speed": self._speed,
            "held": self._held,
            "finished": self.finished,
            "skipped": dict(self.skipped),
            "contracts": [
                {
                    "id": spec.id,
                    "symbol_id": spec.symbol_id,
                    "tick_size": spec.tick_size,
                    "first_i": self.oldest(spec.id),
                    "last_i": self.last(spec.id),
                }
                for spec in self.specs
            ],
        }


def _due(item: Any) -> int:
    if isinstance(item, RecordedTick) and item.due_ns is not None:
        return item.due_ns
    return int(item[0])


def _parse_stamp(text: str) -> int:
    """Return an ISO stamp with any number of fractional digits as ns UTC."""
    head, _, tail = text.partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    whole = datetime.fromisoformat(head + tail[len(digits) :] if digits else text)
    if whole.tzinfo is None:
        raise ValueError("a stamp without a zone")
    return int(whole.timestamp()) * SECOND_NS + int(digits[:9].ljust(9, "0") or 0)
