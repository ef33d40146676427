"""What a program's callbacks are told, and what happens when one of them fails.

`Teller` is a pure fold from bars to events. `Callbacks` calls: one after another in the order they were added, a
coroutine awaited. A callback that raises is isolated: its error is logged, counted and kept, the others are called,
the feed goes on. One that keeps failing is left alone for a while by a breaker of its own.

Source of names and payloads: project-x-py 4.4.1, `RealtimeDataManager.add_callback` and what its manager emits.
`bar_closed` is ours.
"""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Final, TypeAlias

from tickloom.actors.bars.blocks import flag_names
from tickloom.messages.bars import Bar, BarFlag
from tickloom.messages.market import NS, Instrument
from tickloom.supervision.breaker import Breaker, BreakerEvent, BreakerSpec, BreakerState, advance, new_breaker

NEW_BAR: Final = "new_bar"
DATA_UPDATE: Final = "data_update"
BAR_CLOSED: Final = "bar_closed"

TOLD: Final = (NEW_BAR, DATA_UPDATE, BAR_CLOSED)
"""Events that come."""

UNTOLD: Final = {
    "quote_update": "bars are made of trades, and quotes are recorded but not handed out; use data_update",
    "trade_tick": "the other library never sends it either from here; use data_update",
    "market_trade": "the other library never sends it either from here; use data_update",
}
"""Names the other library takes, with the reason why nothing would ever come."""

SEEN: Final = 64
"""Bars whose volume is remembered, so that updates say what is new. More are never open or revisable in practice."""

ERRORS_KEPT: Final = 100

_log = logging.getLogger("tickloom.compat")

Callback: TypeAlias = Callable[[Any], Any]


class CompatEvent(dict[str, Any]):
    """A payload to be read either way: `event["timeframe"]`, as documented for callbacks, or `event.data["timeframe"]`,
    as the other library's event bus passes it."""

    def __init__(self, kind: str, payload: dict[str, Any]) -> None:
        super().__init__(payload)
        self.type = kind
        self.source = "RealtimeDataManager"
        self.timestamp = time.time()

    @property
    def data(self) -> dict[str, Any]:
        """The payload. Where it has a `data` of its own, that one is `event.data["data"]`, as over there."""
        return dict(self)


