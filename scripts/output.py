"""What the command line prints: one JSON object or a readable summary on stdout, everything else on stderr.

A reader that has gone (`| head`) is told apart from a defect: whoever prints gets `ReaderGone`, cleans up as after any
error, and the command ends in silence. So is one that does not read (Ctrl-S on the terminal): results wait for it, but
not past a Ctrl-C, and progress is left out.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import textwrap
import time
from contextlib import suppress
from typing import Any, Final, TextIO

import msgspec

from tickloom.actors.connection.failures import AuthenticationRefused, GatewayError, InsecureAddress
from tickloom.actors.recorder.errors import LogError, LogWriteError
from tickloom.config.calendars import CalendarError
from tickloom.config.credentials import CredentialsError
from tickloom.config.fields import SettingsError
from tickloom.config.secrets import redact
from tickloom.config.timeframes import TimeframeError
from tickloom.errors import TickloomError
from tickloom.scripts import signals
from tickloom.scripts.writing import has_room, unwaiting, write_some

DEFECT, USAGE, AUTHENTICATION, FEED_LOST, DAMAGED = 1, 2, 3, 4, 5

_MENDABLE = (SettingsError, TimeframeError, CalendarError, InsecureAddress, LogWriteError, OSError)
"""What a person can put right by asking for something else. A `ValueError` as such is a defect, and says so."""


_REMEDIES: Final = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some of your quota, or write elsewhere",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place you may use, or ask for the right to",
    errno.EPERM: "choose a place you may use, or ask for the right to",
    errno.ENOENT: "check the path",
    errno.EMFILE: "allow this process more open files (ulimit -n)",
}
"""What to do about what the system refused."""

LOOK_S: Final = 0.1
"""How often a stream without room is looked at."""

PARTING_S: Final = 1.0
"""How long after a Ctrl-C a stream without room is still waited for."""


class ReaderGone(Exception):
    """Nobody reads what we print any more."""


def exit_code(error: BaseException) -> int:
    """Return the documented exit code of an error; 1 for what nobody foresaw."""
    if isinstance(error, TickloomError):
        return error.exit_code
    if isinstance(error, AuthenticationRefused | CredentialsError):
        return AUTHENTICATION
    if isinstance(error, GatewayError):
        return FEED_LOST
    if isinstance(error, _MENDABLE):
        return USAGE
    if isinstance(error, LogError):
        return error.exit_code
    return 1


def sentence(error: BaseException) -> str:
    """Return an error as one line without secrets."""
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        words = place + error.strerror.lower()
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        words += f": {_REMEDIES[error.errno]}"
    return redact(words)


def fail(error: BaseException) -> int:
    """Print the error as one line on stderr and return its exit code; `TICKLOOM_DEBUG=1` adds the traceback."""
    code = exit_code(error)
    words = sentence(error)
    if code == 1:
        words = f"{type(error).__name__}: {words} (a defect: TICKLOOM_DEBUG=1 shows where)"
    if os.environ.get("TICKLOOM_DEBUG"):
        logging.getLogger("tickloom").error("command failed", exc_info=error)
    complain(words)
    return code


def complain(words: str) -> None:
    """Print one line that says what was wrong, if there is anybody to read it."""
    with suppress(ReaderGone):  # the exit code says it as well
        say(f"tickloom: {words}")


def say(text: str) -> None:
    """Print progress on stderr.

    Raises:
        ReaderGone: nobody reads it any more.
    """
    _print(sys.stderr, text)


def progress(text: str) -> None:
    """Print progress on stderr, or leave it out if nobody reads at the moment.

    Raises:
        ReaderGone: nobody reads it any more.
    """
    descriptor = _descriptor(sys.stderr)
    if descriptor is None or has_room(descriptor, 0.0):
        say(text)


def result(value: Any, *, as_json: bool, text: str | None = None) -> None:
    """Print the result on stdout: one JSON line, or `text`, or the value's fields one a line.

    Raises:
        ReaderGone: nobody reads it any more.
    """
    if as_json:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    elif text is None:
        text = fields(msgspec.to_builtins(value, enc_hook=str))
    _print(sys.stdout, text)


def silence() -> None:
    """Let what is still in Python's buffers go nowhere: it would be tried again, and complained about, at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())


def fields(values: dict[str, Any]) -> str:
    """Return names and values as lines of two columns."""
    width = max(map(len, values), default=0)
    lines = []
    for name, item in values.items():
        first, *rest = shown(item).splitlines() or [""]
        lines += [f"{name:<{width}}  {first}", *(textwrap.indent(line, " " * (width + 2)) for line in rest)]
    return "\n".join(lines)


def shown(item: Any) -> str:
    """Return a value as people write it; a table takes a line for each of its entries."""
    match item:
        case None:
            return "-"
        case bool():
            return "yes" if item else "no"
        case float():
            return f"{item:,.3f}" if abs(item) < 1000 else f"{item:,.0f}"
        case int():
            return f"{item:,}"
        case dict():
            return fields(item) if item else "-"
        case list() | tuple():
            return "\n".join(each if isinstance(each, str) else json.dumps(each) for each in item) or "-"
    return str(item)


def size(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _print(stream: TextIO | None, text: str) -> None:
    if stream is None:  # closed by whoever started us
        return
    line = f"{text}\n"
    descriptor = _descriptor(stream)
    try:
        if descriptor is None:
            stream.write(line)
            stream.flush()
            return
        with unwaiting(descriptor) as own:
            _write(own, line.encode(stream.encoding or "utf-8", "backslashreplace"))
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        if stream is sys.stderr:
            raise ReaderGone from None  # where complaints go cannot be complained about
        raise OSError(error.errno, error.strerror, "standard output") from None


def _descriptor(stream: TextIO | None) -> int | None:
    """Return the descriptor of a stream that can keep its writer waiting: a terminal's or a pipe's."""
    if os.name != "posix" or stream is None or not any(stream is ours for ours in (sys.__stdout__, sys.__stderr__)):
        return None
    try:
        stream.flush()  # what others have written comes first
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _write(descriptor: int, line: bytes) -> None:
    """Write a line to somebody who reads it.

    Raises:
        ReaderGone: a Ctrl-C came while nobody read.
    """
    data = memoryview(line)
    patience: float | None = None
    while data:
        written = write_some(descriptor, data) if has_room(descriptor, LOOK_S) else 0
        data = data[written:]
        if written:
            patience = None
            continue
        time.sleep(LOOK_S)  # it may have said that it has room
        if not signals.asked():
            continue
        if patience is None:
            patience = time.monotonic() + PARTING_S
        elif time.monotonic() > patience:
            raise ReaderGone
