"""What the command line logs: one line a record, redacted, at the level asked for, and nothing left behind."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading

import pytest

from tickloom.actors.pressure.events import FlowYielded, LimitChanged, OverflowBegan, OverflowEnded
from tickloom.config.settings import Settings
from tickloom.config.sources import load
from tickloom.messages.reports import Health
from tickloom.scripts.logs import WAITING, log_event, log_health, logging_to_stderr
from tickloom.supervision.events import (
    BreakerChanged,
    Event,
    Failure,
    IntensityExceeded,
    Quarantine,
    Restarting,
    Started,
)

PATH = "/pipeline/bars/1s"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"


def settings(**overrides: object) -> Settings:
    return load(overrides={key.replace("__", "."): value for key, value in overrides.items()}, env={}).settings


def test_a_record_is_a_line_with_time_level_and_logger(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr(settings()):
        logging.getLogger("some.library").warning("it is %s", "late")
        logging.getLogger("some.library").debug("nobody asked")
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning some\.library: it is late\n", capsys.readouterr().err)


def test_as_json_it_is_one_object_a_line_traceback_included(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr(settings(logging__json=True, logging__level="debug")):
        try:
            raise ZeroDivisionError("by hand")
        except ZeroDivisionError:
            logging.getLogger("x").exception("it broke")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["level"], record["logger"], record["message"]) == ("error", "x", "it broke")
    assert record["exception"].endswith("ZeroDivisionError: by hand")


@pytest.mark.parametrize("as_json", [True, False])
def test_tokens_are_masked_unless_the_flag_is_off(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def said(**overrides: object) -> str:
        with logging_to_stderr(settings(logging__json=as_json, **overrides)):
            try:
                raise ValueError(f"refused: {JWT}")
            except ValueError:
                logging.getLogger("x").warning("GET /hub?access_token=%s", "canary-4711", exc_info=True)
        return capsys.readouterr().err

    masked = said()
    assert "canary" not in masked
    assert JWT not in masked
    assert "access_token=****" in masked
    assert JWT in said(flags__token_redaction=False)


def test_afterwards_logging_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with logging_to_stderr(settings(logging__level="debug")):
        assert root.level == logging.DEBUG
    assert (root.level, root.handlers) == before


def test_a_stream_that_is_not_read_holds_up_nobody_and_what_it_misses_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, begun, written = threading.Event(), threading.Event(), []

    class Unread(io.StringIO):
        def write(self, text: str) -> int:
            begun.set()
            assert reading.wait(10)
            written.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Unread())
    with logging_to_stderr(settings()):
        log = logging.getLogger("x")
        log.warning("the first")
        assert begun.wait(10)
        for number in range(WAITING + 7):
            log.warning("%d", number)
        reading.set()
    assert len(written) == WAITING + 1
    assert sum("tickloom: 7 lines of log were left out\n" in text for text in written) == 1


def test_without_standard_error_nothing_is_written_and_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    with logging_to_stderr(settings()):
        monkeypatch.setattr(sys, "stderr", None)
        logging.getLogger("x").warning("is anybody there?")


@pytest.mark.parametrize(
    ("event", "level", "words"),
    [
        (
            Failure(path=PATH, at_ns=1, epoch=2, phase="fold", cause=ValueError("bad"), traceback_text=""),
            "ERROR", "failed (fold): ValueError: bad",
        ),
        (Restarting(path=PATH, at_ns=1, epoch=2, attempt=0, delay=0.05), "WARNING", "starts again in 0.05 s (attempt 1)"),
        (
            BreakerChanged(path=PATH, at_ns=1, before="closed", after="open", cause="5 failures"),
            "WARNING", "breaker from closed to open: 5 failures",
        ),
        (
            IntensityExceeded(path="/pipeline", at_ns=1, child="1s", intensity=10, period=60.0),
            "ERROR", "gives up: more than 10 restarts in 60 s, the last of 1s",
        ),
        (Quarantine(path=PATH, at_ns=1, epoch=2, count=3, cause="bad"), "WARNING", "3 messages quarantined: bad"),
        (Started(path=PATH, at_ns=1, epoch=1), "DEBUG", "started"),
        (
            OverflowBegan(path=PATH, at_ns=1, capacity=256, account="3 merged"),
            "WARNING", "mailbox of 256 messages overflows: 3 merged",
        ),
        (OverflowEnded(path=PATH, at_ns=1, seconds=2.0, account="9 merged"), "INFO", "overflow over after 2.0 s: 9 merged"),
        (
            LimitChanged(path=PATH, at_ns=1, limit="mailbox", before="1 times", after="2 times", cause="it overflows"),
            "INFO", "mailbox from 1 times to 2 times: it overflows",
        ),
        (FlowYielded(path=PATH, at_ns=1, flow="depth", back=False, cause="90% used"), "INFO", "gives way: depth (90% used)"),
    ],
)  # fmt: skip
def test_supervision_is_told_by_what_went_wrong(
    event: Event, level: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        log_event(event)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [(level, f"{event.path} {words}")]


@pytest.mark.parametrize(
    ("health", "level", "words"),
    [
        (Health("healthy"), "INFO", "healthy"),
        (Health("unhealthy", ("market hub is down", "no token")), "WARNING", "unhealthy: market hub is down; no token"),
    ],
)
def test_health_is_told_with_its_reasons(
    health: Health, level: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        log_health(health)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [(level, words)]
