"""What an embedding program hangs into the tree: sinks and callbacks, each an actor of its own that is fed with bars.

The program's code runs in the actor's thread and nowhere else. What it raises crashes that actor alone: it is told,
counted, and the actor comes back by the rules of any other; after repeated failures its breaker opens, its mailbox
goes on gathering within its bounds, and the session does not notice. A slow one loses its own oldest bars, counted.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast, runtime_checkable

from tickloom.actors.sinks.publisher import BarSubscription
from tickloom.messages.bars import Bar
from tickloom.supervision import Actor, ActorContext, Exit, Ref

LOOK_S: Final = 0.05
"""How often an actor that waits for a coroutine of the program looks whether it is to stop."""


@runtime_checkable
class Sink(Protocol):
    """Where bars go. A class with this one method is a sink.

    It may have `open()`, called before the first bars and again after a failure, and `close()`, called when this
    life of the actor ends, however it ends. All three run in the sink's own thread.
    """

    def on_bars(self, bars: Sequence[Bar]) -> None:
        """Take what has gathered, oldest first: closed and revised bars, and updates where they were asked for.

        If it raises, the same bars come again, with those that came meanwhile: a sink should write them as a whole or
        know them again. After ten times they are put aside, and counted.
        """
        ...


Callback: TypeAlias = Callable[[Bar], Awaitable[object] | object]
"""A function or coroutine function of one bar; what it returns is not used."""


class Into:
    """The receiving end of a delivery: an actor's mailbox, under that mailbox's own policy."""

    def __init__(self, ref: Ref) -> None:
        self._ref = ref

    def offer(self, bar: Bar, sender: str) -> bool:
        """Put one bar in without waiting; False: there was no room, or nobody is there any more."""
        return self._ref.offer(bar, sender=sender)

    def drain(self, reason: str) -> None:
        """Nothing: the mailbox is the actor's, which goes on."""


class Delivery(BarSubscription):
    """A subscription that puts bars into the mailbox of an actor of the tree."""

    def __init__(self, ref: Ref, contract: str, timeframe: str, *, partial: bool, every_ns: int = 0) -> None:
        super().__init__(contract, timeframe, partial=partial, capacity=1, every_ns=every_ns)
        self.path = ref.path
        self.mailbox = cast(Any, Into(ref))

    def shrink(self, share: float) -> None:
        """Nothing: how much waits is up to the actor's own mailbox."""


class SinkActor(Actor):
    """Hands what has gathered to a sink."""

    def __init__(self, context: ActorContext, sink: Sink) -> None:
        super().__init__(context)
        self._sink = sink

    def on_start(self) -> None:
        """Let the sink open what it writes to."""
        _call_if_there(self._sink, "open")

    def on_batch(self, messages: list[Any]) -> None:
        """Hand the bars on, all at once."""
        self._sink.on_bars([message for message in messages if isinstance(message, Bar)])

    def on_exit(self, reason: Exit) -> None:
        """Let the sink close what it wrote to."""
        _call_if_there(self._sink, "close")


class CallbackActor(Actor):
    """Calls a function for each bar, once: a bar on which it failed is put aside, and does not come again.

    For that it takes one bar at a time, and its specification says `max_batch=1, poison_after=1`. A coroutine
    function runs in `loop`, which is the program's; the actor waits for it, so calls do not overlap.
    """

    def __init__(self, context: ActorContext, callback: Callback, loop: asyncio.AbstractEventLoop | None) -> None:
        super().__init__(context)
        self._callback = callback
        self._calls_into = loop

    def on_batch(self, messages: list[Any]) -> None:
        """Call."""
        for message in messages:
            if not isinstance(message, Bar):
                self.unhandled(message)
            elif self._calls_into is None:
                self._callback(message)
            else:
                self._await(message, self._calls_into)

    def _await(self, bar: Bar, loop: asyncio.AbstractEventLoop) -> None:
        """Run the coroutine in the program's loop and wait, unless this actor is to stop, or the loop is gone."""
        outcome = self._callback(bar)
        assert inspect.iscoroutine(outcome)
        if loop.is_closed():
            outcome.close()
            self.exit()
            return
        future: concurrent.futures.Future[object] = asyncio.run_coroutine_threadsafe(outcome, loop)
        while not self.context.stopping:
            done, _ = concurrent.futures.wait([future], LOOK_S)
            if done:
                future.result()
                return
            if loop.is_closed():
                self.exit()
                return
        future.cancel()


def _call_if_there(sink: Sink, name: str) -> None:
    method = getattr(sink, name, None)
    if callable(method):
        method()
