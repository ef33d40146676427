"""The site is built by one command, holds every page, and asks nobody else for anything when it is read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ELSEWHERE = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]*\"")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_one_command_builds_a_site_that_needs_nothing_from_elsewhere() -> None:
    done = subprocess.run([ROOT / "scripts" / "docs"], capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "build/site/index.html"
    site = ROOT / "build" / "site"
    pages = {page.stem: page.read_text() for page in site.glob("*.html")}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} <= set(pages)
    assert {"changelog", "contributing", "reporting"} <= set(pages)
    assert {name: found for name, text in pages.items() if (found := ELSEWHERE.findall(text))} == {}
    assert 'id="tickloom.session.Session.bars"' in pages["api"]
    assert pages["concepts"].count('class="mermaid"') == 5
    assert (site / "operations" / "grafana.json").exists()
