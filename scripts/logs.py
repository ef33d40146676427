"""What the command line logs on standard error: the loggers of all libraries, and what supervision and health tell.

Only the command line does this; an embedding app configures logging itself. A record is redacted before it is written,
unless the flag `token_redaction` is off.

Records are written by a thread of their own: a terminal that is not read must hold up that thread, and no actor. What
does not fit into its queue meanwhile is left out, and counted. The stream is looked up for each record, because the
live view puts its own in place of it while it is on the terminal.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

import msgspec

from tickloom.actors.clock.changes import ClockChanged
from tickloom.actors.pressure.events import FlowYielded, LimitChanged, OverflowBegan, OverflowEnded
from tickloom.config.secrets import RedactingFilter
from tickloom.config.settings import Settings
from tickloom.messages.reports import Health
from tickloom.supervision import Event
from tickloom.supervision.events import (
    BreakerChanged,
    Failure,
    IntensityExceeded,
    Overrun,
    Quarantine,
    Restarting,
    SubscriberDropped,
)

_supervision = logging.getLogger("tickloom.supervision")
_health = logging.getLogger("tickloom.health")

WAITING: Final = 1024
"""Records held for a stream that takes none."""

LAST_S: Final = 1.0
"""Longest the last records may take to be written."""


@contextmanager
def logging_to_stderr(settings: Settings) -> Iterator[None]:
    """Within the block, log as the settings say: `[logging] level json`, and `[flags] token_redaction`."""
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if settings.logging.json else TextFormatter())
    if settings.flags.token_redaction:
        handler.addFilter(RedactingFilter())
    root = logging.getLogger()
    before = root.level
    root.setLevel(settings.logging.level.upper())
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()


class StderrHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is just now, in its own thread."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[str | None] = queue.Queue(WAITING)
        self._left_out = 0
        self._writer = threading.Thread(target=self._write, name="tickloom-log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Let one record be written; a reader that has gone misses it."""
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - as logging has it: a record that cannot be said must not end a session
            self.handleError(record)
            return
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self._left_out += 1

    def close(self) -> None:
        """Write what waits, as far as that goes."""
        with suppress(queue.Full):
            self._lines.put(None, timeout=LAST_S)
            self._writer.join(LAST_S)
        super().close()

    def _write(self) -> None:
        said = 0
        while (text := self._lines.get()) is not None:
            missing, said = self._left_out - said, self._left_out
            told = f"{text}\n" + (f"tickloom: {missing:,} lines of log were left out\n" if missing else "")
            stream = sys.stderr
            if stream is not None:
                with suppress(OSError, ValueError):
                    stream.write(told)
                    stream.flush()


class TextFormatter(logging.Formatter):
    """`20:56:39 warning tickloom.health: …`, in UTC as everything else."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it if there is one."""
        at = datetime.fromtimestamp(record.created, UTC)
        line = f"{at:%H:%M:%S} {record.levelname.lower()} {record.name}: {record.getMessage()}"
        told = _traceback(self, record)
        return f"{line}\n{told}" if told else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `at level logger message`, and `exception` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told = _traceback(self, record)
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return msgspec.json.encode(entry | ({"exception": told} if told else {})).decode()


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_info and not record.exc_text:
        return formatter.formatException(record.exc_info)
    return record.exc_text or ""


def log_event(event: Event) -> None:
    """Log what supervision tells: what went wrong, and what was done about it. Ordinary starts and ends at debug."""
    level, words = logging.DEBUG, type(event).__name__.lower()
    match event:
        case Failure(phase=phase, cause=cause):
            level, words = logging.ERROR, f"failed ({phase}): {type(cause).__name__}: {cause}"
        case Restarting(delay=delay, attempt=attempt):
            level, words = logging.WARNING, f"starts again in {delay:.2f} s (attempt {attempt + 1})"
        case BreakerChanged(before=before, after=after, cause=why):
            level, words = logging.WARNING, f"breaker from {before} to {after}: {why}"
        case IntensityExceeded(child=child, intensity=intensity, period=period):
            level = logging.ERROR
            words = f"gives up: more than {intensity} restarts in {period:g} s, the last of {child}"
        case Overrun(doing=doing):
            level, words = logging.ERROR, f"took too long to {doing} and was fenced off"
        case Quarantine(count=count, cause=why):
            level, words = logging.WARNING, f"{count} messages quarantined: {why}"
        case OverflowBegan(capacity=capacity, account=account):
            level, words = logging.WARNING, f"mailbox of {capacity} messages overflows: {account}"
        case OverflowEnded(seconds=seconds, account=account):
            level, words = logging.INFO, f"overflow over after {seconds:.1f} s: {account}"
        case LimitChanged(limit=limit, before=before, after=after, cause=why):
            level, words = logging.INFO, f"{limit} from {before} to {after}: {why}"
        case FlowYielded(flow=flow, back=back, cause=why):
            level, words = logging.INFO, f"{'in full again' if back else 'gives way'}: {flow} ({why})"
        case ClockChanged(words=told):
            level, words = logging.INFO, told
        case SubscriberDropped(failures=failures):
            level, words = logging.WARNING, f"is told nothing any more after {failures} failures in a row"
    _supervision.log(level, "%s %s", event.path, words)


def log_health(health: Health) -> None:
    """Log a transition of health."""
    level = logging.WARNING if health.status == "unhealthy" else logging.INFO
    why = f": {'; '.join(health.reasons)}" if health.reasons else ""
    _health.log(level, "%s%s", health.status, why)
