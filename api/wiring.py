"""Which actors there are, where they stand, and who talks to whom: the one place that knows the whole tree.

Nothing here runs. `tree_spec` returns a specification; `Wires` holds what the shells share by reference: the
sequencer, whose outlets exist only once the tree has its places, and the few facts of the session that name its
output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tickloom.actors.bars.activity import ActivityFold
from tickloom.actors.bars.deltas import conflate
from tickloom.actors.bars.fold import TimeframeFold
from tickloom.actors.bars.reduce import ReduceFold
from tickloom.actors.bars.shell import FinestActor, TimeframeActor
from tickloom.actors.checkpoint.states import States
from tickloom.actors.health.fold import HealthFold, Limits
from tickloom.actors.health.shell import HealthActor
from tickloom.actors.http.views import Views
from tickloom.actors.ledger.fold import LedgerFold
from tickloom.actors.sequencer import Sequencer
from tickloom.actors.shell import RoutedActor
from tickloom.actors.sinks.history import HistoryFold
from tickloom.actors.sinks.parquet import ParquetFold
from tickloom.actors.sinks.publisher import PublisherActor
from tickloom.actors.sinks.shell import HistoryActor, ParquetActor
from tickloom.actors.statistics.fold import StatisticsFold, snapshot
from tickloom.actors.validation.fold import ValidationFold, ValidationState
from tickloom.actors.validation.rules import Rules
from tickloom.config.buckets import BucketRule
from tickloom.config.sessions import Sessions
from tickloom.config.settings import Settings
from tickloom.config.timeframes import Timeframe
from tickloom.messages.bars import Bars
from tickloom.messages.intake import Validated
from tickloom.messages.market import Instrument, Reject
from tickloom.messages.reports import FeedState, Health, Report, Withheld
from tickloom.supervision import (
    ActorContext,
    Backoff,
    BreakerSpec,
    ChildSpec,
    MailboxSpec,
    Policy,
    SupervisorSpec,
)

VALIDATION: Final = "/pipeline/validation"
FINEST: Final = "/pipeline/finest"
BARS: Final = "/pipeline/bars"
RECORDER: Final = "/recorder"
CHECKPOINT: Final = "/checkpoint"
STATISTICS: Final = "/observers/statistics"
HEALTH: Final = "/observers/health"
HISTORY: Final = "/observers/history"
PUBLISHER: Final = "/observers/publisher"
PARQUET: Final = "/observers/parquet"
LEDGER: Final = "/observers/ledger"
HTTP: Final = "/observers/http"
TOKEN: Final = "/feed/token"  # noqa: S105 - a path
MARKET: Final = "/feed/market"
USER: Final = "/feed/user"
CLOCK: Final = "/clock"

MS: Final = 1_000_000


@dataclass
class Wires:
    """What shells share: set before the tree starts, read only afterwards. `carried` is what the log had come to.

    `parallel` gives every actor a thread of its own. Without it validation, the reduction and the timeframes take
    turns in one, which wakes one thread a batch and not ten, but can deadlock when one of them waits for a sink: see
    `docs/performance.md`. So it is for experiments until that is mended.
    """

    settings: Settings
    session: str
    out: Path | None = None
    sequencer: Sequencer | None = None
    recorder: ChildSpec | None = None
    checkpoint: ChildSpec | None = None
    carried: States | None = None
    states: Callable[[], States] | None = None
    feed: tuple[ChildSpec, ...] = ()
    clock: ChildSpec | None = None
    http: ChildSpec | None = None
    views: Views | None = None
    on_health: Callable[[Health], None] | None = None
    parallel: bool = True

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes asked for, finest first."""
        return tuple(sorted(Timeframe.parse(name) for name in self.settings.session.timeframes))


def timeframe_path(timeframe: object) -> str:
    """Return the path of a timeframe's actor."""
    return f"{BARS}/{timeframe}"


