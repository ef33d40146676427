"""`tickloom replay`: a recorded message log to bars."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import tickloom
from tickloom.errors import UsageError
from tickloom.messages.market import NS
from tickloom.scripts import output
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
        bool, typer.Option(help="Decode the raw frames again and compare with what was recorded.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Replay a message log through the same actors that ran live: the same bars, the same digest."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    with interruptible() as asked, Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("replay", total=1.0)
        result = tickloom.replay(
            log,
            timeframes=timeframes.split(",") if timeframes else None,
            speed=_speed(speed),
            from_ns=_time(since, "--from"),
            to_ns=_time(until, "--to"),
            out=out,
            verify=verify,
            progress=lambda share: bar.update(task, completed=share),
            cancelled=asked.is_set,
        )
    output.result(result.summary, as_json=as_json)


def _speed(text: str) -> float:
    if text == "max":
        return float("inf")
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise UsageError(f"--speed {text}: write max, or a number above 0 like 1 or 60")
    return speed


def _time(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text}: write a time like 2025-11-22T14:30:00 or 2025-11-22T14:30:00-06:00"
        ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return round(when.timestamp() * 1_000_000) * (NS // 1_000_000)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(replay)
