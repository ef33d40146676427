"""Waiting for something that takes a while, from a thread or from a coroutine, without freezing anybody's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

from tickloom.errors import Cancelled

T = TypeVar("T")

ASK_S = 0.1
"""How often a wait asks whether to give up."""

LAST_WAIT_S = 2.0
"""Longest a log-in that was called off is waited for; what is left of it then is the resolver's, and ends by itself."""

CALLED_OFF = "the session was called off before it had started"


class Pending(Generic[T]):
    """The outcome of a call that waits: done already (from a thread), or to be awaited (from a coroutine)."""

    def __init__(self, work: Callable[[], T], *, now: bool) -> None:
        self._work = work
        self._value: list[T] = [work()] if now else []

    def __await__(self) -> Any:
        if not self._value:
            self._value.append((yield from asyncio.to_thread(self._work).__await__()))
        return self._value[0]

    def result(self) -> T:
        """Return the outcome, waiting for it in this thread."""
        if not self._value:
            self._value.append(self._work())
        return self._value[0]


def run(work: Callable[[], Coroutine[Any, Any, T]], cancelled: Callable[[], bool] = lambda: False) -> T:
    """Run the coroutine that `work` makes to its end in a loop of its own: also where this thread runs one already.

    It is cancelled, and waited for, when `cancelled` says so or this thread is interrupted.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = []

    async def known() -> T:
        running.append((asyncio.get_running_loop(), asyncio.ensure_future(work())))
        return await running[0][1]

    def target() -> None:
        try:
            outcome.append(asyncio.run(known()))
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=target, name="tickloom-preflight", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(ASK_S)
            if thread.is_alive() and cancelled():
                raise Cancelled(CALLED_OFF)
    except BaseException:
        for loop, task in running:
            with suppress(RuntimeError):  # it may have come to its end just now
                loop.call_soon_threadsafe(task.cancel)
        thread.join(LAST_WAIT_S)
        raise
    if failure:
        raise failure[0]
    return outcome[0]
