"""Waiting for something that takes a while, from a thread or from a coroutine, without freezing anybody's loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, TypeVar

from tickloom.errors import Cancelled

T = TypeVar("T")

_log = logging.getLogger("tickloom.session")

ASK_S = 0.1
"""How often a wait asks whether to give up."""

LAST_WAIT_S = 2.0
"""Longest a log-in that was called off is waited for; what is left of it then is the resolver's, and ends by itself."""

CALLED_OFF = "the session was called off before it had started"


class Pending(Generic[T]):
    """The outcome of a call that waits. It is under way, or done, when the call returns, awaited or not.

    From a plain thread the work is done by then. In a thread that runs an event loop it is done by another one, and is
    to be awaited; if nobody does, what it failed with is logged.
    """

    def __init__(self, work: Callable[[], T], name: str = "tickloom-call") -> None:
        self._future: Future[T] = Future()
        self._future.set_running_or_notify_cancel()  # who gives up waiting does not call the work off
        self._seen = False
        if not in_loop():
            self._seen = True
            self._do(work)
            self._future.result()
            return
        threading.Thread(target=self._do, args=(work,), name=name, daemon=True).start()

    def _do(self, work: Callable[[], T]) -> None:
        try:
            self._future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - carried over to who asks for the outcome
            self._future.set_exception(error)

    def __await__(self) -> Generator[Any, None, T]:
        self._seen = True
        return asyncio.wrap_future(self._future).__await__()

    def result(self) -> T:
        """Return the outcome, waiting for it in this thread."""
        self._seen = True
        return self._future.result()

    def __del__(self) -> None:
        if not self._seen and self._future.done() and self._future.exception() is not None:
            _log.error("a call that nobody awaited failed", exc_info=self._future.exception())


def in_loop() -> bool:
    """Whether this thread runs an event loop at the moment."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


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
