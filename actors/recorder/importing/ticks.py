"""Files of ticks into a log that replays like one recorded live.

The log has the source `import`, one frame a tick without its bytes, the session's start with the instruments, and at
the end a beat: a file is taken for the whole of its last day, so the beat stands a minute after that day's end in UTC
and closes every bar up to a day. Receipt is the event time made to rise, or the receipt stamp where the file has one.

The log appears when it is complete, never half: it is written beside and renamed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import numpy as np

from tickloom.actors.recorder.errors import ImportFault, LogWriteError
from tickloom.actors.recorder.importing.frames import looks_like_frames, read_frames
from tickloom.actors.recorder.importing.grid import find_step, in_steps, off_grid, parse_step, uncountable
from tickloom.actors.recorder.importing.sources import LEAN_COLUMNS, Source, open_sources
from tickloom.actors.recorder.importing.tables import Layout, Table, Ticks, read_csv, read_parquet
from tickloom.actors.recorder.importing.target import begin, put
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import Beat, SessionStarted, SessionStopped
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, FloatArray, Instrument, IntArray, Prints

_ROWS = 131_072
_DAY = 86_400 * NS
_AFTER_END = 60 * NS
_SETTINGS: dict[str, object] = {"validation": {"zero_size": "accept"}}
"""What was recorded with a size of nought was printed so; it moves prices, and adds nothing to the volume."""

_OPTIONS = LogOptions(batch_rows=_ROWS, segment_ns=0, sync_ns=2**62, compression="lz4", threads=True)
"""A log is imported to be replayed, and lz4 is read in a third of the CPU time that zstd takes."""


class ImportReport(msgspec.Struct, frozen=True):
    """What was imported.

    Attributes:
        files: what was read.
        log: the log that was made.
        rows: ticks by contract.
        first_ns, last_ns: least and greatest event time (ns UTC).
        tick_size: each contract's, as a decimal text.
        inferred: contracts whose tick size was found from their prices.
        off_grid: ticks whose price is no multiple of it: validation will reject them.
        size_step: what one unit of size stands for.
        out_of_order: ticks older than one before them in their file; they are kept where they stood.
        ambiguous: ticks in an hour that the local clock passed twice; told apart by order.
        dropped: repeated last rows that were left out.
        skipped: messages of frame files that were no trades, by kind.
        columns: which column of tables was what, by role: its name, or its number in a table without names.
        others: ticks of contracts that were not asked for, in files that name several.
        rejected: what of frame files could not be read and was left out, by reason; only if that was asked for.
        receipts: the unit in which lines of frames say their receipt, by file, as their digits tell it.
    """

    files: tuple[str, ...]
    log: Path
    rows: dict[str, int]
    first_ns: int
    last_ns: int
    tick_size: dict[str, str]
    inferred: tuple[str, ...]
    off_grid: int
    size_step: str
    out_of_order: int
    ambiguous: int
    dropped: int
    skipped: dict[str, int]
    columns: dict[str, str]
    others: int
    rejected: dict[str, int]
    receipts: dict[str, str]

    @property
    def ticks(self) -> int:
        """All ticks."""
        return sum(self.rows.values())


class Product(msgspec.Struct, frozen=True):
    """What is known of a contract: tick size (None: found from the prices), session calendar, and its rules."""

    tick_size: str | None
    calendar: str
    rules: Mapping[str, object]


class _Gathered(msgspec.Struct):
    """What has been read so far."""

    ticks: list[Ticks]
    dropped: int = 0
    skipped: dict[str, int] = {}
    size_step: Fraction = Fraction(1)
    columns: dict[str, str] = {}
    others: int = 0
    read: int = 0
    lenient: bool = False
    rejected: dict[str, int] = {}
    receipts: dict[str, str] = {}


def import_ticks(
    files: Path | str | Sequence[Path | str],
    log: Path | str,
    contract: str,
    *,
    columns: str | None = None,
    timezone: str = "UTC",
    tick_size: str | float | Decimal | Fraction | None = None,
    size_step: str | float | Decimal | Fraction | None = None,
    time_format: str = "auto",
    day: date | None = None,
    drop_repeated_last: bool | None = None,
    calendar: str = "utc",
    settings: Mapping[str, object] | None = None,
    calendars: Mapping[str, object] | None = None,
    product: Callable[[str], Product] | None = None,
    lenient: bool = False,
    replace: bool = False,
    program: str = "tickloom",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportReport:
    """Make a log of files of ticks.

    Args:
        files: CSV (with or without header), Parquet, zips of CSVs, or lines of frames; text may be `.gz .bz2 .xz`.
        log: the directory to make. It must not hold anything, unless `replace`.
        contract: whose ticks they are. In a zip, `{}` is replaced by the last part of each member's name. In files that
            name contracts themselves, frames and tables with a column for them, it chooses one, or all with `*`.
        columns: which column is what, see `importing.columns`; None: by the header's names, or without a header time,
            price, size, side.
        timezone: the zone of times without one; its DST changes are observed, see `importing.zones`.
        tick_size: of all contracts; None: found from the prices.
        size_step: what one unit of size stands for; None: 1, and for frames of Binance found from the sizes.
        time_format: see `importing.times.choose_format`.
        day: the date that times of day belong to.
        drop_repeated_last: leave out a file's last row when it equals the one before; None: for files of Lean's ticks.
        calendar: the session calendar of the instruments.
        settings: what else the session's start should say, by section; sizes of nought are accepted otherwise.
        calendars: session calendars for the session's start.
        product: what is known of each contract; `tick_size` goes before it, it goes before `calendar`.
        lenient: leave out and count what of frames cannot be read, instead of raising for it.
        replace: put the new log in place of one that is there.
        program: name and version for headers and the session's start.
        progress: called while the log is written, with the ticks that are done and those there are.

    Returns:
        What was imported.

    Raises:
        ImportFault: something is wrong with the request or a file; says where. Nothing was written.
        LogInUse: the log to replace is being written.
        OSError: the log cannot be written.
    """
    target = Path(log)
    paths = [Path(f) for f in ([files] if isinstance(files, str | os.PathLike) else files)]
    if not contract.strip():
        raise ImportFault("--contract: the name is empty: say whose ticks they are, such as ES or CON.F.US.EP.U13")
    partial = begin(target, replace=replace)
    steps = {"--tick-size": tick_size, "--size-step": size_step}
    exact: dict[str, Fraction | None] = {}
    for name, value in steps.items():
        try:
            exact[name] = None if value is None else parse_step(value)
        except ValueError as error:
            raise ImportFault(f"{name}: {error}") from None
    layout = Layout(
        columns=columns,
        zone=_zone(timezone),
        time_format=time_format,
        date=day,
        size_step=exact["--size-step"] or Fraction(1),
    )
    gathered = _Gathered([], size_step=layout.size_step, lenient=lenient)
    for path in paths:
        for source, name in open_sources(path, contract):
            plain = columns is None and time_format == "auto" and day is None
            _read(source, name, layout, gathered, exact["--size-step"], drop_repeated_last, plain=plain)
    ticks = [part for part in gathered.ticks if len(part)]
    if not ticks:
        raise ImportFault(f"{', '.join(path.name for path in paths)}: there is no tick in it for {contract}")
    known = {name: product(name) for name in dict.fromkeys(part.contract for part in ticks)} if product else {}
    instruments, inferred, strays = _instruments(ticks, exact["--tick-size"], calendar, known)
    report = ImportReport(
        files=tuple(map(str, paths)),
        log=target,
        rows={i.contract: sum(len(t) for t in ticks if t.contract == i.contract) for i in instruments},
        first_ns=min(int(t.ts_ns.min()) for t in ticks),
        last_ns=max(int(t.ts_ns.max()) for t in ticks),
        tick_size={i.contract: _spell(Fraction(i.numerator, i.denominator)) for i in instruments},
        inferred=inferred,
        off_grid=strays,
        size_step=_spell(gathered.size_step),
        out_of_order=sum(int((np.diff(t.ts_ns) < 0).sum()) for t in ticks),
        ambiguous=sum(t.ambiguous for t in ticks),
        dropped=gathered.dropped,
        skipped=gathered.skipped,
        columns=gathered.columns,
        others=gathered.others,
        rejected=gathered.rejected,
        receipts=gathered.receipts,
    )
    told: dict[str, object] = {
        "import": {
            "files": [path.name for path in paths],
            "timezone": timezone,
            "size_step": report.size_step,
            "tick_size": report.tick_size,
        }
    }
    start = SessionStarted(
        recv_ns=0,
        version=program,
        settings={**_SETTINGS, **(settings or {}), **told},
        instruments=instruments,
        timeframes=(),
        calendars={**(calendars or {}), **{one.calendar: one.rules for one in known.values()}},
    )
    try:
        _write(partial, target, ticks, start, program=program, progress=progress)
        put(partial, target, replace=replace)
    except LogWriteError as error:
        raise OSError(error.errno or errno.EIO, os.strerror(error.errno or errno.EIO), str(target)) from error
    except OSError as error:
        if error.filename is not None and Path(error.filename).is_relative_to(partial):
            error.filename = str(target)  # the hidden name is no place that anybody asked for
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ImportFault(f"--timezone: there is no zone {name!r}: give one such as America/Chicago") from None


def _read(
    source: Source, contract: str, layout: Layout, into: _Gathered, size_step: Fraction | None,
    drop_last: bool | None, *, plain: bool,
) -> None:  # fmt: skip
    if source.kind == "parquet":
        parts = _of_table(read_parquet(source.name, source.path, contract, layout), into)
    elif looks_like_frames(source.data):
        parts = _from_frames(source, contract, into, size_step)
    else:
        lean = source.lean if plain else None
        if lean is not None:
            layout = msgspec.structs.replace(layout, columns=LEAN_COLUMNS, time_format="ms-of-day", date=lean)
        parts = _of_table(read_csv(source.name, source.data, contract, layout), into)
        drop_last = lean is not None if drop_last is None else drop_last
    if drop_last:
        parts = [_without_repeat(part, into) for part in parts]
    into.ticks += [msgspec.structs.replace(part, base=into.read) for part in parts]
    into.read += sum(1 + (len(part) if part.row is None else int(part.row.max(initial=0))) for part in parts)


def _of_table(table: Table, into: _Gathered) -> list[Ticks]:
    into.columns.update(table.columns)
    into.others += table.others
    return table.ticks


def _from_frames(source: Source, contract: str, into: _Gathered, size_step: Fraction | None) -> list[Ticks]:
    found = read_frames(source.name, source.data, lenient=into.lenient)
    for counts, more in ((into.skipped, found.skipped), (into.rejected, found.rejected)):
        for kind, count in more.items():
            counts[kind] = counts.get(kind, 0) + count
    if found.receipt:
        into.receipts[source.name] = found.receipt
    if found.named:
        chosen = [ticks for name, ticks in found.ticks.items() if contract in (name, "*")]
        into.others += sum(map(len, found.ticks.values())) - sum(map(len, chosen))
        if not chosen:
            there = ", ".join(found.ticks) or "nothing"
            raise ImportFault(f"{source.name}: it has no trades of {contract}, only of {there}: name one of them, or *")
        return chosen
    if not found.ticks:
        kinds = ", ".join(found.skipped) or "nothing"
        raise ImportFault(f"{source.name}: there is no trade in it, only {kinds}")
    if len(found.ticks) > 1:
        raise ImportFault(f"{source.name}: it holds several symbols ({', '.join(found.ticks)}): part them first")
    ((symbol, ticks),) = found.ticks.items()
    sizes = found.sizes[symbol]
    step = size_step if size_step is not None else find_step(sizes)
    if step is None:
        raise ImportFault(f"{source.name}: sizes of {symbol} are no multiples of any step: give --size-step")
    bad = np.flatnonzero(uncountable(sizes, step))
    if len(bad):
        line, size = found.lines[symbol][bad[0]], float(sizes[bad[0]])
        raise ImportFault(
            f"{source.name}, line {line}: size {size:g} of {symbol} is no multiple of {_spell(step)}, or more than "
            "2^53 of them: give --size-step, or leave the line out"
        )
    into.size_step = step
    name = symbol if contract == "*" else contract
    return [msgspec.structs.replace(ticks, contract=name, size=in_steps(sizes, step))]


def _without_repeat(ticks: Ticks, into: _Gathered) -> Ticks:
    """Leave out the last row if it repeats the one before."""
    last = tuple(column[-2:] for column in (ticks.ts_ns, ticks.price, ticks.size, ticks.side))
    if len(ticks) < 2 or any(pair[0] != pair[1] for pair in last):
        return ticks
    into.dropped += 1
    return msgspec.structs.replace(
        ticks,
        ts_ns=ticks.ts_ns[:-1],
        price=ticks.price[:-1],
        size=ticks.size[:-1],
        side=ticks.side[:-1],
        recv_ns=None if ticks.recv_ns is None else ticks.recv_ns[:-1],
        row=None if ticks.row is None else ticks.row[:-1],
    )


def _instruments(
    ticks: list[Ticks], tick_size: Fraction | None, calendar: str, known: Mapping[str, Product]
) -> tuple[tuple[Instrument, ...], tuple[str, ...], int]:
    """Return the instruments, those whose tick size was found, and how many prices are off their grid."""
    prices: dict[str, list[FloatArray]] = {}
    for part in ticks:
        prices.setdefault(part.contract, []).append(part.price)
    found, inferred, strays = [], [], 0
    for contract, own in prices.items():
        every = np.concatenate(own)
        step, product = tick_size, known.get(contract)
        if step is None and product is not None and product.tick_size is not None:
            step = parse_step(product.tick_size)
        if step is None:
            step = find_step(every)
            inferred.append(contract)
        if step is None:
            raise ImportFault(f"the prices of {contract} are multiples of no usual tick size: give --tick-size")
        strays += int(off_grid(every, step).sum())
        found.append(
            Instrument(
                contract,
                step.numerator,
                step.denominator,
                calendar=product.calendar if product is not None else calendar,
            )
        )
    return tuple(found), tuple(inferred), strays


def _spell(step: Fraction) -> str:
    """Return a step as a decimal, or as a fraction where it has none."""
    denominator = step.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    if denominator != 1:
        return str(step)
    return format((Decimal(step.numerator) / Decimal(step.denominator)).normalize(), "f")


def _merge(ticks: list[Ticks]) -> tuple[IntArray, Prints]:
    """Return receipt stamps and prints of all contracts in order of receipt; each file's own order stays."""
    contracts = tuple(dict.fromkeys(part.contract for part in ticks))
    code = {contract: i for i, contract in enumerate(contracts)}
    recv = np.concatenate(
        [np.maximum.accumulate(part.ts_ns if part.recv_ns is None else part.recv_ns) for part in ticks]
    )
    codes = np.concatenate([np.full(len(part), code[part.contract], np.int64) for part in ticks])
    columns = [np.concatenate([getattr(part, name) for part in ticks]) for name in ("ts_ns", "price", "size", "side")]
    if len(ticks) > 1 and bool((np.diff(recv) < 0).any()):
        order = np.lexsort((_places(ticks), recv))
        recv, codes = recv[order], codes[order]
        columns = [column[order] for column in columns]
    ts, price, size, side = columns
    return recv, Prints(contracts, codes, ts, price, size, side, np.arange(len(price)), 0)


