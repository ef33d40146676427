"""`tickloom import`: what it reports, and that settings and calendars go along into the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tickloom.actors.ledger.fold import LedgerFold

COLUMNS = "time=when,price=last,size=qty,side=aggressor"

Tickloom = Callable[..., Any]


def test_the_report_says_what_was_read_as_json_and_in_words(ticks: Path, tickloom: Tickloom) -> None:
    common = ("import", str(ticks), "--contract", "X", "--columns", COLUMNS)
    report = tickloom(*common, "--log", "one", "--json")
    assert report.code == 0
    assert report.err == [f"reading {ticks}"]
    assert (report.json["ticks"], report.json["rows"], report.json["tick_size"]) == (240, {"X": 240}, {"X": "0.25"})
    assert report.json["inferred"] == ["X"]
    assert report.json["columns"] == {"time": "when", "price": "last", "size": "qty", "side": "aggressor"}
    words = tickloom(*common, "--log", "two", "--tick-size", "0.05")
    assert "columns                time   when" in words.out
    assert "tick size              X  0.05" in words.out
    assert "from                   2025-11-21 14:30:00.000 UTC" in words.out


def test_a_log_is_replaced_only_when_asked(log: str, ticks: Path, tickloom: Tickloom) -> None:
    again = ("import", str(ticks), "--log", log, "--contract", "Y", "--columns", COLUMNS)
    assert tickloom(*again).code == 2
    assert tickloom("log", "inspect", log, "--json").json["contracts"] == {"X": 240}
    assert tickloom(*again, "--replace").code == 0
    assert tickloom("log", "inspect", log, "--json").json["contracts"] == {"Y": 240}


def test_settings_of_the_import_are_those_of_the_replay(ticks: Path, tickloom: Tickloom) -> None:
    common = ("import", str(ticks), "--contract", "X", "--columns", COLUMNS)
    assert tickloom(*common, "--log", "log", TICKLOOM__SESSION__TIMEFRAMES="1m,1h").code == 0
    # 120 minutes, begun at half past
    assert tickloom("replay", "log", "--json").json["bars"] == 120 + 3
    assert tickloom("replay", "log", "--json", "--timeframes", "1m").json["bars"] == 120


def test_the_calendar_asked_for_is_the_one_that_is_used(ticks: Path, tickloom: Tickloom) -> None:
    common = ("import", str(ticks), "--contract", "X", "--columns", COLUMNS)
    digests = set()
    for number, calendar in enumerate(("utc", "cme_equity")):
        assert tickloom(*common, "--log", f"log{number}", "--calendar", calendar).code == 0
        digests.add(tickloom("replay", f"log{number}", "--timeframes", "1d", "--json").json["digest"])
    # a day from midnight to midnight is not one from 17:00 Chicago
    assert len(digests) == 2


def test_what_is_known_of_a_contract_comes_from_the_settings(ticks: Path, tickloom: Tickloom) -> None:
    Path("tickloom.toml").write_text('[instruments.X]\ntick_size = "0.05"\ncalendar = "cme_metals"\n')
    report = tickloom("import", str(ticks), "--log", "log", "--contract", "X", "--columns", COLUMNS, "--json")
    assert (report.json["tick_size"], report.json["inferred"]) == ({"X": "0.05"}, [])


def test_timeframes_that_do_not_fit_the_calendar_are_refused_before_anything_is_written(
    ticks: Path, tickloom: Tickloom
) -> None:
    common = ("import", str(ticks), "--contract", "X", "--columns", COLUMNS, "--log", "log", "--calendar", "cme_equity")
    refused = tickloom(*common, TICKLOOM__SESSION__TIMEFRAMES="7m,1m")
    assert (refused.code, refused.out) == (2, [])
    (words,) = refused.err
    assert "timeframe '7m' divides neither 24 hours nor the sitting" in words
    assert "calendar 'cme_equity'" in words
    assert "(contract X)" in words
    assert not Path("log").exists()


def test_a_replay_with_a_timeframe_that_does_not_fit_ends_as_any_wrong_usage(log: str, tickloom: Tickloom) -> None:
    for timeframes in ("7m", "1m,7m"):
        refused = tickloom("replay", log, "--timeframes", timeframes, "--out", "out", "--json")
        assert (refused.code, refused.out) == (2, [])
        assert "timeframe '7m' divides neither" in refused.err[-1]
        assert "(contract X)" in refused.err[-1]
    assert not Path("out").exists()


def test_prints_that_are_lost_end_a_replay_with_a_line_that_says_so_and_exit_code_1(
    log: str, tickloom: Tickloom, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tickloom("replay", log, "--json")
    assert (whole.code, whole.json["lost"]) == (0, 0)
    monkeypatch.setattr(LedgerFold, "step", lambda _, state, messages: (state, ()))
    lacking = tickloom("replay", log, "--json")
    assert (lacking.code, lacking.json["lost"]) == (1, 240)
    assert lacking.err[-1].startswith("tickloom: 240 of 240 prints are in no bar, reject or quarantine")


def test_each_contract_of_a_file_has_what_the_settings_know_of_it(tickloom: Tickloom) -> None:
    Path("tickloom.toml").write_text('[instruments.A]\ntick_size = "0.05"\ncalendar = "cme_metals"\n')
    rows = [f"{1_763_735_400 + n},{name},{100 + n / 4},1" for n in range(4) for name in ("A", "B")]
    Path("ab.csv").write_text("\n".join(["time,symbol,price,size", *rows]))
    report = tickloom("import", "ab.csv", "--log", "log", "--contract", "*", "--json")
    assert (report.json["rows"], report.json["tick_size"]) == ({"A": 4, "B": 4}, {"A": "0.05", "B": "0.25"})
    assert report.json["inferred"] == ["B"]
    assert tickloom("replay", "log", "--json").json["ticks"] == 8
    refused = tickloom("import", "ab.csv", "--log", "other", "--contract", "C")
    assert (refused.code, refused.err[-1].count("'A', 'B'")) == (2, 1)


def test_what_is_left_out_of_frames_is_in_the_report_by_reason(tickloom: Tickloom) -> None:
    print_ = '{"price":1,"timestamp":"2024-01-15T08:30:00Z","type":%d,"volume":1}'
    line = '1705307400123 {"type":1,"target":"GatewayTrade","arguments":["X",[%s]]}'
    Path("a.log").write_text("\n".join(line % (print_ % side) for side in (0, 7, 8)))
    refused = tickloom("import", "a.log", "--log", "log", "--contract", "X")
    assert refused.code == 2
    assert "a.log, line 2" in refused.err[-1]
    report = tickloom("import", "a.log", "--log", "log", "--contract", "X", "--lenient")
    assert "rejected               side  2" in report.out
    assert "receipt in             a.log  ms" in report.out
