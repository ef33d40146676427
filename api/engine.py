"""The engine: a tree of actors with what is needed to start it, end it in order, and say how it went.

A live session and a replay differ in where their input comes from; everything behind that is here. Ending follows
the flow: each actor is drained before the next one, so nothing that was received is left behind; then the account
is made up from what the actors had committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickloom.actors.accounts.shell import AccountSubscription
from tickloom.actors.bars.activity import ActivityState
from tickloom.actors.bars.digest import combine_digests
from tickloom.actors.bars.fold import TimeframeState
from tickloom.actors.bars.reduce import ReduceState
from tickloom.actors.checkpoint.states import States
from tickloom.actors.health.fold import HealthFold, HealthState, Limits
from tickloom.actors.ledger.fold import LedgerState, lost, outside, quarantined
from tickloom.actors.publishing import Cancel, CloseAll, Subscribe
from tickloom.actors.sinks.history import NONE_KEPT, HistoryState, Latest, Window, latest, table
from tickloom.actors.sinks.parquet import Flush
from tickloom.actors.sinks.publisher import BarSubscription
from tickloom.actors.statistics.fold import StatisticsState, snapshot
from tickloom.actors.validation.fold import Counts, ValidationState
from tickloom.config.timeframes import Timeframe
from tickloom.errors import UsageError
from tickloom.messages.reports import Health, Statistics
from tickloom.streams import AccountStream, BarStream, pace_ns
from tickloom.summary import Summary
from tickloom.supervision import NOTHING, ActorDead, ActorView, Clock, StopReport, Tree, TreeStopped
from tickloom.supervision.faults import FaultPlan
from tickloom.wiring import (
    ACCOUNTS,
    APP,
    CHECKPOINT,
    FINEST,
    HEALTH,
    HISTORY,
    LEDGER,
    NOTES,
    PARQUET,
    PUBLISHER,
    RECORDER,
    STATISTICS,
    VALIDATION,
    Wires,
    timeframe_path,
    tree_spec,
)

if TYPE_CHECKING:
    import pyarrow as pa

DRAIN_S = 60.0
"""Longest an actor may take to work off what is queued when a session ends."""

REFUSED_S = 15.0
"""Longest a disk that refuses files is waited for then."""

APP_S = 5.0
"""Longest each of the program's own actors is waited for then."""

STREAM_CAPACITY = 10_000
"""Bars a stream holds for a reader that is slow, unless it says otherwise."""


