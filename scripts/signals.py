"""Ctrl-C and SIGTERM as an event to wait on. Only the command line does this: the library installs no handler.

The first signal asks for an orderly end (drain, close, summary); the second one gives up waiting for it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import typer

INTERRUPTED: Final = 130
"""Exit code of a run that was broken off by a second signal, as shells have it."""


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Within the block, the first SIGINT or SIGTERM sets the event that is yielded; a second one aborts."""
    asked = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise typer.Exit(INTERRUPTED)
        asked.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
