"""The commands, one module each; `register` hangs them on the app."""

from __future__ import annotations

import typer

from tickloom.scripts.commands import care, configure, demo, gateway, importing, live, replay


def register(app: typer.Typer) -> None:
    """Add every command to `app`, in the order of `--help`."""
    for module in (demo, live, replay, importing, care, gateway, configure):
        module.register(app)
