"""`tickloom config …`: make a settings file, show what is in force and where it comes from, check it."""

from __future__ import annotations

import datetime as dt
import os
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from tickloom.config.calendars import CalendarError, find_calendar
from tickloom.config.holidays import MARKETS, HolidaysError, apply, read, render
from tickloom.config.plan import roll_up
from tickloom.config.reference import render_default_toml, render_show
from tickloom.config.sources import FILE_NAME, Loaded, load
from tickloom.config.timeframes import Timeframe
from tickloom.errors import UsageError
from tickloom.scripts.output import result

File = Annotated[
    Path | None,
    typer.Option("--config", help=f"Settings file; default: {FILE_NAME} here, else ~/.config/tickloom/config.toml."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as one JSON object.")]

app = typer.Typer(name="config", no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def config() -> None:
    """Settings: make a file, see what is in force, check it.

    Examples:

    ```sh
    tickloom config init
    tickloom config show
    TICKLOOM__SESSION__TIMEFRAMES=1s,1m tickloom config check
    ```
    """


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="The file to make.")] = Path(FILE_NAME), as_json: Json = False
) -> None:
    """Write a commented settings file with every key at its default. A file that is there is left alone.

    Examples:

    ```sh
    tickloom config init
    tickloom config init ~/.config/tickloom/config.toml
    ```
    """
    text = render_default_toml().encode()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{file} is there already: delete it, or name another file") from None
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(text)
    result({"file": str(file), "bytes": len(text)}, as_json=as_json, text=f"{file} written; every line shows a default")


@app.command()
def show(file: File = None, as_json: Json = False) -> None:
    """Print the settings in force, where each value comes from, and the roll-up plan. There are no secrets in them.

    Examples:

    ```sh
    tickloom config show
    tickloom config show --config live.toml --json
    ```
    """
    loaded = load(file)
    result(_plain(loaded), as_json=as_json, text=render_show(loaded).rstrip("\n"))


@app.command()
def check(file: File = None, as_json: Json = False) -> None:
    """Say whether the settings are right; if not, what is wrong, where, and what to do (exit code 2).

    Examples:

    ```sh
    tickloom config check
    TICKLOOM__SESSION__TIMEFRAMES=1s,1m tickloom config check
    ```
    """
    loaded = load(file)
    where = str(loaded.file) if loaded.file is not None else None
    words = "ok" if where is None else f"ok: {where}"
    result({"ok": True, "file": where}, as_json=as_json, text=words)


@app.command()
def holidays(
    calendar: Annotated[str, typer.Argument(help="The calendar to fill in: one of the package's, or of the settings.")],
    first: Annotated[int, typer.Option("--from", min=1990, max=2100, help="The first year.")],
    last: Annotated[int, typer.Option("--to", min=1990, max=2100, help="The last year.")],
    market: Annotated[str, typer.Option(help="The market's name in pandas_market_calendars.")] = "",
    file: File = None,
    as_json: Json = False,
) -> None:
    """Print a calendar with its holidays and early closes, to be put into a settings file.

    They come from pandas_market_calendars (`pip install 'tickloom[holidays]'`). Look them over: exchanges change them.

    Examples:

    ```sh
    tickloom config holidays cme_equity --from 2025 --to 2027 >> tickloom.toml
    tickloom config holidays cme_grains --from 2026 --to 2026 --json
    ```
    """
    settings = load(file).settings
    try:
        before = find_calendar(calendar, settings.calendars)
        named = market or MARKETS.get(before.name, "")
        if not named:
            raise UsageError(
                f"which market is calendar '{calendar}'? Say it with --market, as in --market 'CMEGlobex_FX'"
            )
        if last < first:
            raise UsageError(f"--to {last} is before --from {first}: swap them")
        begin, end = dt.date(first, 1, 1), dt.date(last, 12, 31)
        filled = apply(before, read(named, begin, end), begin, end)
    except (HolidaysError, CalendarError) as error:
        raise UsageError(str(error)) from None
    source = f"pandas_market_calendars {metadata.version('pandas_market_calendars')}, {named}, {first} to {last}"
    answer = {"calendar": before.name, "market": named, **filled.to_dict()}
    result(answer, as_json=as_json, text=render(before.name, filled, source).rstrip("\n"))


def _plain(loaded: Loaded) -> dict[str, Any]:
    settings = loaded.settings.redacted()
    plan = roll_up(map(Timeframe.parse, loaded.settings.session.timeframes))
    return {
        "file": str(loaded.file) if loaded.file is not None else None,
        "settings": settings,
        "origins": {key: str(origin) for key, origin in loaded.provenance.items()},
        "calendars": {name: loaded.settings.calendar_for(name).name for name in loaded.settings.session.contracts},
        "plan": [msgspec.to_builtins(feed) for feed in plan],
    }


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app)
