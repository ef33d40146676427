"""What can be wrong with a log, each with its place. Messages are one sentence: what, where, what to do."""

from __future__ import annotations

from pathlib import Path


class LogError(Exception):
    """Base of everything the log raises. `exit_code` is what the command line ends with."""

    exit_code = 5


class NoLog(LogError):
    """There is no log at the path."""

    exit_code = 2


class ForeignFile(LogError):
    """A file that is not a segment of a Tickloom log."""


class NewerFormat(LogError):
    """A segment written by a later version than this one reads."""


class LogInUse(LogError):
    """Another session holds the log; `pid` is its process, or None when it did not say."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.path, self.pid = path, pid
        who = f"process {pid}" if pid is not None else "another process"
        super().__init__(f"{path} is being written by {who}: stop it, or write to another directory")


class DamagedLog(LogError):
    """A place in a segment that does not read back as it was written.

    `batch` counts the segment's batches from 0 (None: its header); `offset` is where in the file the damage begins.
    """

    def __init__(self, path: Path, segment: int | None, batch: int | None, offset: int, what: str) -> None:
        self.path, self.segment, self.batch, self.offset, self.what = path, segment, batch, offset, what
        super().__init__(self._words())

    def _words(self) -> str:
        place = "header" if self.batch is None else f"batch {self.batch}"
        remedy = f"`tickloom log recover {self.path.parent}` saves the rest"
        return f"{self.path}: {place} at byte {self.offset} is damaged ({self.what}); {remedy}"


class OutOfPlace(DamagedLog):
    """A segment, itself whole, that does not follow on the one before it: `what` says how."""

    def __init__(self, path: Path, segment: int | None, what: str) -> None:
        super().__init__(path, segment, None, 0, what)

    def _words(self) -> str:
        remedy = f"`tickloom log recover {self.path.parent}` puts in order what is there, and marks what is not"
        return f"{self.path}: {self.what}; {remedy}"


class LogWriteError(LogError):
    """The log could not be written just now. The writer keeps what it can and tries again by itself.

    `errno` is the system's reason; `lost_frames` how many frames had to be let go since writing first failed.
    """

    def __init__(self, path: Path, reason: OSError, *, kept: int, lost_frames: int) -> None:
        self.path, self.errno, self.kept, self.lost_frames = path, reason.errno, kept, lost_frames
        lost = f", {lost_frames} frames lost" if lost_frames else ""
        super().__init__(f"{path} cannot be written ({reason.strerror or reason}): {kept} items wait in memory{lost}")


class ImportFault(LogError):
    """A file that cannot be imported: which line or row, which column, what stands there, and what is wanted."""

    exit_code = 2


class TargetRefused(LogError):
    """A file that a log cannot be written to: which, and why."""

    exit_code = 2
