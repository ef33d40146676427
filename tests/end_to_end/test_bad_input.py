"""What is wrong is said in one line, with the documented exit code, and nothing half-done is left.

All of these are processes, because exit codes, streams and what is left on a disk are theirs. They run a few at a time,
ahead of the tests that look at them.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import tickloom
from tickloom.actors.recorder.care import verify

USAGE, AUTHENTICATION, FEED_LOST, DAMAGED = 2, 3, 4, 5
TICKS = 150_000
CSV = "time,price,size,side\n2025-11-21T14:30:00Z,100.25,1,buy\n2025-11-21T14:30:01Z,100.50,2,sell\n"


class Case(NamedTuple):
    """A command that cannot be done, its exit code, and words of its complaint. `files` are there before."""

    arguments: str
    code: int
    words: str
    files: Mapping[str, str] = {}
    account: bool = False
    env: Mapping[str, str] = {}


LIVE = "live CON.F.US.MNQ.Z25 --record log --out out --seconds 1 --json"
IMPORT = "import ticks.csv --log log --contract X --json"

CASES = {
    "an unknown option": Case("demo --sekonds 3", USAGE, "no such option: --sekonds"),
    "an unknown contract": Case(
        "live CON.F.US.MNQ.Z99 --record log --out out", USAGE, "the gateway has CON.F.US.MNQ.Z25", account=True
    ),
    "a wrong key": Case(
        LIVE, AUTHENTICATION, "check PROJECT_X_USERNAME and PROJECT_X_API_KEY", account=True,
        env={"PROJECT_X_API_KEY": "canary-key-4711"},
    ),
    "no credentials": Case(LIVE, AUTHENTICATION, "set PROJECT_X_USERNAME and PROJECT_X_API_KEY"),
    "a bad timeframe": Case(LIVE + " --timeframes 7x", USAGE, "--timeframes: session.timeframes: timeframe '7x' is unknown: did you mean '6m'?", account=True),
    "an output below a file": Case(
        LIVE + " --out notes.txt/out", USAGE, "notes.txt is a file", {"notes.txt": "mine"}, account=True
    ),
    "an output where nothing can be made": Case(LIVE + " --out /proc/tickloom", USAGE, "/proc/tickloom", account=True),
    "settings that are no TOML": Case(
        "live --config s.toml", USAGE, "s.toml, line 1, column 9: not valid TOML", {"s.toml": "[session\n"}
    ),
    "an unknown key in the settings": Case(
        "config check", USAGE, "line 2: session.timeframe is unknown: did you mean 'session.timeframes'?",
        {"tickloom.toml": '[session]\ntimeframe = ["1s"]\n'},
    ),
    "a row that cannot be read": Case(
        IMPORT, USAGE, "ticks.csv, line 3, column 'price': '100.5O' stands where a number is wanted",
        {"ticks.csv": CSV.replace("100.50", "100.5O")},
    ),
    "a column that is not there": Case(
        IMPORT + " --columns time=time,price=last,size=size", USAGE, "there is no column 'last' for price",
        {"ticks.csv": CSV},
    ),
    "no log to replay": Case("replay log", USAGE, "log"),
    "a file that is no log": Case("replay 1.arrows", DAMAGED, "is no segment", {"1.arrows": "mine" * 100}),
    "a speed that is none": Case("replay log --speed fast", USAGE, "--speed fast: write max, or a number above 0"),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(
    launch: Callable[..., Any], account: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[tuple[Any, Path]]]]:
    """What becomes of each case: the ended command, and the folder it ran in."""

    def attempt(name: str) -> tuple[Any, Path]:
        case = CASES[name]
        folder = tmp_path_factory.mktemp("case")
        for path, content in case.files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(content)
        command = launch(folder, *case.arguments.split(), **((account if case.account else {}) | dict(case.env)))
        command.finish()
        return command, folder

    with ThreadPoolExecutor(3) as pool:
        yield {name: pool.submit(attempt, name) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_is_refused_in_one_line_and_leaves_nothing(name: str, outcomes: dict[str, Future[tuple[Any, Path]]]) -> None:
    command, folder = outcomes[name].result()
    case = CASES[name]
    assert command.process.returncode == case.code, command.err
    assert len(command.complaints) == 1, command.err
    assert case.words in command.complaints[0]
    # beside the complaint there is at most a line of progress, and nothing is taken for a result
    assert (len(command.err) <= 2, command.out) == (True, [])
    left = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert {path: found.read_text() for path, found in left.items()} == dict(case.files)
    assert "canary-key-4711" not in "".join(command.err)


@pytest.fixture(scope="module")
def log(launch: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The one segment of a good log, in several batches."""
    folder = tmp_path_factory.mktemp("good")
    rows = (f"{1_763_735_400_000 + n},{100 + n % 7 / 4},{n % 3}" for n in range(TICKS))
    (folder / "ticks.csv").write_text("time,price,size\n" + "\n".join(rows) + "\n")
    report = launch(folder, *IMPORT.split()).result()
    assert report["ticks"] == TICKS
    (segment,) = (folder / "log").glob("*.arrows")
    return segment.read_bytes()


