"""Writing to a terminal or a pipe without being held up by it. Standard library only: signal handlers use it.

A terminal can say that it has room and keep its writer waiting all the same (a line end takes two bytes), and a write
that waits is begun anew after a signal's handler. So a terminal is opened once more, for us alone, in a way that never
waits; the streams that others share stay as they are. A pipe that has room takes `PIECE` bytes at once (POSIX:
PIPE_BUF is 512 at least).
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PIECE: Final = 512
"""Bytes written at once."""


@contextmanager
def unwaiting(descriptor: int) -> Iterator[int]:
    """Yield a descriptor that leads where this one does, and never waits if that is a terminal."""
    own = None
    if os.name == "posix" and os.isatty(descriptor):
        try:
            own = os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            own = None  # a terminal of another name space: ours is all we have
    try:
        yield descriptor if own is None else own
    finally:
        if own is not None:
            os.close(own)


def has_room(descriptor: int, seconds: float) -> bool:
    """Whether something can be written now, or within so many seconds. Where nobody can tell, yes."""
    return os.name != "posix" or bool(select.select((), (descriptor,), (), seconds)[1])


def write_some(descriptor: int, data: bytes | memoryview) -> int:
    """Write what goes at once, up to `PIECE` bytes, and return how many went.

    Raises:
        OSError: nobody reads it any more (`BrokenPipeError`), or the disk is full.
    """
    try:
        return os.write(descriptor, data[:PIECE])
    except BlockingIOError:
        return 0
