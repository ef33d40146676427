"""Which actors there are, where they stand, and who talks to whom: the one place that knows the whole tree.

Nothing here runs. `tree_spec` returns a specification; `Wires` holds what the shells share by reference: the
sequencer, whose outlets exist only once the tree has its places, and the few facts of the session that name its
output.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tickloom.actors.accounts.shell import AccountsActor
from tickloom.actors.bars.activity import ActivityFold
from tickloom.actors.bars.deltas import conflate
from tickloom.actors.bars.fold import TimeframeFold
from tickloom.actors.bars.reduce import ReduceFold
from tickloom.actors.bars.rolling import Branch
from tickloom.actors.bars.shell import FinestActor, Receiver, TimeframeActor
from tickloom.actors.checkpoint.states import States
from tickloom.actors.clock.changes import ChangesActor, ChangesFold
from tickloom.actors.health.fold import HealthFold, Limits
from tickloom.actors.health.shell import HealthActor
from tickloom.actors.http.views import Views
from tickloom.actors.ledger.fold import LedgerFold
from tickloom.actors.notes import NotesActor
from tickloom.actors.sequencer import Sequencer
from tickloom.actors.shell import Begun, RoutedActor, Whole, weight_of
from tickloom.actors.sinks.history import HistoryFold
from tickloom.actors.sinks.keeper import HistoryActor
from tickloom.actors.sinks.parquet import ParquetFold
from tickloom.actors.sinks.publisher import PublisherActor
from tickloom.actors.statistics.fold import StatisticsFold, snapshot
from tickloom.actors.validation.fold import VECTOR_ROWS, ValidationFold, ValidationState
from tickloom.actors.validation.rules import MAX_TICKS, Rules
from tickloom.config.buckets import BucketRule
from tickloom.config.plan import PRINTS, roll_up
from tickloom.config.sessions import Sessions
from tickloom.config.settings import Settings
from tickloom.config.timeframes import Timeframe, parse_timeframes
from tickloom.messages.accounts import AccountEvents
from tickloom.messages.bars import Bars
from tickloom.messages.intake import Validated
from tickloom.messages.market import Instrument, Reject
from tickloom.messages.reports import FeedState, Health, Report, Withheld
from tickloom.relief import Paths, pressure_actor
from tickloom.supervision import (
    ActorContext,
    ActorView,
    Backoff,
    BreakerSpec,
    ChildSpec,
    Mailbox,
    MailboxSpec,
    Policy,
    Ref,
    SupervisorSpec,
)

if TYPE_CHECKING:
    from tickloom.actors.healing.shell import Missing
    from tickloom.actors.sinks.shell import ParquetActor

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
CHANGES: Final = "/observers/changes"
NOTES: Final = "/observers/notes"
ACCOUNTS: Final = "/observers/accounts"
HTTP: Final = "/observers/http"
PRESSURE: Final = "/observers/pressure"
TOKEN: Final = "/feed/token"  # noqa: S105 - a path
MARKET: Final = "/feed/market"
USER: Final = "/feed/user"
HEALING: Final = "/feed/healing"
CLOCK: Final = "/clock"
APP: Final = "/app"

MS: Final = 1_000_000

LARGEST_SIZE: Final = 1_000_000_000
"""Largest size of a print that is taken when nothing is validated: sums stay within int64."""

MOST_RULES: Final = 4096
"""Contracts whose rules are remembered."""

ROW_BY_ROW: Final = 2**62
"""From so many rows on, arrays are used where the flag `columnar` is off: never."""


@dataclass
class Wires:
    """What shells share: set before the tree starts, read only afterwards. `carried` is what the log had come to.

    What changes while it runs is which timeframes there are (`tickloom.retiming`): `built` are those there are,
    `filling` what holds the input of those that will be, by name. Each is replaced whole, in the thread of the actor
    that feeds them, and read by whatever incarnation comes next. `midway` names those that began without what came
    before them: they are in no account of what was lost.

    With `crew` actors take turns in a few threads (`crews_of`), which wakes two a batch and not thirteen; without it
    each has its own. See `supervision.crews`.
    """

    settings: Settings
    session: str
    out: Path | None = None
    sequencer: Sequencer | None = None
    recorder: ChildSpec | None = None
    checkpoint: ChildSpec | None = None
    carried: States | None = None
    states: Callable[[], States] | None = None
    missing: Callable[[], Missing] | None = None
    feed: tuple[ChildSpec, ...] = ()
    clock: ChildSpec | None = None
    http: ChildSpec | None = None
    app: ChildSpec | None = None
    views: Views | None = None
    accounts: bool = False
    look: Callable[[], ActorView] | None = None
    resize: Callable[..., object] | None = None
    on_health: Callable[[Health], None] | None = None
    crew: bool = False
    built: tuple[Timeframe, ...] = ()
    filling: Mapping[str, Mailbox] = field(default_factory=dict)
    midway: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.built = self.built or parse_timeframes(self.settings.session.timeframes)

    def seen(self) -> ActorView:
        """Return the tree as it is. Only for actors of the tree: it must have been made."""
        assert self.look is not None
        return self.look()

    def resized(self, path: str, capacity: int, max_bytes: int | None, max_batch: int) -> None:
        """Change the bounds of a mailbox of the tree, and how much is taken from it at once. Only for its actors."""
        assert self.resize is not None
        self.resize(path, capacity, max_bytes=max_bytes, max_batch=max_batch)

    @property
    def live(self) -> bool:
        """Whether time passes: a replay has no clock of its own, and to fall behind is no overload for it."""
        return self.clock is not None

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes that are built, finest first."""
        return self.built

    def receivers(self, ref: Callable[[str], Ref], *, activity: bool) -> dict[str, Receiver]:
        """Return who is fed from seconds, or from prints, by the timeframe's name, finest first."""
        frames = sorted({*self.built, *map(Timeframe.parse, self.filling)})
        names = [str(each) for each in frames if each.is_activity is activity]
        return {name: self.filling[name] if name in self.filling else ref(timeframe_path(name)) for name in names}


