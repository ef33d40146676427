"""`tickloom config …`."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tickloom as package


def test_holidays_go_into_a_settings_file_and_are_in_force(tickloom: Callable[..., Any]) -> None:
    said = tickloom("config", "holidays", "cme_metals", "--from", "2025", "--to", "2026")
    assert said.code == 0
    Path("tickloom.toml").write_text("\n".join(said.out))
    calendar = package.load_settings("tickloom.toml").settings.calendar_for("CON.F.US.GCE.Z25")
    assert dt.date(2025, 12, 25) in calendar.closed
    assert dict(calendar.early)[dt.date(2025, 11, 28)] == 12 * 3600 + 45 * 60
    assert tickloom("config", "check").code == 0


def test_holidays_as_json_say_where_they_are_from(tickloom: Callable[..., Any]) -> None:
    said = tickloom("config", "holidays", "cme_fx", "--from", "2026", "--to", "2026", "--json")
    assert (said.code, said.json["market"], said.json["calendar"]) == (0, "CMEGlobex_FX", "cme_fx")
    assert "2026-12-25" in said.json["holidays"]


def test_wrong_questions_about_holidays_are_refused_with_what_to_do(tickloom: Callable[..., Any]) -> None:
    for arguments, words in (
        (("cme_equty", "--from", "2025", "--to", "2025"), "did you mean 'cme_equity'?"),
        (("utc", "--from", "2025", "--to", "2025"), "--market"),
        (("cme_fx", "--from", "2026", "--to", "2025"), "swap them"),
        (("cme_fx", "--from", "2025", "--to", "2025", "--market", "CMEGlobex_F"), "CMEGlobex_FX"),
    ):
        said = tickloom("config", "holidays", *arguments)
        assert said.code == 2
        assert any(words in line for line in said.err), said


def test_a_calendar_of_ones_own_is_filled_in_as_well(tickloom: Callable[..., Any]) -> None:
    Path("tickloom.toml").write_text(
        '[calendars.mine]\nzone = "UTC"\nsittings = [{ open = "00:00", close = "24:00" }]\n'
    )
    said = tickloom("config", "holidays", "mine", "--from", "2025", "--to", "2025", "--market", "CMEGlobex_FX")
    table = tomllib.loads("\n".join(said.out))["calendars"]["mine"]
    assert dt.date(2025, 12, 25) in table["holidays"]
    assert len([day for day in table["holidays"] if day.weekday() > 4]) == 104, "weekends are days without a schedule"
