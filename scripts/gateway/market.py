"""The model market: several contracts whose ticks follow from a seed, and happen as time is told to pass.

This file knows no clock and no socket. What a tick contains depends on its number alone (`tape`); how many are due
depends on time alone (`pacing`); a tick's stamp is the time told in the `advance` that let it happen. So slicing time
differently changes no tick but its stamp, and any tick within the window can be asked for afterwards.

Trades happen whole: the run that a due tick belongs to ends with the last print of its trade.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tickloom.scripts.gateway.contracts import ContractSpec
from tickloom.scripts.gateway.pacing import Pacer
from tickloom.scripts.gateway.seconds import DAY, SecondBars
from tickloom.scripts.gateway.stamps import SECOND_NS, STEP_NS, StampLog
from tickloom.scripts.gateway.tape import BLOCK, Tape
from tickloom.scripts.gateway.ticks import Recorded, Run, Ticks, Totals


class _Stream:
    """One contract of the model: its tape, its pace and what is remembered of its past."""

    def __init__(self, spec: ContractSpec, tape: Tape, pacer: Pacer, bars: SecondBars, window: int) -> None:
        self.spec = spec
        self.tape = tape
        self.pacer = pacer
        self.bars = bars
        self.stamps = StampLog(window)
        self.totals = Totals(spec.price(spec.base))
        self.last = -1

    def advance(self, now_ns: int) -> Run | None:
        due = self.pacer.due(now_ns) - 1
        if due <= self.last:
            return None
        first, last = self.last + 1, self.tape.trade_end(due)
        pieces = list(self.tape.pieces(first, last))
        block, _, high = pieces[-1]
        stamp = self.stamps.note(first, block.start[high - 1], now_ns)
        second = stamp // SECOND_NS
        for block, low, high in pieces:
            price, size = block.price[low:high], block.size[low:high]
            self.bars.add(second, price, size, block.first + low, block.first + high - 1)
            self.totals.add(price, size, self.spec.price(block.bid[high - 1]), self.stamps.newest_ns)
        self.last = last
        return Run(self.spec.id, first, last)


class ModelMarket:
    """A seeded market for `specs`, `rate` ticks a second all together, shared out by the contracts' weights.

    `history_s` seconds before the start are filled with `history_rate` ticks a second per contract (they have
    negative numbers); `window` is how many runs of ticks a contract's stamps are kept for.
    """

    synthesize = True

    def __init__(
        self,
        specs: Sequence[ContractSpec],
        *,
        seed: int,
        rate: float,
        start_ns: int,
        lively: bool = True,
        history_s: int = 0,
        history_rate: float = 2.0,
        window: int = 1_000_000,
    ) -> None:
        self.specs = tuple(specs)
        self.seed = seed
        self.start_ns = start_ns // SECOND_NS * SECOND_NS
        self._step_ns = max(STEP_NS, round(SECOND_NS / history_rate) // STEP_NS * STEP_NS)
        self._history = history_s * SECOND_NS // self._step_ns
        self._weight = sum(spec.weight for spec in specs)
        self._streams: dict[str, _Stream] = {}
        for spec in specs:
            pacer = Pacer(rate * spec.weight / self._weight, name=spec.id, seed=seed, lively=lively, start_ns=start_ns)
            bars = SecondBars(min(history_s, self._history) + DAY)
            self._streams[spec.id] = stream = _Stream(spec, Tape(spec, seed), pacer, bars, window)
            self._fill(stream)

    def _fill(self, stream: _Stream) -> None:
        """Make the one-second bars of the time before the start."""
        first = -self._history
        for block, low, high in stream.tape.pieces(first, -1):
            index = np.arange(block.first + low, block.first + high)
            seconds = (self.start_ns + index * self._step_ns) // SECOND_NS
            heads = np.flatnonzero(np.diff(seconds, prepend=seconds[0] - 1))
            tails = np.append(heads[1:], high - low) - 1
            price, size = np.array(block.price[low:high]), np.array(block.size[low:high])
            stream.bars.extend(
                seconds[heads].tolist(),
                price[heads].tolist(),
                np.maximum.reduceat(price, heads).tolist(),
                np.minimum.reduceat(price, heads).tolist(),
                price[tails].tolist(),
                np.add.reduceat(size, heads).tolist(),
                index[heads].tolist(),
                index[tails].tolist(),
            )

    def advance(self, now_ns: int) -> list[Run]:
        """Let time pass to `now_ns`; return the ticks that happened, in order."""
        runs = (stream.advance(now_ns) for stream in self._streams.values())
        return [run for run in runs if run is not None]

    def begin(self) -> None:
        """Do nothing: the model runs whoever listens."""

    def prepare(self) -> None:
        """Compute one block that is needed soon, so that no tick waits for it between its stamp and the wire."""
        for stream in self._streams.values():
            if stream.tape.prepare((stream.last + 1) // BLOCK + 1):
                return

    def passed(self) -> list[Recorded]:
        """Return nothing: the model's quotes and depth are made from its trades."""
        return []

    def ticks(self, contract: str, first: int, last: int) -> Ticks:
        """Return ticks `first` to `last`, inclusive.

        Raises:
            LookupError: they are not all between `oldest` and `last`.
        """
        stream = self._streams[contract]
        if last > stream.last or first < -self._history:
            raise LookupError(f"ticks {first} to {last} of {contract} are not all there")
        columns = Ticks(first, [], [], [], [], [])
        for block, low, high in stream.tape.pieces(first, last):
            columns.price.extend(block.price[low:high])
            columns.size.extend(block.size[low:high])
            columns.side.extend(block.side[low:high])
            columns.start.extend(block.start[low:high])
        past = max(0, min(-first, last - first + 1))
        if past:
            columns.start[:past] = range(first, first + past)
            columns.stamp.extend(self.start_ns + index * self._step_ns for index in range(first, first + past))
        if past <= last - first:
            columns.stamp.extend(stream.stamps.stamps(columns.start[past:], first + past))
        return columns

    def last(self, contract: str) -> int:
        """Return the number of the newest tick of `contract`; -1 when none has happened yet."""
        return self._streams[contract].last

    def oldest(self, contract: str) -> int:
        """Return the oldest tick that can be asked for: the history's first, until the window has moved on."""
        known = self._streams[contract].stamps.oldest
        return known if known > 0 else -self._history

    def bars(self, contract: str) -> SecondBars:
        """Return the one-second bars of `contract`, history included."""
        return self._streams[contract].bars

    def totals(self, contract: str) -> Totals:
        """Return the totals of `contract` since the start."""
        return self._streams[contract].totals

    def set_rate(self, rate: float, contract: str | None, now_ns: int) -> None:
        """Change the pace to `rate` ticks a second: of one contract, or of all together by their weights."""
        for spec in self.specs:
            if contract is None:
                self._streams[spec.id].pacer.change(rate * spec.weight / self._weight, now_ns)
            elif contract == spec.id:
                self._streams[spec.id].pacer.change(rate, now_ns)

    def burst(self, count: int, contract: str | None, now_ns: int) -> None:
        """Have `count` extra ticks happen at once, in one contract or in each."""
        for stream in self._streams.values():
            if contract is None or contract == stream.spec.id:
                stream.pacer.add(count)

    def describe(self) -> dict[str, object]:
        """Return seed, rates and what can be asked for, by contract."""
        return {
            "source": "model",
            "seed": self.seed,
            "block": BLOCK,
            "contracts": [
                {
                    "id": stream.spec.id,
                    "symbol_id": stream.spec.symbol_id,
                    "tick_size": stream.spec.tick_size,
                    "rate": stream.pacer.rate,
                    "first_i": self.oldest(stream.spec.id),
                    "last_i": stream.last,
                }
                for stream in self._streams.values()
            ],
        }
