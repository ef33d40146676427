"""Errors are one line and an exit code, results are JSON or readable, and a reader may go."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tickloom.actors.connection.errors import (
    AuthenticationRefused,
    CertificateRefused,
    CredentialsRefused,
    GatewayUnreachable,
    InsecureAddress,
)
from tickloom.actors.recorder.errors import (
    DamagedLog,
    ForeignFile,
    ImportFault,
    LogInUse,
    LogWriteError,
    NewerFormat,
    NoLog,
)
from tickloom.config.calendars import CalendarError
from tickloom.config.credentials import CredentialsError, NoCredentialsError
from tickloom.config.fields import SettingsError
from tickloom.config.timeframes import TimeframeError
from tickloom.errors import AuthenticationError, Cancelled, FeedLostError, LogDamagedError, TickloomError, UsageError
from tickloom.scripts import output

LOG = Path("log/00000001.arrows")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (SettingsError("x"), 2),
        (TimeframeError("x"), 2),
        (CalendarError("x"), 2),
        (InsecureAddress("x"), 2),
        (OSError("x"), 2),
        (NoLog("x"), 2),
        (LogInUse(LOG, 7), 5),
        (ImportFault("x"), 2),
        (LogWriteError(LOG, OSError(28, "No space left on device"), kept=1, lost_frames=0), 2),
        (AuthenticationError("x"), 3),
        (AuthenticationRefused("x"), 3),
        (CredentialsRefused("x"), 3),
        (CredentialsError("x"), 3),
        (NoCredentialsError("x"), 3),
        (FeedLostError("x"), 4),
        (GatewayUnreachable("x"), 4),
        (CertificateRefused("x"), 4),
        (LogDamagedError("x"), 5),
        (DamagedLog(LOG, 1, 2, 3, "x"), 5),
        (ForeignFile("x"), 5),
        (NewerFormat("x"), 5),
        (Cancelled("x"), 130),
        (TickloomError("x"), 1),
        (ValueError("x"), 1),
        (RuntimeError("x"), 1),
    ],
)
def test_each_error_has_its_documented_code(error: Exception, code: int) -> None:
    assert output.exit_code(error) == code


def test_an_error_is_one_line_on_stderr_and_shows_no_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.fail(UsageError("the answer was\n  Authorization: Bearer abcdefghijkl\n  and no more")) == 2
    printed = capsys.readouterr()
    assert printed.err == "tickloom: the answer was Authorization: Bearer **** and no more\n"
    assert printed.out == ""


def test_an_error_of_the_system_names_its_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "there" / "not").read_text()
    assert output.fail(caught.value) == 2
    assert capsys.readouterr().err == f"tickloom: {tmp_path}/there/not: no such file or directory: check the path\n"


def test_what_nobody_foresaw_is_called_a_defect(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.fail(KeyError("x")) == 1
    assert capsys.readouterr().err == "tickloom: KeyError: 'x' (a defect: TICKLOOM_DEBUG=1 shows where)\n"


def test_a_result_is_one_line_of_json_or_columns(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"log": Path("log"), "ticks": 1_234_567, "share": 0.25, "seconds": 1234.5, "out": None, "whole": True}
    output.result(value, as_json=True)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert json.loads(line) == value | {"log": "log"}
    output.result(value, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "log      log",
        "ticks    1,234,567",
        "share    0.250",
        "seconds  1,234",
        "out      -",
        "whole    yes",
    ]


def test_tables_and_lists_take_a_line_an_entry() -> None:
    values = {"contracts": {"ES": 3, "MNQ": 12_000}, "segments": ["one", "two"], "none": {}}
    assert output.fields(values).splitlines() == [
        "contracts  ES   3",
        "           MNQ  12,000",
        "segments   one",
        "           two",
        "none       -",
    ]


def test_sizes_are_in_the_unit_that_suits() -> None:
    assert [output.size(n) for n in (0, 999, 1000, 1_500_000, 2 * 10**9, 3 * 10**12, 5 * 10**15)] == [
        "0 bytes", "999 bytes", "1.0 kB", "1.5 MB", "2.0 GB", "3.0 TB", "5000.0 TB",
    ]  # fmt: skip


def test_who_prints_is_told_when_the_reader_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    # unbuffered, or the line would be tried again when the file is closed
    with os.fdopen(write, "wb", buffering=0) as raw:
        monkeypatch.setattr(sys, "stderr", _Text(raw))
        with pytest.raises(output.ReaderGone):
            output.say("is anybody there?")
        output.complain("this goes nowhere, and that is all right")


def test_streams_that_were_closed_from_the_start_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    output.say("nothing")
    output.result({"ticks": 1}, as_json=True)


class _Text:
    """A text stream over an unbuffered file."""

    def __init__(self, raw: object) -> None:
        self._raw = raw

    def write(self, text: str) -> int:
        return self._raw.write(text.encode())  # type: ignore[attr-defined,no-any-return]

    def flush(self) -> None:
        """Nothing is kept back."""
