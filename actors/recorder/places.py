"""Files that are being made under a name of their own: whose they are, what dead processes left of them, and errors
that name the file a person asked for instead."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"
"""What the name of a file ends with until it is complete."""


def partial_for(target: Path) -> Path:
    """Return where this process makes a file that several might make at once."""
    return target.with_name(f"{target.name}.{os.getpid()}{PARTIAL}")


def clear_dead(target: Path) -> None:
    """Remove what processes that are gone have left of `target`."""
    ours = re.compile(re.escape(target.name) + r"\.(\d+)" + re.escape(PARTIAL))
    with contextlib.suppress(OSError):  # what cannot be looked at or removed is in nobody's way
        for path in target.parent.iterdir():
            match = ours.fullmatch(path.name)
            if match and not _lives(int(match[1])):
                path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    if sys.platform == "win32":  # where signal 0 would end the process, and an open file cannot be removed anyway
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of the system name `path`, where they name no file or the one that is to become it."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(PARTIAL):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
