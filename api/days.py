"""Which trading day an instant belongs to: the label that a contract's calendar gives it."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Final

from tickloom.config.sessions import Sessions
from tickloom.config.settings import Settings
from tickloom.errors import UsageError

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Days:
    """Trading days by contract, for any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._known: dict[str, Sessions] = {}
        """By calendar: each is a memo that belongs to one thread at a time."""

    def of(self, contract: str, at: int | dt.datetime) -> dt.date | None:
        """Return the trading day of the sitting that `at` lies in; None between sittings.

        Raises:
            UsageError: `at` has no time zone, or lies outside the years that calendars hold.
        """
        calendar = self._settings.calendar_for(contract)
        try:
            with self._lock:
                known = self._known.get(calendar.name)
                if known is None:
                    known = self._known[calendar.name] = Sessions(calendar)
                return known.trading_day(instant(at))
        except ValueError as error:
            raise UsageError(str(error)) from None


def instant(at: int | dt.datetime) -> int:
    """Return an instant in ns UTC, exactly.

    Raises:
        ValueError: a date and time without a zone could mean any of several.
    """
    if not isinstance(at, dt.datetime):
        return at
    if at.utcoffset() is None:
        raise ValueError(f"{at} has no time zone: give it one, like datetime(..., tzinfo=UTC)")
    since = at - EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
