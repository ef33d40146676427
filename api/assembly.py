"""How the tree of a live session is put together: the actors that only a live session has, and what they are given.

`tickloom.wiring` knows the tree; a replay uses it with a source of its own. Here are the token, the hubs, the clock,
the recorder with its checkpoints, and the dashboard. Nothing here runs.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from tickloom.actors.bars.reduce import ReduceState
from tickloom.actors.checkpoint.files import Checkpoint
from tickloom.actors.checkpoint.files import write as write_checkpoint
from tickloom.actors.checkpoint.shell import CheckpointActor
from tickloom.actors.checkpoint.states import Cut, States
from tickloom.actors.clock.shell import ClockActor
from tickloom.actors.connection.address import open_session
from tickloom.actors.connection.dial import HubSettings
from tickloom.actors.connection.reconnect import Policy
from tickloom.actors.connection.rest import Patience
from tickloom.actors.connection.shell import HubActor
from tickloom.actors.connection.silence import Silence
from tickloom.actors.healing.core import Pace
from tickloom.actors.healing.shell import HealingActor, Missing
from tickloom.actors.health.shell import actor_state
from tickloom.actors.http.shell import HttpActor
from tickloom.actors.http.views import Views
from tickloom.actors.outlet import LogOutlet
from tickloom.actors.recorder.shell import RecorderActor
from tickloom.actors.recorder.writer import LogWriter
from tickloom.actors.sequencer import Sequencer
from tickloom.actors.source import Source, SourceActor
from tickloom.actors.token.core import Policy as TokenPolicy
from tickloom.actors.token.shell import TokenActor, clock_state, measured
from tickloom.actors.validation.fold import ValidationState
from tickloom.beginning import left_behind, missing, session_name, started
from tickloom.config.credentials import Credentials
from tickloom.config.secrets import Secret
from tickloom.config.settings import Settings
from tickloom.engine import Engine
from tickloom.messages.market import NS, Instrument
from tickloom.messages.reports import Health, LinkState, RecorderState
from tickloom.messages.signalr import Limits as SignalRLimits
from tickloom.preflight import Cleared
from tickloom.recovery import Recovered, fingerprint
from tickloom.supervision import NOTHING, ActorContext, ChildSpec, Clock, Event, MailboxSpec, Ref
from tickloom.supervision.faults import FaultPlan
from tickloom.wiring import (
    FINEST,
    HEALTH,
    MARKET,
    PARQUET,
    RECORDER,
    STATISTICS,
    TOKEN,
    USER,
    VALIDATION,
    Specs,
    Wires,
    building,
    flowing,
    hours,
)

_log = logging.getLogger("tickloom.session")

RECORDER_LINGER: Final = 0.005
"""How long the recorder gathers (s): a wake-up for each read of the socket would cost the feed, and it has 50 ms."""

PING_S: Final = 5.0
"""Seconds between two pings: how soon a link that is half open is noticed, and how fresh the round trip is."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a live session is put together from.

    Attributes:
        settings, credentials, cleared: what was asked for, by whom, and what the gateway said of it.
        began_ns: when; names the session.
        out, log: where bars and log go; None: nowhere.
        recovered: what the log had come to.
        on_link, on_health: called with every change, in an actor's thread.
        http_token, http_key: what lets a reader in to the dashboard, and what its cookies are made from.
        app: the supervisor of the program's own actors.
        source: a feed of the program's own, in place of the gateway.
        processor: the one that the session keeps to; None: any.
    """

    settings: Settings
    credentials: Credentials
    cleared: Cleared
    began_ns: int
    out: Path | None
    log: LogWriter | None
    recovered: Recovered | None
    on_link: Callable[[LinkState], None]
    on_health: Callable[[Health], None]
    http_token: Secret
    http_key: Secret
    app: ChildSpec | None = None
    source: Source | None = None
    processor: int | None = None

    @property
    def last_before(self) -> int:
        """The last sequence number before the session's own."""
        return 0 if self.recovered is None else self.recovered.last_seq

    def seal(self, states: States) -> Checkpoint:
        """Return what a checkpoint of these states says: for a session of the timeframes that are in it."""
        built = (*states.timeframes, *states.activities)
        return Checkpoint(self.began_ns, fingerprint(building(self.settings, built)), states)


