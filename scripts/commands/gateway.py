"""`tickloom gateway`: the emulator, for demo, tests and other people's clients."""

from __future__ import annotations

import typer

from tickloom.scripts.gateway.__main__ import gateway


def register(app: typer.Typer) -> None:
    """Add the command; it is the one `python -m tickloom.scripts.gateway` runs."""
    app.command()(gateway)
