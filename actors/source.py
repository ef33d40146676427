"""A feed of the program's own in place of a gateway: ticks from anywhere, into the same log, rules and bars.

The program gives an asynchronous iterator; the actor runs it in its own event loop and hands on what it yields. When
there is no room it is not asked for more: nothing is dropped here. If it raises, the actor crashes and comes back by
the rules of any other, with a new iterator; what it may have missed is a gap, from its last stamp to the first after.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.sequencer import Sequencer
from tickloom.messages.control import Connected, Disconnected, Subscribed
from tickloom.messages.intake import Frames, Intake
from tickloom.messages.market import Floats, Instrument, Ints, Prints, Side, as_float64, as_int64, as_list
from tickloom.messages.reports import LinkState
from tickloom.supervision import NOTHING, ActorContext, AsyncActor, Exit, ExitKind, Ref

NAME: Final = "source"
"""What its link is called, in health and in the log."""

ENDED: Final = "the source has come to its end"


class Ticks(msgspec.Struct, frozen=True):
    """Trades of one contract, in order of arrival: columns of the same length, lists or numpy arrays.

    `ts_ns` are the exchange's stamps, ns UTC; `price` is in points; `side` is the aggressor (`Side`), and may be left
    out.

    Raises:
        ValueError: the columns are not of one length.
    """

    contract: str
    ts_ns: Ints
    price: Floats
    size: Ints
    side: Ints = []

    def __post_init__(self) -> None:
        lengths = {len(self.ts_ns), len(self.price), len(self.size), len(self.side) or len(self.price)}
        if len(lengths) > 1:
            raise ValueError(f"ticks of {self.contract}: columns of {sorted(lengths)} rows do not go together")


class Source(Protocol):
    """Where ticks come from. Stamps must be about now: for ticks of the past, import them and replay."""

    @property
    def instruments(self) -> Sequence[Instrument]:
        """The contracts it has ticks of, with their tick sizes, and calendars where their products' will not do."""
        ...

    def ticks(self) -> AsyncIterator[Ticks]:
        """Yield ticks as they come. Called once, and again after each failure; cancelled when the session ends."""
        ...


class Kept:
    """What outlives an incarnation: the next print's number, the lives so far, and what is missing."""

    def __init__(self, first_tick: int, gaps: GapTracker) -> None:
        self.next_tick = first_tick
        self.lives = 0
        self.gaps = gaps


class SourceActor(AsyncActor):
    """Runs a source.

    Args:
        context: as for any actor.
        source: the program's.
        instruments: its instruments by contract, with the calendars that they go by.
        sequencer: takes what it yields.
        health: told of its ups and downs; so is `listener`.
        listener: called with every change of its link.
        first_tick: number of the first print.
        gaps: what is known to be missing, where a session before this one was cut off.
    """

    def __init__(
        self,
        context: ActorContext,
        source: Source,
        instruments: Mapping[str, Instrument],
        *,
        sequencer: Sequencer,
        health: Ref,
        listener: Callable[[LinkState], None],
        first_tick: int = 1,
        gaps: GapTracker | None = None,
    ) -> None:
        super().__init__(context)
        kept = context.recall()
        self._kept: Kept = Kept(first_tick, gaps or GapTracker()) if kept is NOTHING else kept
        self._source = source
        self._instruments = instruments
        self._sequencer = sequencer
        self._health = health
        self._listener = listener

    async def on_start(self) -> None:  # type: ignore[override]  # pykka's hook of this name is not async
        """Begin."""
        self._kept.lives += 1
        self.context.commit(self._kept)
        self.spawn(self._run(), "ticks")

    async def on_exit(self, reason: Exit) -> None:
        """Say that it is gone."""
        crashed = reason.kind is ExitKind.CRASH
        self._tell("down", f"the source failed: {reason.cause}" if crashed else "the session ends")
        if crashed:
            self._kept.gaps.lost("the source failed")

    # --- inside ---

    async def _run(self) -> None:
        wall_ns = self.context.clock.wall_ns
        known: set[str] = set()
        await self._put(Connected(recv_ns=wall_ns(), hub=NAME, connection=self._kept.lives))
        for instrument in self._source.instruments:
            known.add(instrument.contract)
            now = wall_ns()
            await self._put(
                Subscribed(
                    recv_ns=now,
                    hub=NAME,
                    connection=self._kept.lives,
                    contract=instrument.contract,
                    instrument=self._instruments.get(instrument.contract, instrument),
                )
            )
            self._kept.gaps.confirmed(instrument.contract, now)
        self._tell("up")
        feed = self._source.ticks()
        try:
            async for ticks in feed:
                if ticks.contract not in known:
                    raise ValueError(f"the source has ticks of {ticks.contract}, which is none of its instruments")
                if len(ticks.price):
                    await self._take(ticks)
        finally:
            if isinstance(feed, AsyncGenerator):
                await feed.aclose()
        await self._put(Disconnected(recv_ns=wall_ns(), hub=NAME, connection=self._kept.lives, cause=ENDED))
        self._tell("down", ENDED)

    async def _take(self, ticks: Ticks) -> None:
        now, mono = self.context.clock.wall_ns(), self.context.clock.monotonic_ns()
        rows = len(ticks.price)
        prints = Prints(
            (ticks.contract,),
            [0] * rows,
            as_list(as_int64(ticks.ts_ns)),
            as_list(as_float64(ticks.price)),
            as_list(as_int64(ticks.size)),
            as_list(as_int64(ticks.side)) if len(ticks.side) else [int(Side.UNKNOWN)] * rows,
            [0] * rows,
            self._kept.next_tick,
        )
        for gap in self._kept.gaps.saw(prints, now):
            await self._put(gap)
        await self._put(Frames(f"{NAME}/{self._kept.lives}", [now], [mono], None, prints))
        self._kept.next_tick += rows
        self.context.succeeded()

    async def _put(self, item: Intake) -> None:
        await self._sequencer.put_async(item)

    def _tell(self, state: Any, detail: str = "") -> None:
        link = LinkState(NAME, state, detail)
        self._health.offer(link)
        self._listener(link)
