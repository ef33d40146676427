"""Draws the state machines from their tables: `python -m tickloom.scripts.diagrams > docs/state-machines.md`.

The tables are the code that runs. A test holds the page to them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from tickloom.actors.connection import reconnect
from tickloom.actors.token import core as token
from tickloom.messages import signalr
from tickloom.supervision.breaker import BREAKER_TRANSITIONS
from tickloom.supervision.lifecycle import CHILD_TRANSITIONS, SUPERVISOR_TRANSITIONS

Edge = tuple[str, str, str]
"""(from, why, to)."""

HEAD = """# State machines

Made from the tables in the code by `python -m tickloom.scripts.diagrams`; a test holds this page to them. A step
that is not drawn is refused, and leaves the state as it was.
"""

PAGES: tuple[tuple[str, str, str], ...] = (
    ("A child of a supervisor", "supervision/lifecycle.py", "child"),
    ("A supervisor", "supervision/lifecycle.py", "supervisor"),
    ("The circuit breaker of a child", "supervision/breaker.py", "breaker"),
    ("The link to a hub", "actors/connection/reconnect.py", "link"),
    ("A token", "actors/token/core.py", "token"),
    ("A SignalR session", "messages/signalr.py", "signalr"),
)


def name_of(thing: Any) -> str:
    """Return what a state or a step is called, in words."""
    text = (thing.value if isinstance(thing.value, str) else thing.name) if isinstance(thing, Enum) else thing.__name__
    return str(text).replace("_", " ").replace("-", " ").lower()


def from_pairs(table: Mapping[tuple[Any, Any], Any]) -> list[Edge]:
    """Return the edges of a table `{(state, step): state}`."""
    return [(name_of(a), name_of(why), name_of(b)) for (a, why), b in table.items()]


def from_rows(table: Mapping[Any, Mapping[Any, Any]]) -> list[Edge]:
    """Return the edges of a table `{state: {step: state or states}}`."""
    edges = []
    for a, row in table.items():
        for why, targets in row.items():
            ends = targets if isinstance(targets, tuple) else (targets,)
            edges += [(name_of(a), name_of(why), name_of(b)) for b in ends]
    return edges


def mermaid(edges: Iterable[Edge]) -> str:
    """Return a state diagram; steps between the same two states share an arrow."""
    merged: dict[tuple[str, str], list[str]] = {}
    for a, why, b in edges:
        merged.setdefault((a, b), []).append(why)
    names = list(dict.fromkeys(name for a, b in merged for name in (a, b)))
    keys = {name: name.replace(" ", "_") for name in names}
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{name}" as {keys[name]}' for name in names]
    lines += [f"    {keys[a]} --> {keys[b]}: {', '.join(dict.fromkeys(whys))}" for (a, b), whys in merged.items()]
    return "\n".join(lines)


def page() -> str:
    """Return the whole page."""
    edges = {
        "child": from_pairs(CHILD_TRANSITIONS),
        "supervisor": from_pairs(SUPERVISOR_TRANSITIONS),
        "breaker": from_pairs(BREAKER_TRANSITIONS),
        "link": from_rows(reconnect.TRANSITIONS),
        "token": from_rows(token.TRANSITIONS),
        "signalr": from_rows(signalr.TRANSITIONS),
    }
    parts = [HEAD]
    for title, source, key in PAGES:
        parts.append(f"## {title}\n\nThe table is in `{source}`.\n\n```mermaid\n{mermaid(edges[key])}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
