"""The segment being written: every method leaves the file ending after a whole unit, or says that it could not.

Not thread-safe; `sync` and `seal` block until the disk has answered.
"""

from __future__ import annotations

import contextlib
from array import array
from pathlib import Path

import numpy as np

from tickloom.actors.recorder import index, wire
from tickloom.actors.recorder.files import Files
from tickloom.actors.recorder.segment import scan_of
from tickloom.actors.recorder.units import COLUMNS, row_of
from tickloom.messages.records import BatchNote, SegmentHeader


class Broken(OSError):
    """The file could not be brought back to the end of its last whole unit; no more may be written to it."""


class SegmentFile:
    """A new segment.

    Args:
        files: the operations to use.
        path: its file; must not exist.
        header: what goes first into it.

    Raises:
        OSError: it could not be created with its header; nothing is left behind then, if that could be helped.
    """

    def __init__(self, files: Files, path: Path, header: SegmentHeader) -> None:
        self.path = path
        self.batches = 0
        self._files = files
        self._rows = array("q")
        self._named = False
        self._dirty = True
        data = wire.encode_header(header)
        self.header, self._first = wire.read_header(memoryview(data))
        self._end = len(data)
        self._fd = files.create(path)
        try:
            self._write(data)
        except OSError:
            with contextlib.suppress(OSError):
                files.close(self._fd)
            with contextlib.suppress(OSError):
                files.remove(path)
            raise

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._end

    @property
    def dirty(self) -> bool:
        """Whether something was written since the last sync."""
        return self._dirty

    def append(self, data: bytes, note: BatchNote) -> None:
        """Write a unit whole, or not at all.

        Raises:
            Broken: part of it was written and could not be taken back.
            OSError: nothing of it is in the file.
        """
        self._guarded(data)
        self._rows.extend(row_of(wire.Unit(self._end, len(data), note)))
        self._end += len(data)
        self.batches += 1

    def sync(self) -> None:
        """Return when all units and the file's name are on the disk.

        Raises:
            OSError: they may not be, and asking again would not tell: give the file up.
        """
        if not self._named:
            self._files.sync_directory(self.path.parent)
            self._named = True
        self._files.sync(self._fd)
        self._dirty = False

    def seal(self) -> bool:
        """Close the segment in order: its end mark, a sync, its index. Return whether the index was written.

        Raises:
            Broken, OSError: as `append` and `sync`.
        """
        self._guarded(wire.END)
        self.sync()
        self._files.close(self._fd)
        self._end += len(wire.END)
        table = np.frombuffer(self._rows, np.int64).reshape(-1, len(COLUMNS))
        return index.save(scan_of(self.path, self._end, self.header, self._first, table, sealed=True))

    def abandon(self) -> None:
        """Let the file go as it is, unsealed."""
        with contextlib.suppress(OSError):
            self._files.close(self._fd)

    def _guarded(self, data: bytes) -> None:
        try:
            self._write(data)
        except OSError as error:
            try:
                self._files.truncate(self._fd, self._end)
            except OSError as worse:
                raise Broken(worse.errno, f"{error.strerror}; then: {worse.strerror}") from error
            raise
        self._dirty = True

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._files.write(self._fd, view) :]
