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
from tickloom.config.sources import load
from tickloom.scripts.emulator import Emulator
from tickloom.scripts.output import say
from tickloom.scripts.running import Dashboard, Json, Seconds, run_session

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.GCE.Z25", "CON.F.US.CLE.F26")


def demo(
    seconds: Seconds = 30.0,
    rate: Annotated[float, typer.Option(help="Ticks a second the emulator makes, all contracts together.")] = 400.0,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where log and bars go; by default a new folder in tickloom-demo/.")
    ] = None,
    dashboard: Dashboard = "off",
    as_json: Json = False,
) -> None:
    """Watch bars being woven from a live feed. No account needed.

    Starts a gateway emulator in a process of its own, connects to it as to the real one, and builds eight timeframes.
    """
    place = folder or Path("tickloom-demo") / time.strftime("%Y%m%d-%H%M%S")
    key = secrets.token_urlsafe(24)
    with Emulator(CONTRACTS, rate=rate, user="demo", key=key) as gateway:
        say(f"gateway emulator at {gateway.api_url} (process {gateway.pid}); log and bars go to {place}/")
        overrides = {
            "gateway.api_url": gateway.api_url,
            "gateway.market_hub_url": gateway.market_hub_url,
            "gateway.user_hub_url": gateway.user_hub_url,
            "session.contracts": CONTRACTS,
            "recorder.dir": str(place / "log"),
            "sinks.out": str(place / "out"),
        }
        loaded = load(overrides=overrides)
        credentials = Credentials("demo", Secret(key), "made for this demo")
        session = Session(loaded.settings, credentials=credentials)
        run_session(session, "tickloom demo", seconds, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)
