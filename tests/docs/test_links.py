"""Every link leads somewhere: to a page, a place on it, a file. Addresses elsewhere are only looked at, not visited."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG"))]  # fmt: skip
_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)")


def prose(page: Path) -> str:
    """The page without its fenced blocks and code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S))


def anchors(page: Path) -> set[str]:
    """The places of a page, as GitHub and the site name them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M):
        words = unicodedata.normalize("NFKD", re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)).lower()
        found.add(re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", words).strip()))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_the_page_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"https://[\w.-]+\.\w+(/|$)", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        ours = target == ROOT or ROOT in target.parents
        if not ours or not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_reached_from_the_first_and_is_in_the_sites_navigation() -> None:
    reached: set[Path] = set()
    todo = [ROOT / "docs" / "index.md"]
    while todo:
        here = todo.pop()
        if here not in reached and here.exists():
            reached.add(here)
            paths = [link.partition("#")[0] for link in _LINK.findall(prose(here))]
            todo += [(here.parent / path).resolve() for path in paths if path.endswith(".md")]
    missing = [page.name for page in sorted((ROOT / "docs").glob("*.md")) if page not in reached]
    assert missing == [], "add them to docs/index.md"
    listed = set(re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    missing = [page.name for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in listed]
    assert missing == [], "add them to the nav of mkdocs.yml"


def test_runbooks_of_alerts_are_there() -> None:
    text = (ROOT / "docs" / "operations" / "alerts.yml").read_text()
    named = re.findall(r"runbook: (\S+)#(\S+)", text)
    assert len(named) == text.count("- alert:")
    assert [f"{page}#{place}" for page, place in named if place not in anchors(ROOT / "docs" / page)] == []
