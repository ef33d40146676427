"""The shapes of the API's answers, made from what the views give. Pure; every text from outside is redacted here.

The names are a contract with whoever scripts against them: fields may be added, not renamed. Times ending in `_ns`
are ns since the Unix epoch, UTC; other times are seconds, or milliseconds where the name says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from tickloom.actors.clock.changes import ClockChanged
from tickloom.actors.http.charts import decimals
from tickloom.actors.http.views import Views
from tickloom.actors.pressure.events import FlowYielded, LimitChanged, OverflowBegan, OverflowEnded
from tickloom.config.secrets import redact
from tickloom.messages.market import Instrument
from tickloom.messages.reports import Health, Latency, Statistics
from tickloom.supervision import (
    ActorView,
    BreakerChanged,
    CapacityChanged,
    Event,
    Exited,
    Failure,
    IntensityExceeded,
    Overrun,
    Quarantine,
    Restarting,
    Started,
    Straggler,
    SubscriberDropped,
)

BRIEF: Final = 400
"""Characters of a failure's words where many are listed."""

LONG: Final = 16_384
"""Characters of a traceback: its end, where the cause is."""

Severity = Literal["info", "good", "warning", "error"]


class ContractForm(msgspec.Struct, frozen=True):
    """A contract followed. `decimals` is how many its prices need."""

    contract: str
    symbol: str
    name: str
    description: str
    tick_size: float
    decimals: int


class SessionForm(msgspec.Struct, frozen=True):
    """Which session this is, and what it builds. `session` differs from that of any session before or after it."""

    session: str
    version: str
    started_ns: int
    contracts: list[ContractForm]
    timeframes: list[str]


class FailureForm(msgspec.Struct, frozen=True):
    """The last thing that went wrong in an actor. `phase` is where; `traceback` is empty where failures are listed."""

    at_ns: int
    epoch: int
    phase: str
    error: str
    traceback: str = ""


class ActorForm(msgspec.Struct, frozen=True):
    """One place in the tree; see `tickloom.supervision.ActorView` for the meaning of each figure.

    `lane` is the account of its mailbox. `p50_ms` and `p99_ms` are from the receipt of a frame to this actor's update
    of a bar; null where that is not measured. `holds` is what it holds of the machine, by kind.
    """

    path: str
    name: str
    kind: str
    state: str
    alive: bool
    epoch: int
    restarts: int
    failures: int
    breaker: str | None
    depth: int
    high_water: int
    capacity: int
    rate: float
    handled: int
    batches: int
    quarantined: int
    busy_seconds: float
    slowest_seconds: float
    unemitted: int
    p50_ms: float | None
    p99_ms: float | None
    lane: dict[str, int]
    dead_letters: dict[str, int]
    holds: dict[str, int]
    last_failure: FailureForm | None
    last_exit: str | None
    children: list[ActorForm]


class EventForm(msgspec.Struct, frozen=True):
    """A supervision event in words."""

    at_ns: int
    kind: str
    path: str
    severity: Severity
    text: str


class Board(msgspec.Struct, frozen=True):
    """Everything on the page but the chart and the log of events, as of `now_ns`."""

    now_ns: int
    health: Health
    statistics: Statistics
    tree: ActorForm


def session_form(views: Views) -> SessionForm:
    """Return which session it is."""
    contracts = [_contract(each) for each in views.instruments().values()]
    return SessionForm(views.session, views.version, views.started_ns, contracts, list(views.timeframes()))


def health_form(health: Health) -> Health:
    """Return health with its reasons redacted."""
    return msgspec.structs.replace(health, reasons=tuple(redact(reason) for reason in health.reasons))


def actor_form(view: ActorView, latency: Mapping[str, Latency], *, whole: bool) -> ActorForm:
    """Return an actor and all below it. `whole`: with tracebacks."""
    measured = latency.get(view.path)
    return ActorForm(
        path=view.path,
        name=view.path.rpartition("/")[2] or view.path,
        kind=view.kind,
        state=view.state,
        alive=view.alive,
        epoch=view.epoch,
        restarts=view.restarts,
        failures=view.failures,
        breaker=view.breaker,
        depth=view.depth,
        high_water=view.high_water,
        capacity=view.capacity,
        rate=round(view.rate, 1),
        handled=view.handled,
        batches=view.batches,
        quarantined=view.quarantined,
        busy_seconds=view.busy,
        slowest_seconds=view.slowest,
        unemitted=view.unemitted,
        p50_ms=measured.p50_ms if measured else None,
        p99_ms=measured.p99_ms if measured else None,
        lane=lane(view),
        dead_letters=dict(view.dead_letters or {}),
        holds=dict(view.holds),
        last_failure=_failure(view.last_failure, whole=whole) if view.last_failure else None,
        last_exit=redact(str(view.last_exit)) if view.last_exit else None,
        children=[actor_form(child, latency, whole=whole) for child in view.children],
    )


