"""The commands, one module each, and the app they hang on."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from tickloom.scripts import output
from tickloom.scripts.commands import care, configure, demo, doctor, gateway, importing, live, replay


def make_app(name: str) -> typer.Typer:
    """Return the app with every command, in the order of `--help`."""
    app = typer.Typer(
        name=name,
        callback=root,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (demo, live, replay, importing, care, gateway, doctor, configure):
        module.register(app)
    return app


def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
) -> None:
    """Weaves a live futures tick stream into exact OHLCV bars.

    Start with `tickloom demo`: it needs no account.
    """
    if version:
        output.result({}, as_json=False, text=f"tickloom {metadata.version('tickloom')}")
    elif context.invoked_subcommand is None:
        output.result({}, as_json=False, text=context.get_help())
        raise typer.Exit(output.USAGE)