def assemble(parts: Parts) -> Wires:
    """Return the wires of a live session. Its sequencer, states and views follow once there is a tree."""
    settings, log = parts.settings, parts.log
    specs = Specs(settings)
    gateway = settings.gateway
    wires = Wires(
        settings=settings,
        session=session_name(parts.began_ns),
        out=parts.out,
        on_health=parts.on_health,
        crew=settings.supervision.crews,
    )

    def sequencer() -> Sequencer:
        assert wires.sequencer is not None
        return wires.sequencer

    def recorder(context: ActorContext) -> RecorderActor:
        assert log is not None
        return RecorderActor(context, lambda: log, context.ref(HEALTH))

    def checkpoint(context: ActorContext) -> CheckpointActor:
        assert log is not None
        assert wires.states is not None
        recorder, every_s = context.ref(RECORDER), settings.recorder.checkpoint_s
        return CheckpointActor(context, log.directory, wires.states, recorder, parts.seal, every_s, parts.last_before)

    def token(context: ActorContext) -> TokenActor:
        return TokenActor(
            context,
            credentials=parts.credentials,
            token=parts.cleared.token,
            hubs=[context.ref(MARKET), *([context.ref(USER)] if gateway.accounts else [])],
            health=context.ref(HEALTH),
            record=sequencer().offer,
            policy=TokenPolicy(renew_at=gateway.renew_at),
            patience=Patience(timeout=gateway.request_timeout_s),
            clock=clock_state(parts.cleared.clock) if parts.cleared.clock is not None else None,
            api_url=gateway.api_url,
            open_session=lambda: open_session(gateway.ca_file or None),
        )

    def hub(context: ActorContext, name: Literal["market", "user"], url: str, accounts: tuple[int, ...]) -> HubActor:
        market, of = name == "market", hours(settings)
        silent_s = gateway.silence_s if settings.flags.connection_health else 0.0
        return HubActor(
            context,
            name,
            settings=HubSettings(
                url=url,
                auth_transport=gateway.auth_transport,
                negotiate=gateway.negotiate,
                stateful=gateway.negotiate and gateway.stateful_reconnect,
                connect_timeout=gateway.connect_timeout_s,
                limits=SignalRLimits(
                    message=gateway.max_message_kb * 1024,
                    keepalive=gateway.keepalive_s,
                    server_timeout=gateway.server_timeout_s,
                ),
                ping_interval=PING_S if settings.flags.connection_health else 0.0,
            ),
            policy=Policy(base=gateway.reconnect_base_s, cap=gateway.reconnect_cap_s),
            instruments=parts.cleared.instruments if market else {},
            streams=("trades", "quotes"),
            accounts=accounts,
            sequencer=sequencer(),
            token=context.ref(TOKEN),
            health=context.ref(HEALTH),
            listener=parts.on_link,
            open_session=lambda: open_session(gateway.ca_file or None),
            first_tick=1 if log is None else max(log.opening.next_tick, 1),
            gaps=missing(parts.cleared.instruments, parts.recovered) if market else None,
            seamless=settings.flags.seamless_renewal,
            statistics=context.ref(STATISTICS) if settings.flags.bounded_statistics else None,
            silence=Silence(silent_s, lambda contract, ns: of(contract).is_open(ns)) if market else None,
        )

    def market(context: ActorContext) -> HubActor:
        return hub(context, "market", gateway.market_hub_url, ())

    def user(context: ActorContext) -> HubActor:
        return hub(context, "user", gateway.user_hub_url, gateway.accounts)

    def source(context: ActorContext) -> SourceActor:
        assert parts.source is not None
        return SourceActor(
            context,
            parts.source,
            parts.cleared.instruments,
            sequencer=sequencer(),
            health=context.ref(HEALTH),
            listener=parts.on_link,
            first_tick=1 if log is None else max(log.opening.next_tick, 1),
            gaps=missing(parts.cleared.instruments, parts.recovered),
        )

    def healing(context: ActorContext) -> HealingActor:
        assert wires.missing is not None
        return HealingActor(
            context,
            missing=wires.missing,
            sequencer=sequencer(),
            token=context.ref(TOKEN),
            statistics=context.ref(STATISTICS) if settings.flags.bounded_statistics else None,
            pace=Pace(round(settings.session.heal_delay_s * NS), settings.session.heal_patience_s * NS),
            live=gateway.live,
            chance=random.random,
            api_url=gateway.api_url,
            open_session=lambda: open_session(gateway.ca_file or None),
            patience=Patience(timeout=gateway.request_timeout_s),
        )

    def clock(context: ActorContext) -> ClockActor:
        paths = [HEALTH] + [STATISTICS] * settings.flags.bounded_statistics + [PARQUET] * (parts.out is not None)
        listeners = tuple(context.ref(path) for path in paths)
        return ClockActor(context, sequencer(), listeners, settings.session.beat_ms / 1000)

    def http(context: ActorContext) -> HttpActor:
        assert wires.views is not None
        served = settings.http
        return HttpActor(
            context,
            wires.views,
            port=served.port,
            token=parts.http_token,
            key=parts.http_key,
            fallback=served.port_fallback,
        )

    if settings.http.enabled:
        wires.http = specs.child("http", http, MailboxSpec(capacity=16))
    boxes = settings.mailboxes
    if log is not None:
        taking = specs.child("recorder", recorder, flowing(settings, boxes.recorder))
        wires.recorder = dataclasses.replace(taking, linger=RECORDER_LINGER)
        wires.checkpoint = specs.child("checkpoint", checkpoint, MailboxSpec(capacity=16))
    if parts.recovered is not None:
        wires.carried = parts.recovered.states
    wires.feed = (
        specs.child("token", token, MailboxSpec(capacity=16)),
        specs.child("market", market, MailboxSpec(capacity=16)),
        *([specs.child("user", user, MailboxSpec(capacity=16))] if gateway.accounts else []),
        *([specs.child("healing", healing, MailboxSpec(capacity=16))] if settings.session.heal_gaps else []),
    )
    if parts.source is not None:
        wires.feed = (specs.child("source", source, MailboxSpec(capacity=16)),)
    wires.accounts = bool(gateway.accounts)
    wires.clock = specs.child("clock", clock, MailboxSpec(capacity=16))
    wires.app = parts.app
    return wires