def lane(view: ActorView) -> dict[str, int]:
    """Return what became of the messages put into an actor's mailbox, by outcome; empty for a supervisor."""
    counters = view.counters
    if counters is None:
        return {}
    return {
        "taken": counters.taken,
        "conflated": counters.conflated,
        "refused": counters.refused,
        "dropped_newest": counters.dropped_newest,
        "dropped_oldest": counters.dropped_oldest,
        "discarded": counters.discarded,
    }


def board(views: Views, now_ns: int) -> Board:
    """Return the state of everything, without tracebacks."""
    statistics = views.statistics()
    tree = actor_form(views.tree(), statistics.latency_by_source, whole=False)
    return Board(now_ns, health_form(views.health()), statistics, tree)


def event_form(event: Event) -> EventForm:
    """Return an event in words."""
    severity, text = _words(event)
    return EventForm(event.at_ns, type(event).__name__, event.path, severity, _brief(text))


def since(events: Sequence[Event], last: Event | None) -> Sequence[Event]:
    """Return the events after `last`; all of them when it is not among them any more."""
    if last is not None:
        for index in range(len(events) - 1, -1, -1):
            if events[index] is last:
                return events[index + 1 :]
    return events


def _contract(instrument: Instrument) -> ContractForm:
    return ContractForm(
        contract=instrument.contract,
        symbol=instrument.symbol,
        name=instrument.name,
        description=instrument.description,
        tick_size=instrument.tick_size,
        decimals=decimals(instrument),
    )


def _failure(failure: Failure, *, whole: bool) -> FailureForm:
    return FailureForm(
        at_ns=failure.at_ns,
        epoch=failure.epoch,
        phase=failure.phase,
        error=_brief(f"{type(failure.cause).__name__}: {failure.cause}"),
        traceback=redact(failure.traceback_text[-LONG:]) if whole else "",
    )


def _brief(text: str) -> str:
    # redacted before it is cut: half a token is not recognised as one
    text = redact(text)
    return text if len(text) <= BRIEF else f"{text[:BRIEF]}…"


def _words(event: Event) -> tuple[Severity, str]:
    match event:
        case Started(epoch=epoch):
            return ("info", "started") if epoch == 1 else ("good", f"up again, incarnation {epoch}")
        case Exited(exit=exit_):
            return "warning" if exit_.abnormal else "info", f"ended: {exit_}"
        case Failure(phase=phase, cause=cause):
            return "error", f"failed in {phase}: {type(cause).__name__}: {cause}"
        case Restarting(delay=delay, attempt=attempt):
            return "warning", f"restarts in {delay:.2f} s (attempt {attempt + 1})"
        case BreakerChanged(before=before, after=after, cause=cause):
            tone: dict[str, Severity] = {"open": "error", "closed": "good"}
            return tone.get(after, "warning"), f"breaker {before} → {after}" + (f": {cause}" if cause else "")
        case IntensityExceeded(child=child, intensity=intensity, period=period):
            return "error", f"gives up: more than {intensity} restarts within {period:g} s, the last of {child}"
        case Overrun(doing=doing):
            return "error", f"did not {doing} in time and was fenced off"
        case Straggler():
            return "info", "the thread that was fenced off has ended"
        case Quarantine(count=count, cause=cause):
            return "error", f"{count} message{'s' if count != 1 else ''} put in quarantine: {cause}"
        case CapacityChanged(before=before, after=after):
            return "info", f"mailbox capacity {before} → {after}"
        case OverflowBegan(capacity=capacity, account=account):
            return "warning", f"mailbox of {capacity} overflows: {account}"
        case OverflowEnded(seconds=seconds, account=account):
            return "good", f"overflow is over after {seconds:.1f} s: {account}"
        case LimitChanged(limit=limit, before=before, after=after, cause=cause):
            return "info", f"{limit} {before} → {after}: {cause}"
        case FlowYielded(flow=flow, back=back, cause=cause):
            return ("good", f"in full again: {flow} ({cause})") if back else ("warning", f"gives way: {flow} ({cause})")
        case ClockChanged(words=words):
            return "info", words
        case SubscriberDropped(failures=failures):
            return "warning", f"a subscriber raised {failures} times and is told nothing any more"
    return "info", ""
