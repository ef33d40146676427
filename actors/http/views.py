"""What the http actor may see of a session: functions that return values nobody changes, and nothing else.

Each reads what some actor has committed, so calling one waits for nobody and may be done from any thread. There is
no way from here to a mailbox, a token or a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tickloom.actors.sinks.history import Window
from tickloom.messages.market import Instrument
from tickloom.messages.reports import Health, Statistics
from tickloom.supervision import ActorView, Event


@dataclass(frozen=True)
class Views:
    """The views of one session.

    Attributes:
        session: what tells this session from another, also from one started later on the same port.
        version: of Tickloom.
        started_ns: when it began (ns UTC).
        timeframes: built in it at the moment, finest first.
        instruments: what is known of each contract followed, in the order they were asked for.
        window: the bars kept of a contract and timeframe; None while there are none.
        health: the session's health, token time included.
        statistics: its counters, rejects by reason among them.
        tree: its actors.
        events: the latest supervision events, oldest first.
    """

    session: str
    version: str
    started_ns: int
    timeframes: Callable[[], tuple[str, ...]]
    instruments: Callable[[], Mapping[str, Instrument]]
    window: Callable[[str, str], Window | None]
    health: Callable[[], Health]
    statistics: Callable[[], Statistics]
    tree: Callable[[], ActorView]
    events: Callable[[], Sequence[Event]]
