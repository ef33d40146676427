"""Shells complete commands and options, and are told how to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def asked(words: str, env: dict[str, str], cwd: Path, **more: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "tickloom", *words.split()],
        cwd=cwd, env=env | more, capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tickloom lo", {"log"}),
        ("tickloom log ", {"inspect", "verify", "recover", "compact", "export"}),
        ("tickloom replay --spe", {"--speed"}),
        ("tickloom top --ti", {"--timeframe"}),
    ],
)
def test_a_shell_is_offered_what_fits(
    line: str, offered: set[str], clean_environment: dict[str, str], tmp_path: Path
) -> None:
    how = {
        "_TICKLOOM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1),
    }  # fmt: skip
    assert set(asked("", clean_environment, tmp_path, **how).split()) == offered


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o default"), ("zsh", "#compdef tickloom"), ("fish", "complete --command")]
)
def test_what_a_shell_has_to_be_told_can_be_printed_from_anywhere(
    shell: str, words: str, clean_environment: dict[str, str], tmp_path: Path
) -> None:
    told = asked(f"--show-completion {shell}", clean_environment, tmp_path)
    assert words in told
    assert "_TICKLOOM_COMPLETE" in told
