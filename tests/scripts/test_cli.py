"""The command line in this process: help, version, and what cannot be done, said in one line.

What needs a gateway, and what is left on a disk by commands that got further, is tested in `tests/end_to_end`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tickloom.scripts.cli import run
from tickloom.scripts.commands import MODULES

USAGE, AUTHENTICATION = 2, 3
ACCOUNT = {
    "PROJECT_X_USERNAME": "tester",
    "PROJECT_X_API_KEY": "key",
    "TICKLOOM__GATEWAY__API_URL": "http://127.0.0.1:9",
}
TICKS = "time,price,size,side\n2025-11-21T14:30:00Z,100.25,1,buy\n2025-11-21T14:30:01Z,100.50,2,sell\n"
LIVE = "live CON.F.US.MNQ.Z25 --record log --out out --seconds 1 --dashboard off"
IMPORT = "import ticks.csv --log log --contract X"

Said = tuple[int, list[str], list[str]]
"""Exit code, lines on stdout, lines on stderr."""


@pytest.fixture
def tickloom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run a command in an empty folder, with nothing of Tickloom's in the environment but what the test puts there."""
    for name in list(os.environ):
        if name.startswith(("TICKLOOM", "PROJECT_X")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def say(arguments: str, env: Mapping[str, str] = {}) -> Said:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        code = run(arguments.split())
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err.splitlines()

    return say


def test_version_is_one_line(tickloom: Callable[..., Said]) -> None:
    code, out, err = tickloom("--version")
    assert (code, err) == (0, [])
    assert len(out) == 1
    assert re.fullmatch(r"tickloom \d+\.\d+\.\d+\S*", out[0])


def test_help_names_every_command_and_no_command_is_told_what_there_is(tickloom: Callable[..., Said]) -> None:
    code, out, _ = tickloom("--help")
    assert code == 0
    assert all(re.search(rf"│ {command} ", "\n".join(out)) for command in MODULES)
    bare_code, bare_out, bare_err = tickloom("")
    assert (bare_code, bare_err) == (USAGE, [])
    assert [line for line in bare_out if line.strip()] == [line for line in out if line.strip()]


OF_GROUPS = [f"log {name}" for name in ("inspect", "verify", "recover", "compact", "export")]
OF_GROUPS += [f"config {name}" for name in ("init", "show", "check")]


@pytest.mark.parametrize("command", [*MODULES, *OF_GROUPS])
def test_help_of_each_command_has_an_example(command: str, tickloom: Callable[..., Said]) -> None:
    code, out, err = tickloom(f"{command} --help")
    assert (code, err) == (0, [])
    assert any(line.strip().startswith(f"tickloom {command}") for line in out), "\n".join(out)


class Case(NamedTuple):
    """A command that cannot be done, its exit code, and words of its complaint. `files` are there before."""

    arguments: str
    code: int
    words: str
    files: Mapping[str, str] = {}
    env: Mapping[str, str] = {}


CASES = {
    "an unknown command": Case("weave", USAGE, "no such command 'weave'; `tickloom --help` shows how"),
    "an unknown command of a group": Case("log mend x", USAGE, "'mend'; `tickloom log --help` shows how"),
    "a number that is none": Case("demo --seconds soon", USAGE, "--seconds"),
    "less than no time": Case("demo --seconds -1", USAGE, "--seconds"),
    "a missing argument": Case("replay", USAGE, "missing argument 'log'; `tickloom replay --help` shows how"),
    "no contract": Case("live --record log", USAGE, "name one, like", env=ACCOUNT),
    "half the credentials": Case(
        LIVE, AUTHENTICATION, "PROJECT_X_API_KEY is not: set both", env={"PROJECT_X_USERNAME": "tester"}
    ),
    "a log below a file": Case(
        LIVE + " --record notes.txt/log", USAGE, "notes.txt is a file", {"notes.txt": "mine"}, env=ACCOUNT
    ),
    "settings that do not exist": Case("live --config s.toml", USAGE, "s.toml does not exist"),
    "an unknown variable": Case(
        "config check", USAGE, "did you mean 'TICKLOOM__SESSION__TIMEFRAMES'?",
        env={"TICKLOOM__SESSION__TIMEFRAME": "1s"},
    ),
    "a settings file that is there": Case("config init", USAGE, "is there already", {"tickloom.toml": "# mine\n"}),
    "settings where no file can be made": Case("config init notes/s.toml", USAGE, "notes/s.toml: no such file"),
    "a row that is too short": Case(
        IMPORT, USAGE, "ticks.csv, line 4", {"ticks.csv": TICKS + "2025-11-21T14:30:02Z,100.50\n"}
    ),
    "a zone that is not there": Case(
        IMPORT + " --timezone Chicago", USAGE, "there is no zone 'Chicago'", {"ticks.csv": TICKS}
    ),
    "a calendar that is not there": Case(
        IMPORT + " --calendar cme_equities", USAGE, "did you mean 'cme_equity'?", {"ticks.csv": TICKS}
    ),
    "a date that is none": Case(IMPORT + " --date today", USAGE, "--date today: write it like", {"ticks.csv": TICKS}),
    "a step that is none": Case(IMPORT + " --tick-size 0", USAGE, "--tick-size: '0' is no step", {"ticks.csv": TICKS}),
    "a log that is there": Case(IMPORT, USAGE, "log is not empty", {"ticks.csv": TICKS, "log/mine.txt": "mine"}),
    "nothing to import": Case(IMPORT, USAGE, "ticks.csv: it cannot be read"),
    "no log to look at": Case("log inspect log", USAGE, "log is no directory"),
    "a folder without a log": Case("replay .", USAGE, "holds no log", {"notes.txt": "mine"}),
    "no speed at all": Case("replay log --speed 0", USAGE, "--speed 0: write max, or a number above 0"),
    "a speed without end": Case("replay log --speed inf", USAGE, "--speed inf: write max, or a number above 0"),
    "a time that is none": Case("replay log --from yesterday", USAGE, "--from yesterday: write a time like"),
    "a format that is not known": Case("log export log ticks.xls", USAGE, "name it *.parquet, *.csv or *.jsonl"),
    "plain text beyond this machine": Case(
        LIVE, USAGE, "the token would travel in the clear",
        env=ACCOUNT | {"TICKLOOM__GATEWAY__API_URL": "http://gateway.example"},
    ),
    "a contract the model does not have": Case("gateway --contracts ES", USAGE, "'ES' is not in the model's catalogue"),
    "switches that are none": Case("gateway --chaos c.json", USAGE, "c.json", {"c.json": '{"lag": 1}'}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_is_refused_in_one_line_and_leaves_nothing(name: str, tickloom: Callable[..., Said]) -> None:
    case = CASES[name]
    for path, content in case.files.items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(content)
    code, out, err = tickloom(case.arguments, case.env)
    complaints = [line for line in err if line.startswith(("tickloom: ", "gateway: "))]
    assert (code, out) == (case.code, []), err
    assert len(complaints) == 1, err
    assert case.words in complaints[0]
    left = {str(path): path.read_text() for path in Path().rglob("*") if path.is_file()}
    assert left == dict(case.files)


def test_a_demo_with_settings_that_are_wrong_starts_nothing(tickloom: Callable[..., Said]) -> None:
    Path("tickloom.toml").write_text("[session\n")
    code, out, err = tickloom("demo --seconds 1")
    assert (code, out, len(err)) == (USAGE, [], 1)
    assert "tickloom.toml, line 1, column 9: not valid TOML" in err[0]


def test_a_wrong_flag_is_named_as_it_was_given(tickloom: Callable[..., Said]) -> None:
    code, _, err = tickloom("live CON.F.US.MNQ.Z25 --timeframes 7q", ACCOUNT)
    assert code == USAGE
    assert err == ["tickloom: --timeframes: session.timeframes: timeframe '7q' is unknown: did you mean '6m'?"]


def test_a_defect_says_that_it_is_one(tickloom: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("two\nlines, and access_token=abcdefgh")

    monkeypatch.setattr("tickloom.scripts.commands.configure.load", broken)
    assert tickloom("config check") == (
        1, [], ["tickloom: ValueError: two lines, and access_token=**** (a defect: TICKLOOM_DEBUG=1 shows where)"]
    )  # fmt: skip


def test_settings_are_made_shown_and_checked(tickloom: Callable[..., Said]) -> None:
    assert tickloom("config init") == (0, ["tickloom.toml written; every line shows a default"], [])
    assert Path("tickloom.toml").stat().st_mode & 0o777 == 0o600
    code, out, err = tickloom("config check")
    assert (code, err) == (0, [])
    assert out == [f"ok: {Path('tickloom.toml').absolute()}"]
    code, out, _ = tickloom("config show", {"TICKLOOM__SESSION__TIMEFRAMES": "1s,1h", "PROJECT_X_API_KEY": "canary"})
    assert code == 0
    line = next(line for line in out if line.startswith("timeframes = "))
    assert re.fullmatch(r'timeframes = \["1s", "1h"\] +# TICKLOOM__SESSION__TIMEFRAMES', line)
    assert "#   1h    from 1s (3600 each)" in out
    assert "canary" not in "".join(out)


def test_a_replay_tells_the_changes_of_the_clocks_that_its_prints_passed(tickloom: Callable[..., Said]) -> None:
    Path("ticks.csv").write_text(f"{TICKS}2026-03-08T07:59:59Z,100.50,2,sell\n2026-03-08T08:00:00Z,100.50,2,sell\n")
    assert tickloom(f"{IMPORT} --calendar 24/7@America/Chicago")[0] == 0
    code, _, err = tickloom("replay log --json")
    assert code == 0
    assert [line for line in err if "clock" in line] == [
        "the clock of America/Chicago went forward 60 min at 2026-03-08 02:00:00 local (2026-03-08T08:00:00Z)"
    ]
