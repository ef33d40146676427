"""The command line: `tickloom COMMAND`. Thin: parses, calls the face, prints; errors become one line and an exit code.

Exit codes: 0 done, 2 usage or configuration, 3 authentication, 4 feed lost for good, 5 damaged log. With `--json`
the last line on stdout is one JSON object; progress goes to stderr, bars only to a terminal.
"""

from __future__ import annotations

import os
import sys

import typer

from tickloom.scripts import commands
from tickloom.scripts.output import fail

app = typer.Typer(
    name="tickloom",
    help="Weaves a live futures tick stream into exact OHLCV bars.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands.register(app)


def main() -> None:
    """Run the command line and leave the process with the documented exit code."""
    # A GIL hand-over can cost the whole interval; it belongs to the app, and here we are the app.
    sys.setswitchinterval(0.0005)
    try:
        app()
    except BrokenPipeError:
        # the reader of our stdout has gone (`| head`): nothing is left to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:  # noqa: BLE001 - the one place where failures end: one line, one code
        sys.exit(fail(error))


if __name__ == "__main__":
    main()
