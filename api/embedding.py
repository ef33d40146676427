"""What a program adds to a session: actors, sinks and callbacks of its own, below `/app` in the tree.

They stand there from the start, or come while the session runs. Each has a bounded mailbox and a breaker of its own,
so that nothing the program does in them can hold up or end the session. They are drained last: a sink has been given
every bar when `Session.stop` returns, unless it failed or took too long, which `Session.unwritten` says.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import itertools
import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Final

import pyarrow as pa

from tickloom.actors.bars.tables import bars_table
from tickloom.actors.publishing import Cancel, Subscribe
from tickloom.actors.sinks.embedded import Callback, CallbackActor, Delivery, Sink, SinkActor
from tickloom.engine import STREAM_CAPACITY, Engine
from tickloom.errors import UsageError
from tickloom.messages.bars import Bar
from tickloom.messages.market import Instrument
from tickloom.streams import pace_ns
from tickloom.supervision import Actor, ActorContext, ChildSpec, MailboxSpec, Policy, Ref, Restart, SupervisorSpec
from tickloom.wiring import APP, PUBLISHER, Specs

MOST_AT_ONCE: Final = 1024
"""Bars a sink is given at once."""


@dataclasses.dataclass(frozen=True)
class Feeding:
    """Which bars go into whose mailbox."""

    path: str
    contract: str
    timeframe: str
    partial: bool
    every_ns: int


class Embedding:
    """The part of a session that a program's own actors, sinks and callbacks hang on."""

    def __init__(self) -> None:
        self._app_lock = threading.Lock()
        self._app_names = itertools.count(1)
        self._app_specs: dict[str, ChildSpec] = {}
        self._app_feedings: list[Feeding] = []
        self._app_deliveries: list[Delivery] = []

    @abstractmethod
    def _engine_or_none(self) -> Engine | None:
        """Return the engine; None: the session has not been started."""

    @abstractmethod
    def _running(self) -> Engine:
        """Return the engine.

        Raises:
            UsageError: the session has not been started.
        """

    @abstractmethod
    def _specs(self) -> Specs:
        """Return what makes specifications by the session's settings."""

    @abstractmethod
    def _known_instruments(self) -> dict[str, Instrument]:
        """Return the instruments there are, or were."""

    @abstractmethod
    def _check(self, contract: str) -> None:
        """Refuse a contract that there is nothing of."""

    # --- to use ------------------------------------------------------------

    def add_actor(self, spec: ChildSpec) -> str:
        """Put an actor, or a supervisor with actors, of your own into the tree, and return its path, `/app/<id>`.

        Before the session is started it is there from the start. A specification without a breaker gets the session's
        usual one, so that its crashes never use up a supervisor above it. `deliver` feeds it with bars; `context.ref`
        gives it refs of any other actor, and `ref` gives the program its.

        Raises:
            UsageError: there is one of this id, or the session has ended.
            StartError: it did not start; the sentence says why.
        """
        if spec.breaker is None:
            spec = dataclasses.replace(spec, breaker=self._specs().breaker)
        engine = self._engine_or_none()
        if engine is not None and not engine.running:
            raise UsageError("the session has ended: add to it while it runs, or before it is started")
        with self._app_lock:
            if spec.id in self._app_specs:
                raise UsageError(f"there is an actor {APP}/{spec.id} already: give this one another name")
            self._app_specs[spec.id] = spec
        if engine is not None:
            try:
                engine.tree.start_child(APP, spec)
            except BaseException:
                self._app_specs.pop(spec.id, None)
                raise
        return f"{APP}/{spec.id}"

    def deliver(
        self, path: str, contract: str = "", timeframe: str = "", *, partial: bool = False, every: float = 0.0
    ) -> None:
        """Put bars into the mailbox of the actor at `path` from now on, a `Bar` a message, by that mailbox's policy.

        Args:
            path: an actor's, as `add_actor` returned it.
            contract, timeframe: which; empty means all of them.
            partial: updates of open bars too.
            every: least seconds between two updates of one contract and timeframe; the latest is shown.

        Raises:
            UsageError: the timeframe is not built, the contract was never followed, or `every` is below 0.
            NoSuchPlace: there is no actor at this path.
        """
        feeding = Feeding(path, contract, timeframe, partial, pace_ns(every, partial=partial))
        engine = self._engine_or_none()
        if engine is None:
            self._app_feedings.append(feeding)
        else:
            self._begin_feeding(engine, feeding, at_once=True)

    def add_sink(
        self,
        sink: Sink,
        contract: str = "",
        timeframe: str = "",
        *,
        partial: bool = False,
        every: float = 0.0,
        capacity: int = STREAM_CAPACITY,
        name: str = "",
    ) -> str:
        """Give closed and revised bars to a sink of your own, in a thread of its own, and return its path.

        Args:
            sink: an object with `on_bars`, and if it wants `open` and `close`; see `tickloom.Sink`.
            contract, timeframe: which; empty means all of them.
            partial: updates of open bars too.
            every: least seconds between two updates of one contract and timeframe; the latest is shown.
            capacity: bars held while it is busy or its breaker is open; beyond it the oldest go, counted.
            name: the actor's; by default made from the class.

        Raises:
            UsageError: it has no `on_bars`, the name is taken, or the bars asked for cannot come.
            StartError: its `open` raised.
        """
        if not callable(getattr(sink, "on_bars", None)):
            raise UsageError(f"{type(sink).__name__} is no sink: it needs a method on_bars(bars)")
        name = name or self._name_for(type(sink).__name__)
        spec = self._spec(name, lambda context: SinkActor(context, sink), capacity)
        return self._hang(
            dataclasses.replace(spec, max_batch=MOST_AT_ONCE), contract, timeframe, partial=partial, every=every
        )

    def on_bar(
        self,
        callback: Callback,
        contract: str = "",
        timeframe: str = "",
        *,
        partial: bool = False,
        every: float = 0.0,
        capacity: int = STREAM_CAPACITY,
        name: str = "",
    ) -> str:
        """Call a function for each closed or revised bar, once, and return the path of the actor that does.

        A plain function is called in that actor's thread. A coroutine function runs in the event loop that this was
        called in; one call at a time, and none while that loop is held up, as by a `stop()` in its own thread.
        Arguments as for `add_sink`. `remove` ends it.

        Raises:
            UsageError: a coroutine function without a running loop, or as for `add_sink`.
        """
        loop: asyncio.AbstractEventLoop | None = None
        if inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(getattr(callback, "__call__", None)):  # noqa: B004
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                raise UsageError("a coroutine function runs in your event loop: call on_bar from a coroutine") from None
        name = name or self._name_for(getattr(callback, "__name__", type(callback).__name__))
        spec = self._spec(name, lambda context: CallbackActor(context, callback, loop), capacity)
        spec = dataclasses.replace(spec, max_batch=1, poison_after=1, restart=Restart.TRANSIENT)
        return self._hang(spec, contract, timeframe, partial=partial, every=every)

    def remove(self, path: str) -> None:
        """End an actor, sink or callback of the program, after what is in its mailbox.

        Raises:
            UsageError: there is none at this path.
        """
        name = path.removeprefix(f"{APP}/")
        with self._app_lock:
            if self._app_specs.pop(name, None) is None:
                raise UsageError(f"there is nothing at {path}: {', '.join(self.added) or 'nothing was added'}")
            self._app_feedings = [each for each in self._app_feedings if each.path != path]
            ending = [each for each in self._app_deliveries if each.path == path]
            self._app_deliveries = [each for each in self._app_deliveries if each.path != path]
        engine = self._engine_or_none()
        if engine is not None:
            for delivery in ending:
                engine.tree.ref(PUBLISHER).ask(Cancel(delivery))
            engine.tree.drain(path)
            engine.tree.delete_child(path)

    @property
    def added(self) -> tuple[str, ...]:
        """The paths of what the program has added, in that order."""
        return tuple(f"{APP}/{name}" for name in self._app_specs)

    def ref(self, path: str) -> Ref:
        """Return the address of an actor, to tell it, or ask it, something.

        Raises:
            NoSuchPlace: there is no actor at this path.
        """
        return self._running().tree.ref(path)

    def as_table(self, bars: Iterable[Bar]) -> pa.Table:
        """Return bars of one timeframe as an Arrow table, prices in points; columns as in `table`.

        Raises:
            ValueError: bars of two timeframes, or of a contract that is not known here.
        """
        return bars_table(bars, self._known_instruments())

    # --- for the session ------------------------------------------------------------

    def _app_group(self) -> ChildSpec:
        """Return the supervisor of what has been added so far."""
        group = self._specs().group(APP.strip("/"), self._app_specs.values())
        assert isinstance(group.start, SupervisorSpec)
        return group

    def _begin_feedings(self, engine: Engine) -> None:
        """Begin all deliveries that were asked for before the start. They are first in the publisher's mailbox."""
        for feeding in self._app_feedings:
            self._begin_feeding(engine, feeding, at_once=False)

    # --- inside ------------------------------------------------------------

    def _spec(self, name: str, start: Callable[[ActorContext], Actor], capacity: int) -> ChildSpec:
        return self._specs().child(name, start, MailboxSpec(capacity=capacity, policy=Policy.DROP_OLDEST))

    def _hang(self, spec: ChildSpec, contract: str, timeframe: str, *, partial: bool, every: float) -> str:
        engine = self._engine_or_none()
        if engine is not None:
            self._check_bars(engine, contract, timeframe)
        pace_ns(every, partial=partial)
        path = self.add_actor(spec)
        self.deliver(path, contract, timeframe, partial=partial, every=every)
        return path

    def _begin_feeding(self, engine: Engine, feeding: Feeding, *, at_once: bool) -> None:
        self._check_bars(engine, feeding.contract, feeding.timeframe)
        timeframe = engine.known(feeding.timeframe) if feeding.timeframe else ""
        delivery = Delivery(
            engine.tree.ref(feeding.path),
            feeding.contract,
            timeframe,
            partial=feeding.partial,
            every_ns=feeding.every_ns,
        )
        publisher = engine.tree.ref(PUBLISHER)
        if at_once:
            publisher.ask(Subscribe(delivery))
        else:
            publisher.tell(Subscribe(delivery))
        self._app_deliveries.append(delivery)

    def _check_bars(self, engine: Engine, contract: str, timeframe: str) -> None:
        if contract:
            self._check(contract)
        if timeframe:
            engine.known(timeframe)

    def _name_for(self, text: str) -> str:
        plain = re.sub(r"[^\w.-]+", "", text).strip("_").lower() or "callback"
        name = plain
        while name in self._app_specs:
            name = f"{plain}-{next(self._app_names)}"
        return name
