"""Streams of bars and of account events, to be read with `for` in any thread or `async for` in any event loop.

A stream holds at most `capacity` items that were not read yet; beyond it the oldest go, and `dropped` says how many. It
ends when it is closed or the session has ended and everything delivered was read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from tickloom.errors import UsageError
from tickloom.messages.accounts import AccountEvent
from tickloom.messages.bars import Bar
from tickloom.messages.market import NS
from tickloom.supervision import Mailbox
from tickloom.supervision.envelopes import Status

T = TypeVar("T")
_AT_ONCE = 256
LONGEST_PACE_S = 86_400


def pace_ns(every: float, *, partial: bool) -> int:
    """Return the least time between two updates of an open bar, in ns, that a subscriber asked for in seconds.

    Raises:
        UsageError: it is no such time, or no updates were asked for.
    """
    if not 0 <= every <= LONGEST_PACE_S:
        raise UsageError(f"every={every!r} is no time between updates: say seconds, from 0 to {LONGEST_PACE_S}")
    if every and not partial:
        raise UsageError(f"every={every!r} is for updates of open bars: ask for those with partial=True")
    return round(every * NS)


class Stream(Generic[T]):
    """What a subscriber's mailbox receives. One reader; iterate it once, from one place."""

    def __init__(self, mailbox: Mailbox, cancel: Callable[[], None]) -> None:
        self._mailbox = mailbox
        self._cancel = cancel
        self._ready: deque[T] = deque()

    @property
    def dropped(self) -> int:
        """Items that went because they were not read in time."""
        return self._mailbox.counters().dropped_oldest

    def close(self) -> None:
        """End the stream; what was delivered can still be read."""
        self._cancel()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if not self._ready:
            self._ready.extend(self._mailbox.take_batch(_AT_ONCE))
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class BarStream(Stream[Bar]):
    """Bars as they close (with `partial`, their updates too)."""


class AccountStream(Stream[AccountEvent]):
    """Events of accounts as they come, and the ups and downs of the link they come on."""
