"""`tickloom bench`: what this machine makes of it, beside peers, with method."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from tickloom.errors import Cancelled
from tickloom.scripts import output
from tickloom.scripts.benching import handover, live, replay
from tickloom.scripts.benching.figures import Figure, Machine, machine
from tickloom.scripts.signals import interruptible

PACKAGES: Final = ("tickloom", "numpy", "pyarrow", "pykka", "polars")


class Part(StrEnum):
    """What can be measured by itself."""

    REPLAY = "replay"
    HANDOVER = "handover"
    LIVE = "live"


class Size(msgspec.Struct, frozen=True):
    """How much is measured."""

    ticks: int
    messages: int
    seconds: float
    rounds: int


QUICK: Final = Size(ticks=300_000, messages=5_000, seconds=2.0, rounds=2)
FULL: Final = Size(ticks=3_000_000, messages=20_000, seconds=15.0, rounds=3)


def bench(
    only: Annotated[list[Part] | None, typer.Option(help="Measure this alone; may be given again.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Some ten seconds instead of a minute; rougher figures.")
    ] = False,
    rate: Annotated[float, typer.Option(min=1, help="Prints a second of the live session.")] = 10_000.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Measure replay, hand-over between actors, and a live session on this machine, beside peers where there are any.

    Peers run in turns with ours on the same input: polars if it is installed, pykka always. Close what else runs: the
    report says how loaded the machine was. Writes to a temporary folder, and leaves nothing.

    Examples:

    ```sh
    tickloom bench
    tickloom bench --quick --only replay
    tickloom bench --only live --rate 50000 --json
    ```
    """
    size = QUICK if quick else FULL
    here = machine(PACKAGES)
    figures: list[Figure] = []
    with interruptible() as asked, tempfile.TemporaryDirectory(prefix="tickloom-bench-") as place:
        for part in only or list(Part):
            if asked.is_set():
                break
            output.say(f"measuring {part.value}")
            try:
                if part is Part.REPLAY:
                    figures += replay.measure(Path(place), size.ticks, size.rounds)
                elif part is Part.HANDOVER:
                    figures += handover.measure(size.messages, size.rounds)
                else:
                    figures += live.measure(Path(place), rate, size.seconds, asked.wait, asked.is_set)
            except Cancelled:
                break
    output.result(report(here, figures), as_json=as_json, text="\n".join(lines(here, figures)))


def report(here: Machine, figures: Sequence[Figure]) -> dict[str, Any]:
    """Return it for `--json`."""
    told = [msgspec.to_builtins(each) | {"times": each.times} for each in figures]
    return {"machine": msgspec.to_builtins(here) | {"busy": here.busy}, "figures": told}


def lines(here: Machine, figures: Sequence[Figure]) -> Iterator[str]:
    """Yield it for people: the machine, a line a figure, and the method of each below."""
    versions = ", ".join(f"{name} {version}" for name, version in here.versions.items())
    load = "not known" if here.load is None else f"{here.load:.2f} a core"
    yield f"Python {here.python} on {here.system}, {here.cores} cores, load {load}; {versions}"
    if here.busy:
        yield "Other work runs on this machine: trust the ratios, not the values."
    if any(each.times is not None for each in figures):
        yield "A ratio above 1: ours is better by so many times; below 1: the peer is."
    said = ""
    for each in figures:
        if each.note != said:
            yield f"\n{each.note}"
            said = each.note
        text = f"  {each.name:<28} {each.ours:>12,.2f} {each.unit}"
        if each.theirs is not None and each.times is not None:
            text += f"   {each.peer}: {each.theirs:,.2f}   ratio {each.times:.2f}"
        yield text


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)
