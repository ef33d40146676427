"""What the command line prints: one JSON object or a readable summary on stdout, everything else on stderr."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import msgspec

from tickloom.actors.connection.errors import AuthenticationRefused, GatewayError
from tickloom.actors.recorder.errors import DamagedLog, LogError
from tickloom.config.credentials import CredentialsError
from tickloom.config.secrets import redact
from tickloom.errors import TickloomError

USAGE, AUTHENTICATION, FEED_LOST, DAMAGED = 2, 3, 4, 5


def exit_code(error: BaseException) -> int:
    """Return the documented exit code of an error; 1 for what nobody foresaw."""
    if isinstance(error, TickloomError):
        return error.exit_code
    if isinstance(error, AuthenticationRefused | CredentialsError):
        return AUTHENTICATION
    if isinstance(error, GatewayError):
        return FEED_LOST
    if isinstance(error, DamagedLog):
        return DAMAGED
    if isinstance(error, LogError | OSError | ValueError):
        return USAGE
    return 1


def fail(error: BaseException) -> int:
    """Print the error as one line on stderr and return its exit code; `TICKLOOM_DEBUG=1` adds the traceback."""
    code = exit_code(error)
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.filename:
        words = f"{error.filename}: {(error.strerror or words).lower()}"
    if code == 1:
        words = f"{type(error).__name__}: {words} (a defect; TICKLOOM_DEBUG=1 shows where)"
    if os.environ.get("TICKLOOM_DEBUG"):
        logging.getLogger("tickloom").error("command failed", exc_info=error)
    print(f"tickloom: {redact(words)}", file=sys.stderr)  # noqa: T201
    return code


def say(text: str) -> None:
    """Print progress on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def result(value: Any, *, as_json: bool, text: str | None = None) -> None:
    """Print the result on stdout: one JSON line, or `text`, or the value's fields one a line."""
    if as_json:
        print(msgspec.json.encode(value).decode(), flush=True)  # noqa: T201
        return
    if text is None:
        fields: dict[str, Any] = msgspec.to_builtins(value)
        width = max(map(len, fields))
        text = "\n".join(f"{name:<{width}}  {_shown(item)}" for name, item in fields.items())
    print(text, flush=True)  # noqa: T201


def _shown(item: Any) -> str:
    if isinstance(item, float):
        return f"{item:,.3f}" if abs(item) < 1000 else f"{item:,.0f}"
    if isinstance(item, int) and not isinstance(item, bool):
        return f"{item:,}"
    return "-" if item is None else str(item)
