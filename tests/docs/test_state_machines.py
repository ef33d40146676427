"""The page of state machines is what the tables say today."""

from __future__ import annotations

from pathlib import Path

from tickloom.scripts.diagrams import mermaid, page

PAGE = Path(__file__).parents[2] / "docs" / "state-machines.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "python -m tickloom.scripts.diagrams > docs/state-machines.md"


def test_steps_between_the_same_two_states_share_an_arrow() -> None:
    drawn = mermaid([("a b", "x", "c"), ("a b", "y", "c"), ("c", "z", "c")])
    assert drawn.splitlines()[1:] == [
        '    state "a b" as a_b',
        '    state "c" as c',
        "    a_b --> c: x, y",
        "    c --> c: z",
    ]