def _places(ticks: list[Ticks]) -> IntArray:
    """Return where each tick stood among all that were read."""
    return np.concatenate([part.base + (np.arange(len(part)) if part.row is None else part.row) for part in ticks])


def _write(
    partial: Path, target: Path, ticks: list[Ticks], start: SessionStarted, *, program: str,
    progress: Callable[[int, int], None],
) -> None:  # fmt: skip
    """Write all into the log at `partial`, which is to become `target`."""
    recv, prints = _merge(ticks)
    begin_ns = int(min(recv[0], prints.ts_ns.min())) // _DAY * _DAY  # type: ignore[union-attr]
    end = (int(max(recv[-1], prints.ts_ns.max())) // _DAY + 1) * _DAY + _AFTER_END  # type: ignore[union-attr]
    target.parent.mkdir(parents=True, exist_ok=True)
    with LogWriter(partial, session="import", options=_OPTIONS, program=program) as writer:
        writer.append([Numbered(1, msgspec.structs.replace(start, recv_ns=begin_ns))], 0)
        writer.flush(0)  # in a batch of its own: damage to the first ticks does not cost the start
        seq = 2
        for at in range(0, len(recv), _ROWS):
            frames = _frames(recv, prints, at, min(at + _ROWS, len(recv)))
            writer.append([Numbered(seq, frames)], 0)
            seq += len(frames)
            progress(min(at + _ROWS, len(recv)), len(recv))
        writer.append([Numbered(seq, Beat(recv_ns=end))], 0)
        writer.append([Numbered(seq + 1, SessionStopped(recv_ns=end, reason="imported"))], 0)
    lost = writer.counters.lost_records + writer.counters.unfit
    if lost:
        raise ImportFault(f"{target}: {lost} ticks or records fit into no log, so none was made: report this")


def _frames(recv: IntArray, prints: Prints, start: int, stop: int) -> Frames:
    count = stop - start
    part = Prints(
        prints.contracts,
        prints.contract[start:stop],
        prints.ts_ns[start:stop],
        prints.price[start:stop],
        prints.size[start:stop],
        prints.side[start:stop],
        np.arange(count),
        start,
    )
    return Frames("import", recv[start:stop], np.zeros(count, np.int64), None, part)
