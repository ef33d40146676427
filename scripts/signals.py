"""Ctrl-C and SIGTERM, for the command line alone: the library installs no handler.

Two ways to take them. Outside of `interruptible` a signal raises `KeyboardInterrupt` in the main thread, so `with` and
`finally` clean up and the command ends with 128 + the signal's number, as shells have it. Within it the first signal
only sets an event: a session is to be drained and closed, not torn; a second one leaves at once. What was recorded
until then is on the disk up to the last sync, as after a crash, and a child process ends with its pipe.

A signal that was ignored when the program began stays ignored, as `nohup` and shells that run jobs in the background
rely on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn, TypeAlias

from tickloom.scripts.writing import has_room, unwaiting, write_some

INTERRUPTED: Final = 128 + signal.SIGINT
"""Exit code of a command that Ctrl-C broke off."""

SAME_PRESS_S: Final = 0.3
"""A signal this soon after another is the same one: launchers pass on what the terminal sent to us as well."""

SIGNALS: Final = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)

_blocks: Final[list[threading.Event]] = []
"""The events of the `interruptible` blocks this process is in: handlers are the process's own, and so is this."""

_Handler: TypeAlias = Callable[[int, FrameType | None], None]


class Signalled(KeyboardInterrupt):
    """A signal broke the command off; `code` is what to leave with."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise Signalled(number)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def _install(handler: _Handler) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def raise_on_signals() -> None:
    """From now on a signal raises `Signalled` in the main thread."""
    _install(_raise)


def leave_on_signals() -> None:
    """From now on a signal ends the process on the spot: the command is over, nothing is left to clean up."""
    _install(_leave)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Within the block, the first signal sets the event that is yielded and a second one leaves at once."""
    asked = threading.Event()
    first = 0.0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not asked.is_set():
            first = time.monotonic()
            asked.set()
        elif time.monotonic() - first > SAME_PRESS_S:
            tell("left at once: the log ends where it was last written")
            _leave(number, frame)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    _blocks.append(asked)
    _install(handle)
    try:
        yield asked
    finally:
        _blocks.remove(asked)
        for number, handler in before.items():
            signal.signal(number, handler)


def asked() -> bool:
    """Whether a signal has asked an `interruptible` block that we are in to end."""
    return any(each.is_set() for each in _blocks)


def tell(text: str) -> None:
    """Say something on stderr from within a handler, where Python's own streams may be in the middle of a line.

    A terminal that takes nothing just now is not told.
    """
    cursor = "\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
    with suppress(OSError), unwaiting(2) as own:  # nobody is listening any more, which changes nothing
        if has_room(own, 0.0):
            write_some(own, f"{cursor}tickloom: {text}\n".encode())
