"""The examples run as they stand, and do what they say."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "emulated.py")


def run(name: str, folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", EXAMPLES / name, *options],
        cwd=folder, capture_output=True, text=True, timeout=60, env={**os.environ, "MPLCONFIGDIR": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_example_is_in_the_table_and_has_a_test() -> None:
    table = (EXAMPLES / "README.md").read_text()
    tests = Path(__file__).read_text()
    for name in SCRIPTS:
        assert f"[{name}]({name})" in table
        assert f'"{name}"' in tests, f"{name} is not run by a test"
        assert ast.get_docstring(ast.parse((EXAMPLES / name).read_text())) or name == "notebook.py"


def test_the_strategy_decides_as_its_averages_say(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in run("strategy.py", tmp_path, "--seconds", "7").splitlines()]
    assert len(lines) >= 4
    times = [line["time"] for line in lines]
    assert times == sorted(set(times))
    closes = [line["close"] for line in lines]
    for count, line in enumerate(lines, start=1):
        if count >= 4:
            fast, slow = sum(closes[count - 2 : count]) / 2, sum(closes[count - 4 : count]) / 4
            assert line["want"] == ("long" if fast > slow else "short")
    changes = [a["want"] != b["want"] for a, b in pairwise(lines)]
    assert [line["changed"] for line in lines[1:]] == changes


def test_the_service_serves_while_it_follows_and_ends_in_order_by_a_signal(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "service.py", "--seconds", "60"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        url = json.loads(process.stdout.readline())["url"]
        bar = json.loads(process.stdout.readline())
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            health = json.load(answer)
        with urllib.request.urlopen(f"{url}/bars/1s", timeout=10) as answer:
            bars = json.load(answer)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/bars/17m", timeout=10)
    finally:
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert health["status"] == "healthy"
    assert bar["bar"] == "1s"
    assert bars[0]["close"] == bar["close"]
    assert (refused.value.code, "17m is not built" in refused.value.read().decode()) == (404, True)
    refused.value.close()
    assert json.loads(out.splitlines()[-1])["lost"] == 0


def test_the_actor_of_your_own_is_back_after_a_crash_with_what_it_knew(tmp_path: Path) -> None:
    said = run("own_actor.py", tmp_path)
    before, after = map(int, re.findall(r"volume (\d+) before and (\d+) after", said)[0])
    assert 0 < before <= after
    assert "told: /app/profile failed" in said
    assert "/app/profile: running, 1 restart, breaker closed" in said


def test_the_sink_has_every_bar_in_duckdb_once(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="the extra examples is not installed")
    said = run("duckdb_sink.py", tmp_path, "--file", "made.duckdb")
    closed, lost = map(int, re.findall(r"(\d+) bars, (\d+) ticks lost", said)[0])
    assert lost == 0
    with duckdb.connect(str(tmp_path / "made.duckdb"), read_only=True) as connection:
        rows, keys = connection.execute(
            "select count(*), count(distinct (contract, timeframe, open_time, number)) from bars"
        ).fetchall()[0]
        volumes = {v for (v,) in connection.execute("select sum(volume) from bars group by timeframe").fetchall()}
    assert rows == keys == closed
    assert len(volumes) == 1, "each timeframe has all of the volume"


def cells() -> list[str]:
    return re.split(r"(?m)^# %%.*\n", (EXAMPLES / "notebook.py").read_text())[1:]


def test_the_notebook_runs_as_a_script_and_leaves_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra examples is not installed")
    said = run("notebook.py", tmp_path, "--seconds", "3")
    assert re.search(r"\d+ ticks, 0 lost, digest [0-9a-f]{12}", said)
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_its_cells_run_one_by_one_inside_a_running_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="the extra examples is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "argv", ["notebook.py", "--seconds", "2"])
    notebook = ModuleType("notebook")
    beats = 0

    async def kernel() -> None:
        nonlocal beats
        for cell in cells():  # a cell blocks the loop while it runs, as in a kernel; between cells it beats
            exec(compile(cell, "notebook.py", "exec"), notebook.__dict__)
            await asyncio.sleep(0)
            beats += 1

    asyncio.run(kernel())
    assert beats == len(cells()) >= 6
    assert notebook.summary.lost == 0
    assert notebook.frame.height >= 1
