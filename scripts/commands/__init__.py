"""The commands, one module each, and the app they hang on.

Only the module of the command that was asked for, or is being completed, is imported: `tickloom config check` need not
wait for what a live session is made of. The list of commands and a command that does not exist want all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module, metadata
from typing import Annotated, Final

import typer

from tickloom.scripts import output

MODULES: Final = {
    "demo": "demo",
    "live": "live",
    "replay": "replay",
    "import": "importing",
    "log": "care",
    "top": "top",
    "gateway": "gateway",
    "soak": "soak",
    "doctor": "doctor",
    "config": "configure",
    "bench": "bench",
}
"""The module of each command, in the order of `--help`."""


def make_app(name: str, arguments: Sequence[str]) -> typer.Typer:
    """Return the app with the command that `arguments` begin with, or with all if they begin with none."""
    app = typer.Typer(
        name=name,
        callback=root,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    asked = arguments[0] if arguments else ""
    wanted: Iterable[str] = [MODULES[asked]] if asked in MODULES else MODULES.values()
    if list(arguments) == ["--version"] or asked in ("--show-completion", "--install-completion"):
        wanted = ()
    for module in wanted:
        import_module(f"{__name__}.{module}").register(app)
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
