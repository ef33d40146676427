"""Live views, drawn by a thread of their own: a terminal that is not read holds up that thread and nobody else.

A terminal can stop taking text at any time (Ctrl-S, a laptop that sleeps at the other end of ssh). Whoever writes to it
then waits, and would wait through Ctrl-C as well. So the command hands over what is to be seen and goes on; only the
newest view is kept. A thread that is still stuck at the end is left behind: it is a daemon, it writes through a file
of its own, and takes no lock that anybody else wants.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import closing, suppress
from types import TracebackType
from typing import Final, TextIO

from rich.console import Console, RenderableType
from rich.live import Live

LAST_S: Final = 1.0
"""Longest the last view may take to be drawn before the terminal is given up."""

LEAST_WIDTH: Final = 60
LEAST_HEIGHT: Final = 12
"""Columns and lines below which a view is of no use; plain lines are."""


def terminal(stream: TextIO | None) -> Console | None:
    """Return a console on a stream if that is a terminal with room for a view, else None."""
    if stream is None or not stream.isatty():
        return None
    own = os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="backslashreplace")
    console = Console(file=own)
    if console.is_terminal and not console.is_dumb_terminal and fits(console):
        return console
    own.close()
    return None


def fits(console: Console) -> bool:
    """Whether there is room for a view."""
    return console.width >= LEAST_WIDTH and console.height >= LEAST_HEIGHT


class Painter:
    """Shows one view at a time on a terminal, for as long as the `with` block lasts.

    Args:
        console: from `terminal`.
        whole: take the whole screen, and give it back at the end; otherwise the last view stays.
    """

    def __init__(self, console: Console, *, whole: bool = False) -> None:
        self._console = console
        self._whole = whole
        self._news = threading.Condition()
        self._view: RenderableType | None = None
        self._done = False
        self._streams = (sys.stdout, sys.stderr)
        self._thread = threading.Thread(target=self._paint, name="tickloom-painter", daemon=True)

    @property
    def console(self) -> Console:
        """The terminal."""
        return self._console

    def show(self, view: RenderableType) -> None:
        """Let this be seen as soon as the terminal takes it, in place of what was there."""
        with self._news:
            self._view = view
            self._news.notify()

    def __enter__(self) -> Painter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._news:
            self._done = True
            self._news.notify()
        self._thread.join(LAST_S)
        # rich puts its own in their place, which a thread that is stuck would never take back
        sys.stdout, sys.stderr = self._streams

    def _paint(self) -> None:
        # a terminal that has gone ends it; whoever closed it sent a signal as well
        with (
            suppress(OSError, ValueError),
            closing(self._console.file),
            Live(console=self._console, auto_refresh=False, screen=self._whole) as live,
        ):
            while True:
                with self._news:
                    self._news.wait_for(lambda: self._view is not None or self._done)
                    view, self._view = self._view, None
                    done = self._done
                if view is not None:
                    live.update(view, refresh=True)
                if done:
                    return
