"""`tickloom live`: the real thing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from tickloom import Session
from tickloom.config.sources import load
from tickloom.errors import UsageError
from tickloom.scripts.dashboard import Dashboard, browser_key, where
from tickloom.scripts.output import say
from tickloom.scripts.running import Json, Seconds, run_session
from tickloom.scripts.signals import interruptible

FLAGS: Final = {
    "session.contracts": "CONTRACT",
    "session.timeframes": "--timeframes",
    "recorder.dir": "--record",
    "sinks.out": "--out",
    "http.enabled": "--dashboard",
    "http.port": "--dashboard",
}
"""What settings are called on this command line."""


def live(
    contracts: Annotated[list[str] | None, typer.Argument(help="Contract ids, like CON.F.US.MNQ.Z25.")] = None,
    timeframes: Annotated[str | None, typer.Option(help="Timeframes, like 1s,1m,1h.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for Parquet files of bars and rejects.")] = None,
    record: Annotated[Path | None, typer.Option(help="Folder for the message log.")] = None,
    seconds: Seconds = 0.0,
    dashboard: Dashboard = None,
    config: Annotated[Path | None, typer.Option(help="Settings file; default: tickloom.toml, if there is one.")] = None,
    as_json: Json = False,
) -> None:
    """Follow contracts on a ProjectX gateway: bars, log and files.

    Credentials come from PROJECT_X_USERNAME and PROJECT_X_API_KEY, a private file or the keyring; `tickloom doctor`
    says whether they do. Ctrl-C ends in order.

    Examples:

    ```sh
    tickloom live CON.F.US.MNQ.Z25
    tickloom live CON.F.US.MNQ.Z25 CON.F.US.EP.Z25 --timeframes 1s,1m,1h
    tickloom live CON.F.US.MNQ.Z25 --record log --out out --seconds 3600 --json
    ```
    """
    overrides: dict[str, object] = {
        "session.contracts": tuple(contracts) if contracts else None,
        "session.timeframes": timeframes,
        "recorder.dir": str(record) if record else None,
        "sinks.out": str(out) if out else None,
        **where(dashboard),
    }
    settings = load(config, overrides=overrides, named=FLAGS).settings
    if not settings.session.contracts:
        raise UsageError("no contract to follow: name one, like `tickloom live CON.F.US.MNQ.Z25`")
    say(f"connecting to {settings.gateway.api_url}")
    with interruptible() as asked:
        session = Session(settings, dashboard_key=browser_key() if settings.http.enabled else None)
        run_session(session, "tickloom live", seconds, asked, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(live)
