"""Ctrl-C, SIGTERM, SIGKILL and a reader that goes away, at any time: what was received is worked off, nothing is left.

The tests wait for what a process says, or for what the system says of it, and then send the signal.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import tickloom
from tickloom.actors.recorder.care import inspect
from tickloom.actors.recorder.importing.ticks import import_ticks
from tickloom.actors.recorder.reader import LogReader

INT, TERM = int(signal.SIGINT), int(signal.SIGTERM)
EMULATOR = re.compile(r"gateway emulator at (http://\S+) \(process (\d+)\)")

Start = Callable[..., Any]


def emulator_of(command: Any) -> psutil.Process:
    """The emulator of a demo."""
    match = EMULATOR.search(command.wait_for("gateway emulator at"))
    assert match is not None
    return psutil.Process(int(match[2]))


def gone(*processes: psutil.Process) -> bool:
    """Whether the processes end by themselves."""
    return psutil.wait_procs(processes, timeout=20)[1] == []


def test_a_demo_is_drained_closed_and_summed_up(start: Start, tmp_path: Path) -> None:
    demo = start("demo", "--seconds", "0", "--json", "--dir", "made")
    emulator = emulator_of(demo)
    demo.wait_for("the feed is up")
    demo.signal(INT)
    summary = demo.result()
    assert (summary["lost"], summary["restarts"]) == (0, 0)
    assert gone(emulator)
    assert sum("stopping" in line for line in demo.err) == 1
    assert tickloom.replay(tmp_path / "made" / "log").digest == summary["digest"]


def test_a_demo_that_has_only_just_begun_ends_in_order_as_well(start: Start, tmp_path: Path) -> None:
    demo = start("demo", "--json", "--dir", "made")
    emulator = emulator_of(demo)
    demo.signal(INT)
    summary = demo.result()
    assert summary["lost"] == 0
    assert gone(emulator)
    # either it had begun, and closed its log, or it had not, and made nothing
    assert (summary["log"] is not None) == (tmp_path / "made" / "log").exists()


def test_before_the_command_is_known_an_interrupt_is_one_line(start: Start) -> None:
    demo = start("demo")
    wait_until_caught(demo.process.pid, TERM)
    demo.signal(TERM)
    code = demo.finish()
    # this early it is imports that are broken off; a slow test machine may be past them
    assert code in (0, 128 + TERM), "\n".join(demo.err)
    assert not any("Traceback" in line for line in demo.err)
    if code:
        assert demo.err == ["tickloom: interrupted; nothing was left half-done"]


def wait_until_caught(pid: int, number: int) -> None:
    """Wait until a process has a handler of its own for a signal."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
        assert caught is not None
        begun = b"demo" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")  # before that it is a copy of us
        if begun and int(caught[1], 16) >> (number - 1) & 1:
            return
        os.sched_yield()
    raise AssertionError("it never caught the signal")


def test_a_gateway_that_does_not_answer_is_not_waited_for(
    start: Start, account: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        live = start(
            "live",
            "CON.F.US.EP.Z25",
            "--record",
            "log",
            "--json",
            **(account | {"TICKLOOM__GATEWAY__API_URL": address}),
        )
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(4) == b"POST"
            live.signal(INT)
            summary = live.result()
    assert (summary["ticks"], summary["log"]) == (0, None)
    assert list(tmp_path.iterdir()) == []


def test_a_live_session_ends_on_sigterm_with_its_files_complete(
    start: Start, account: dict[str, str], tmp_path: Path
) -> None:
    live = start(
        "live", "CON.F.US.EP.Z25", "--timeframes", "1s", "--record", "log", "--out", "out", "--json", **account
    )
    live.wait_for("the feed is up")
    live.signal(TERM)
    summary = live.result()
    assert summary["lost"] == 0
    assert tickloom.replay(tmp_path / "log", verify=True).digest == summary["digest"]
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith((".tmp", ".partial"))]


def test_a_replay_that_is_interrupted_sums_up_what_it_did(start: Start, tmp_path: Path) -> None:
    (tmp_path / "ticks.csv").write_text(
        "time,price,size\n" + "".join(f"{1_763_735_400 + 60 * n},100,1\n" for n in range(99))
    )
    assert import_ticks(tmp_path / "ticks.csv", tmp_path / "log", "X").ticks == 99
    replay = start("replay", "log", "--speed", "1", "--json")
    replay.wait_for("replaying log")
    replay.signal(INT)
    summary = replay.result()
    assert (summary["lost"], summary["ticks"] < 99) == (0, True)


def wait_for_something_written(log: Path) -> None:
    """Wait until there is something to read: one that ends before that leaves nothing."""
    while not any(log.glob("*.arrows")) or LogReader(log, keep_index=False).last_seq is None:
        os.sched_yield()


def test_a_second_ctrl_c_leaves_at_once(start: Start, tmp_path: Path) -> None:
    demo = start("demo", "--seconds", "0", "--json", "--dir", "made")
    emulator = emulator_of(demo)
    demo.wait_for("the feed is up")
    wait_for_something_written(tmp_path / "made" / "log")
    emulator.suspend()  # which now neither sends nor says goodbye
    try:
        demo.signal(INT)
        demo.wait_for("once more to leave at once")
        while demo.process.poll() is None:
            demo.signal(INT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                demo.process.wait(0.1)
    finally:
        emulator.resume()
    assert demo.finish() == 128 + INT
    assert demo.err[-1] == "tickloom: left at once: the log ends where it was last written"
    assert gone(emulator)
    assert tickloom.replay(tmp_path / "made" / "log").summary.lost == 0


def test_a_demo_that_is_killed_leaves_no_emulator_and_a_log_that_reads(start: Start, tmp_path: Path) -> None:
    demo = start("demo", "--seconds", "0", "--dir", "made")
    emulator = emulator_of(demo)
    demo.wait_for("the feed is up")
    wait_for_something_written(tmp_path / "made" / "log")
    demo.signal(signal.SIGKILL)
    assert demo.finish() == -signal.SIGKILL
    assert gone(emulator)
    assert tickloom.replay(tmp_path / "made" / "log").summary.lost == 0


@pytest.mark.parametrize("arguments", [["--help"], ["config", "show"]])
def test_a_reader_that_has_gone_is_no_error(
    arguments: list[str], tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tickloom", *arguments],
        cwd=tmp_path, env=clean_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0, errors
    assert "Traceback" not in errors
    assert "Broken" not in errors


def test_a_demo_whose_progress_nobody_reads_closes_its_log_and_ends(
    tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tickloom", "demo", "--seconds", "0", "--dir", "made"],
        cwd=tmp_path, env=clean_environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert EMULATOR.search(process.stdout.readline())
    process.stdout.close()  # as `| head -1` does
    assert process.wait(60) == 0
    segments = inspect(tmp_path / "made" / "log").segments
    assert [segment.sealed for segment in segments] == [True]


def test_the_gateway_says_where_it_is_and_stops_on_a_signal(start: Start) -> None:
    gateway = start("gateway", "--contracts", "CON.F.US.EP.Z25")
    assert gateway.wait_for_result()["contracts"] == ["CON.F.US.EP.Z25"]
    gateway.signal(INT)
    assert gateway.finish() == 0
