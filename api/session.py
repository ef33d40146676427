"""A session: live bars of some contracts from a ProjectX gateway, embedded in whatever program runs it.

It installs no signal handler, sets no loop policy, and starts its threads in `start` and ends them in `stop`.
Sessions do not know of one another. Every method may be called from any thread; those that a coroutine calls and
that have to wait return something to await.
"""

from __future__ import annotations

import asyncio
import atexit
import datetime as dt
import itertools
import logging
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import pyarrow as pa
from msgspec.structs import replace

from tickloom.actors.checkpoint.files import checkpoints_in
from tickloom.actors.connection.address import open_session
from tickloom.actors.connection.rest import RestClient
from tickloom.actors.connection.shell import Follow, NotFollowedError, Unfollow
from tickloom.actors.http.guard import LOOPBACK
from tickloom.actors.recorder.errors import LogError
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.writer import LogWriter
from tickloom.actors.sinks.history import Latest
from tickloom.actors.source import NAME as SOURCE
from tickloom.actors.source import Source
from tickloom.actors.token.messages import CurrentToken
from tickloom.assembly import Parts, last_checkpoint, put_together
from tickloom.beginning import open_log
from tickloom.config.calendars import calendar_name
from tickloom.config.credentials import Credentials, load_credentials
from tickloom.config.fields import SettingsError
from tickloom.config.secrets import Secret
from tickloom.config.settings import Settings
from tickloom.config.sources import load
from tickloom.days import Days
from tickloom.embedding import Embedding
from tickloom.engine import STREAM_CAPACITY, Engine
from tickloom.errors import Cancelled, FeedLostError, UsageError
from tickloom.listening import Listeners
from tickloom.logged import going_on, with_calendars
from tickloom.messages.control import SessionStopped
from tickloom.messages.market import Instrument
from tickloom.messages.reports import Health, LinkState, Statistics
from tickloom.preflight import Cleared, check_folders, check_processor, clear, find
from tickloom.recovery import Recovered, recover
from tickloom.retiming import Retiming
from tickloom.streams import AccountStream, BarStream
from tickloom.summary import Summary
from tickloom.supervision import NOTHING, ActorView, Event, StartError, SystemClock, TreeStopped
from tickloom.supervision.faults import FaultPlan
from tickloom.waiting import ASK_S, CALLED_OFF, Pending, run
from tickloom.wiring import CLOCK, HTTP, MARKET, RECORDER, TOKEN, Specs

_numbers = itertools.count(1)
_log = logging.getLogger("tickloom.session")

FIRST_LINK_S = 30.0
"""Longest `start` waits for the first connection to be up; a feed that was up once is waited for without end."""

NOBODY = Credentials("nobody", Secret("none"), "a source of the program's own needs none")
"""Who logs in where nobody does."""

EXIT_S = 2.0
"""Longest any one actor is waited for when a session was forgotten and the interpreter ends."""


