"""What is written out for people is made from the settings and cannot go stale."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tickloom.config.calendars import builtin_calendars
from tickloom.config.fields import fields_of
from tickloom.config.reference import render_default_toml, render_reference_markdown, render_show, toml_value
from tickloom.config.sections import SECTIONS
from tickloom.config.settings import Settings, settings_from
from tickloom.config.sources import load

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
KEYS = [field for section in SECTIONS for field in fields_of(section)]


def test_the_reference_page_is_current():
    assert DOCS.read_text("utf-8") == render_reference_markdown(), (
        "not what the settings say: run `python -m tickloom.config.reference > docs/configuration.md`"
    )


def test_the_reference_names_every_key_and_calendar():
    page = render_reference_markdown()
    for field in KEYS:
        assert f"| `{field.name}` | `{toml_value(field.default)}` | {field.description}" in page
    assert all(f"| `{name}` |" in page for name in builtin_calendars())


def test_the_references_own_example_is_valid():
    (example,) = re.findall(r"```toml\n(.*?)```", render_reference_markdown(), re.DOTALL)
    settings = settings_from(tomllib.loads(example))
    assert settings.calendars["asx_index"].zone == "Australia/Sydney"
    assert settings.instrument_for("CON.F.US.MNQ.Z25").tick == (1, 4)


def test_the_default_file_changes_nothing(tmp_path):
    path = tmp_path / "tickloom.toml"
    path.write_text(render_default_toml())
    loaded = load(path, {})
    assert loaded.settings == Settings()


def test_the_default_file_uncommented_says_the_defaults_of_every_key(tmp_path):
    uncommented = re.sub(r"(?m)^# ([a-z_]+ = |\[)", r"\1", render_default_toml())
    document = tomllib.loads(uncommented)
    assert document["calendars"]
    assert document["instruments"]
    for field in KEYS:
        value = document[field.section][field.name]
        assert field.check(value) == field.default
    path = tmp_path / "tickloom.toml"
    path.write_text(uncommented)
    assert load(path, {}).settings.replace(calendars={}, instruments={}) == Settings()


def test_the_default_file_fits_a_screen():
    assert max(map(len, render_default_toml().splitlines())) <= 120


def test_config_show_says_each_value_with_its_origin_and_the_plan(tmp_path):
    path = tmp_path / "tickloom.toml"
    path.write_text(
        '[session]\ncontracts = ["CON.F.US.MNQ.Z25"]\n[calendars.asx]\nzone = "UTC"\n'
        'sittings = [{ open = "09:50", close = "16:30" }]\n[instruments.MNQ]\ntick_size = "0.5"\n'
    )
    shown = render_show(load(path, {"TICKLOOM__SESSION__TIMEFRAMES": "1s,1m,1d"}))
    assert re.search(r'(?m)^timeframes = \["1s", "1m", "1d"\] +# TICKLOOM__SESSION__TIMEFRAMES$', shown)
    assert re.search(rf"(?m)^contracts = .* # {re.escape(str(path))}, line 2$", shown)
    assert re.search(r"(?m)^grace_ms = 250 +# default$", shown)
    assert f"# calendar asx: UTC, 09:50-16:30  # {path}, line 3" in shown
    assert f"# instrument MNQ: tick size 0.5  # {path}, line 6" in shown
    assert "# CON.F.US.MNQ.Z25 follows calendar cme_equity" in shown
    assert "#   1d    from 1m" in shown
    assert tomllib.loads(shown)["session"]["timeframes"] == ["1s", "1m", "1d"]


@pytest.mark.parametrize(
    "value", [True, False, 0, 1_000_000, 0.05, 300.0, "", 'a "quoted" \\ text', (), ("a", "b"), (1, 2)]
)
def test_a_value_written_as_toml_reads_back(value):
    read = tomllib.loads(f"x = {toml_value(value)}")["x"]
    assert (tuple(read) if isinstance(read, list) else read) == value