def timeframe_path(timeframe: object) -> str:
    """Return the path of a timeframe's actor."""
    return f"{BARS}/{timeframe}"


def rules_of(settings: Settings, contract: str = "") -> Rules:
    """Return validation's rules for a contract; while the flag is off, those without which there is no bar."""
    v, own = settings.validation_for(contract), settings.instrument_for(contract)
    if not settings.flags.validation:
        return Rules(
            band_ticks=2 * MAX_TICKS,
            confirm=1,
            max_size=LARGEST_SIZE,
            zero_size="accept",
            lateness_ns=settings.session.lateness_ms * MS,
            future_ns=v.future_ms * MS,
        )
    return Rules(
        band=v.band,
        band_ticks=v.band_ticks,
        confirm=v.confirm,
        max_size=v.max_size,
        zero_size=v.zero_size,
        lateness_ns=settings.session.lateness_ms * MS,
        future_ns=v.future_ms * MS,
        price_low=float(own.price_low) if own.price_low else None,
        price_high=float(own.price_high) if own.price_high else None,
        max_age_ns=v.max_age_ms * MS,
        regressing=v.regressing,
        duplicates=v.duplicates,
        dry_run=v.dry_run,
    )


def validation_fold(settings: Settings) -> ValidationFold:
    """Return validation's fold as the settings say."""
    made: dict[str, Rules] = {}

    def rules(contract: str) -> Rules:
        found = made.get(contract)
        if found is None:
            if len(made) >= MOST_RULES:  # names that somebody makes up must not fill the memory
                made.clear()
            found = made[contract] = rules_of(settings, contract)
        return found

    return ValidationFold(rules, VECTOR_ROWS if settings.flags.columnar else ROW_BY_ROW)


def reduce_fold(settings: Settings) -> ReduceFold:
    """Return the finest reduction as the settings say."""
    session = settings.session
    grace, lateness = session.grace_ms * MS, session.lateness_ms * MS
    patience = session.heal_patience_s * 1000 * MS if session.heal_gaps else 0
    if settings.flags.columnar:
        return ReduceFold(grace, lateness, patience)
    return ReduceFold(grace, lateness, patience, vector_rows=ROW_BY_ROW, column_rows=ROW_BY_ROW)


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