def rules_of(settings: Settings) -> Rules:
    """Return validation's rules as the settings say."""
    v = settings.validation
    return Rules(
        band=v.band,
        band_ticks=v.band_ticks,
        confirm=v.confirm,
        max_size=v.max_size,
        zero_size=v.zero_size,
        lateness_ns=settings.session.lateness_ms * MS,
        future_ns=v.future_ms * MS,
        dry_run=v.dry_run,
    )


def bucket_rules(settings: Settings, timeframe: Timeframe) -> Callable[[str], BucketRule]:
    """Return a lookup from contract to its bucket rule. Each caller gets rules of its own: they remember."""
    made: dict[str, BucketRule] = {}

    def rule(contract: str) -> BucketRule:
        found = made.get(contract)
        if found is None:
            found = made[contract] = BucketRule(settings.calendar_for(contract), timeframe)
        return found

    return rule


def hours(settings: Settings) -> Callable[[str], Sessions]:
    """Return a lookup from contract to its sessions. Each caller gets its own: they remember."""
    made: dict[str, Sessions] = {}

    def sessions(contract: str) -> Sessions:
        found = made.get(contract)
        if found is None:
            found = made[contract] = Sessions(settings.calendar_for(contract))
        return found

    return sessions


class Specs:
    """Makes child specifications with the settings' backoff, breaker and capacities."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        s = settings.supervision
        self.backoff = Backoff(
            base=s.backoff_base_s, cap=s.backoff_cap_s, jitter=s.backoff_jitter, quiet=s.backoff_quiet_s
        )
        self.breaker = (
            BreakerSpec(
                max_failures=s.max_failures,
                window=s.window_s,
                reset_timeout=s.reset_timeout_s,
                max_reset_timeout=s.max_reset_timeout_s,
            )
            if settings.flags.circuit_breaker
            else None
        )

    def child(self, name: str, start: Callable[[ActorContext], Any], mailbox: MailboxSpec, crew: str = "") -> ChildSpec:
        """Return the spec of a worker; those of one `crew` share a thread."""
        return ChildSpec(
            id=name,
            start=start,
            mailbox=mailbox,
            backoff=self.backoff,
            breaker=self.breaker,
            shutdown=self.settings.supervision.shutdown_s,
            max_batch=self.settings.mailboxes.max_batch,
            crew=crew,
        )

    def group(self, name: str, children: Iterable[ChildSpec]) -> ChildSpec:
        """Return the spec of a supervisor of `children`."""
        return ChildSpec(id=name, start=self.supervisor(children), backoff=self.backoff)

    def supervisor(self, children: Iterable[ChildSpec]) -> SupervisorSpec:
        """Return a supervisor with the settings' intensity."""
        s = self.settings.supervision
        return SupervisorSpec(children=tuple(children), intensity=s.max_restarts, period=s.period_s)


