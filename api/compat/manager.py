"""The manager: a session behind the other library's names, for one instrument.

It lives in one event loop, that of the program. The session's actors have threads of their own; what they publish is
read here by one task, which `start_realtime_feed` makes and `stop_realtime_feed` ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl
from msgspec.structs import replace

from tickloom.compat import figures, frames
from tickloom.compat.events import Callbacks, Teller
from tickloom.compat.names import chosen, ours
from tickloom.compat.opening import Market, credentials_of, market, settings_of
from tickloom.compat.reading import Reading
from tickloom.config.settings import Settings
from tickloom.config.timeframes import Timeframe
from tickloom.errors import UsageError
from tickloom.messages.market import NS, Instrument
from tickloom.messages.reports import Health
from tickloom.session import Session
from tickloom.streams import BarStream

MAX_BARS: Final = 1000
"""Bars kept for each timeframe, unless `config["max_bars_per_timeframe"]` says otherwise."""

LAST_WORDS_S: Final = 5.0
"""Longest that callbacks may take over the last bars when the feed is stopped."""

_log = logging.getLogger("tickloom.compat")


class RealtimeDataManager(Reading):
    """Bars of one instrument, live, in polars frames. The signature is that of project-x-py 4.4.1.

    Args:
        instrument: a product (`MNQ`), a contract's name (`MNQZ5`) or id (`CON.F.US.MNQ.Z25`).
        project_x: a client of the other library, asked for contract, history, addresses and account; None: the
            settings and credentials of Tickloom are used.
        realtime_client: a `tickloom.Session` that runs and is shared, or `tickloom.Settings` for a session of its
            own. Anything else, a real-time client of the other library included, is not used: the session connects.
        event_bus: a bus of the other library, told the same events.
        timeframes: names like `1min`; by default `5min` alone.
        timezone: of the frames' timestamps. Bars are those of the exchange's session whatever it is.
        config: `max_bars_per_timeframe`, `timezone` and `initial_days` are heeded; the rest tunes what is not here.
        session_config: must be None: there is no filter by session hours.

    Raises:
        ValueError: no instrument, a timeframe that is unknown, a session filter.
    """

    def __init__(
        self,
        instrument: str,
        project_x: Any,
        realtime_client: Any,
        event_bus: Any | None = None,
        timeframes: list[str] | None = None,
        timezone: str = "America/Chicago",
        config: Mapping[str, Any] | None = None,
        session_config: Any | None = None,
    ) -> None:
        if not instrument:
            raise ValueError("instrument is empty: name a product, like MNQ, or a contract's id")
        if session_config is not None:
            raise ValueError("session_config filters by trading hours, which is not done here: filter the frames")
        self.timeframes = chosen(timeframes)
        self.instrument = instrument
        self.project_x = project_x
        self.realtime_client = realtime_client
        self.event_bus = event_bus
        self.config = dict(config or {})
        self.timezone = ZoneInfo(str(self.config.get("timezone") or timezone))
        self.max_bars_per_timeframe = int(self.config.get("max_bars_per_timeframe", MAX_BARS))
        self.contract_id: str | None = None
        self.tick_size = 0.0
        self._ours = {ours(name): name for name in self.timeframes}
        self._shared = realtime_client if isinstance(realtime_client, Session) else None
        self._session: Session | None = None
        self._history: dict[str, pl.DataFrame] = {}
        self._first: dict[str, datetime] = {}
        self._callbacks = Callbacks(event_bus)
        self._teller: Teller | None = None
        self._stream: BarStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._initialized = False
        self._made = time.monotonic()
        self._last_bar_at: float | None = None
        self._up = False
        self._interruptions = 0
        self._deaf: Callable[[], None] = lambda: None
        self._starting = asyncio.Lock()

    # --- life ------------------------------------------------------------

    async def initialize(self, initial_days: int = 1) -> bool:
        """Look the instrument up and load the bars of the last days. True: it has been done, now or before.

        Raises:
            UsageError: the gateway does not know the instrument.
            CredentialsRefused, GatewayUnreachable: the gateway says no, or nothing.
        """
        async with self._starting:
            if self._initialized:
                return True
            get_instrument = getattr(self.project_x, "get_instrument", None)
            get_bars = getattr(self.project_x, "get_bars", None)
            if callable(get_instrument) and callable(get_bars):
                await self._learn_from_client(get_instrument, get_bars, initial_days)
            else:
                settings = self._shared.settings if self._shared is not None else self._settings()
                async with market(settings, credentials_of(self.project_x)) as gateway:
                    await self._learn(gateway, initial_days)
            self._initialized = True
            return True

    async def _learn_from_client(
        self, get_instrument: Callable[..., Awaitable[Any]], get_bars: Callable[..., Awaitable[Any]], days: int
    ) -> None:
        found = await get_instrument(self.instrument)
        if found is None:
            raise UsageError(f"instrument {self.instrument!r} is unknown to the client: use a contract's id")
        self.contract_id, self.tick_size = str(found.id), float(found.tickSize)
        for name, unit in self.timeframes.items():
            bars = await get_bars(self.instrument, interval=unit["interval"], unit=unit["unit"], days=days)
            self._remember(name, frames.from_peer(bars, self.timezone.key) if bars is not None else None)

    async def _learn(self, gateway: Market, days: int) -> None:
        self.contract_id = await gateway.contract(self.instrument)
        for name in self.timeframes:
            self._remember(name, await gateway.bars(self.contract_id, name, days, self.timezone.key))

    def _remember(self, name: str, bars: pl.DataFrame | None) -> None:
        if bars is None or bars.is_empty():
            _log.warning(
                "%s: history has no %s bars; there are bars as soon as there are trades", self.instrument, name
            )
        else:
            self._history[name] = bars.tail(self.max_bars_per_timeframe)

    async def start_realtime_feed(self) -> bool:
        """Connect, and build bars from now on. True: the feed runs.

        Raises:
            UsageError: `initialize` was not called, or a shared session does not build a timeframe.
            FeedLostError: the gateway's hub cannot be reached.
        """
        async with self._starting:
            if self.is_running:
                return True
            if self.contract_id is None:
                raise UsageError("the contract is not known yet: await initialize() first")
            if self._shared is None:
                session = Session(self._settings(), credentials=credentials_of(self.project_x))
                await session.__aenter__()
            else:
                session = self._shared
                await self._join(session)
            self._session = session
            self._deaf = session.on_health(self._on_health)
            instrument = session.instruments[self.contract_id]
            self.tick_size = instrument.tick_size
            self._teller = self._make_teller(session, instrument)
            self._stream = session.bars(self.contract_id, partial=True)
            self._task = asyncio.create_task(self._deliver(self._stream, self._teller), name=f"bars {self.instrument}")
            return True

    async def stop_realtime_feed(self) -> None:
        """End the feed; callbacks get the bars that are still on their way. What was read can still be read."""
        async with self._starting:
            session, stream, task = self._session, self._stream, self._task
            if task is None or session is None or stream is None:
                return
            self._task = None
            self._deaf()
            if self._shared is None:
                await session.__aexit__(None, None, None)
            else:
                await asyncio.to_thread(stream.close)
            if task is not asyncio.current_task():  # a callback may stop the feed
                await asyncio.wait([task], timeout=LAST_WORDS_S)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def cleanup(self) -> None:
        """Stop the feed and let go of the bars."""
        await self.stop_realtime_feed()
        self._session = self._teller = self._stream = None
        self._history.clear()
        self._first.clear()
        self._initialized = False

    @property
    def is_running(self) -> bool:
        """Whether bars are being built for this manager."""
        return self._task is not None and not self._task.done()

    # --- callbacks ------------------------------------------------------------

    async def add_callback(self, event_type: str, callback: Callable[[dict[str, Any]], Any]) -> None:
        """Call a function or coroutine function with each event of that name.

        `new_bar`: a bar has begun; `data_update`: trades came, at most 20 times a second; `bar_closed` (ours): a bar is
        complete, with its flags and revision. A callback that raises is logged and counted, and stops nobody.

        Raises:
            ValueError: there is no such event, or none would ever come; the sentence says why.
        """
        self._callbacks.add(event_type, callback)

    async def _deliver(self, stream: BarStream, teller: Teller) -> None:
        async for bar in stream:
            self._last_bar_at = time.time()
            await self._callbacks.emit(teller.tell(bar, datetime.now(self.timezone)))

    # --- reading ------------------------------------------------------------

    def _frame(self, timeframe: str) -> pl.DataFrame | None:
        if timeframe not in self.timeframes:
            return None
        history = self._history.get(timeframe)
        live = self._live(timeframe)
        if live is None or live.is_empty():
            return history
        first = self._first.setdefault(timeframe, live["timestamp"][0])
        if live["timestamp"][0] != first:  # the oldest have gone: what history knows no longer touches them
            history = None
        return frames.joined(history, live).tail(self.max_bars_per_timeframe)

    def _live(self, timeframe: str) -> pl.DataFrame | None:
        if self._session is None or self.contract_id is None:
            return None
        last = self.max_bars_per_timeframe
        table = self._session.table(self.contract_id, ours(timeframe), last=last, partial=True)
        return frames.from_table(table, self.timezone.key)

    def _price(self) -> float | None:
        if self._session is not None and self.contract_id is not None:
            bars = self._session.latest(self.contract_id).bars
            finest = min((name for name in bars), key=Timeframe.parse, default=None)
            if finest is not None:
                return self._session.instruments[self.contract_id].to_price(bars[finest].close)
        ends = [(frame["timestamp"][-1], float(frame["close"][-1])) for frame in self._history.values()]
        return max(ends)[1] if ends else None

    # --- health ------------------------------------------------------------

    async def get_memory_stats(self) -> dict[str, Any]:
        """Return figures under the other library's keys. Before the feed runs they are zero."""
        session = self._session
        if session is None:
            return {"ticks_processed": 0, "bars_processed": 0, "total_bars_stored": self._stored()[0]}
        sizes = {name: (frame.height, frame.estimated_size()) for name, frame in self.data.items()}
        told = self._last_bar_at
        return figures.memory_stats(
            statistics=session.statistics(),
            health=session.health(),
            view=session.tree(),
            counts=self._teller.counts if self._teller is not None else {},
            stored={name: (rows, int(size)) for name, (rows, size) in sizes.items()},
            seconds=time.monotonic() - self._made,
            last_update=None if told is None else datetime.fromtimestamp(told, self.timezone).isoformat(),
            dropped=self._stream.dropped if self._stream is not None else 0,
            interruptions=self._interruptions,
            contract=self.contract_id or "",
        )

    async def get_memory_usage(self) -> float:
        """Return the megabytes of the frames."""
        return self._stored()[1] / figures.MB

    async def get_status(self) -> str:
        """Return `initializing`, `initialized`, `connected`, `disconnected` or `error`."""
        if not self._initialized:
            return "initializing"
        if self._session is None:
            return "initialized"
        if self._session.feed_lost is not None:
            return "error"
        return "connected" if self.is_running and "up" in self._session.health().links.values() else "disconnected"

    async def get_health_score(self) -> float:
        """Return 100 for a healthy session, 60 for a degraded one, 0 otherwise; `session.health()` has the reasons."""
        return 0.0 if self._session is None or not self.is_running else figures.SCORES[self._session.health().status]

    async def get_uptime(self) -> int:
        """Return the seconds since the manager was made."""
        return int(time.monotonic() - self._made)

    async def get_error_count(self) -> int:
        """Return how often a callback failed."""
        return self._callbacks.error_count

    async def get_recent_errors(self, limit: int = 10) -> list[dict[str, Any]]:
        """Return the newest failures of callbacks, oldest first."""
        return list(self._callbacks.errors)[-limit:] if limit > 0 else []

    async def get_stats(self) -> dict[str, Any]:
        """Return name, status, uptime, last activity, errors and memory."""
        told = self._last_bar_at
        return {
            "name": "realtime_data_manager",
            "status": await self.get_status(),
            "uptime_seconds": await self.get_uptime(),
            "last_activity": None if told is None else str(told),
            "error_count": self._callbacks.error_count,
            "memory_usage_mb": await self.get_memory_usage(),
        }

    def get_realtime_validation_status(self) -> dict[str, Any]:
        """Return whether the feed runs, for what, and which frames have bars."""
        have = self.data
        return {
            "is_running": self.is_running,
            "contract_id": self.contract_id,
            "instrument": self.instrument,
            "timeframes_configured": list(self.timeframes),
            "data_available": {name: name in have for name in self.timeframes},
            "ticks_processed": 0 if self._session is None else self._session.statistics().ticks,
        }

    # --- making ------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        """The session behind it, for everything the other library has no name for. None: the feed never ran."""
        return self._session

    def _stored(self) -> tuple[int, int]:
        have = self.data.values()
        return sum(frame.height for frame in have), sum(int(frame.estimated_size()) for frame in have)

    def _settings(self) -> Settings:
        """Return the settings of a session of its own: the usual ones, with what this manager wants."""
        usual = settings_of(self.project_x, self.realtime_client)
        contracts = () if self.contract_id is None else (self.contract_id,)
        return usual.replace(
            session=replace(usual.session, contracts=contracts, timeframes=tuple(self._ours), emit_empty=True),
            history=replace(usual.history, rows=self.max_bars_per_timeframe),
        )

    async def _join(self, session: Session) -> None:
        missing = [name for name in self._ours if name not in session.timeframes]
        if missing:
            raise UsageError(f"the shared session does not build {', '.join(missing)}: add them to its timeframes")
        if self.contract_id is not None and self.contract_id not in session.contracts:
            await session.subscribe(self.contract_id)

    def _make_teller(self, session: Session, instrument: Instrument) -> Teller:
        finest = min(self._ours, key=Timeframe.parse)
        newest = {ours(name): int(frame["timestamp"][-1].timestamp()) * NS for name, frame in self._history.items()}
        # of a session of its own all is news; of a shared one what was traded before is not
        open_now = None if self._shared is None else session.latest(instrument.contract).bars.get(finest)
        volume = {} if open_now is None else {open_now.open_time: open_now.volume}
        return Teller(self._ours, finest, instrument, self.timezone, newest, volume=volume)

    def _on_health(self, health: Health) -> None:
        up = "up" in health.links.values()
        if self._up and not up:
            self._interruptions += 1
        self._up = up
