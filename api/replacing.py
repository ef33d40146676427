"""A replay's files in place of those that the sessions of its log left in the same folder.

A replay cuts files elsewhere than a session did, so beside the session's they would hold every bar twice. Where there
are such files the replay therefore writes into a hidden folder first; at its end its files go into place, under names
that are free, and then the session's go. A reader sees rows twice for that moment, and never fewer; a process that dies
in it has lost nothing, and the next replay puts it right.

Only what the replay has is replaced: a file goes if each of its rows is among the replay's, and stays if it is of
another time (a reject: if none is). Else the replay is refused, and everything stays as it was.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from pyarrow import parquet

from tickloom.actors.sinks.files import UNFINISHED, hold, sweep, sync_folder, tidy
from tickloom.errors import UsageError

_NAME: Final = re.compile(r"(?P<stamp>\w+)-(?P<number>\d+)-(?P<session>\d+)\.parquet")
_numbers = itertools.count(1)

Rows: TypeAlias = set[tuple[Any, ...]]


class Replacement:
    """The files of one replay, until they are put into place.

    Args:
        out: the folder they are meant for; it exists.
        sessions: the names of the log's sessions.
    """

    def __init__(self, out: Path, sessions: frozenset[str]) -> None:
        self.out = out
        self.sessions = sessions
        sweep(out)
        self.folder = out / UNFINISHED / f"replay-{os.getpid()}-{next(_numbers)}"
        self.folder.mkdir(parents=True)
        self._lock: int | None = os.open(self.folder, os.O_RDONLY)
        hold(self._lock)

    def publish(self, *, whole: bool) -> None:
        """Put the files into place, and remove those whose rows they have.

        Args:
            whole: it was the whole log. Of a part the bars at its ends are others, so it replaces nothing.

        Raises:
            UsageError: a file of the sessions has rows of this time that the replay has not; everything is as it was.
        """
        earlier = list(earlier_files(self.out, self.sessions))
        matches = [match for path in earlier if (match := _NAME.fullmatch(path.name)) is not None]
        free = 1 + max((int(match["number"]) for match in matches), default=-1)
        made: dict[Path, list[Path]] = {}
        for path in _files(self.folder):
            made.setdefault(path.parent.relative_to(self.folder), []).append(path)
        replaced: list[Path] = []
        for folder, own in made.items():
            before = [path for path in earlier if path.parent == self.out / folder]
            fresh = set[tuple[Any, ...]]().union(*map(_rows, own)) if before else set()
            replaced += [path for path in before if _is_replaced(path, fresh, whole=whole)]
        for folder, own in made.items():
            target = self.out / folder
            target.mkdir(parents=True, exist_ok=True)
            for path in own:
                path.rename(target / _moved(path.name, free))
            sync_folder(target)
        for path in replaced:
            path.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Remove what was not put into place."""
        if self._lock is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = None
            tidy(self.out)


def earlier_files(out: Path, sessions: frozenset[str]) -> Iterator[Path]:
    """Yield the files of bars and rejects in a folder that sessions of these names wrote."""
    return (path for path in _files(out) if path.stem.rpartition("-")[2] in sessions)


def _files(out: Path) -> Iterator[Path]:
    yield from sorted(out.glob("bars/timeframe=*/contract=*/*.parquet"))
    yield from sorted(out.glob("rejects/*.parquet"))


def _rows(path: Path) -> Rows:
    """Return what tells the rows of a file apart: a bar's times, or a reject's contract and number."""
    names = ["contract", "tick"] if path.parent.name == "rejects" else ["open_time", "close_time"]
    table = parquet.ParquetFile(path).read(columns=names)
    columns = [
        column.cast("int64") if name.endswith("_time") else column
        for name, column in zip(names, table.columns, strict=True)
    ]
    return set(zip(*(column.to_pylist() for column in columns), strict=True))


def _is_replaced(path: Path, fresh: Rows, *, whole: bool) -> bool:
    """Return whether all rows of a file were made anew; False: they have nothing to do with the new ones.

    Raises:
        UsageError: neither.
    """
    rows = _rows(path)
    if _apart(rows, fresh, in_time=path.parent.name != "rejects"):
        return False
    if whole and rows <= fresh:
        return True
    what = "this replay does not make them all" if whole else "a part of the log does not replace it"
    raise UsageError(
        f"{path} holds rows of the session that recorded the log, and {what}: nothing was changed; name another folder "
        f"for --out"
    )


def _apart(rows: Rows, fresh: Rows, *, in_time: bool) -> bool:
    """Return whether no row is among the others; of bars also, whether none is between them."""
    if not in_time or not rows or not fresh:
        return rows.isdisjoint(fresh)
    return bool(max(rows)[0] < min(fresh)[0] or min(rows)[0] > max(fresh)[0])


def _moved(name: str, free: int) -> str:
    """Return the name of a replay's file with a number that is free."""
    match = _NAME.fullmatch(name)
    assert match is not None, name
    return f"{match['stamp']}-{int(match['number']) + free:06}-{match['session']}.parquet"