class Session(Embedding):
    """Live bars. Use it with `with` (any thread) or `async with` (any event loop).

    Args:
        config: settings, a path of a settings file, or a mapping of `section.key` to value on top of the usual sources;
            a text for a list is one of its items, or several with commas, as in the environment.
        credentials: user name and key; by default from the environment, a private file or the keyring.
        faults: faults to inject, for tests.
        dashboard_key: what the dashboard's cookies are made from; with the same key, on the same port, a page that is
            open goes on with the next session. By default each session has its own.
        source: a feed of the program's own in place of the gateway; see `tickloom.Source`.

    Raises:
        SettingsError: the settings are wrong.
    """

    def __init__(
        self,
        config: Settings | str | Path | Mapping[str, object] | None = None,
        *,
        credentials: Credentials | None = None,
        faults: FaultPlan | None = None,
        dashboard_key: Secret | None = None,
        source: Source | None = None,
    ) -> None:
        super().__init__()
        if isinstance(config, Settings):
            self.settings = config
        elif isinstance(config, Mapping):
            self.settings = load(overrides=config).settings
        else:
            self.settings = load(config).settings
        self._credentials = credentials
        self._faults = faults
        self._dashboard_key = dashboard_key or Secret(secrets.token_urlsafe(32))
        self._dashboard_token = Secret(secrets.token_urlsafe(24))
        self._clock = SystemClock()
        self._engine: Engine | None = None
        self._parts: Parts | None = None
        self._retiming: Retiming | None = None
        self._instruments: dict[str, Instrument] = {}
        self._following = threading.Lock()
        self._summary: Summary | None = None
        self._began_ns = 0
        self._begun = False
        self._at_exit: Callable[[], None] | None = None
        self._linked = threading.Event()
        self._awaited = {"market", "user"} if self.settings.gateway.accounts else {"market"}
        self._source = source
        if source is not None:
            self._awaited = {SOURCE}
            self.settings = fed_by(self.settings, source)
        self._days = Days(self.settings)
        self._feed_lost: str | None = None
        self._accounts_lost: str | None = None
        self._refused = False
        self._trouble = ""
        self._recovered: Recovered | None = None
        self._stopping = threading.Lock()
        self._health_listeners: Listeners[Health] = Listeners("health")

    # --- life ------------------------------------------------------------

    def start(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Log in, look the contracts up, start the actors, and return when the feed is up.

        Args:
            cancelled: asked a few times a second; True gives up, and leaves nothing behind.

        Raises:
            Cancelled: `cancelled` said so.
            UsageError: a contract is unknown, a folder cannot be written, the log is in use.
            CredentialsError, CredentialsRefused: there are no credentials, or the gateway refuses them.
            GatewayUnreachable: the gateway does not answer.
            FeedLostError: it does, but its market hub does not.
        """
        with self._following:
            if self._begun:
                raise UsageError("a session is started once: make another")
            self._begun = True
        try:
            self._start(cancelled)
        finally:
            self._begun = self._engine is not None  # one that came to nothing leaves nothing: it may be tried again

    def _start(self, cancelled: Callable[[], bool]) -> None:
        settings = self.settings
        out = Path(settings.sinks.out) if settings.sinks.out else None
        record = Path(settings.recorder.dir) if settings.recorder.dir else None
        credentials = self._credentials or (load_credentials() if self._source is None else NOBODY)
        check_folders({"output": out, "log": record})
        check_processor(settings)
        if self._source is None:
            cleared = run(lambda: clear(settings, credentials, settings.session.contracts), cancelled)
        else:
            named = (with_calendar(settings, each) for each in self._source.instruments)
            cleared = Cleared(NOBODY.api_key, {each.contract: each for each in named})
        self._instruments = dict(cleared.instruments)
        self._began_ns = self._clock.wall_ns()
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        log = None if record is None else open_log(settings, record, self._began_ns)
        try:
            if log is not None and log.last_seq is not None:
                self._recover(log, cancelled)
            parts = self._gather(out, log, credentials, cleared)
            name = f"tickloom-{next(_numbers)}"
            engine = put_together(parts, name, self._clock, self._faults, lambda: self._instruments)
            self._begin_feedings(engine)
        except BaseException:
            if log is not None:
                log.abandon()
            raise
        try:
            engine.start()
        except BaseException as error:  # noqa: BLE001 - it goes on, in plainer words where there are any
            engine.stop()
            if log is not None:
                log.abandon()
            raise (_plain(error) if isinstance(error, StartError) else error) from None
        self._engine, self._parts = engine, parts
        self._retiming = Retiming(engine, self._clock, record, parts.last_before)
        self._at_exit = stop_at_exit(self)
        try:
            self._await_link(cancelled)
        except BaseException:
            self.stop()
            raise
        lost = self._feed_lost or self._accounts_lost
        if lost is not None:
            self.stop()
            raise UsageError(lost) if self._refused else FeedLostError(lost)

    def stop(self) -> Summary:
        """End the feed, let everything received be handled and written, and return the account. Twice is once.

        When the actor tree had ended by itself there is an account all the same, of what was handled by then, and
        `unwritten` says so.
        """
        with self._stopping:
            if self._summary is not None:
                return self._summary
            engine = self._running()
            wires = engine.wires
            assert wires.sequencer is not None
            try:
                try:
                    engine.tree.drain(CLOCK)
                    engine.tree.drain("/feed")
                    if not wires.sequencer.put(SessionStopped(recv_ns=self._clock.wall_ns()), engine.patience):
                        _log.error(
                            "the end of the session is not in its log: nothing took it for %g s", engine.patience
                        )
                    wires.sequencer.settle(engine.patience)
                    engine.drain()
                    if wires.sequencer.unlogged:
                        engine.unwritten += (
                            f"the log in {self.settings.recorder.dir} lacks {wires.sequencer.unlogged} frames: the "
                            f"recorder had no room for them; gaps in it say where",
                        )
                except TreeStopped:
                    engine.bury()
                self._summary = engine.summary(
                    received=wires.sequencer.prints,
                    seconds=(self._clock.wall_ns() - self._began_ns) / 1e9,
                    gaps=wires.sequencer.gaps,
                    log=self.settings.recorder.dir or None,
                    out=self.settings.sinks.out or None,
                    latency=True,
                )
                assert self._parts is not None
                last_checkpoint(self._parts, engine)
            finally:
                engine.stop()
                if self._at_exit is not None:
                    atexit.unregister(self._at_exit)
            return self._summary

    def _stop_at_exit(self) -> None:
        """End in order, with little patience: the interpreter is on its way out, and nobody is left to ask."""
        self._running().patience = EXIT_S
        self.stop()

    def __enter__(self) -> Session:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Session:
        called_off = threading.Event()
        starting = asyncio.ensure_future(asyncio.to_thread(self.start, called_off.is_set))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # the thread goes on by itself: nobody would stop what it starts
            called_off.set()
            await asyncio.wait([starting])
            if starting.exception() is None:
                await asyncio.to_thread(self.stop)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.stop))

    # --- contracts ------------------------------------------------------------

    def subscribe(self, contract: str) -> Pending[Instrument]:
        """Follow a contract from now on. From a thread it has happened when the call returns.

        In a coroutine, or a cell of a notebook, await what it returns: the work is done beside the event loop.

        Raises:
            UsageError: the gateway does not know it, or refuses it, or a timeframe does not fit its sessions.
        """
        return Pending(lambda: self._subscribe(contract))

    def unsubscribe(self, contract: str) -> Pending[None]:
        """Follow a contract no longer; its bars stay. To be awaited in a coroutine, like `subscribe`."""
        return Pending(lambda: self._unsubscribe(contract))

    def _subscribe(self, contract: str) -> Instrument:
        self._no_source()
        known = self._instruments.get(contract)
        if known is not None:
            return known
        engine = self._running()
        try:
            self.settings.check_timeframes((contract,), engine.wires.timeframes)
        except SettingsError as error:
            raise UsageError(str(error)) from None
        token = engine.tree.ref(TOKEN).ask(CurrentToken(), FIRST_LINK_S)

        async def look_up() -> Instrument:
            async with open_session(self.settings.gateway.ca_file or None) as http:
                return await find(RestClient(self.settings.gateway.api_url, http), token, self.settings, contract)

        instrument = run(look_up)
        try:
            engine.tree.ref(MARKET).ask(Follow(instrument), FIRST_LINK_S)
        except NotFollowedError as error:
            raise UsageError(str(error)) from None
        with self._following:
            self._instruments = {**self._instruments, contract: instrument}
        return instrument

    def _no_source(self) -> None:
        if self._source is not None:
            raise UsageError("this session is fed by a source: what it follows is the source's instruments")

    def _unsubscribe(self, contract: str) -> None:
        self._no_source()
        self._running().tree.ref(MARKET).ask(Unfollow(contract), FIRST_LINK_S)
        with self._following:
            self._instruments = {name: each for name, each in self._instruments.items() if name != contract}

    @property
    def contracts(self) -> tuple[str, ...]:
        """The contracts followed, in the order they were asked for."""
        return tuple(self._instruments)

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """What is known of each contract."""
        return self._instruments

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The timeframes that are built, finest first."""
        return tuple(str(each) for each in self._running().wires.timeframes)

    def add_timeframe(self, timeframe: str) -> Pending[str]:
        """Build one more timeframe from now on; it is there, filled, when the call returns in a thread.

        Its bars are those it would have had from the log's beginning on; bars of this session go to files and tables,
        too. In a session without a log it begins with what comes next, and its first bars are `partial`.

        In a coroutine, or a cell of a notebook, await what it returns; the feed goes on meanwhile.

        Raises:
            UsageError: there is no such timeframe, it is there already, it does not fit a contract's sessions, it was
                removed from this session and there are files of it, or it could not be filled.
        """
        return Pending(lambda: self._changing().add(timeframe, tuple(self._known_instruments())))

    def remove_timeframe(self, timeframe: str) -> Pending[None]:
        """Build a timeframe no longer. Its tables and streams end, its open bars are let go of; its files stay.

        To be awaited in a coroutine, like `add_timeframe`.

        Raises:
            UsageError: it is not there, or it is the only one.
        """
        return Pending(lambda: self._changing().remove(timeframe))

    def _changing(self) -> Retiming:
        self._running()
        assert self._retiming is not None
        return self._retiming

    # --- reading ------------------------------------------------------------

    def bars(
        self,
        contract: str = "",
        timeframe: str = "",
        *,
        partial: bool = False,
        every: float = 0.0,
        capacity: int = STREAM_CAPACITY,
    ) -> BarStream:
        """Return a stream of closed and revised bars, for `for` or `async for`.

        Args:
            contract, timeframe: which; empty means all of them.
            partial: updates of open bars too (`Bar.final` is False), at most 20 a second of each timeframe.
            every: least seconds between two updates of one contract and timeframe; of what came between the latest
                is shown. 0: as they come.
            capacity: bars held for a slow reader; beyond it the oldest go and `BarStream.dropped` counts them.

        Raises:
            UsageError: the timeframe is not built, or the contract was never followed: it would wait for ever; or
                `every` is below 0, or given without `partial`.
        """
        if contract:
            self._check(contract)
        return self._running().stream(contract, timeframe, partial=partial, every=every, capacity=capacity)

    def account_events(self, account: int | None = None, *, capacity: int = STREAM_CAPACITY) -> AccountStream:
        """Return a stream of what the user hub says of accounts, for `for` or `async for`: typed, in order.

        Accounts, orders, positions and trades come as `AccountEvent.news`, each once, through every renewal of the
        link. When the link was lost and came back the stream says so (`Disconnected`, `Connected`): what happened in
        between is not told by anybody.

        Args:
            account: of which account alone; None: of all in `gateway.accounts`.
            capacity: events held for a slow reader; beyond it the oldest go and `AccountStream.dropped` counts them.

        Raises:
            UsageError: no accounts are followed, or this one is not.
        """
        followed = self.settings.gateway.accounts
        if account is not None and followed and account not in followed:
            raise UsageError("that account is not followed: add it to gateway.accounts")
        return self._running().account_stream(account, capacity)

    def table(self, contract: str, timeframe: str, last: int | None = None, *, partial: bool = False) -> pa.Table:
        """Return closed bars as an Arrow table, oldest first; `last` limits it to the newest so many.

        With `partial` the bars that are still open come last, as they are at the moment; their `close_time` is ahead.

        Columns: contract, open_time, close_time (UTC), open, high, low, close, volume, trades, vwap, buy_volume,
        sell_volume, revision, flags.

        Raises:
            UsageError: the timeframe is not built, the contract was never followed, or `last` is below zero.
        """
        self._check(contract)
        return self._running().table(contract, timeframe, last, partial=partial)

    def trading_day(self, contract: str, at: int | dt.datetime) -> dt.date | None:
        """Return the trading day of an instant, by the contract's calendar: the date on which its sitting closes.

        Breaks belong to their sitting. Between sittings, on weekends and holidays, there is no trading day: None.

        Args:
            contract: one that is followed, or was.
            at: ns UTC, as in `Bar.open_time`, or a datetime with a zone.

        Raises:
            UsageError: the contract was never followed, or `at` has no time zone, or lies in no calendar's years.
        """
        self._check(contract)
        return self._days.of(contract, at)

    def latest(self, contract: str) -> Latest:
        """Return each timeframe's open bar (or its last one), and the closes before it.

        Raises:
            UsageError: the contract was never followed.
        """
        self._check(contract)
        return self._running().latest(contract)

    def statistics(self) -> Statistics:
        """Return the session's counters, rates and latencies. Waits for nobody."""
        return self._running().statistics()

    def health(self) -> Health:
        """Return the session's health, with the reasons in words. Waits for nobody."""
        return self._running().health()

    def tree(self) -> ActorView:
        """Return the actor tree as it is: path, state, epoch, mailbox, restarts, breaker, last failure, rate."""
        return self._running().view()

    def events(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Call `subscriber` with every supervision event from now on, in a thread of the tree; returns what ends it."""
        return self._running().tree.subscribe(subscriber).cancel

    def recent_events(self) -> list[Event]:
        """Return the last supervision events (1,024 at most), oldest first."""
        return self._running().tree.events()

    def on_health(self, listener: Callable[[Health], None]) -> Callable[[], None]:
        """Call `listener` at each transition of health from now on, in the health actor's thread; it must not block.

        Returns what ends it. What it raises is logged and counted; after three times in a row it is called no more.
        """
        return self._health_listeners.add(listener)

    @property
    def started(self) -> bool:
        """Whether it has been started."""
        return self._engine is not None

    @property
    def dashboard(self) -> str | None:
        """Address of the dashboard, with the token that lets its holder in; None when it is off (`http.enabled`)."""
        if not self.settings.http.enabled:
            return None
        port = self._running().tree.recall(HTTP).port
        return f"http://{LOOPBACK}:{port}/?token={self._dashboard_token.reveal()}"

    @property
    def restarts(self) -> int:
        """Actors restarted so far."""
        return self._running().restarts

    @property
    def feed_lost(self) -> str | None:
        """Why the feed was lost for good; None while it was not."""
        return self._feed_lost

    @property
    def accounts_lost(self) -> str | None:
        """Why the user hub was lost for good; None while it was not. Bars go on without it."""
        return self._accounts_lost

    @property
    def synced_seq(self) -> int | None:
        """The last sequence number that is on the disk, whatever happens now; None: nothing is recorded yet."""
        engine = self._running()
        log = NOTHING if engine.wires.recorder is None else engine.tree.recall(RECORDER)
        return None if log is NOTHING else log.synced_seq

    @property
    def recovered(self) -> Recovered | None:
        """What the log had come to when the session began to go on with it; None: it began a log, or there is none."""
        return self._recovered

    @property
    def unwritten(self) -> tuple[str, ...]:
        """What the disk refused of log and files, each a sentence; known once the session has ended."""
        return self._running().unwritten

    @property
    def summary(self) -> Summary | None:
        """The account, once the session has ended."""
        return self._summary

    # --- making ------------------------------------------------------------

    def _check(self, contract: str) -> None:
        """Refuse a contract that there is nothing of: neither followed, nor followed before, nor in the log."""
        if contract not in self._known_instruments():
            known = ", ".join(self._instruments) or "none"
            raise UsageError(f"contract {contract!r} is not followed: subscribe to it first; followed: {known}")

    def _running(self) -> Engine:
        if self._engine is None:
            raise UsageError("the session has not been started: use `with session:` or session.start()")
        return self._engine

    def _on_link(self, link: LinkState) -> None:
        """Hear of a hub's link, in its actor's thread. The feed is the market hub's; accounts are beside it."""
        if link.state == "lost" and link.hub == "market":
            self._feed_lost, self._refused = link.detail, link.refused
        elif link.state == "lost":
            self._accounts_lost, self._refused = link.detail, link.refused
        elif link.state == "down":
            self._trouble = link.detail
        if link.state in ("up", "lost"):
            with self._following:
                self._awaited.discard(link.hub)
                if not self._awaited:
                    self._linked.set()

    def _await_link(self, cancelled: Callable[[], bool]) -> None:
        patience = time.monotonic() + FIRST_LINK_S
        while not self._linked.wait(ASK_S):
            if cancelled():
                raise Cancelled(CALLED_OFF)
            if time.monotonic() > patience:
                why = f": {self._trouble}" if self._trouble else ""
                hubs = " and ".join(f"the {hub} hub" for hub in sorted(self._awaited))
                raise FeedLostError(
                    f"{hubs} {'was' if len(self._awaited) < 2 else 'were'} not up within {FIRST_LINK_S:g} s{why}"
                )

    def _recover(self, log: LogWriter, cancelled: Callable[[], bool]) -> None:
        """Learn what the log has come to, so as to go on from there."""
        with LogReader(log.directory) as reader:
            self.settings = going_on(self.settings, reader, self._instruments)
            paths = checkpoints_in(log.directory)
            self._recovered = recover(reader, self.settings, paths, cancelled=cancelled)
        for warning in self._recovered.warnings:
            _log.warning(warning)

    def _gather(self, out: Path | None, log: LogWriter | None, credentials: Credentials, cleared: Cleared) -> Parts:
        return Parts(
            settings=self.settings,
            credentials=credentials,
            cleared=cleared,
            began_ns=self._began_ns,
            out=out,
            log=log,
            recovered=self._recovered,
            on_link=self._on_link,
            on_health=self._health_listeners.tell,
            http_token=self._dashboard_token,
            http_key=self._dashboard_key,
            app=self._app_group(),
            source=self._source,
            processor=check_processor(self.settings),
        )

    # --- what `Embedding` needs ------------------------------------------------------------

    def _engine_or_none(self) -> Engine | None:
        return self._engine

    def _specs(self) -> Specs:
        return Specs(self.settings)

    def _known_instruments(self) -> dict[str, Instrument]:
        kept = {} if self._engine is None else self._engine.history().instruments
        return {**kept, **self._instruments}


def fed_by(settings: Settings, source: Source) -> Settings:
    """Return the settings of a session that a source feeds: its contracts and their calendars, no accounts, no history
    to heal from.

    Raises:
        SettingsError: a calendar that an instrument names does not exist, or a timeframe does not fit it.
        UsageError: there are no instruments.
    """
    contracts = tuple(each.contract for each in source.instruments)
    if not contracts:
        raise UsageError("the source has no instruments: give it at least one")
    return settings.replace(
        session=replace(settings.session, contracts=contracts, heal_gaps=False),
        gateway=replace(settings.gateway, accounts=()),
        instruments=with_calendars(settings, source.instruments),
    )


def with_calendar(settings: Settings, instrument: Instrument) -> Instrument:
    """Return an instrument of a source with the name of the calendar that its bars are built by."""
    named = settings.instrument_for(instrument.contract).calendar
    return replace(instrument, calendar=named or calendar_name(instrument.contract))


def stop_at_exit(session: Session) -> Callable[[], None]:
    """Have a session stopped in order when the interpreter ends, if it is still there. Before its tree is, which was
    registered earlier."""
    known = weakref.ref(session)

    def stop() -> None:
        held = known()
        if held is not None and held.summary is None:
            try:
                held._stop_at_exit()
            except Exception:  # noqa: BLE001 - logged, and the interpreter goes on ending
                _log.exception("a session that was forgotten could not be stopped in order")

    atexit.register(stop)
    return stop


def _plain(error: StartError) -> Exception:
    """Return what kept an actor from starting, where that is something a person can mend."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LogError | OSError):
            return cause
        cause = cause.__cause__
    return error


__all__ = ["Pending", "Session"]
