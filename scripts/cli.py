"""The command line: `tickloom COMMAND`. Thin: parses, calls the face, prints; errors become one line and an exit code.

Exit codes: 0 done, 2 usage or configuration, 3 authentication, 4 feed lost for good, 5 damaged log; 1 is a defect of
ours, and 128 + n a command that was broken off by signal n. With `--json` the last line on stdout is one JSON object;
progress goes to stderr, bars only to a terminal.

Signals are taken before anything heavy is imported, so that a Ctrl-C in the first second leaves no traceback.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from tickloom.scripts.arenas import few_heaps
from tickloom.scripts.signals import INTERRUPTED, Signalled, leave_on_signals, raise_on_signals, tell

NAME: Final = "tickloom"
COMPLETION: Final = "_TICKLOOM_COMPLETE"
"""What a shell sets when it wants to complete a command line."""

NAMED_SHELL: Final = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"
"""With this typer's completion options take the shell's name. Otherwise they guess it from the parent processes, and
know no shell where there is none, as in a container's build or a service."""

SWITCH_S: Final = 0.0005
"""A GIL hand-over can cost the whole interval; it belongs to the app, and here we are the app."""


def main() -> None:
    """Run the command line and leave the process with the documented exit code."""
    try:
        raise_on_signals()
        sys.setswitchinterval(SWITCH_S)
        few_heaps()
        code = run()
        leave_on_signals()
    except KeyboardInterrupt as interrupt:
        # with nothing but what is imported already: the interrupt may have come in the middle of an import
        tell("interrupted; nothing was left half-done")
        # and now: whatever a thread may still be busy with, the caller wants his terminal back
        os._exit(interrupt.code if isinstance(interrupt, Signalled) else INTERRUPTED)
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run one command in this process and return its exit code. `arguments` are those of the process by default."""
    import typer

    from tickloom.scripts import output
    from tickloom.scripts.commands import make_app

    os.environ.setdefault(NAMED_SHELL, "1")
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app = make_app(NAME, _typed() if COMPLETION in os.environ else given)
        if COMPLETION in os.environ:
            app(prog_name=NAME)  # a shell wants words to complete; typer answers and leaves
        # by hand, because typer's own `main` takes interrupts, broken pipes and errors for itself
        command = typer.main.get_command(app)
        with command.make_context(NAME, given) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except (output.ReaderGone, BrokenPipeError):  # the latter is typer's, in the middle of a help text
        output.silence()
        return 0
    except SystemExit as end:  # and this is rich's, likewise
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return 0
    except Exception as error:  # noqa: BLE001 - the one place where failures end: one line, one code
        # a parser's error is typer's own or click's, depending on the version
        return _usage(error) if hasattr(error, "format_message") else output.fail(error)
    return 0


def _typed() -> list[str]:
    """Return what stands behind our name on the line that a shell wants completed: bash's, or another's."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return line.split()[1:]


def _usage(error: Any) -> int:
    from tickloom.scripts import output

    words = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else NAME
    if words:  # without any, its help was printed already
        output.complain(f"{words[:1].lower()}{words[1:]}; `{command} --help` shows how")
    return output.USAGE


if __name__ == "__main__":
    main()
