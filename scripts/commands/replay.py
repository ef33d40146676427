"""`tickloom replay`: a recorded message log to bars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

import tickloom
from tickloom.actors.clock.changes import ClockChanged
from tickloom.actors.recorder.segment import SUFFIX
from tickloom.actors.sinks.files import write_parquet
from tickloom.judging import judge
from tickloom.scripts import output
from tickloom.scripts.arguments import moment
from tickloom.scripts.arguments import speed as speed_of
from tickloom.scripts.progress import shown
from tickloom.scripts.running import Json, says_lost
from tickloom.scripts.signals import interruptible

CHANGES = "validation-changes.parquet"
"""The file below `--out` with the prints that other rules judge otherwise."""


def replay(
    log: Annotated[Path, typer.Argument(help="The log's folder, or one of its segments.")],
    speed: Annotated[str, typer.Option(help="max, or a number: 1 is the speed it was recorded at.")] = "max",
    since: Annotated[str | None, typer.Option("--from", help="Begin here: ISO 8601 (UTC unless it says).")] = None,
    until: Annotated[str | None, typer.Option("--to", help="End before this.")] = None,
    timeframes: Annotated[str | None, typer.Option(help="Timeframes; default: those of the recorded session.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for Parquet files of bars and rejects.")] = None,
    verify: Annotated[
        bool, typer.Option(help="Decode the raw frames again, and compare the bars with those closed live.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(help="With --verify: folder of the session's Parquet files; default: where it wrote them."),
    ] = None,
    validate_with: Annotated[
        Path | None,
        typer.Option(
            help="Make no bars: show what the rules in this file ([validation], [instruments]) would have rejected."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay a message log through the same actors that ran live: the same bars, the same digest.

    Examples:

    ```sh
    tickloom replay log
    tickloom replay log --speed 60 --timeframes 1s,1m
    tickloom replay log --out out --verify --json
    tickloom replay log --validate-with rules.toml
    ```
    """
    size = bytes_of(log)
    if validate_with is not None:
        judged_with(validate_with, log, size, since, until, out, as_json=as_json)
        return
    with interruptible() as asked:
        output.say(f"replaying {log}")
        with shown("replay", "bytes") as told:
            result = tickloom.replay(
                log,
                timeframes=timeframes,
                speed=speed_of(speed, "--speed"),
                from_ns=moment(since, "--from"),
                to_ns=moment(until, "--to"),
                out=out,
                verify=verify,
                against=against,
                progress=lambda share: told(share * size, size),
                cancelled=asked.is_set,
            )
    for event in result.recent_events():
        if isinstance(event, ClockChanged):
            output.say(event.words)
    summary: dict[str, Any] = msgspec.to_builtins(result.summary)
    if result.verified is not None:
        summary |= {"verified": msgspec.to_builtins(result.verified)}
    output.result(summary, as_json=as_json)
    if says_lost(result.summary):
        raise typer.Exit(output.DEFECT)


def judged_with(
    rules: Path, log: Path, size: int, since: str | None, until: str | None, out: Path | None, *, as_json: bool
) -> None:
    """Show what other rules would have made of the log; all prints that change go into a file below `out`."""
    with interruptible() as asked:
        output.say(f"judging {log} by {rules}")
        with shown("judge", "bytes") as told:
            judged = judge(
                log,
                rules,
                from_ns=moment(since, "--from"),
                to_ns=moment(until, "--to"),
                progress=lambda share: told(share * size, size),
                cancelled=asked.is_set,
            )
    if out is not None:
        write_parquet(judged.table(), out, CHANGES)
        output.say(f"{len(judged.changes):,} prints that change are in {out / CHANGES}")
    output.result(judged.summary(), as_json=as_json)


def bytes_of(log: Path) -> int:
    """Return how much there is to read; at least 1."""
    files = log.glob(f"*{SUFFIX}") if log.is_dir() else (log,)
    return max(sum(file.stat().st_size for file in files if file.is_file()), 1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(replay)
