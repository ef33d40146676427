"""The README's examples run as they stand."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tickloom.scripts.emulator import Emulator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.timeout(120)
def test_the_two_examples_run_as_they_stand(tmp_path: Path) -> None:
    live, replay = EXAMPLES
    # a minute is long for a test: the same words, at a timeframe that closes sooner
    live = live.replace('"1m"', '"1s"').replace('"5m"', '"5s"')
    key = secrets.token_urlsafe(16)
    with Emulator(("CON.F.US.MNQ.Z25",), rate=200, user="reader", key=key) as gateway:
        env = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PROJECT_X_USERNAME": "reader",
            "PROJECT_X_API_KEY": key,
            "TICKLOOM__GATEWAY__API_URL": gateway.api_url,
            "TICKLOOM__GATEWAY__MARKET_HUB_URL": gateway.market_hub_url,
            "TICKLOOM__GATEWAY__USER_HUB_URL": gateway.user_hub_url,
            "TICKLOOM__RECORDER__DIR": "log",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", live],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    bars, reads = lines[::2], lines[1::2]
    assert int(bars[1][0]) - int(bars[0][0]) in (0, 1_000_000_000), "the next one, or the first one revised"
    assert [words[0] for words in reads] == ["healthy", "healthy"]
    assert errors.rstrip().endswith("KeyboardInterrupt"), errors
    done = subprocess.run(
        [sys.executable, "-c", replay], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    digest, minutes = done.stdout.split()
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert int(minutes) >= 1


def test_every_page_the_readme_points_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_the_readme_shows_is_one_the_command_line_has() -> None:
    shown = set(re.findall(r"scripts/run (\w+)", README))
    known = subprocess.run(
        [sys.executable, "-m", "tickloom.scripts.cli", "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert shown <= set(re.findall(r"\w+", known)), shown
