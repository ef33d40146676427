"""`tickloom log …`: what is in a message log, whether it is whole, and how to mend, shrink and take it elsewhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from tickloom.actors.recorder.care import Inspection, SegmentReport, Verification, inspect, verify
from tickloom.actors.recorder.compaction import compact
from tickloom.actors.recorder.export import export
from tickloom.actors.recorder.reader import LogReader, TornTail
from tickloom.actors.recorder.repair import Rewritten, recover
from tickloom.logged import hold_stretch
from tickloom.scripts import progress
from tickloom.scripts.arguments import moment, spelled
from tickloom.scripts.output import DAMAGED, fields, result, size

Log = Annotated[Path, typer.Argument(help="The log's folder.")]
LogOrSegment = Annotated[Path, typer.Argument(help="The log's folder, or one of its segments.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")]


class Format(StrEnum):
    """What `export` writes."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


class Compression(StrEnum):
    """How `compact` compresses."""

    ZSTD = "zstd"
    LZ4 = "lz4"
    NONE = "none"


app = typer.Typer(name="log", no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def log() -> None:
    """Care of message logs: look, check, mend, shrink, take elsewhere.

    Examples:

    ```sh
    tickloom log inspect log
    tickloom log verify log && tickloom replay log
    tickloom log export log ticks.parquet --from 2025-11-22T14:30:00
    ```
    """


@app.command("inspect")
def inspect_(log: LogOrSegment, as_json: Json = False) -> None:
    """Say what is in a log: how much, of what, from when to when. Changes nothing.

    A file among its segments that is none ends with exit code 5.

    Examples:

    ```sh
    tickloom log inspect log
    tickloom log inspect log/00000001.arrows --json
    ```
    """
    found = inspect(log)
    result(found, as_json=as_json, text=_inspected(found))
    if found.foreign:
        raise typer.Exit(DAMAGED)


@app.command("verify")
def verify_(log: LogOrSegment, as_json: Json = False) -> None:
    """Check that a log is whole: checksums, numbering, every row. Changes nothing; damage ends with exit code 5.

    Examples:

    ```sh
    tickloom log verify log && tickloom replay log
    ```
    """
    with progress.shown("checking", "rows") as told:
        found = verify(log, progress=told)
    result(_plain(found) | {"whole": found.whole}, as_json=as_json, text=_verified(found))
    if not found.whole:
        raise typer.Exit(DAMAGED)


@app.command("recover")
def recover_(log: Log, as_json: Json = False) -> None:
    """Make a damaged log readable: what is whole is kept, what is missing is said in its place.

    Damaged originals stay beside as `*.damaged`.

    Examples:

    ```sh
    tickloom log recover log
    tickloom log recover log --json && tickloom log verify log
    ```
    """
    done = recover(log)
    text = {
        "log": str(done.path),
        "segments": done.segments,
        "tails cut": [_torn(each) for each in done.cut] or "none",
        "moved": [f"{each.path.name} is now {each.to.name}" for each in done.moved] or "none",
        "rewritten": [_rewritten(each) for each in done.rewritten] or "none",
        "set aside": [f"{each.path.name}: {each.why}" for each in done.set_aside] or "none",
    }
    result(done, as_json=as_json, text=fields(text))


@app.command("compact")
def compact_(
    log: Log,
    compression: Annotated[
        Compression | None,
        typer.Option(help="Rewrite every closed segment so. lz4: read in a third of the CPU time, larger."),
    ] = None,
    level: Annotated[int, typer.Option(min=1, max=22, help="zstd level: higher is smaller and slower.")] = 3,
    as_json: Json = False,
) -> None:
    """Rewrite closed segments in large batches: smaller, and faster to replay. Same rows, same digest.

    Examples:

    ```sh
    tickloom log compact log
    tickloom log compact log --level 19
    tickloom log compact log --compression lz4
    ```
    """
    done = compact(log, compression=compression.value if compression else None, level=level)
    text = {
        "log": str(done.path),
        "segments": f"{len(done.rewritten):,} of {done.segments:,} rewritten",
        "size": f"{size(done.size_before)} before, {size(done.size_after)} after",
        "left as they are": [f"{each.path.name}: {each.why}" for each in done.left] or "none",
    }
    result(done, as_json=as_json, text=fields(text))


@app.command("export")
def export_(
    log: LogOrSegment,
    target: Annotated[Path, typer.Argument(help="The file to make; replaced if it is there.")],
    format_: Annotated[
        Format | None, typer.Option("--format", help="Default: by the target's name (.parquet, .csv, .jsonl).")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="Begin here: ISO 8601 (UTC unless it says).")] = None,
    until: Annotated[str | None, typer.Option("--to", help="End before this.")] = None,
    as_json: Json = False,
) -> None:
    """Write a log for other programs: prints as Parquet or CSV, everything as JSON lines.

    The target appears when it is complete.

    Examples:

    ```sh
    tickloom log export log ticks.parquet --from 2025-11-22T14:30:00
    tickloom log export log everything.jsonl
    ```
    """
    if format_ is None and target.suffix.lstrip(".").lower() not in list(Format):
        raise typer.BadParameter(
            f"{target}: name it *.parquet, *.csv or *.jsonl, or give --format", param_hint="target"
        )
    from_ns, to_ns = moment(since, "--from"), moment(until, "--to")
    with LogReader(log) as reader:
        hold_stretch(reader, from_ns, to_ns)
    done = export(log, target, format=None if format_ is None else format_.value, from_ns=from_ns, to_ns=to_ns)
    what = "lines" if done.format == "jsonl" else "prints"
    text = {"file": f"{done.path} ({done.format})", what: done.rows, "size": size(done.size)}
    result(done, as_json=as_json, text=fields(text))


def _plain(report: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(report, enc_hook=str)
    return plain


def _inspected(found: Inspection) -> str:
    lines: dict[str, Any] = {
        "log": f"{found.path} ({size(found.size)})",
        "from": spelled(found.first_ns),
        "to": spelled(found.last_ns),
        "frames": found.frames,
        "prints": found.prints,
        "contracts": found.contracts,
        "sources": found.sources,
        "records": found.records,
        "segments": [_segment(each) for each in found.segments],
        "torn tails": [_torn(each) for each in found.torn] or "none",
        "damaged": found.damaged or "nothing",
    }
    return fields(lines)


def _segment(each: SegmentReport) -> str:
    numbers = f"numbers {each.first_seq:,} to {each.last_seq:,}" if each.last_seq is not None else "empty"
    state = "closed" if each.sealed else "open"
    damage = f", {each.damages} damaged" if each.damages else ""
    amount = f"{size(each.size):>9}  {each.frames:,} frames  {each.prints:,} prints"
    return f"{each.path.name}  {amount}  {numbers}  {state}{damage}"


def _verified(found: Verification) -> str:
    lines: dict[str, Any] = {
        "log": str(found.path),
        "whole": found.whole,
        "checked": f"{found.segments:,} segments, {found.batches:,} batches, {found.frames:,} frames, "
        f"{found.prints:,} prints",
        "torn tails": [_torn(each) for each in found.torn] or "none",
        "problems": [str(problem) for problem in found.problems] or "none",
    }
    return fields(lines)


def _torn(tail: TornTail) -> str:
    return f"{tail.path.name}: {tail.length:,} bytes from byte {tail.offset:,} ({tail.what})"


def _rewritten(each: Rewritten) -> str:
    kept = f"; the original is {each.original.name}" if each.original is not None else ""
    return f"{each.path.name}: {each.batches:,} batches kept, {each.gaps:,} gaps marked{kept}"


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app)