def tree_spec(wires: Wires) -> SupervisorSpec:
    """Return the whole tree; recorder, checkpoint, feed, clock and http are there when the wires have them."""
    settings = wires.settings
    specs = Specs(settings)
    boxes = settings.mailboxes
    waiting = MailboxSpec(capacity=boxes.sinks)
    lossy = MailboxSpec(capacity=boxes.observers, policy=Policy.DROP_OLDEST)
    session = settings.session
    grace, lateness = session.grace_ms * MS, session.lateness_ms * MS

    def statistics(context: ActorContext) -> RoutedActor:
        return RoutedActor(context, StatisticsFold(), {}, lambda state, _: snapshot(state))

    def health(context: ActorContext) -> HealthActor:
        h = settings.health
        limits = Limits(
            stale_ns=h.stale_ms * MS,
            delay_ns=h.delay_ms * MS,
            recover_ns=h.recover_ms * MS,
            token_ns=h.token_s * 1000 * MS,
        )
        of = hours(settings)
        return HealthActor(context, HealthFold(limits, lambda contract, ns: of(contract).is_open(ns)), wires.on_health)

    def history(context: ActorContext) -> HistoryActor:
        return HistoryActor(context, HistoryFold(settings.history.rows, settings.history.megabytes * 1_048_576))

    def parquet(context: ActorContext) -> ParquetActor:
        assert wires.out is not None
        sinks = settings.sinks
        fold = ParquetFold(wires.session, sinks.roll_rows, sinks.roll_minutes * 60_000 * MS)
        return ParquetActor(context, fold, wires.out)

    def ledger(context: ActorContext) -> RoutedActor:
        return RoutedActor(context, LedgerFold(), {}, lambda state, _: state)

    keepers = (HISTORY, PARQUET) if wires.out is not None else (HISTORY,)
    readers = (LEDGER, *keepers, PUBLISHER)

    def validation(context: ActorContext) -> RoutedActor:
        activity = [context.ref(timeframe_path(t)) for t in wires.timeframes if t.is_activity]
        routes = {
            Validated: (context.ref(FINEST), *activity),
            Reject: [context.ref(PARQUET)] if wires.out is not None else [],
            Instrument: [context.ref(path) for path in keepers],
            Report: [context.ref(STATISTICS)],
            FeedState: [context.ref(HEALTH)],
            Withheld: [context.ref(LEDGER)],
        }
        return RoutedActor(context, ValidationFold(rules_of(settings)), routes, lambda state, _: _counts(state))

    def finest(context: ActorContext) -> FinestActor:
        targets = [context.ref(timeframe_path(t)) for t in wires.timeframes if not t.is_activity]
        return FinestActor(context, ReduceFold(grace, lateness), targets, {Withheld: [context.ref(LEDGER)]})

    def timeframe(each: Timeframe) -> Callable[[ActorContext], TimeframeActor]:
        def start(context: ActorContext) -> TimeframeActor:
            rules = bucket_rules(settings, each)
            if not each.is_activity:
                now = context.clock.wall_ns()
                for contract in session.contracts:
                    rules(contract).bucket(now)  # a calendar's first answer takes milliseconds: before the first tick
            fold: Any = (
                ActivityFold(each)
                if each.is_activity
                else TimeframeFold(str(each), rules, grace, lateness, emit_empty=session.emit_empty)
            )
            routes = {Bars: [context.ref(path) for path in readers]}
            return TimeframeActor(context, fold, routes, context.ref(STATISTICS))

        return start

    merging = MailboxSpec(capacity=boxes.timeframe, policy=Policy.CONFLATE, conflate=conflate)
    plain = MailboxSpec(capacity=boxes.timeframe)
    observers = [
        specs.child("statistics", statistics, lossy),
        specs.child("health", health, lossy),
        specs.child("ledger", ledger, waiting),
        specs.child("history", history, waiting),
        specs.child("publisher", PublisherActor, waiting),
    ]
    if wires.out is not None:
        observers.append(specs.child("parquet", parquet, waiting))
    if wires.http is not None:
        observers.append(wires.http)
    crew = early = "" if wires.parallel else "pipeline"
    bars = [specs.child(str(t), timeframe(t), plain if t.is_activity else merging, crew) for t in wires.timeframes]
    pipeline = [
        specs.group("bars", bars),
        specs.child("finest", finest, MailboxSpec(capacity=boxes.bars), early),
        specs.child("validation", validation, MailboxSpec(capacity=boxes.validation), early),
    ]
    children = [specs.group("observers", observers), specs.group("pipeline", pipeline)]
    if wires.checkpoint is not None:
        children.insert(0, wires.checkpoint)
    if wires.recorder is not None:
        children.insert(0, wires.recorder)
    if wires.feed:
        children.append(specs.group("feed", wires.feed))
    if wires.clock is not None:
        children.append(wires.clock)
    return specs.supervisor(children)


def _counts(state: ValidationState) -> Any:
    return state.counts
