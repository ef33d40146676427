"""What an open page is kept up to date with: Server-Sent Events, at a pace of their own.

The feed never sets the pace. Each page is looked after by a loop that wakes `CHART_S` apart, finds out what is new in
its chart, adds the board when that is `BOARD_S` old, and writes all of it at once. A page that reads slowly is sent
less often, and what it gets is the newest: nothing queues up for it.

Events and what they carry (JSON, see `forms` and `charts`): `session`, first and whenever it changed; `bars`, a
`Chart`; `board`, a `Board`; `events`, a list of `EventForm`, new ones only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tickloom.actors.http.charts import Chart, Follower, columns
from tickloom.actors.http.forms import SessionForm, board, event_form, session_form, since
from tickloom.actors.http.views import Views
from tickloom.supervision import Event

CHART_S: Final = 0.25
"""Time between two looks at the chart."""

BOARD_S: Final = 1.0
"""Time between two boards."""

BARS: Final = 500
"""Bars a chart begins with."""

EVENTS: Final = 200
"""Events a page begins with."""

_NS = 1_000_000_000
_encode = msgspec.json.Encoder().encode


def frame(event: str, value: object) -> bytes:
    """Return one event of the stream (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), _encode(value))


class Boards:
    """The board, encoded once for all pages that want it at about the same time.

    Args:
        views: of the session.
        wall_ns: what time it is (ns UTC).
        mono_ns: for measuring age (ns).
    """

    def __init__(self, views: Views, wall_ns: Callable[[], int], mono_ns: Callable[[], int]) -> None:
        self._views = views
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._made_ns = 0
        self._number = 0
        self._frame = b""

    def newest(self) -> tuple[int, bytes]:
        """Return the board of this second and its number: a reader that has seen the number needs it no more."""
        now = self._mono_ns()
        if not self._number or now - self._made_ns >= BOARD_S * _NS:
            self._frame = frame("board", board(self._views, self._wall_ns()))
            self._made_ns = now
            self._number += 1
        return self._number, self._frame


class Reader:
    """One page: what it looks at and what it has been sent."""

    def __init__(self, views: Views, boards: Boards, contract: str, timeframe: str) -> None:
        self._views = views
        self._boards = boards
        self._contract = contract
        self._timeframe = timeframe
        self._follower = Follower(BARS)
        self._session: SessionForm | None = None
        self._board = 0
        self._event: Event | None = None

    def news(self) -> bytes:
        """Return everything that is new since the last call, as events ready to send; empty when nothing is."""
        return b"".join((self._news_of_session(), self._news_of_chart(), self._news_of_board(), self._news_of_events()))

    def _news_of_session(self) -> bytes:
        session = session_form(self._views)
        if session == self._session:
            return b""
        self._session = session
        return frame("session", session)

    def _news_of_chart(self) -> bytes:
        instrument = self._views.instruments().get(self._contract)
        if instrument is None or self._timeframe not in self._views.timeframes():
            return b""
        reset, bars = self._follower.news(self._views.window(self._contract, self._timeframe))
        if not bars and not reset:
            return b""
        return frame("bars", Chart(self._contract, self._timeframe, reset, columns(bars, instrument)))

    def _news_of_board(self) -> bytes:
        number, encoded = self._boards.newest()
        if number == self._board:
            return b""
        self._board = number
        return encoded

    def _news_of_events(self) -> bytes:
        events = since(self._views.events(), self._event)[-EVENTS:]
        if not events:
            return b""
        self._event = events[-1]
        return frame("events", [event_form(event) for event in events])
