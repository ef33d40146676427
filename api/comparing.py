"""The bars of a replay beside those that the session closed live.

Two witnesses of the live bars exist. The checkpoint that a session leaves beside its log holds, for each timeframe and
contract, the chain of SHA-256 links over its final bars: carried on over the rest of the log it must end where the
replay's ends, and it does only if every bar before it is the same. And the Parquet files that the session wrote hold
the bars themselves: each must be among the replay's, so the first that differs is named, with what differs in it.

Where retention removed the beginning of a log, its prints are in the live bars and not in the replay's. There the
chains say nothing, and of the files those bars are compared that no removed print can be in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tickloom.actors.bars.activity import ActivityState
from tickloom.actors.bars.digest import Chain
from tickloom.actors.bars.fold import TimeframeState
from tickloom.actors.checkpoint.files import checkpoints_in
from tickloom.actors.checkpoint.states import States
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.sinks.parquet import contract_of
from tickloom.beginning import session_name
from tickloom.config.settings import settings_from
from tickloom.config.timeframes import Timeframe
from tickloom.errors import LogDamagedError, UsageError
from tickloom.logged import starts_of
from tickloom.messages.bars import BarFlag
from tickloom.messages.control import SessionStarted, SessionStopped
from tickloom.messages.intake import Frames, Numbered, received
from tickloom.messages.market import NS, as_int64
from tickloom.recovery import Folds, fingerprint, newest_of, recover

NAMES: Final = ("open_time", "close_time", "open", "high", "low", "close", "volume", "trades", "vwap", "buy_volume",
                "sell_volume", "revision", "flags")  # fmt: skip
CONFLATED: Final = (BarFlag.CONFLATED.name or "").lower()

Key: TypeAlias = tuple[str, str]
"""(timeframe, contract)"""

Row: TypeAlias = tuple[Any, ...]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay was compared with, and agreed.

    Attributes:
        frames: frames decoded again, and compared with the columns that were recorded of them.
        chained: live bars that a checkpoint's chain vouches for, and `checkpoint_seq` its number in the log.
        files: Parquet files of the log's sessions, and `bars` how many bars in them were found in the replay.
        notes: what could not be compared, and why, in sentences.
    """

    frames: int = 0
    chained: int = 0
    checkpoint_seq: int = 0
    files: int = 0
    bars: int = 0
    notes: tuple[str, ...] = ()


def compare(
    reader: LogReader, chains: Mapping[Key, Chain], table: Callable[[str, str], pa.Table], against: Path | None
) -> Verified:
    """Compare the bars of a replay of a whole log with what its sessions closed live.

    Args:
        reader: the log.
        chains: the replay's, over its final bars.
        table: gives the replay's bars of a contract and timeframe.
        against: the folder the session's files are in; None: where the log says it wrote them.

    Raises:
        LogDamagedError: they are not the same.
        UsageError: `against` was given, and holds no file of the log's sessions.
        DamagedLog: the log does not read back.
    """
    notes: list[str] = []
    files, bars = _compare_files(reader, chains, table, against, notes)  # first: it can name a bar
    chained, seq = _compare_chains(reader, chains, notes)
    return Verified(chained=chained, checkpoint_seq=seq, files=files, bars=bars, notes=tuple(notes))


def chains_of(states: States) -> dict[Key, Chain]:
    """Return the chains that states hold, but for those without a bar."""
    timeframes: dict[str, TimeframeState | ActivityState] = {**states.timeframes, **states.activities}
    return {
        (timeframe, contract): own.chain
        for timeframe, state in timeframes.items()
        for contract, own in state.contracts.items()
        if own.chain.rows
    }


# --- checkpoints ------------------------------------------------------------


def _compare_chains(reader: LogReader, chains: Mapping[Key, Chain], notes: list[str]) -> tuple[int, int]:
    """Return how many live bars a checkpoint vouches for, and its number.

    Raises:
        LogDamagedError: the replay's chains end elsewhere.
    """
    live = _live_chains(reader, notes)
    if live is None:
        return 0, 0
    carried, seq, vouched = live
    built = {timeframe for timeframe, _ in chains}
    for key in sorted(carried.keys() | chains.keys()):
        timeframe, contract = key
        if timeframe not in built:
            continue  # not asked of this replay
        mine, theirs = chains.get(key, Chain()), carried.get(key, Chain())
        if mine.digest() != theirs.digest():
            raise LogDamagedError(
                f"{reader.path}: the {timeframe} bars of {contract} are not those the session closed live: its "
                f"{theirs.rows} have another digest than the replay's {mine.rows}. With its files, --against names the "
                "first that differs; a log from which damage or a full disk took something lacks prints of theirs"
            )
    return sum(chain.rows for (timeframe, _), chain in vouched.items() if timeframe in built), seq


