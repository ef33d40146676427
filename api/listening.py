"""Listeners of a session: plain callbacks that an actor calls, and that must not bring it down.

What a listener raises is logged and counted. One that raises three times in a row is heard of no more, and told so in
the log: a health actor has better to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

ROW: Final = 3
"""Failures in a row after which a listener is dropped."""

_log = logging.getLogger("tickloom.session")


class Listeners(Generic[T]):
    """Callbacks of one kind of news. Added from any thread; told by one."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._all: tuple[Callable[[T], object], ...] = ()
        self._row: dict[int, int] = {}
        self.failures = 0
        """How often one of them raised."""

    def add(self, listener: Callable[[T], object]) -> Callable[[], None]:
        """Tell it from now on; returns what ends that."""
        self._all = (*self._all, listener)
        return lambda: self._drop(listener)

    def _drop(self, listener: Callable[[T], object]) -> None:
        self._all = tuple(each for each in self._all if each is not listener)
        self._row.pop(id(listener), None)

    def tell(self, news: T) -> None:
        """Tell all, one after another. Their errors end here."""
        for listener in self._all:
            try:
                listener(news)
                self._row.pop(id(listener), None)
            except Exception as error:  # noqa: BLE001 - it is the program's: told, counted, and no reason to crash an actor
                self._failed(listener, error)

    def _failed(self, listener: Callable[[T], object], error: Exception) -> None:
        self.failures += 1
        row = self._row[id(listener)] = self._row.get(id(listener), 0) + 1
        name = getattr(listener, "__qualname__", repr(listener))
        _log.error("a listener of %s, %s, failed", self._what, name, exc_info=error)
        if row >= ROW:
            _log.error("it failed %d times in a row, and is told no more", row)
            self._drop(listener)
