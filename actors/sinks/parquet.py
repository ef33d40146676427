"""What becomes of settled bars and rejects: gathered by timeframe and contract, and let go as files of a useful size.

The fold only decides: its output is a `File` with its rows and its name. The name is the first row's second, the
file's number among those of the session, and the session: `20251124T143000Z-000012-1763994600000.parquet`. So names
sort by time, no two of a session are the same however many files begin in one second, and writing the same file again
after a crash changes nothing. Pending rows are an immutable chain, newest first, so that keeping one more is O(1) and a
failed step has changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeAlias
from urllib.parse import quote, unquote

import msgspec

from tickloom.actors.bars.blocks import runs_in_order
from tickloom.messages.bars import Bar, BarColumns, Bars
from tickloom.messages.control import Beat
from tickloom.messages.market import NS, Instrument, Reject

Rows: TypeAlias = tuple[Bar, ...] | BarColumns
Chunk: TypeAlias = Rows | tuple[Reject, ...]
Chain: TypeAlias = tuple[Chunk, "Chain"] | None
Key: TypeAlias = tuple[str, str]
"""(timeframe, contract); rejects are under ("", "")."""

REJECTS: Key = ("", "")


class Flush(msgspec.Struct, frozen=True):
    """Let everything go now."""


class Roll(msgspec.Struct, frozen=True):
    """Finish files at so many rows from now on; never at more than the fold was made with."""

    rows: int


class File(msgspec.Struct, frozen=True):
    """A file to write: the folder below the output folder, the name, and the rows in order."""

    folder: str
    name: str
    bars: tuple[Bar | BarColumns, ...] = ()
    rejects: tuple[Reject, ...] = ()
    instrument: Instrument | None = None


class Pending(msgspec.Struct, frozen=True):
    """Rows of one file to be: their chain, how many, the stamp of the first one (ns), and since when they wait (ns)."""

    chain: Chain
    rows: int
    first_ns: int
    since_ns: int


class ParquetState(msgspec.Struct, frozen=True):
    """Pending rows by key, instruments by contract, the time of the last beat, files and rows let go.

    `roll_rows` is in force in place of the fold's, unless it is 0.
    """

    pending: dict[Key, Pending] = {}
    instruments: dict[str, Instrument] = {}
    now_ns: int = 0
    files: int = 0
    rows: int = 0
    roll_rows: int = 0


Input: TypeAlias = Bars | Reject | Instrument | Beat | Flush | Roll


class ParquetFold:
    """The fold `(ParquetState, [Input]) -> (ParquetState, [File])`.

    Args:
        session: a name that tells this session's files from another's in the same folder.
        roll_rows: a file is let go at this many rows, or
        roll_ns: when its first row has waited this long.
    """

    def __init__(self, session: str, roll_rows: int, roll_ns: int) -> None:
        self.session = session
        self.roll_rows = roll_rows
        self.roll_ns = roll_ns

    def initial(self) -> ParquetState:
        """Nothing pending."""
        return ParquetState()

    def step(self, state: ParquetState, messages: Sequence[Input]) -> tuple[ParquetState, Sequence[File]]:
        """Fold in order. Messages of other types are passed over."""
        pending, instruments, now = dict(state.pending), state.instruments, state.now_ns
        files: list[File] = []
        number = state.files
        roll_rows = state.roll_rows or self.roll_rows
        flush = False

        def let_go(key: Key) -> None:
            files.append(self._file(key, pending.pop(key), number + len(files), instruments))

        def keep(key: Key, rows: Chunk, first_ns: int) -> None:
            before = pending.get(key)
            entry = Pending(
                (rows, before.chain if before else None),
                len(rows) + (before.rows if before else 0),
                before.first_ns if before else first_ns,
                before.since_ns if before else now,
            )
            pending[key] = entry
            if entry.rows >= roll_rows:
                let_go(key)

        for message in messages:
            match message:
                case Bars():
                    for contract, rows in _settled(message):
                        first = int(rows.open_time[0]) if isinstance(rows, BarColumns) else rows[0].open_time
                        keep((message.timeframe, contract), rows, first)
                case Reject():
                    keep(REJECTS, (message,), now or message.ts_ns)
                case Instrument():
                    instruments = {**instruments, message.contract: message}
                case Beat():
                    now = max(now, message.recv_ns)
                case Flush():
                    flush = True
                case Roll():
                    roll_rows = min(message.rows, self.roll_rows)
        for key, entry in list(pending.items()):
            old = entry.since_ns and now - entry.since_ns >= self.roll_ns
            if flush or old or entry.rows >= roll_rows:
                let_go(key)
            elif not entry.since_ns and now:
                pending[key] = msgspec.structs.replace(entry, since_ns=now)
        written = sum(map(_rows, files))
        counts = (state.files + len(files), state.rows + written)
        return ParquetState(pending, instruments, now, *counts, roll_rows), files

    def split(self, messages: Sequence[Input]) -> tuple[Sequence[Input], Sequence[Input]] | None:
        """Halve a failing batch by messages."""
        middle = len(messages) // 2
        return (messages[:middle], messages[middle:]) if middle else None

    def _file(self, key: Key, entry: Pending, number: int, instruments: dict[str, Instrument]) -> File:
        chunks: list[Chunk] = []
        chain = entry.chain
        while chain is not None:
            chunks.append(chain[0])
            chain = chain[1]
        chunks.reverse()
        name = f"{_stamp(entry.first_ns)}-{number:06}-{self.session}.parquet"
        bars: list[Bar | BarColumns] = []
        rejects: list[Reject] = []
        for chunk in chunks:
            for row in [chunk] if isinstance(chunk, BarColumns) else chunk:
                if isinstance(row, Reject):
                    rejects.append(row)
                else:
                    bars.append(row)
        if key == REJECTS:
            return File("rejects", name, rejects=tuple(rejects))
        timeframe, contract = key
        return File(folder_of(timeframe, contract), name, tuple(bars), instrument=instruments.get(contract))


def folder_of(timeframe: str, contract: str) -> str:
    """Return the folder of a timeframe's bars of a contract, below the output folder.

    What is not safe in a folder's name is percent-encoded, as readers of hive partitions decode it: no contract leads
    out of its folder, and `BTC/USDT` reads back as it is.
    """
    name = quote(contract, safe="")
    return f"bars/timeframe={timeframe}/contract={name if name.strip('.') else name.replace('.', '%2E')}"


def contract_of(folder: str) -> str:
    """Return the contract whose folder has this name (`contract=…`)."""
    return unquote(folder.partition("=")[2])


def _settled(bars: Bars) -> list[tuple[str, Rows]]:
    """Return a message's final bars by contract, each contract's in order of open time."""
    rows: dict[str, list[Bar]] = {}
    for bar in bars.settled:
        rows.setdefault(bar.contract, []).append(bar)
    blocks: dict[str, list[BarColumns]] = {}
    for block in bars.columns:
        blocks.setdefault(block.contract, []).append(block)
    found: list[tuple[str, Rows]] = []
    for contract in dict.fromkeys((*rows, *blocks)):
        found += ((contract, run) for run in runs_in_order(rows.get(contract, ()), blocks.get(contract, ())))
    return found


def _rows(file: File) -> int:
    return len(file.rejects) + sum(len(bars) if isinstance(bars, BarColumns) else 1 for bars in file.bars)


def _stamp(ns: int) -> str:
    return datetime.fromtimestamp(ns // NS, UTC).strftime("%Y%m%dT%H%M%SZ")
