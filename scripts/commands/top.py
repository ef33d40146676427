"""`tickloom top`: a running session at a glance, from another terminal. It looks, and changes nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from tickloom.errors import FeedLostError
from tickloom.scripts import notes, output
from tickloom.scripts.attaching import Gone, Look, Remote, choose
from tickloom.scripts.overview import BARS, line, overview, report
from tickloom.scripts.painting import Painter, fits, terminal
from tickloom.scripts.signals import interruptible

Show = Callable[[Look, str], None]


def top(
    address: Annotated[
        str | None,
        typer.Argument(help="The address the session printed, or its port. Default: the one that runs.", metavar="URL"),
    ] = None,
    timeframe: Annotated[
        str | None, typer.Option(help="Whose bars to show. Default: 1m, or the finest there is.")
    ] = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    seconds: Annotated[float, typer.Option(min=0, help="End after this long; 0: only at Ctrl-C.")] = 0.0,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds that a session may be away, as for a restart, before it has ended.")
    ] = 15.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Look once (with --seconds: at their end) and print one JSON object.")
    ] = False,
) -> None:
    """Watch a running session: health, throughput, last bars, rejects, and every actor.

    The session must serve its API (`demo` does, `live` with --dashboard). Without a terminal it prints a line a look.
    Changes nothing, whatever you type. Ends with 3 if it is not let in, with 4 if no session answers.

    Examples:

    ```sh
    tickloom top
    tickloom top 8787 --timeframe 1s
    tickloom top "http://127.0.0.1:8787/?token=…"
    tickloom top --json
    ```
    """
    with interruptible() as asked, Remote(choose(address, notes.folder())) as remote:
        if as_json:
            asked.wait(seconds)
            output.result(report(remote.look(timeframe)), as_json=True)
        else:
            look = remote.look(timeframe, BARS)  # before the screen is taken: what is wrong is said on an ordinary one
            with _shown() as show:
                show(look, "")
                _watch(remote, look, show, asked, every=every, seconds=seconds, patience=patience)


def _watch(
    remote: Remote, look: Look, show: Show, asked: threading.Event, *, every: float, seconds: float, patience: float
) -> None:
    """Look again and again until it is asked to end.

    Raises:
        FeedLostError: the session has gone and did not come back.
    """
    now = time.monotonic
    end = now() + seconds if seconds else float("inf")
    answered = now()
    while not asked.wait(min(every, max(end - now(), 0))) and now() < end:
        try:
            look = remote.look(look.timeframe, BARS)
            answered = now()
            show(look, "")
        except Gone as gone:
            away = now() - answered
            if away >= patience:
                raise FeedLostError(f"the session has ended: {gone}") from None
            show(look, f"no answer for {away:.0f} s: this is how it was")


@contextmanager
def _shown() -> Iterator[Show]:
    console = terminal(sys.stdout)
    if console is None:
        yield _print
        return
    with Painter(console, whole=True) as painter:

        def paint(look: Look, note: str) -> None:
            if fits(console):
                painter.show(overview(look, console.width, console.height, note))
            else:
                painter.show(note or line(look))

        yield paint


def _print(look: Look, note: str) -> None:
    """One line a look on stdout; that there was no answer goes to stderr."""
    if note:
        output.progress(note)
    else:
        output.result({}, as_json=False, text=line(look))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(top)
