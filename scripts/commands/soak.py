"""`tickloom soak`: two days of a market in minutes, through the real actors, against the truth."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tickloom.scripts import output
from tickloom.scripts.progress import shown
from tickloom.scripts.running import Json
from tickloom.scripts.signals import interruptible
from tickloom.scripts.soaking.run import Progress, Report, Soak

DEFECT = 1
"""Exit code when something did not hold: a defect of ours, as everywhere."""


def soak(
    hours: Annotated[float, typer.Option(min=0.04, max=96, help="Hours of virtual time.")] = 48.0,
    rate: Annotated[int, typer.Option(min=100, max=100_000, help="Prints a second of virtual time.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the market and of what goes wrong.")] = 0,
    report: Annotated[Path | None, typer.Option(help="Write the report there as well, as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Run days of a market in minutes through the real actors, with faults, and compare every bar with the truth.

    Virtual time over the weekend on which the clocks of Chicago go back; connections renewed and lost, actors crashed,
    bursts, bad and late rows, by seed. Exit code 0: every bar is right, every print accounted for, nothing hung, and
    memory stayed flat. Needs some 250 MB of memory and 100 MB in the folder for temporary files.

    Examples:

    ```sh
    tickloom soak --hours 0.2
    tickloom soak --report soak.json --json
    ```
    """
    if report is not None:
        report.touch()  # a report that cannot be written is known now, not in ten minutes
    output.say(f"soaking {hours:g} h at {rate:,} prints a second: {hours * 3600 * rate:,.0f} prints")
    with (
        tempfile.TemporaryDirectory(prefix="tickloom-soak-") as folder,
        interruptible() as asked,
        shown("soak", "prints") as told,
    ):

        def show(progress: Progress) -> None:
            told(progress.prints, round(progress.prints / progress.share))

        made = Soak(Path(folder), hours=hours, rate=rate, seed=seed, progress=show, cancelled=asked.is_set).run()
    if report is not None:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(made)) + b"\n")
    output.result(made, as_json=as_json)
    _end(made)


def _end(made: Report) -> None:
    for words in made.failures:
        output.complain(words)
    if made.failures:
        raise typer.Exit(DEFECT)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(soak)
