"""The few file operations the writer needs, as an object, so that a test can put a full, slow or failing disk there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Protocol

_sync_data = getattr(os, "fdatasync", os.fsync)


class Files(Protocol):
    """What the writer asks of the system. Every call may raise OSError."""

    def create(self, path: Path) -> int:
        """Create a file that must not exist, readable and writable by its owner only; return its descriptor."""

    def write(self, fd: int, data: memoryview) -> int:
        """Append some of `data`; return how many bytes were taken."""

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file to `size` bytes and go on from there."""

    def sync(self, fd: int) -> None:
        """Return when the file's data is on the disk."""

    def sync_directory(self, path: Path) -> None:
        """Return when the names in a directory are on the disk."""

    def close(self, fd: int) -> None:
        """Close a descriptor."""

    def remove(self, path: Path) -> None:
        """Remove a file."""


class SystemFiles:
    """The operating system's files. Used from the writer's thread only; `sync` blocks it."""

    def create(self, path: Path) -> int:
        """See `Files`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        return os.open(path, flags, 0o600)

    def write(self, fd: int, data: memoryview) -> int:
        """See `Files`."""
        return os.write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        """See `Files`."""
        os.ftruncate(fd, size)
        os.lseek(fd, size, os.SEEK_SET)

    def sync(self, fd: int) -> None:
        """See `Files`."""
        _sync_data(fd)

    def sync_directory(self, path: Path) -> None:
        """See `Files`. Windows has no such thing, and needs none."""
        if sys.platform == "win32":
            return
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self, fd: int) -> None:
        """See `Files`."""
        os.close(fd)

    def remove(self, path: Path) -> None:
        """See `Files`."""
        path.unlink()
