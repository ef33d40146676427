"""The migration page names what there is, with the defaults it has."""

from __future__ import annotations

import re
from pathlib import Path

from tickloom.compat import RealtimeDataManager, names
from tickloom.compat.events import TOLD, UNTOLD

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_call_of_the_read_side_is_in_the_table_with_the_defaults_it_has(peer_signatures: dict[str, str]) -> None:
    shown = dict(re.findall(r"`(\w+)\((.*?)\)`", "\n".join(line.split("|")[1] for line in _rows("Calls"))))
    ours = {n for n in peer_signatures if n[0] != "_" and callable(getattr(RealtimeDataManager, n, None))}
    assert set(shown) - {"RealtimeDataManager"} == ours
    for name in ours:
        assert peer_signatures[name].removeprefix("async ") == f"(self, {shown[name]})".replace(", )", ")"), name


def test_every_timeframe_is_in_the_table_under_both_names() -> None:
    pairs = {}
    for row in _rows("Timeframes"):
        theirs, ours = (re.findall(r"`(\w+)`", cell) for cell in row.split("|")[1:3])
        pairs |= dict(zip(theirs, ours, strict=True))
    assert pairs == {name: names.ours(name) for name in names.TIMEFRAMES}


def test_every_event_is_in_the_table() -> None:
    shown = {name for row in _rows("Events") for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert shown == {*TOLD, *UNTOLD}


def _rows(title: str) -> list[str]:
    rows = [line for line in section(title).splitlines() if line.startswith("| ")]
    return rows[1:]
