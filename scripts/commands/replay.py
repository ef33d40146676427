"""`tickloom replay`: a recorded message log to bars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

import tickloom
from tickloom.actors.recorder.segment import SUFFIX
from tickloom.scripts import output
from tickloom.scripts.arguments import moment
from tickloom.scripts.arguments import speed as speed_of
from tickloom.scripts.progress import shown
from tickloom.scripts.running import Json
from tickloom.scripts.signals import interruptible


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
    as_json: Json = False,
) -> None:
    """Replay a message log through the same actors that ran live: the same bars, the same digest.

    Examples:

    ```sh
    tickloom replay log
    tickloom replay log --speed 60 --timeframes 1s,1m
    tickloom replay log --out out --verify --json
    ```
    """
    size = bytes_of(log)
    with interruptible() as asked:
        output.say(f"replaying {log}")
        with shown("replay", "bytes") as told:
            result = tickloom.replay(
                log,
                timeframes=timeframes.split(",") if timeframes else None,
                speed=speed_of(speed, "--speed"),
                from_ns=moment(since, "--from"),
                to_ns=moment(until, "--to"),
                out=out,
                verify=verify,
                against=against,
                progress=lambda share: told(share * size, size),
                cancelled=asked.is_set,
            )
    summary: dict[str, Any] = msgspec.to_builtins(result.summary)
    if result.verified is not None:
        summary |= {"verified": msgspec.to_builtins(result.verified)}
    output.result(summary, as_json=as_json)


def bytes_of(log: Path) -> int:
    """Return how much there is to read; at least 1."""
    files = log.glob(f"*{SUFFIX}") if log.is_dir() else (log,)
    return max(sum(file.stat().st_size for file in files if file.is_file()), 1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(replay)
