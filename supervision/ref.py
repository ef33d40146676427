"""A ref: the stable address of a place. It holds nothing of any incarnation, so a restart does not change it.

Any thread may use a ref. One got from an actor's context carries its owner's name as sender, and is refused once that
owner was fenced off.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tickloom.supervision.clocks import Waiter
from tickloom.supervision.errors import AskTimeout, Interrupted
from tickloom.supervision.life import Life, current_life, wait
from tickloom.supervision.place import Place

DEFAULT_ASK = 5.0
"""Seconds an ask waits when it does not say."""


class Reply:
    """The answer to one ask: set once, by whoever comes first of callee, death and timeout."""

    __slots__ = ("_error", "_lock", "_settled", "_value", "waiter")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settled = False
        self._value: Any = None
        self._error: BaseException | None = None
        self.waiter = Waiter()

    @property
    def settled(self) -> bool:
        """Whether it has been decided."""
        return self._settled

    def set(self, value: Any) -> bool:
        """Answer with a value; False when it was decided before."""
        return self._settle(value, None)

    def fail(self, error: BaseException) -> bool:
        """Answer with an error; False when it was decided before."""
        return self._settle(None, error)

    def _settle(self, value: Any, error: BaseException | None) -> bool:
        with self._lock:
            if self._settled:
                return False
            self._value, self._error, self._settled = value, error, True
        self.waiter.wake()
        return True

    def result(self) -> Any:
        """Return the value, or raise the error, of a decided reply."""
        if self._error is not None:
            raise self._error
        return self._value


class AsyncReply(Reply):
    """A reply that resolves a future of an event loop."""

    __slots__ = ("_loop", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def _settle(self, value: Any, error: BaseException | None) -> bool:
        first = super()._settle(value, error)
        if first:
            try:
                self._loop.call_soon_threadsafe(self._resolve)
            except RuntimeError:  # the loop was closed: nobody waits any more
                return first
        return first

    def _resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Ref:
    """The address of the actor at `path`."""

    __slots__ = ("_life", "_mailbox", "_place", "path")

    def __init__(self, place: Place, life: Life | None = None) -> None:
        self._place = place
        self._mailbox = place.mailbox
        self._life = life
        self.path = place.path

    def __repr__(self) -> str:
        return f"<Ref {self.path}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other._place is self._place

    def __hash__(self) -> int:
        return hash(id(self._place))

    def put(self, message: Any, *, sender: str = "", timeout: float | None = None) -> bool:
        """Put on the data lane, by its policy; under `block` this may wait, `timeout` seconds at most.

        Returns False when the message was refused or dropped: it is a dead letter then.

        Raises:
            Interrupted: the wait was broken off because the calling actor must stop now; the message was not put.
        """
        life = self._life
        if life is not None:
            if life.fenced:
                return self._fenced(message)
            sender = sender or life.path
        return self._mailbox.put(message, sender, timeout)

    def offer(self, message: Any, *, sender: str = "") -> bool:
        """Put on the data lane without waiting.

        Returns False when it is full (the caller keeps the message) or the message was refused or dropped.
        """
        life = self._life
        if life is not None:
            if life.fenced:
                return self._fenced(message)
            sender = sender or life.path
        return self._mailbox.offer(message, sender)

    async def put_async(self, message: Any, *, sender: str = "") -> bool:
        """Put on the data lane, waiting for room without blocking the event loop. False: it is a dead letter."""
        life = self._life
        if life is not None:
            if life.fenced:
                return self._fenced(message)
            sender = sender or life.path
        return await self._mailbox.put_async(message, sender)

    def room(self) -> int:
        """Return how many messages the data lane would take now without waiting, merging or dropping."""
        return self._mailbox.room()

    def tell(self, message: Any, *, sender: str = "") -> None:
        """Put on the control lane: never refused for want of room, never behind data. Dead actors': a dead letter."""
        life = self._life
        if life is not None:
            if life.fenced:
                self._fenced(message)
                return
            sender = sender or life.path
        self._mailbox.put_control(message, sender)

    def ask(self, message: Any, timeout: float = DEFAULT_ASK) -> Any:
        """Put on the control lane and return the reply. Always resolves, within `timeout` seconds from the call.

        Raises:
            AskTimeout: there was no reply in time. The actor may have handled the message all the same.
            ActorDead: the actor is dead for good.
            BreakerOpen: its breaker is open; it was not called.
            Unhandled: it has no handler for the message.
            Exception: whatever else its handler raised.
        """
        reply = Reply()
        life = current_life()
        self._mailbox.put_control(message, self._sender(), reply)
        if life is None:
            self._place.services.clock.wait(reply.waiter, timeout)
        else:
            before = life.break_off
            life.break_off = lambda: reply.fail(Interrupted(f"an ask of {self.path} was broken off"))
            try:
                if life.must_leave():
                    life.interrupt()
                wait(self._place.services.clock, reply.waiter, timeout)
            finally:
                life.break_off = before
        reply.fail(AskTimeout(f"{self.path} did not reply within {timeout:g} s"))
        return reply.result()

    async def ask_async(self, message: Any, timeout: float = DEFAULT_ASK) -> Any:  # noqa: ASYNC109 - part of the contract: an ask has a timeout
        """Ask from a coroutine; the event loop goes on meanwhile. Replies and errors are those of `ask`."""
        reply = AsyncReply(asyncio.get_running_loop())
        self._mailbox.put_control(message, self._sender(), reply)
        try:
            async with asyncio.timeout(timeout):
                await reply.future
        except TimeoutError:
            reply.fail(AskTimeout(f"{self.path} did not reply within {timeout:g} s"))
        except asyncio.CancelledError:
            reply.fail(AskTimeout(f"the ask of {self.path} was cancelled"))
            raise
        return reply.result()

    def _sender(self) -> str:
        life = self._life or current_life()
        return life.path if life is not None else ""

    def _fenced(self, message: Any) -> bool:
        assert self._life is not None
        self._place.lost(message, self._life.path, "sender fenced")
        return False
