"""The shells of the bar actors: fan-out of the finest reduction, and a timeframe that measures how long its ticks
took.

Latency is measured here and nowhere else: from the receipt of the oldest frame in a batch to the moment its last
bar was updated and passed on, weighted with the trades in the batch. It is reported at each beat, cumulative for
the incarnation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from tickloom.actors.bars.blocks import place
from tickloom.actors.bars.reduce import ReduceState
from tickloom.actors.bars.rolling import Branch, along
from tickloom.actors.shell import RoutedActor, Routes
from tickloom.actors.statistics.histogram import Histogram
from tickloom.messages.bars import Bar, Bars, Reduced
from tickloom.messages.reports import Report, Withheld
from tickloom.supervision import ActorContext, Fold, Ref

REPORT_NS = 250_000_000
"""Least time between two reports."""

UPDATE_NS = 50_000_000
"""Least time between two updates of open bars: twenty a second are a moving picture."""


class Updates(msgspec.Struct, frozen=True):
    """Tell a timeframe how often to pass on updates of open bars: at most once in `every_ns`."""

    every_ns: int


class Receiver(Protocol):
    """A mailbox, or the ref of one."""

    def put(self, message: Any) -> bool:
        """Put on the data lane, waiting for room."""


class FanOut:
    """The finest reduction with one output for each branch of the roll-up plan, each committed by itself.

    `names` are those of the branches.
    """

    def __init__(self, fold: Fold[ReduceState], plan: Sequence[Branch], names: Sequence[str]) -> None:
        self._fold = fold
        self._plan = plan
        self._names = tuple(names)

    def along(self, plan: Sequence[Branch], names: Sequence[str]) -> FanOut:
        """Return the same reduction along another plan."""
        return FanOut(self._fold, plan, names)

    def initial(self) -> ReduceState:
        """As the fold's."""
        return self._fold.initial()

    def step(self, state: ReduceState, messages: Sequence[Any]) -> tuple[ReduceState, Sequence[tuple[str, Reduced]]]:
        """As the fold's, with pairs of a branch's name and what it is told."""
        state, outputs = self._fold.step(state, messages)
        return state, [told for output in outputs for told in zip(self._names, along(self._plan, output), strict=True)]

    def split(self, messages: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]] | None:
        """As the fold's."""
        return self._fold.split(messages)


class FinestActor(RoutedActor):
    """Reduces validated trades once and tells every timeframe. Any ask is answered with the committed state.

    `plan` has a branch for each of `targets`, the timeframes' actors by name.
    """

    def __init__(
        self,
        context: ActorContext,
        fold: Fold[ReduceState],
        plan: Sequence[Branch],
        targets: Mapping[str, Receiver],
        routes: Routes,
    ) -> None:
        self._fan = FanOut(fold, plan, tuple(targets))
        super().__init__(context, self._fan, routes, lambda state, _: state)
        self._timeframes = dict(targets)

    def reroute(self, routes: Any) -> None:
        """Take up another plan and its targets: a pair."""
        plan, targets = routes
        self.fold = self._fan.along(plan, tuple(targets))
        self._timeframes = dict(targets)

    def emit(self, output: Any) -> None:
        """Put one reduction into one timeframe's mailbox, where it may merge with what waits there."""
        if isinstance(output, Withheld):
            super().emit(output)
            return
        name, reduced = output
        self._timeframes[name].put(reduced)


class TimeframeActor(RoutedActor):
    """One timeframe's bars. Any ask is answered with the committed state.

    Without `statistics` nothing is measured. What closed, was revised or settled goes on at once. Updates of open bars
    go on at most every `UPDATE_NS`, or as pressure tells (`Updates`), the latest of each bar; where nothing more is
    traded, with the next beat of the clock. They are a view of the state and nothing is lost with them. Where the fold
    says only which contracts it touched, `opened` gives their open bars.
    """

    def __init__(
        self,
        context: ActorContext,
        fold: Fold[Any],
        routes: Routes,
        statistics: Ref | None,
        opened: Callable[[Any, Iterable[str]], Sequence[Bar]] = lambda _, names: (),
    ) -> None:
        super().__init__(context, fold, routes, lambda state, _: state)
        self._statistics = statistics
        self._opened = opened
        self._histogram = Histogram()
        self._reported_ns = 0
        self._updates: dict[tuple[str, int], Bar] = {}
        self._touched: set[str] = set()
        self._updated_ns = 0
        self._every_ns = UPDATE_NS

    def on_control(self, message: Any) -> Any:
        """Take up another pace of updates; answer asks from the committed state."""
        if isinstance(message, Updates):
            self._every_ns = message.every_ns
            return None
        return super().on_control(message)

    def emit(self, output: Any) -> None:
        """Measure, then pass on what is due."""
        if type(output) is not Bars:
            super().emit(output)
            return
        now = self.context.clock.monotonic_ns()
        if output.weight and output.mono_ns and self._statistics is not None:
            self._histogram.record(now - output.mono_ns, output.weight)
        if output.touched:
            self._touched.update(output.touched)
        if output.updated or self._updates:
            self._stash(output)
        due = now - self._updated_ns >= self._every_ns
        news = output.closed or output.revised or output.settled or output.columns or output.refused or output.stop
        updates = self._take(now) if due else ()
        if news or updates:
            super().emit(msgspec.structs.replace(output, updated=updates, touched=()))
        if output.stop or now - self._reported_ns >= REPORT_NS:
            self._report(now)

    def _take(self, now: int) -> tuple[Bar, ...]:
        """Return the updates that were held back; they count as passed on."""
        self._updated_ns = now
        updates = (*self._updates.values(), *self._opened(self.state, self._touched))
        self._updates, self._touched = {}, set()
        return updates

    def on_done(self) -> None:
        """Pass on what the pace held back, once it is due: every beat comes by here, be there trades or not."""
        if self._touched or self._updates:
            now = self.context.clock.monotonic_ns()
            if now - self._updated_ns >= self._every_ns and (updates := self._take(now)):
                super().emit(Bars(updates[0].timeframe, self.state.seq, updated=updates))

    def _stash(self, bars: Bars) -> None:
        for gone in (*bars.closed, *bars.settled):
            self._updates.pop((gone.contract, place(gone)), None)
        for bar in bars.updated:
            self._updates[bar.contract, place(bar)] = bar

    def _report(self, now: int) -> None:
        self._reported_ns = now
        if self._histogram.total and self._statistics is not None:
            sparse = self._histogram.sparse()
            self._statistics.offer(Report(self.path, self.context.epoch, {}, sparse, self._histogram.max_ns))