@pytest.fixture
def damaged(log: bytes, tmp_path: Path) -> Path:
    """A log with one bit turned in the middle of it."""
    folder = tmp_path / "log"
    folder.mkdir()
    broken = bytearray(log)
    broken[len(broken) // 2] ^= 4
    (folder / "00000001.arrows").write_bytes(broken)
    return folder


def test_a_damaged_log_is_not_replayed(damaged: Path, tmp_path: Path, start: Callable[..., Any]) -> None:
    command = start("replay", "log", "--json", "--out", "out")
    assert (command.finish(), command.out) == (DAMAGED, [])
    assert len(command.complaints) == 1
    assert "`tickloom log recover log` saves the rest" in command.complaints[0]
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_a_damaged_log_is_recovered_and_then_replayed(damaged: Path, start: Callable[..., Any]) -> None:
    assert start("log", "recover", "log", "--json").result()["segments"] == 1
    assert (damaged / "00000001.arrows.damaged").exists()
    assert verify(damaged).whole
    replayed = tickloom.replay(damaged, timeframes=["1m"]).summary
    assert 0 < replayed.ticks < TICKS
    assert (replayed.gaps, replayed.lost) == (1, 0)


def test_nobody_answers_where_the_gateway_should_be(
    account: dict[str, str], tmp_path: Path, start: Callable[..., Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    command = start(*LIVE.split(), **(account | {"TICKLOOM__GATEWAY__API_URL": address}))
    assert command.finish() == FEED_LOST
    assert command.complaints == [f"tickloom: {address}/api/Auth/loginKey cannot be reached: Connection refused"]
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_not_fought_over(start: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = start("gateway", "--port", port)
        assert (command.finish(), command.out) == (USAGE, [])
    assert len(command.complaints) == 1
    assert f"127.0.0.1:{port}: address already in use" in command.complaints[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_result_that_cannot_be_written_is_said_with_what_to_do(
    clean_environment: dict[str, str], tmp_path: Path
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tickloom", "config", "show"],
            cwd=tmp_path, env=clean_environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=50,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        USAGE, "tickloom: standard output: no space left on device: free some space, or write elsewhere\n"
    )  # fmt: skip


def test_a_disk_that_refuses_is_said_at_the_end_with_what_is_missing(
    account: dict[str, str], clean_environment: dict[str, str], tmp_path: Path
) -> None:
    # no file above 8 kB: the log fills up within a second, as on a full disk
    limited = ["sh", "-c", 'ulimit -f 16 && exec "$@"', "sh", sys.executable, "-m", "tickloom"]
    done = subprocess.run(
        [*limited, "live", "CON.F.US.MNQ.Z25", "--record", "log", "--seconds", "2", "--json"],
        cwd=tmp_path, env=clean_environment | account, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == USAGE
    complaints = [line for line in done.stderr.splitlines() if line.startswith("tickloom: ")]
    assert len(complaints) == 1, done.stderr
    told = re.fullmatch(r"tickloom: the log in log lacks (\d+) items: the disk refused them", complaints[0])
    assert told is not None, complaints
    assert int(told[1]) > 0
    # the bars have lost nothing, and what is in the log is whole
    assert json.loads(done.stdout)["lost"] == 0
    assert verify(tmp_path / "log").whole


def test_a_log_has_one_writer(account: dict[str, str], start: Callable[..., Any], tmp_path: Path) -> None:
    live = ("live", "CON.F.US.MNQ.Z25", "--record", "log", "--json")
    first = start(*live, **account)
    first.wait_for("the feed is up")
    rivals = {
        "live": start(*live, **account),
        "compact": start("log", "compact", "log"),
    }
    for rival in rivals.values():
        assert (rival.finish(), rival.out) == (DAMAGED, [])
        assert len(rival.complaints) == 1
        assert f"log is being written by process {first.process.pid}" in rival.complaints[0]
    # whoever only reads is welcome, and gets what is whole so far
    assert tickloom.replay(tmp_path / "log").summary.lost == 0
    first.signal(2)
    assert first.result()["lost"] == 0
