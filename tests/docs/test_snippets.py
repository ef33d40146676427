"""Every command and every piece of code in the documents runs as it stands, page by page, in order.

A block that is not run says why, in a comment before it: `<!-- not run: reason -->`, with one of the reasons below. One
that wants something to be there says `<!-- given: what -->`. The README's blocks have a test of their own.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tickloom.config.sources import load

ROOT = Path(__file__).parents[2]

REASONS = {
    "sets up an environment",
    "needs an account",
    "changes your shell",
    "changes the system",
    "watches a session of yours",
    "takes minutes",
}
"""Why a block may be left out; what they show is run elsewhere, or cannot be run here."""

RUN = ("bash", "python")
READ = ("toml", "json")
DRAWN = ("mermaid", "console", "yaml", "text", "sh", "c")
"""Diagrams, transcripts, and files of other programs."""

_BLOCK = re.compile(
    r"^(?:<!-- (?P<label>[\w ]+): (?P<words>[^>]+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, line, language, text, and the label before it (`not run: reason`, `given: what`)."""

    page: Path
    line: int
    kind: str
    text: str
    label: str
    words: str


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page that name a language, in order."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, each.start()) + 1, each["kind"], each["text"], each["label"] or "", each["words"] or "")
        for each in _BLOCK.finditer(text)
    ]  # fmt: skip


PAGES = {page.name: blocks_of(page) for page in sorted((ROOT / "docs").glob("*.md"))}
CONTRIBUTING = blocks_of(ROOT / "CONTRIBUTING.md")


def test_every_block_is_of_a_kind_that_is_known_and_left_out_for_a_reason_that_is_known() -> None:
    for block in (*(block for blocks in PAGES.values() for block in blocks), *CONTRIBUTING):
        where = f"{block.page.name}, line {block.line}"
        assert block.kind in RUN + READ + DRAWN, where
        assert block.label in ("", "not run", "given"), where
        if block.label == "not run":
            assert block.words in REASONS, where


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name, blocks in PAGES.items() if any(each.kind in RUN for each in blocks)])
def test_the_page_runs_from_top_to_bottom(name: str, place: Any, request: pytest.FixtureRequest) -> None:
    for block in PAGES[name]:
        if block.kind not in RUN or block.label == "not run":
            continue
        if block.label == "given":
            give(block, place.folder, request)
        done = place.run(block.kind, block.text)
        assert done.returncode == 0, f"{name}, line {block.line}:\n{block.text}\n{done.stdout}\n{done.stderr}"


def give(block: Block, folder: Path, request: pytest.FixtureRequest) -> None:
    """Put there what the block wants."""
    assert block.words == "a log in log/", block.words
    shutil.copytree(request.getfixturevalue("recorded"), folder / "log", dirs_exist_ok=True)


@pytest.mark.parametrize("name", [name for name, blocks in PAGES.items() if any(each.kind in READ for each in blocks)])
def test_the_settings_and_objects_of_the_page_are_valid(name: str, tmp_path: Path) -> None:
    for block in PAGES[name]:
        if block.kind == "toml":
            (tmp_path / "settings.toml").write_text(block.text)
            load(tmp_path / "settings.toml", env={})
        elif block.kind == "json":
            json.loads(block.text)


def test_what_contributors_are_told_to_run_is_there() -> None:
    for line in "\n".join(block.text for block in CONTRIBUTING).split():
        if line.startswith("scripts/"):
            assert (ROOT / line).exists(), line
