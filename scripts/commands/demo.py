"""`tickloom demo`: the emulator in its own process, a live session over a real WebSocket, bars, log and files."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from tickloom import Session
from tickloom.config.credentials import Credentials
from tickloom.config.secrets import Secret
from tickloom.config.sections import HttpSettings
from tickloom.config.sources import load
from tickloom.errors import Cancelled
from tickloom.preflight import check_folders
from tickloom.scripts.dashboard import Dashboard, browser_key, where
from tickloom.scripts.emulator import Emulator
from tickloom.scripts.output import result, say
from tickloom.scripts.running import NOTHING, Json, Seconds, run_session
from tickloom.scripts.signals import interruptible

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.GCE.Z25", "CON.F.US.CLE.F26")


def demo(
    seconds: Seconds = 30.0,
    rate: Annotated[
        float, typer.Option(min=1, help="Ticks a second the emulator makes, all contracts together.")
    ] = 400.0,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where log and bars go; by default a new folder in tickloom-demo/.")
    ] = None,
    dashboard: Dashboard = None,
    as_json: Json = False,
) -> None:
    """Watch bars being woven from a live feed. No account needed.

    Starts a gateway emulator in a process of its own, connects to it as to the real one, builds eight timeframes, and
    keeps log and bars. Open the dashboard at the address it prints. Ctrl-C ends it in order.

    Examples:

    ```sh
    tickloom demo
    tickloom demo --seconds 10 --json
    tickloom demo --rate 10000 --dir try
    ```
    """
    place = folder or Path("tickloom-demo") / time.strftime("%Y%m%d-%H%M%S")
    check_folders({"demo": place})
    key = secrets.token_urlsafe(24)
    page = where(dashboard, usual=HttpSettings().port)
    load(overrides=page)  # what is wrong with flags or settings is said before anything is started
    with interruptible() as asked:
        try:
            with Emulator(CONTRACTS, rate=rate, user="demo", key=key, cancelled=asked.is_set) as gateway:
                say(f"gateway emulator at {gateway.api_url} (process {gateway.pid}); log and bars go to {place}/")
                settings = load(overrides=_overrides(gateway, place) | page).settings
                account = Credentials("demo", Secret(key), "this demo")
                page_key = browser_key() if settings.http.enabled else None
                session = Session(settings, credentials=account, dashboard_key=page_key)
                run_session(session, "tickloom demo", seconds, asked, as_json=as_json)
        except Cancelled:
            result(NOTHING, as_json=as_json)


def _overrides(gateway: Emulator, place: Path) -> dict[str, object]:
    return {
        "gateway.api_url": gateway.api_url,
        "gateway.market_hub_url": gateway.market_hub_url,
        "gateway.user_hub_url": gateway.user_hub_url,
        "session.contracts": CONTRACTS,
        "recorder.dir": str(place / "log"),
        "sinks.out": str(place / "out"),
    }


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)
