"""The page on rolling back has every flag, in the table's order, with all that whoever switches it must know."""

from __future__ import annotations

import re
from pathlib import Path

from tickloom.config.fields import fields_of
from tickloom.config.flags import FlagsSettings
from tickloom.config.sources import load

TEXT = (Path(__file__).parents[2] / "docs" / "rollback.md").read_text()
FLAGS = fields_of(FlagsSettings)
PARTS = re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]


def test_each_flag_has_its_part_numbered_as_in_the_settings() -> None:
    named = [re.match(r"(\d+) `(\w+)`", part) for part in PARTS]
    assert [(int(m[1]), m[2]) for m in named if m] == [(i, flag.name) for i, flag in enumerate(FLAGS, start=1)]


def test_each_part_says_what_it_does_when_to_switch_what_is_lost_and_how_to_see_it() -> None:
    for part in PARTS:
        assert [
            word for word in ("**Does:**", "**Switch off when**", "**You lose**", "**See it:**") if word not in part
        ] == []


def test_the_ways_to_switch_that_it_names_switch(tmp_path: Path) -> None:
    file = tmp_path / "tickloom.toml"
    file.write_text("[flags]\ncircuit_breaker = false\n")
    assert "circuit_breaker = false" in TEXT
    assert not load(file, {}).settings.flags.circuit_breaker
    assert "TICKLOOM__FLAGS__CIRCUIT_BREAKER=false" in TEXT
    assert not load(None, {"TICKLOOM__FLAGS__CIRCUIT_BREAKER": "false"}, cwd=tmp_path).settings.flags.circuit_breaker
    assert '{"flags.circuit_breaker": False}' in TEXT
    assert not load(None, {}, {"flags.circuit_breaker": False}, cwd=tmp_path).settings.flags.circuit_breaker