def plan_of(settings: Settings, timeframes: Iterable[Timeframe]) -> tuple[Branch, ...]:
    """Return the roll-up plan of what is built from seconds, finest first: the one `tickloom config show` prints."""
    feeds = [feed for feed in roll_up(timeframes) if feed.source != PRINTS]
    places = {feed.timeframe: place for place, feed in enumerate(feeds)}
    return tuple(
        Branch(bucket_rules(settings, Timeframe.parse(feed.timeframe)), places.get(feed.source)) for feed in feeds
    )


def building(settings: Settings, timeframes: Iterable[object]) -> Settings:
    """Return the settings with these timeframes.

    Raises:
        SettingsError: one of them does not fit a calendar.
    """
    names = tuple(map(str, timeframes))
    return settings.replace(session=msgspec.structs.replace(settings.session, timeframes=names))


def feeding(wires: Wires, ref: Callable[[str], Ref]) -> tuple[tuple[Branch, ...], dict[str, Receiver]]:
    """Return the roll-up plan as it is just now, and who is fed along it: what the reduction's actor goes by."""
    receivers = wires.receivers(ref, activity=False)
    return plan_of(wires.settings, map(Timeframe.parse, receivers)), receivers


def judged(wires: Wires, ref: Callable[[str], Ref]) -> dict[Any, list[Any]]:
    """Return where validation's outputs go just now."""
    flags = wires.settings.flags
    keepers = (HISTORY, PARQUET) if wires.out is not None else (HISTORY,)
    noted = (NOTES,) if wires.recorder is not None else ()
    return {
        # a replay may come without beats, at which a session says how far its prints have come
        Validated: [
            ref(FINEST),
            *wires.receivers(ref, activity=True).values(),
            *([] if wires.live else [ref(CHANGES)]),
        ],
        Reject: [ref(path) for path in (*((PARQUET,) if wires.out is not None else ()), *noted)],
        Instrument: [ref(path) for path in keepers],
        Report: [ref(path) for path in ((STATISTICS, HEALTH) if flags.bounded_statistics else (HEALTH,))],
        FeedState: [ref(HEALTH), ref(CHANGES)],
        Withheld: [ref(LEDGER), *map(ref, noted)],
        AccountEvents: [ref(ACCOUNTS)] if wires.accounts else [],
    }


def bars_readers(wires: Wires) -> tuple[str, ...]:
    """Return the paths of those who keep or count the bars of every timeframe."""
    return (LEDGER, HISTORY, PARQUET) if wires.out is not None else (LEDGER, HISTORY)


def timeframe_fold(settings: Settings, each: Timeframe) -> TimeframeFold | ActivityFold:
    """Return a timeframe's fold as the settings say."""
    if each.is_activity:
        return ActivityFold(each)
    session = settings.session
    grace, lateness = session.grace_ms * MS, session.lateness_ms * MS
    rules = bucket_rules(settings, each)
    return TimeframeFold(str(each), rules, grace, lateness, emit_empty=session.emit_empty, touched=True)


def timeframe_child(wires: Wires, each: Timeframe, begun: Any = None) -> ChildSpec:
    """Return the spec of a timeframe's actor.

    Args:
        wires: what it shares with others.
        each: the timeframe.
        begun: the state it begins with; None: no bars.
    """
    settings = wires.settings
    flags = settings.flags
    readers = (*bars_readers(wires), PUBLISHER)

    def start(context: ActorContext) -> TimeframeActor:
        fold: Any = timeframe_fold(settings, each)
        opened: Any = {}
        if isinstance(fold, TimeframeFold):
            opened = {"opened": fold.opened}
            now = context.clock.wall_ns()
            for contract in settings.session.contracts:
                fold.weaving.rules(contract).bucket(now)  # a calendar's first answer takes milliseconds: not a tick's
        if begun is not None:
            fold = Begun(fold, begun)
        noted = (NOTES,) if wires.recorder is not None else ()
        routes = {
            Bars: [context.ref(path) for path in readers],
            Withheld: [context.ref(path) for path in (LEDGER, *noted)],
        }
        measured = context.ref(STATISTICS) if flags.bounded_statistics else None
        return TimeframeActor(context, fold if flags.batch_bisection else Whole(fold), routes, measured, **opened)

    return Specs(settings).child(str(each), start, timeframe_box(wires, each), crews_of(wires)[1])


