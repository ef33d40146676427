"""Mailboxes, actors, supervisors, breakers, clocks: the actor system, free of market data."""

from tickloom.supervision.actor import UNHANDLED, Actor, ActorBase
from tickloom.supervision.async_actor import AsyncActor
from tickloom.supervision.backoff import Backoff
from tickloom.supervision.breaker import Breaker, BreakerSpec
from tickloom.supervision.bus import Subscription
from tickloom.supervision.clocks import Clock, SystemClock
from tickloom.supervision.context import NOTHING, ActorContext
from tickloom.supervision.deadletters import DeadLetter, DeadLetters
from tickloom.supervision.deathwatch import Watch
from tickloom.supervision.errors import (
    ActorDead,
    AlreadyPresent,
    AlreadyStarted,
    AskRefused,
    AskTimeout,
    BreakerOpen,
    ChildRunning,
    Declined,
    Fenced,
    Interrupted,
    NoSuchPlace,
    SpecError,
    StartError,
    SupervisionError,
    TreeStopped,
    Unhandled,
)
from tickloom.supervision.events import (
    BreakerChanged,
    CapacityChanged,
    Died,
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
from tickloom.supervision.executor import keepable
from tickloom.supervision.exits import NORMAL, SHUTDOWN, Exit, ExitKind
from tickloom.supervision.fold import Fold, FoldActor, halve
from tickloom.supervision.mailbox import Mailbox
from tickloom.supervision.policy import Counters, MailboxSpec, Policy
from tickloom.supervision.ref import Ref
from tickloom.supervision.spec import AutoShutdown, ChildSpec, Restart, Strategy, SupervisorSpec
from tickloom.supervision.tree import StopReport, Tree
from tickloom.supervision.views import ActorView

PERMANENT = Restart.PERMANENT
TRANSIENT = Restart.TRANSIENT
TEMPORARY = Restart.TEMPORARY

__all__ = [
    "NORMAL", "NOTHING", "PERMANENT", "SHUTDOWN", "TEMPORARY", "TRANSIENT", "UNHANDLED",
    "Actor", "ActorBase", "ActorContext", "ActorDead", "ActorView", "AlreadyPresent", "AlreadyStarted", "AskRefused",
    "AskTimeout", "AsyncActor", "AutoShutdown", "Backoff", "Breaker", "BreakerChanged", "BreakerOpen", "BreakerSpec",
    "CapacityChanged", "ChildRunning", "ChildSpec", "Clock", "Counters", "DeadLetter", "DeadLetters", "Declined",
    "Died", "Event", "Exit", "ExitKind", "Exited", "Failure", "Fenced", "Fold", "FoldActor", "IntensityExceeded",
    "Interrupted", "Mailbox", "MailboxSpec", "NoSuchPlace", "Overrun", "Policy", "Quarantine", "Ref", "Restart",
    "Restarting", "SpecError", "StartError", "Started", "StopReport", "Straggler", "Strategy", "SubscriberDropped",
    "Subscription", "SupervisionError", "SupervisorSpec", "SystemClock", "Tree", "TreeStopped", "Unhandled", "Watch",
    "halve", "keepable",
]  # fmt: skip
