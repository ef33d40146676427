"""`tickloom import`: ticks that somebody else recorded, made into a log that replays like one recorded live."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from tickloom.actors.recorder.importing.ticks import ImportReport, Product, import_ticks
from tickloom.config.calendars import Calendar, find_calendar
from tickloom.config.settings import Settings
from tickloom.config.sources import load
from tickloom.config.timeframes import parse_timeframes
from tickloom.errors import UsageError
from tickloom.scripts.arguments import spelled
from tickloom.scripts.output import fields, result, say
from tickloom.scripts.progress import shown

FORMATS = "auto, iso, s, ms, us, ns (since 1970), ms-of-day and so on (since midnight), or a pattern like %Y%m%d %H%M%S"


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="CSV, Parquet, zips of CSV, or lines of frames; .gz .bz2 .xz as well."),
    ],
    log: Annotated[Path, typer.Option(help="Folder of the log to make. It must be new or empty.")],
    contract: Annotated[
        str,
        typer.Option(
            help="Whose ticks they are, where a file names several: one of them, or * for all. In a zip, {} stands for "
            "the end of each member's name."
        ),
    ],
    columns: Annotated[
        str | None,
        typer.Option(help="Which column is what: time,price,size,side or time=NAME,price=3,contract=-; - skips one."),
    ] = None,
    timezone: Annotated[str, typer.Option(help="Zone of times without one, like America/Chicago.")] = "UTC",
    tick_size: Annotated[str | None, typer.Option(help="Like 0.25 or 1/32. Default: found from the prices.")] = None,
    size_step: Annotated[str | None, typer.Option(help="What one unit of size stands for, like 0.001.")] = None,
    time_format: Annotated[str, typer.Option(help=f"How times are written: {FORMATS}.")] = "auto",
    day: Annotated[str | None, typer.Option("--date", help="The date of times of day, like 2013-10-07.")] = None,
    calendar: Annotated[str | None, typer.Option(help="Session calendar. Default: that of the product.")] = None,
    drop_repeated_last: Annotated[
        bool | None,
        typer.Option(
            "--drop-repeated-last/--keep-repeated-last",
            help="Leave out a last row that repeats the one before. Default: in QuantConnect's files.",
        ),
    ] = None,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Of lines of frames, leave out and count what cannot be read.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Put the log in place of one that is there.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; default: tickloom.toml, if there is one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Make a message log of recorded ticks: CSV, Parquet, or lines of raw frames.

    The log appears when it is complete; a row or column that cannot be read is named, and nothing is written. Settings
    (timeframes, calendars, validation) go into the log, as they do when a session records.

    Examples:

    ```sh
    tickloom import es.csv.gz --log log --contract CON.F.US.EP.U13 --timezone America/Chicago --tick-size 0.25
    tickloom import ticks.csv --log log --contract X --columns time=stamp,price=last,size=qty
    tickloom import tick_20131007_trade.zip --log log --contract CON.F.US.GCE.{}
    tickloom replay log --timeframes 1s,1m --out out
    ```
    """
    settings = load(config).settings
    fixed = find_calendar(calendar, settings.calendars) if calendar else None

    def product(name: str) -> Product:
        chosen = fixed if fixed is not None else settings.calendar_for(name)
        _check_fit(settings, name, chosen)
        return Product(settings.instrument_for(name).tick_size or None, chosen.name, chosen.to_dict())

    if contract != "*":
        product(contract)  # whether its timeframes fit is said before anything is read
    say(f"reading {', '.join(map(str, files))}")
    with shown("writing", "ticks") as progress:
        report = import_ticks(
            files,
            log,
            contract,
            columns=columns,
            timezone=timezone,
            tick_size=tick_size,
            size_step=size_step,
            time_format=time_format,
            day=_date(day),
            drop_repeated_last=drop_repeated_last,
            settings=_told(settings),
            product=product,
            lenient=lenient,
            replace=replace,
            progress=progress,
        )
    plain: dict[str, Any] = msgspec.to_builtins(report, enc_hook=str)
    result({"ticks": report.ticks} | plain, as_json=as_json, text=_text(report))


def _check_fit(settings: Settings, contract: str, calendar: Calendar) -> None:
    """Refuse timeframes that do not fit the calendar: a replay would refuse them."""
    own = msgspec.structs.replace(settings.instrument_for(contract), calendar=calendar.name)
    placed = settings.replace(instruments={**settings.instruments, contract: own})
    placed.check_timeframes((contract,), parse_timeframes(settings.session.timeframes))


def _told(settings: Settings) -> dict[str, Any]:
    """Return what the log says of the settings: all of them but what belongs to a live session."""
    plain = settings.redacted()
    return {name: table for name, table in plain.items() if name not in ("gateway", "recorder", "sinks", "http")}


def _date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--date {text}: write it like 2013-10-07") from None


def _text(report: ImportReport) -> str:
    sizes = {name: f"{step} (found)" if name in report.inferred else step for name, step in report.tick_size.items()}
    lines: dict[str, Any] = {
        "log": str(report.log),
        "columns": report.columns,
        "ticks": report.ticks,
        "contracts": report.rows,
        "tick size": sizes,
        "from": spelled(report.first_ns),
        "to": spelled(report.last_ns),
        "off the grid": report.off_grid,
        "out of order": report.out_of_order,
        "ambiguous": report.ambiguous,
        "repeated rows dropped": report.dropped,
        "of other contracts": report.others,
        "messages skipped": report.skipped,
        "rejected": report.rejected,
        "receipt in": report.receipts,
    }
    return fields(lines)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)