def put_together(
    parts: Parts,
    name: str,
    clock: Clock,
    faults: FaultPlan | None,
    instruments: Callable[[], Mapping[str, Instrument]],
) -> Engine:
    """Return the engine of a live session, not started, with what the session begins with in its mailboxes.

    Args:
        parts: what it is made from.
        name: of the tree and its threads.
        clock: the time.
        faults: to inject.
        instruments: what is known of the contracts followed, at any time.
    """
    wires = assemble(parts)
    engine = Engine(wires, name=name, clock=clock, faults=faults, processor=parts.processor)
    wires.views = _views(engine, instruments, parts.began_ns)
    wires.missing = lambda: _missing(engine)
    outlets = [engine.tree.ref(VALIDATION)]
    if parts.log is not None:
        wires.states = engine.states
    health = engine.tree.ref(HEALTH)
    log = None if parts.log is None else LogOutlet(engine.tree.ref(RECORDER), clock.monotonic_ns, _stalled(health))
    wires.sequencer = Sequencer(outlets, next_seq=parts.last_before + 1, log=log)
    wires.sequencer.offer(started(parts.settings, parts.cleared.instruments, parts.began_ns, parts.recovered))
    if parts.cleared.clock is not None:
        wires.sequencer.offer(measured(parts.cleared.clock, parts.began_ns))
    for left in left_behind(parts.cleared.instruments, parts.began_ns, parts.recovered):
        wires.sequencer.offer(left)
    engine.tree.subscribe(lambda event: _tell(health, event))
    return engine


def _stalled(health: Ref) -> Callable[[bool], None]:
    """Return what tells health that the log is gone without, or goes on."""

    def tell(stalls: bool) -> None:
        detail = "the recorder takes nothing any more: the feed goes on without the log, and a gap in it will say so"
        health.offer(RecorderState(not stalls, detail if stalls else ""))

    return tell


def last_checkpoint(parts: Parts, engine: Engine) -> None:
    """Write down what the log has come to, so that the next session need not read it. The engine was drained."""
    log = engine.tree.recall(RECORDER) if engine.wires.recorder is not None else NOTHING
    states = Cut(parts.last_before).look(engine.states())
    if log is NOTHING or states is None or log.synced_seq is None or log.synced_seq < states.last_seq:
        return
    try:
        write_checkpoint(log.directory, parts.seal(states))
    except OSError as error:
        _log.warning("no checkpoint could be written in %s: %s; the next session reads the log", log.directory, error)


def _missing(engine: Engine) -> Missing:
    """Return what the bars wait for, as the folds have committed it."""
    reduced: ReduceState = engine.committed(FINEST) or ReduceState()
    validated: ValidationState = engine.committed(VALIDATION) or ValidationState()
    return Missing(reduced.repairs, validated.instruments)


def _tell(health: Ref, event: Event) -> None:
    state = actor_state(event)
    if state is not None:
        health.offer(state)


def _views(engine: Engine, instruments: Callable[[], Mapping[str, Instrument]], began_ns: int) -> Views:
    """Return what the dashboard may see: what actors have committed, and nothing it could change."""
    return Views(
        session=engine.wires.session,
        version=metadata.version("tickloom"),
        started_ns=began_ns,
        timeframes=lambda: tuple(str(each) for each in engine.wires.timeframes),
        instruments=instruments,
        window=lambda contract, timeframe: engine.history().windows.get((contract, timeframe)),
        health=engine.health,
        statistics=engine.statistics,
        tree=engine.view,
        events=engine.tree.events,
    )