def timeframe_box(wires: Wires, each: Timeframe) -> MailboxSpec:
    """Return the mailbox of a timeframe: reductions merge in it, exactly."""
    settings = wires.settings
    plain = flowing(settings, settings.mailboxes.timeframe)
    if each.is_activity or not settings.flags.exact_conflation:
        return plain
    merge = partial(conflate, mark=True) if wires.live else conflate
    return dataclasses.replace(plain, policy=Policy.CONFLATE, conflate=merge)


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
            max_batch=self.settings.mailboxes.max_batch if self.settings.flags.batch_draining else 1,
            crew=crew,
        )

    def group(self, name: str, children: Iterable[ChildSpec]) -> ChildSpec:
        """Return the spec of a supervisor of `children`."""
        return ChildSpec(id=name, start=self.supervisor(children), backoff=self.backoff)

    def supervisor(self, children: Iterable[ChildSpec]) -> SupervisorSpec:
        """Return a supervisor with the settings' intensity."""
        s = self.settings.supervision
        return SupervisorSpec(children=tuple(children), intensity=s.max_restarts, period=s.period_s)


def flowing(settings: Settings, capacity: int) -> MailboxSpec:
    """Return a mailbox that data flows through: bounded in messages and in bytes."""
    return MailboxSpec(capacity=capacity, max_bytes=settings.mailboxes.megabytes * 2**20, weigh=weight_of)