class Engine:
    """A tree built from `wires`. Used by one thread at a time to start and end; reading is for any."""

    def __init__(
        self,
        wires: Wires,
        *,
        name: str = "tickloom",
        clock: Clock | None = None,
        faults: FaultPlan | None = None,
        processor: int | None = None,
    ) -> None:
        self.wires = wires
        accounting = wires.settings.flags.task_accounting
        self.tree = Tree(
            tree_spec(wires), name=name, clock=clock, faults=faults, accounting=accounting, processor=processor
        )
        wires.look, wires.resize = self.tree.snapshot, self.tree.resize
        if wires.carried is not None:
            from tickloom.recovery import seeds  # with the reader of logs, and all of Arrow

            for path, state in seeds(wires).items():
                self.tree.seed(path, state)
        self._final: dict[str, Any] = {}
        self._ended = False
        self.patience = DRAIN_S
        """Longest any one actor is waited for when the engine ends, in seconds."""
        self.unwritten: tuple[str, ...] = ()
        """What the disk refused, each a sentence; known once the engine was drained."""

    def start(self) -> None:
        """Start the tree.

        Raises:
            StartError: an actor did not start; the sentence names it and says why.
        """
        self.tree.start()

    @property
    def running(self) -> bool:
        """Whether it was started and has not begun to end."""
        return self.tree.running and not self._ended

    @property
    def ended(self) -> bool:
        """Whether it was ended by whoever started it."""
        return self._ended

    # --- ending ------------------------------------------------------------

    def drain(self) -> None:
        """Let everything queued be handled, actor by actor along the flow. The input must have ended.

        Raises:
            TreeStopped: the tree has ended by itself; see `bury`.
        """
        if not self.tree.running:
            raise TreeStopped(f"{self.tree.name}: the tree does not run")
        wires = self.wires
        timeframes = [timeframe_path(each) for each in wires.timeframes]
        if wires.checkpoint is not None:
            self.tree.terminate_child(CHECKPOINT)  # the last one is written when all is done
        for path in (VALIDATION, FINEST, *timeframes, *((NOTES,) if wires.recorder is not None else ())):
            self._drain(path)
        if wires.out is not None:
            self.tree.ref(PARQUET).put(Flush(), sender="session")
            if not self._drain(PARQUET, REFUSED_S):
                failure = self.tree.snapshot().find(PARQUET).last_failure
                cause = None if failure is None else failure.cause
                why = "" if cause is None else f" ({getattr(cause, 'strerror', None) or cause})"
                self.unwritten += (f"the files in {wires.out} are incomplete: the disk refused them{why}",)
        self._drain(LEDGER)
        self._drain(HISTORY)
        self.tree.settle(PUBLISHER, self.patience)
        self.tree.ref(PUBLISHER).ask(CloseAll(), self.patience)
        self._drain_app()
        if wires.accounts:
            self.tree.settle(ACCOUNTS, self.patience)
            self.tree.ref(ACCOUNTS).ask(CloseAll(), self.patience)
        measured = (STATISTICS,) if wires.settings.flags.bounded_statistics else ()
        for path in measured:
            self._drain(path)
        if wires.recorder is not None:
            from tickloom.actors.recorder.writer import LogWriter

            self._drain(RECORDER)
            writer = self.tree.recall(RECORDER)
            if isinstance(writer, LogWriter) and (writer.failing or writer.counters.lost_frames):
                missing = writer.counters.lost_frames + writer.waiting
                self.unwritten += (f"the log in {writer.directory} lacks {missing} items: the disk refused them",)
        paths = (VALIDATION, FINEST, LEDGER, HISTORY, *measured, *timeframes)
        self._final = {path: self.committed(path) for path in paths}
        self._ended = True

    def _drain_app(self) -> None:
        """Give the program's own actors what is left for them, within bounds: it is the program's code that runs."""
        if self.wires.app is None:
            return
        for view in self.tree.snapshot().find(APP).children:
            patience = 0.0 if view.breaker == "open" else APP_S
            if view.kind != "supervisor" and not self.tree.settle(view.path, min(patience, self.patience)):
                left = self.tree.snapshot().find(view.path)
                why = f"; it failed last of {left.last_failure.cause}" if left.last_failure is not None else ""
                self.unwritten += (f"{view.path} did not finish, and {left.depth} bars wait for it in vain{why}",)
            self.tree.drain(view.path, APP_S)

    def bury(self) -> None:
        """Make up the account of a tree that has ended by itself: what was committed by then stands."""
        self._ended = True
        self.unwritten += (
            f"the actor tree had ended by itself ({self.tree.wait(0)}): what was queued then is in no bar and counts "
            f"as lost; its last events say why",
        )

    def _drain(self, path: str, patience: float | None = None) -> bool:
        """Wait until the actor has handled everything, across whatever restarts that takes; end it. False: in vain."""
        settled = self.tree.settle(path, self.patience if patience is None else min(patience, self.patience))
        self.tree.drain(path, self.patience)
        return settled

    def stop(self, timeout: float | None = None) -> StopReport:
        """Stop what still runs, at once."""
        self._ended = True
        return self.tree.stop("now", timeout)

    def committed(self, path: str) -> Any:
        """Return what the actor at `path` committed last (None: nothing)."""
        if path in self._final:
            return self._final[path]
        state = self.tree.recall(path)
        return None if state is NOTHING else state

    def states(self) -> States:
        """Return what the folds have committed: each what it has come to by itself."""
        timeframes = self.wires.timeframes
        return States(
            self.committed(VALIDATION) or ValidationState(),
            self.committed(FINEST) or ReduceState(),
            {str(t): self.committed(timeframe_path(t)) or TimeframeState() for t in timeframes if not t.is_activity},
            {str(t): self.committed(timeframe_path(t)) or ActivityState() for t in timeframes if t.is_activity},
        )

    # --- the account ------------------------------------------------------------

    def summary(
        self, *, received: int, seconds: float, gaps: int, log: str | None, out: str | None, latency: bool
    ) -> Summary:
        """Make up the account of an engine that was drained.

        Args:
            received: prints offered to it.
            seconds: how long it ran.
            gaps: known stretches that were not received.
            log, out: folders, for the summary.
            latency: whether receipts were measured.
        """
        validation: ValidationState = self.committed(VALIDATION) or ValidationState()
        ledger: LedgerState = self.committed(LEDGER) or LedgerState()
        counts: Counts = validation.counts
        carried = self.wires.carried or States()
        refused = max((entry.refused for entry in ledger.entries.values()), default=0)
        rejected = sum(counts.rejected.values())
        # one that began midway cannot know of what came before it
        names = [str(each) for each in self.wires.timeframes]
        paths = {name: timeframe_path(name) for name in names if name not in self.wires.midway}
        measured = self.statistics().latency if latency else None
        return Summary(
            ticks=received,
            rejected=rejected + refused,
            quarantined=quarantined(ledger, (VALIDATION, FINEST), map(timeframe_path, names)),
            lost=lost(ledger, received + carried.held, rejected, (VALIDATION, FINEST), paths, carried.open_trades),
            bars=sum(entry.bars for entry in ledger.entries.values()),
            restarts=self.restarts,
            gaps=gaps,
            seconds=round(seconds, 3),
            ticks_per_second=round(received / seconds, 1) if seconds > 0 else 0.0,
            p50_ms=measured.p50_ms if measured and measured.trades else None,
            p99_ms=measured.p99_ms if measured and measured.trades else None,
            log=log,
            out=out,
            digest=self.digest(),
        )

    def digest(self) -> str:
        """Return the digest over all final bars so far."""
        digests: dict[tuple[str, str], bytes] = {}
        for each in self.wires.timeframes:
            state = self.committed(timeframe_path(each))
            if state is not None:
                digests |= _digests(str(each), state)
        return combine_digests(digests)

    @property
    def restarts(self) -> int:
        """Actors and supervisors restarted so far."""
        return sum(view.restarts for view in self.tree.snapshot().walk())

    # --- reading ------------------------------------------------------------

    def statistics(self) -> Statistics:
        """Return a snapshot of the counters; of the few that the account needs, while the flag is off."""
        if not self.wires.settings.flags.bounded_statistics:
            counts = (self.committed(VALIDATION) or ValidationState()).counts
            return Statistics(ticks=counts.accepted, rejected=dict(counts.rejected))
        counted = snapshot(self.committed(STATISTICS) or StatisticsState())
        return msgspec.structs.replace(counted, outside=outside(self.committed(LEDGER) or LedgerState()))

    def health(self) -> Health:
        """Return what the health actor committed last; when it is not running, that it is not comes first."""
        state: HealthState | None = self.committed(HEALTH)
        health = HealthFold(Limits(), lambda contract, ns: True).view(state or HealthState())
        if not self.running and not self.ended:
            reason = "the actor tree has ended by itself: stop the session and look at its last events"
            return msgspec.structs.replace(health, status="unhealthy", reasons=(reason, *health.reasons))
        actor = self.view().find(HEALTH)
        if self.running and actor.breaker not in (None, "closed"):
            reason = f"the breaker of {HEALTH} is {actor.breaker}: what follows is what it said last"
            health = msgspec.structs.replace(health, status="unhealthy", reasons=(reason, *health.reasons))
        return health

    def view(self) -> ActorView:
        """Return the tree as it is now."""
        return self.tree.snapshot()

    def history(self) -> HistoryState:
        """Return the bars that are kept: an immutable value, so reading it waits for nobody."""
        state: HistoryState | None = self.committed(HISTORY)
        return HistoryState() if state is None else state

    def table(self, contract: str, timeframe: str, last: int | None = None, *, partial: bool = False) -> pa.Table:
        """Return closed bars as a table; see `Session.table`.

        Raises:
            UsageError: the timeframe is not built here, or `last` is below zero.
        """
        if last is not None and last < 0:
            raise UsageError(f"last is {last}: it is how many of the newest bars to return; leave it out for all")
        return table(self.history(), contract, self.known(timeframe), last, partial=partial)

    def latest(self, contract: str) -> Latest:
        """Return the bar of each timeframe that is open (or closed last), and the closes before it."""
        return latest(self.history(), contract, [str(each) for each in self.wires.timeframes])

    def window(self, contract: str, timeframe: str) -> Window:
        """Return what is kept of one contract and timeframe; empty when there is nothing.

        Raises:
            UsageError: the timeframe is not built here.
        """
        return self.history().windows.get((contract, self.known(timeframe)), Window(NONE_KEPT))

    def stream(self, contract: str, timeframe: str, *, partial: bool, every: float = 0.0, capacity: int) -> BarStream:
        """Subscribe to bars.

        Raises:
            UsageError: the timeframe is not built here, `every` is no time between updates, or the session has ended.
        """
        subscription = BarSubscription(
            contract,
            self.known(timeframe) if timeframe else "",
            partial=partial,
            capacity=capacity,
            every_ns=pace_ns(every, partial=partial),
        )
        publisher = self.tree.ref(PUBLISHER)
        if self._ended:
            raise UsageError("the session has ended: read bars while it runs, or use table()")
        publisher.ask(Subscribe(subscription))

        def cancel() -> None:
            try:
                publisher.ask(Cancel(subscription))
            except ActorDead:
                subscription.mailbox.drain("cancelled")

        return BarStream(subscription.mailbox, cancel)

    def account_stream(self, account: int | None, capacity: int) -> AccountStream:
        """Subscribe to account events.

        Raises:
            UsageError: no accounts are followed, or the session has ended.
        """
        if not self.wires.accounts:
            raise UsageError("no accounts are followed: name them in gateway.accounts")
        if self._ended:
            raise UsageError("the session has ended: read account events while it runs")
        subscription = AccountSubscription(account, capacity=capacity)
        accounts = self.tree.ref(ACCOUNTS)
        accounts.ask(Subscribe(subscription))

        def cancel() -> None:
            try:
                accounts.ask(Cancel(subscription))
            except ActorDead:
                subscription.mailbox.drain("cancelled")

        return AccountStream(subscription.mailbox, cancel)

    def known(self, timeframe: str) -> str:
        """Return the canonical name of a timeframe that is built here.

        Raises:
            UsageError: it is not built here.
        """
        wanted = Timeframe.parse(timeframe)
        if wanted not in self.wires.timeframes:
            built = ", ".join(str(each) for each in self.wires.timeframes)
            raise UsageError(f"timeframe {wanted} is not built in this session: ask for one of {built}")
        return str(wanted)


def _digests(timeframe: str, state: TimeframeState | ActivityState) -> dict[tuple[str, str], bytes]:
    return {(timeframe, name): each.chain.digest() for name, each in state.contracts.items() if each.chain.rows}