def _live_chains(reader: LogReader, notes: list[str]) -> tuple[dict[Key, Chain], int, dict[Key, Chain]] | None:
    """Return the chains of the newest checkpoint carried on to the log's end, its number, and its own chains."""
    in_force = reader.context()
    starts = [record for record in in_force if isinstance(record, SessionStarted)]
    paths = checkpoints_in(reader.path) if reader.path.is_dir() else []
    if not paths or not starts or reader.last_seq is None:
        notes.append("no checkpoint lies beside the log, so no chain of live bars was compared")
        return None
    settings = settings_from(starts[0].settings, ignore_unknown=True)
    folds, warnings = Folds(settings), list[str]()
    found = newest_of(reader, folds, fingerprint(settings), paths, reader.last_seq + 1, warnings)
    notes += [warning.replace("; the log itself is read instead", "") for warning in warnings]
    if found is None:
        notes.append("no checkpoint fits the log, so no chain of live bars was compared")
        return None
    if _beheaded(reader):
        notes.append("the log's beginning was removed, and the live chains began with it: they were not compared")
        return None
    states = recover(reader, settings, paths).states
    if not any(isinstance(record, SessionStopped) for record in in_force):
        # as a replay ends it: what is due by the last receipt closes, and only what is open then is partial
        last = next(reader.items(from_seq=reader.last_seq))
        end = SessionStopped(recv_ns=received(last, -1), reason="the log ends here")
        states = folds.step(states, [Numbered(reader.last_seq + 1, end)])
    return chains_of(states), found.last_seq, chains_of(found)


def _beheaded(reader: LogReader) -> bool:
    """Whether the log goes on after something that is not there any more."""
    header = reader.segments[0].header
    return header is not None and header.after_seq is not None


# --- files ------------------------------------------------------------


def _compare_files(
    reader: LogReader,
    chains: Mapping[Key, Chain],
    table: Callable[[str, str], pa.Table],
    against: Path | None,
    notes: list[str],
) -> tuple[int, int]:
    """Return how many files of the log's sessions there are, and how many bars in them are the replay's.

    Raises:
        LogDamagedError: one is not.
        UsageError: there are none `against` a folder that was named.
    """
    in_force = reader.context()
    starts = starts_of(reader, in_force)
    folders = [against] if against is not None else [Path(out) for out in dict.fromkeys(map(_out_of, starts)) if out]
    names = {session_name(each.recv_ns) for each in starts}
    found: dict[Key, list[Path]] = {}
    for folder in folders:
        for key, path in _files_in(folder):
            if path.stem.rpartition("-")[2] in names:
                found.setdefault(key, []).append(path)
    if not found:
        where = ", ".join(map(str, folders))
        if against is not None:
            raise UsageError(f"{against} holds no bars of this log's sessions: name the folder they were written to")
        notes.append(f"no files of its sessions are there to compare with ({where or 'they wrote none'})")
        return 0, 0
    # what waited for its file when a process died is in the log and in no file
    complete = (
        all(not start.resumed and _out_of(start) for start in starts)
        and any(isinstance(record, SessionStopped) for record in in_force)
        and (against is not None or len(folders) == 1)
    )
    built = {timeframe for timeframe, _ in chains}
    whole_from = None
    if _beheaded(reader):
        lateness = settings_from(starts[-1].settings, ignore_unknown=True).session.lateness_ms * NS // 1000
        whole_from = _whole_from(reader, {contract for _, contract in found}, lateness)
        notes.append(
            "the log's beginning was removed: of the bars in files those were compared that begin more than the "
            "lateness allowed after the first print that is left of their contract, and none that count ticks or volume"
        )
    count = bars = 0
    for key in sorted(found.keys() | (chains.keys() if complete else set())):
        timeframe, contract = key
        if timeframe not in built or (whole_from is not None and Timeframe.parse(timeframe).is_activity):
            continue
        paths, made = found.get(key, []), table(contract, timeframe)
        live, replayed = [row for path in paths for row in _rows(_read(path, made.schema))], _rows(made)
        if whole_from is not None:
            since = whole_from.get(contract)
            live, replayed = (
                [row for row in rows if since is not None and row[0] > since] for rows in (live, replayed)
            )
        _compare_rows(reader.path, key, live, replayed, complete=complete)
        count, bars = count + len(paths), bars + len(live)
    return count, bars