def tree_spec(wires: Wires) -> SupervisorSpec:
    """Return the whole tree; recorder, checkpoint, feed, clock and http are there when the wires have them."""
    settings = wires.settings
    specs = Specs(settings)
    boxes = settings.mailboxes
    waiting = flowing(settings, boxes.sinks)
    lossy = MailboxSpec(capacity=boxes.observers, policy=Policy.DROP_OLDEST)
    flags = settings.flags

    def whole(fold: Any) -> Any:
        return fold if flags.batch_bisection else Whole(fold)

    def statistics(context: ActorContext) -> RoutedActor:
        return RoutedActor(context, StatisticsFold(), {}, lambda state, _: snapshot(state))

    def health(context: ActorContext) -> HealthActor:
        h = settings.health
        limits = Limits(
            stale_ns=h.stale_ms * MS,
            delay_ns=h.delay_ms * MS,
            recover_ns=h.recover_ms * MS,
            token_ns=h.token_s * 1000 * MS,
            feed=flags.connection_health,
            memory_high=settings.pressure.memory_high,
            memory_critical=settings.pressure.memory_critical,
            disk_bytes=h.disk_mb * 2**20,
            reject_share=h.reject_share,
        )
        of = hours(settings)
        return HealthActor(context, HealthFold(limits, lambda contract, ns: of(contract).is_open(ns)), wires.on_health)

    def history(context: ActorContext) -> HistoryActor:
        return HistoryActor(context, whole(HistoryFold(settings.history.rows, settings.history.megabytes * 1_048_576)))

    def parquet(context: ActorContext) -> ParquetActor:
        from tickloom.actors.sinks.shell import ParquetActor  # with all of Arrow

        assert wires.out is not None
        sinks = settings.sinks
        fold = ParquetFold(wires.session, sinks.roll_rows, sinks.roll_minutes * 60_000 * MS)
        return ParquetActor(context, whole(fold), wires.out)

    def notes(context: ActorContext) -> NotesActor:
        assert wires.sequencer is not None, "whoever records has a sequencer before the tree starts"
        return NotesActor(context, wires.sequencer)

    def changes(context: ActorContext) -> ChangesActor:
        return ChangesActor(context, ChangesFold(lru_cache(MOST_RULES)(lambda name: settings.calendar_for(name).tz())))

    def ledger(context: ActorContext) -> RoutedActor:
        return RoutedActor(context, whole(LedgerFold(hours(settings))), {}, lambda state, _: state)

    def validation(context: ActorContext) -> RoutedActor:
        fold = whole(validation_fold(settings))
        return RoutedActor(context, fold, judged(wires, context.ref), lambda state, _: _counts(state))

    def finest(context: ActorContext) -> FinestActor:
        noted = (NOTES,) if wires.recorder is not None else ()
        routes = {Withheld: [context.ref(LEDGER), *map(context.ref, noted)]}
        return FinestActor(context, whole(reduce_fold(settings)), *feeding(wires, context.ref), routes)

    observers = [specs.child("statistics", statistics, lossy)] if flags.bounded_statistics else []
    reducing, _, keeping = crews_of(wires)
    observers += [
        specs.child("health", health, lossy),
        specs.child("changes", changes, lossy if wires.live else waiting, keeping),
        specs.child("ledger", ledger, waiting, keeping),
        specs.child("history", history, waiting, keeping),
        specs.child("publisher", PublisherActor, waiting, keeping),
    ]
    if wires.out is not None:
        observers.append(specs.child("parquet", parquet, waiting))
    if wires.recorder is not None:
        observers.append(specs.child("notes", notes, waiting))
    if wires.accounts:
        observers.append(specs.child("accounts", AccountsActor, waiting))
    if wires.http is not None:
        observers.append(wires.http)
    bars = [timeframe_child(wires, each) for each in wires.timeframes]
    pipeline = [
        specs.group("bars", bars),
        specs.child("finest", finest, flowing(settings, boxes.bars), reducing),
        specs.child("validation", validation, flowing(settings, boxes.validation), reducing),
    ]
    if wires.live:
        recorder = (wires.recorder,) if wires.recorder is not None else ()
        groups = (*recorder, specs.group("observers", observers), specs.group("pipeline", pipeline))
        pressed = pressure_actor(
            settings,
            mailboxes=mailboxes_of(SupervisorSpec(groups)),
            look=wires.seen,
            resize=wires.resized,
            paths=Paths(
                history=HISTORY,
                publisher=PUBLISHER,
                health=HEALTH,
                files=PARQUET if wires.out is not None else None,
                statistics=STATISTICS if flags.bounded_statistics else None,
                timeframes=lambda: tuple(timeframe_path(t) for t in wires.timeframes),
                hub=MARKET if any(child.id == "market" for child in wires.feed) else None,
            ),
        )
        observers.append(specs.child("pressure", pressed, MailboxSpec(capacity=16)))
    children = [specs.group("observers", observers), specs.group("pipeline", pipeline)]
    if wires.app is not None:
        children.insert(0, wires.app)
    if wires.checkpoint is not None:
        children.insert(0, wires.checkpoint)
    if wires.recorder is not None:
        children.insert(0, wires.recorder)
    if wires.feed:
        children.append(specs.group("feed", wires.feed))
    if wires.clock is not None:
        children.append(wires.clock)
    return specs.supervisor(children)


def crews_of(wires: Wires) -> tuple[str, str, str]:
    """Return the crews of validation and the reduction, of the timeframes, and of ledger, history and publisher.

    Live batches are small and must be through soon, so what a tick passes on its way to its bars is one crew. A
    replay's are large, and two crews share two processors: one reduces the next batch while the other builds bars of
    this one.
    """
    if not wires.crew:
        return "", "", ""
    return ("pipeline", "pipeline", "keepers") if wires.live else ("pipeline", "bars", "bars")


def mailboxes_of(spec: SupervisorSpec, above: str = "") -> dict[str, MailboxSpec]:
    """Return the mailboxes of a tree's workers by path."""
    found: dict[str, MailboxSpec] = {}
    for child in spec.children:
        path = f"{above}/{child.id}"
        found |= mailboxes_of(child.start, path) if isinstance(child.start, SupervisorSpec) else {path: child.mailbox}
    return found


def _counts(state: ValidationState) -> Any:
    return state.counts
