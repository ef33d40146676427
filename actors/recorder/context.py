"""Which control records are still in force at a place in the log. A pure fold; its size is that of the session.

A reader that begins in the middle needs them: the session's start with its instruments and calendars, open
connections, subscribed contracts. The writer puts them into every segment's header, so a log whose oldest segments
were dropped still explains itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tickloom.messages.control import (
    AnyControl,
    Connected,
    Disconnected,
    SessionStarted,
    SessionStopped,
    Subscribed,
    TimeframesChanged,
    Unsubscribed,
)


class Context:
    """The control records in force after those applied.

    Args:
        records: what was in force before, oldest first.
    """

    def __init__(self, records: Iterable[AnyControl] = ()) -> None:
        self._started: SessionStarted | None = None
        self._stopped: SessionStopped | None = None
        self._connected: dict[str, Connected] = {}
        self._subscribed: dict[str, Subscribed] = {}
        for record in records:
            self.apply(record)

    def apply(self, record: AnyControl) -> None:
        """Let one more record take effect. A session's start ends what the session before left behind.

        Timeframes that were added or removed stand in the session's start.
        """
        match record:
            case SessionStarted():
                self._started, self._stopped = record, None
                self._connected, self._subscribed = {}, {}
            case SessionStopped():
                self._stopped = record
                self._connected = {}
            case Connected():
                self._connected[record.hub] = record
            case Disconnected():
                current = self._connected.get(record.hub)
                if current is not None and current.connection == record.connection:
                    del self._connected[record.hub]
            case Subscribed():
                self._subscribed[record.contract] = record
            case Unsubscribed():
                self._subscribed.pop(record.contract, None)
            case TimeframesChanged() if self._started is not None:
                self._started = msgspec.structs.replace(self._started, timeframes=record.timeframes)
            case _:
                pass

    def records(self) -> tuple[AnyControl, ...]:
        """Return what is in force, in an order in which it can be applied."""
        found: list[AnyControl] = []
        if self._started is not None:
            found.append(self._started)
        found += self._connected.values()
        found += self._subscribed.values()
        if self._stopped is not None:
            found.append(self._stopped)
        return tuple(found)