def _whole_from(reader: LogReader, contracts: set[str], lateness_ns: int) -> dict[str, int]:
    """Return for contracts the stamp (ns UTC) after which no print lies that came before the first one in the log.

    One that is not named has no print in the log.
    """
    found: dict[str, int] = {}
    for numbered in reader.items():
        prints = numbered.item.prints if isinstance(numbered.item, Frames) else None
        if prints is None:
            continue
        numbers, places = np.unique(as_int64(prints.contract), return_index=True)
        for number, place in zip(numbers.tolist(), places.tolist(), strict=True):
            found.setdefault(prints.contracts[number], int(prints.ts_ns[place]) + lateness_ns)
        if contracts <= found.keys():
            break
    return found


def _read(path: Path, like: pa.Schema) -> pa.Table:
    """Return the bars of a file, in the columns that are compared.

    Raises:
        LogDamagedError: it is no file of bars.
    """
    try:
        found = parquet.ParquetFile(path).read()
        missing = [name for name in NAMES if name not in found.column_names]
        if not missing:
            return found.select(NAMES).cast(pa.schema([like.field(name) for name in NAMES]))
        what = f"it has no column {missing[0]}"
    except (pa.ArrowException, OSError) as error:
        what = str(error).splitlines()[0].rstrip(".")
    raise LogDamagedError(
        f"{path}: this file cannot be compared, it does not read as bars ({what}): move it away and verify by what is "
        "left, or have `tickloom replay LOG --out` write the bars anew"
    )


def _out_of(start: SessionStarted) -> str:
    sinks = start.settings.get("sinks")
    return str(sinks.get("out") or "") if isinstance(sinks, dict) else ""


def _files_in(folder: Path) -> Iterator[tuple[Key, Path]]:
    for path in sorted(folder.glob("bars/timeframe=*/contract=*/*.parquet")):
        timeframe = path.parent.parent.name.partition("=")[2]
        yield (timeframe, contract_of(path.parent.name)), path


def _rows(bars: pa.Table) -> list[Row]:
    """Return bars as rows that can be compared: times as integers, and without a word on how busy the machine was."""
    columns = []
    for name in NAMES:
        column = bars.column(name).combine_chunks()
        if name.endswith("_time"):
            column = column.cast(pa.int64())
        values = column.to_pylist()
        if name == "flags":
            values = ["|".join(word for word in text.split("|") if word != CONFLATED) for text in values]
        columns.append(values)
    return list(zip(*columns, strict=True))


def _compare_rows(log: Path, key: Key, live: list[Row], replayed: list[Row], *, complete: bool) -> None:
    """Raise where a live bar is not among the replay's, or, if the files are complete, the other way round."""
    left = Counter(replayed)
    for row in live:
        if left[row] > 0:
            left[row] -= 1
            continue
        # bars by activity may share their open time: the one that is most alike
        near = [other for other in replayed if other[0] == row[0] and left[other] > 0]
        what = _difference(row, min(near, key=lambda other: _unlike(row, other))) if near else "has none there"
        raise LogDamagedError(f"{log}: {_name(key, row)} was closed live, and the replay {what}")
    if complete:
        for row, count in left.items():
            if count > 0:
                raise LogDamagedError(f"{log}: {_name(key, row)} is in the replay, and the session closed none there")


def _name(key: Key, row: Row) -> str:
    at = datetime.fromtimestamp(row[0] // NS, UTC)
    return f"the {key[0]} bar of {key[1]} at {at:%Y-%m-%dT%H:%M:%SZ}"


def _unlike(row: Row, other: Row) -> int:
    """Return in how many columns two bars differ."""
    return sum(mine != theirs for mine, theirs in zip(row, other, strict=True))


def _difference(live: Row, replayed: Row) -> str:
    """Say in which columns two bars differ."""
    pairs = [
        f"{name} {mine} where it was {theirs}"
        for name, theirs, mine in zip(NAMES, live, replayed, strict=True)
        if theirs != mine
    ]
    return f"has {', '.join(pairs)}"
