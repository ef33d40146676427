"""One writer a log: an exclusive lock on a file in the log's directory, held as long as the writer lives.

The system releases the lock when the process ends, however it ends, so there is nothing to clean up after a crash. The
file says which process holds it; what it says counts only while the lock is held.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tickloom.actors.recorder.errors import LogInUse
from tickloom.actors.recorder.places import naming

LOCK_NAME = "lock"

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30

    def try_lock(fd: int) -> bool:
        """Return whether the lock could be had: of one byte far behind the text, which stays readable to others."""
        os.lseek(fd, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(fd, 0, os.SEEK_SET)
        return True
else:
    import fcntl

    def try_lock(fd: int) -> bool:
        """Return whether the lock could be had."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def in_use(directory: Path) -> bool:
    """Return whether somebody writes the log there, as far as this process may look."""
    try:
        fd = os.open(directory / LOCK_NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        return not try_lock(fd)
    except OSError:
        return False
    finally:
        os.close(fd)


class DirectoryLock:
    """The exclusive right to write a log.

    Args:
        directory: the log's directory; it must exist.

    Raises:
        LogInUse: somebody else has it; says which process.
        OSError: the lock file cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        with naming(directory):
            self._fd: int | None = self._taken(directory)

    @staticmethod
    def _taken(directory: Path) -> int:
        fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not try_lock(fd):
                text = os.read(fd, 32).decode("ascii", "replace").strip()
                raise LogInUse(directory, int(text) if text.isdigit() else None)
            os.ftruncate(fd, 0)
            os.write(fd, b"%d\n" % os.getpid())
        except BaseException:
            os.close(fd)
            raise
        return fd

    @property
    def held(self) -> bool:
        """Whether the lock file is open, and the right is ours."""
        return self._fd is not None

    def release(self) -> None:
        """Give the right up. Does nothing the second time."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)