def row_of(bar: Bar, instrument: Instrument, zone: tzinfo) -> dict[str, Any]:
    """Return a bar as the other library's row."""
    price = instrument.to_price
    return {
        "timestamp": datetime.fromtimestamp(bar.open_time // NS, zone),
        "open": price(bar.open),
        "high": price(bar.high),
        "low": price(bar.low),
        "close": price(bar.close),
        "volume": bar.volume,
    }


@dataclass
class Teller:
    """The fold from bars (updates, closed, revised) to events.

    Args:
        names: the other library's timeframe name by ours.
        finest: our name of the timeframe that `data_update` is told from.
        newest: open time (ns) of the newest bar known so far, by our timeframe name: what history ended with.
    """

    names: dict[str, str]
    finest: str
    instrument: Instrument
    zone: tzinfo
    newest: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    volume: dict[int, int] = field(default_factory=dict)

    def tell(self, bar: Bar, now: datetime) -> list[CompatEvent]:
        """Return what this bar means to callbacks. `now` is the receipt as the other library stamps it."""
        name = self.names.get(bar.timeframe)
        if name is None:
            return []
        counts = self.counts.setdefault(name, {"bars": 0, "updates": 0})
        row = row_of(bar, self.instrument, self.zone)
        shown: dict[str, Any] = {"timeframe": name, "bar_time": row["timestamp"], "data": row}
        events: list[CompatEvent] = []
        newest = self.newest.get(bar.timeframe)
        if newest is None or bar.open_time > newest:
            self.newest[bar.timeframe] = bar.open_time
            counts["bars"] += 1
            if newest is not None:
                events.append(CompatEvent(NEW_BAR, shown))
        else:
            counts["updates"] += 1
        if bar.timeframe == self.finest:
            added = self._added(bar)
            if added and not bar.flags & BarFlag.EMPTY:
                events.append(CompatEvent(DATA_UPDATE, {"timestamp": now, "price": row["close"], "volume": added}))
        if bar.final:
            known = {"flags": flag_names(bar.flags), "revision": bar.revision, "trades": bar.trades}
            events.append(CompatEvent(BAR_CLOSED, {**shown, **known}))
        return events

    def _added(self, bar: Bar) -> int:
        """Return the volume that is new since the bar was last heard of."""
        added = bar.volume - self.volume.get(bar.open_time, 0)
        self.volume[bar.open_time] = bar.volume
        while len(self.volume) > SEEN:
            del self.volume[min(self.volume)]
        return added


@dataclass
class _Entry:
    callback: Callback
    breaker: BreakerState
    opened_ns: int = 0


class Callbacks:
    """The callbacks of one manager. Used from one event loop.

    Args:
        bus: an event bus of the other library, told as well; None: there is none.
        spec: when a callback's breaker opens. monotonic_ns: time, for that breaker.
    """

    def __init__(
        self,
        bus: Any = None,
        spec: BreakerSpec | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._entries: dict[str, list[_Entry]] = {}
        self._bus = bus
        self._spec = spec or BreakerSpec()
        self._now = monotonic_ns
        self.errors: deque[dict[str, Any]] = deque(maxlen=ERRORS_KEPT)
        self.error_count = 0
        self.skipped = 0

    def add(self, event: str, callback: Callback) -> None:
        """Call `callback` with each event of that name from now on.

        Raises:
            ValueError: there is no such event, or it would never come; the sentence says why.
        """
        if event in UNTOLD:
            raise ValueError(f"{event} would never come: {UNTOLD[event]}")
        if event not in TOLD:
            raise ValueError(f"event {event!r} is unknown: {', '.join(TOLD)} are those there are")
        self._entries.setdefault(event, []).append(_Entry(callback, new_breaker(self._spec)))

    def open(self) -> list[str]:
        """Return the names of the callbacks whose breaker is not closed."""
        return [
            _name(entry.callback)
            for entries in self._entries.values()
            for entry in entries
            if entry.breaker.state is not Breaker.CLOSED
        ]

    async def emit(self, events: Iterable[CompatEvent]) -> None:
        """Call who is interested, one after another. Their errors end here."""
        for event in events:
            for entry in tuple(self._entries.get(event.type, ())):
                await self._call(entry, event)
            if self._bus is not None and event.type != BAR_CLOSED:
                await self._emit_bus(event)

    async def _call(self, entry: _Entry, event: CompatEvent) -> None:
        if entry.breaker.state is Breaker.OPEN:
            if self._now() - entry.opened_ns < entry.breaker.reset_ns:
                self.skipped += 1
                return
            entry.breaker = advance(self._spec, entry.breaker, BreakerEvent.RESET, self._now())
        try:
            outcome = entry.callback(event)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception as error:  # noqa: BLE001 - it is the program's: told, counted, and no reason to stop a feed
            self._failed(_name(entry.callback), event.type, error)
            entry.breaker = advance(self._spec, entry.breaker, BreakerEvent.FAILURE, self._now())
            if entry.breaker.state is Breaker.OPEN:
                entry.opened_ns = self._now()
                seconds = entry.breaker.reset_ns / NS
                _log.error("callback %s keeps failing: it is left alone for %g s", _name(entry.callback), seconds)
        else:
            entry.breaker = advance(self._spec, entry.breaker, BreakerEvent.SUCCESS, self._now())

    async def _emit_bus(self, event: CompatEvent) -> None:
        # its handlers hang on the members of an enum that lives beside the bus's class; names alone reach nobody
        kinds = getattr(sys.modules.get(type(self._bus).__module__), "EventType", None)
        try:
            await self._bus.emit(event.type if kinds is None else kinds(event.type), dict(event), source=event.source)
        except Exception as error:  # noqa: BLE001 - as above: the bus is the program's
            self._failed(_name(self._bus), event.type, error)

    def _failed(self, who: str, event: str, error: Exception) -> None:
        self.error_count += 1
        self.errors.append(
            {
                "timestamp": time.time(),
                "error_type": type(error).__name__,
                "message": str(error),
                "context": f"{event} callback {who}",
            }
        )
        _log.error("callback %s failed on %s", who, event, exc_info=error)


def _name(callback: Any) -> str:
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))
