"""A stream of bars, to be read with `for` in any thread or `async for` in any event loop.

It holds at most `capacity` bars that were not read yet; beyond it the oldest go, and `dropped` says how many. It
ends when it is closed or the session has ended and everything delivered was read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType

from tickloom.actors.sinks.publisher import Subscription
from tickloom.messages.bars import Bar
from tickloom.supervision.envelopes import Status

_AT_ONCE = 256


class BarStream:
    """Bars as they close (with `partial`, their updates too). One reader; iterate it once, from one place."""

    def __init__(self, subscription: Subscription, cancel: Callable[[], None]) -> None:
        self._mailbox = subscription.mailbox
        self._cancel = cancel
        self._ready: deque[Bar] = deque()

    @property
    def dropped(self) -> int:
        """Bars that went because they were not read in time."""
        return self._mailbox.counters().dropped_oldest

    def close(self) -> None:
        """End the stream; what was delivered can still be read."""
        self._cancel()

    def __iter__(self) -> Iterator[Bar]:
        return self

    def __next__(self) -> Bar:
        if not self._ready:
            self._ready.extend(self._mailbox.take_batch(_AT_ONCE))
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()

    def __aiter__(self) -> AsyncIterator[Bar]:
        return self

    async def __anext__(self) -> Bar:
        mailbox = self._mailbox
        loop = asyncio.get_running_loop()
        while not self._ready:
            arrived = asyncio.Event()
            status, _, batch = mailbox.poll(mailbox.owner, _AT_ONCE, lambda e=arrived: loop.call_soon_threadsafe(e.set))  # type: ignore[misc]
            if status is Status.WORK and batch is not None:
                mailbox.settle(mailbox.owner)
                self._ready.extend(batch.messages)
            elif status is Status.IDLE:
                await arrived.wait()
            else:
                raise StopAsyncIteration
        return self._ready.popleft()

    def __enter__(self) -> BarStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
