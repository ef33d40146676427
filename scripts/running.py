"""Running a session from the command line: the live view while it lasts, the summary at the end, Ctrl-C in between."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from tickloom import Session, Summary
from tickloom.actors.bars.digest import combine_digests
from tickloom.errors import Cancelled, FeedLostError
from tickloom.scripts import collecting, output
from tickloom.scripts.logs import log_event, log_health, logging_to_stderr
from tickloom.scripts.notes import folder as notes_folder
from tickloom.scripts.notes import noted
from tickloom.scripts.painting import Painter, terminal
from tickloom.scripts.view import screen

Seconds = Annotated[float, typer.Option("--seconds", min=0, help="End after this long; 0: only at Ctrl-C.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object, the last line on stdout.")]

REDRAW_S = 0.25
LINE_S = 5.0
"""Seconds between progress lines where there is no terminal."""


def run_session(session: Session, title: str, seconds: float, asked: threading.Event, *, as_json: bool) -> None:
    """Run a session for `seconds` (0: until `asked`), show it, and print its summary.

    Raises:
        typer.Exit: the disk refused something, or prints are lost; which is said.
        FeedLostError: the feed was lost for good. What was recorded is closed and the summary printed all the same.
        ReaderGone: nobody reads our progress any more; what was recorded is closed.
    """
    with logging_to_stderr(session.settings):
        summary, lost = _run(session, title, seconds, asked)
    output.result(summary, as_json=as_json)
    unwritten = session.unwritten if session.started else ()
    for words in unwritten:
        output.complain(words)
    missing = says_lost(summary)
    if lost is not None:
        raise FeedLostError(lost)
    if unwritten:
        raise typer.Exit(output.USAGE)
    if missing:
        raise typer.Exit(output.DEFECT)


def says_lost(summary: Summary) -> bool:
    """Say so if prints are in no bar, reject or quarantine: nobody should have to look for it in the summary."""
    if summary.lost:
        output.complain(
            f"{summary.lost:,} of {summary.ticks:,} prints are in no bar, reject or quarantine "
            f"(a defect: please report it, with the log)"
        )
    return summary.lost != 0


def _run(session: Session, title: str, seconds: float, asked: threading.Event) -> tuple[Summary, str | None]:
    """Return the account, and why the feed was lost, if it was."""
    session.on_health(log_health)
    try:
        session.start(asked.is_set)
    except Cancelled:
        return session.summary or NOTHING, None
    try:
        collecting.settle()
        session.events(log_event)
        _announce(session)
        with noted(session.dashboard, title, notes_folder()):
            lost = _watch(session, title, seconds, asked)
        if asked.is_set():
            output.say("stopping: what was received is worked off; once more to leave at once")
    finally:
        summary = session.stop()
    return summary, lost


def _announce(session: Session) -> None:
    if session.recovered is not None:
        how = "was cut off: its open bars go on" if session.recovered.cut_off else "stopped in order"
        output.say(f"going on with the log after number {session.recovered.last_seq:,}; the session before {how}")
    if session.dashboard is not None:
        asked = session.settings.http.port
        taken = f" (port {asked} is in use)" if asked and f":{asked}/" not in session.dashboard else ""
        output.say(f"dashboard at {session.dashboard}{taken}")
    output.say(f"the feed is up: {', '.join(session.contracts)}")


NOTHING = Summary(
    ticks=0, rejected=0, lost=0, bars=0, restarts=0, gaps=0, seconds=0.0, ticks_per_second=0.0, p50_ms=None,
    p99_ms=None, log=None, out=None, digest=combine_digests({}),
)  # fmt: skip
"""The account of a session that was called off before it began: it has no log and no files."""


def _watch(session: Session, title: str, seconds: float, asked: threading.Event) -> str | None:
    """Wait for the end, and return why the feed was lost, if it was."""
    end = time.monotonic() + seconds if seconds else float("inf")
    with _picture(session, title) as redraw:
        while not asked.is_set() and time.monotonic() < end:
            lost = session.feed_lost
            if lost is not None:
                return lost
            redraw()
            asked.wait(min(REDRAW_S, max(end - time.monotonic(), 0)))
    return None


@contextmanager
def _picture(session: Session, title: str) -> Iterator[Redraw]:
    console = terminal(sys.stderr) if sys.stdout is not None and sys.stdout.isatty() else None
    if console is None:
        yield Lines(session)
        return
    with Painter(console) as painter:
        yield Picture(session, title, painter)


class Redraw:
    """Shows the session as it is now. Called a few times a second."""

    def __call__(self) -> None:
        """Draw."""
        raise NotImplementedError


class Picture(Redraw):
    """The live view on a terminal."""

    def __init__(self, session: Session, title: str, painter: Painter) -> None:
        self._session, self._title, self._painter = session, title, painter

    def __call__(self) -> None:
        """Draw the first contract's bars and the status line."""
        session = self._session
        contract = session.contracts[0]
        latest = session.latest(contract)
        view = screen(
            self._title,
            session.instruments[contract],
            session.timeframes,
            latest.bars,
            latest.closes,
            session.statistics(),
            session.health(),
            session.restarts,
        )
        self._painter.show(view)


class Lines(Redraw):
    """A plain line every few seconds, where there is no terminal."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._next = time.monotonic() + LINE_S

    def __call__(self) -> None:
        """Print if it is time."""
        if time.monotonic() < self._next:
            return
        self._next += LINE_S
        statistics, health = self._session.statistics(), self._session.health()
        why = f": {health.reasons[0]}" if health.reasons else ""
        output.progress(f"{statistics.ticks:,} ticks  {statistics.ticks_per_second:,.0f}/s  {health.status}{why}")
