"""`tickloom log …` over a log of two hours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tickloom.actors.recorder.lock import DirectoryLock
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.slicing import slices
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.intake import Frames
from tickloom.messages.records import SCHEMA

Tickloom = Callable[..., Any]


def test_inspect_says_what_is_in_it(log: str, tickloom: Tickloom) -> None:
    found = tickloom("log", "inspect", log, "--json").json
    assert (found["prints"], found["frames"], found["contracts"], found["sources"]) == (
        240, 240, {"X": 240}, {"import": 240},
    )  # fmt: skip
    assert (found["records"], found["damaged"]) == ({"beat": 1, "sessionstarted": 1, "sessionstopped": 1}, [])
    words = tickloom("log", "inspect", log)
    assert words.code == 0
    assert "contracts   X  240" in words.out
    assert "damaged     nothing" in words.out


def test_verify_says_that_it_is_whole(log: str, tickloom: Tickloom) -> None:
    done = tickloom("log", "verify", log, "--json")
    assert (done.code, done.json["whole"], done.json["prints"], done.json["problems"]) == (0, True, 240, [])
    assert "whole       yes" in tickloom("log", "verify", log).out


def test_verify_names_the_damage_and_ends_with_5(log: str, tickloom: Tickloom) -> None:
    (segment,) = Path(log).glob("*.arrows")
    broken = bytearray(segment.read_bytes())
    broken[len(broken) // 2] ^= 1
    segment.write_bytes(broken)
    done = tickloom("log", "verify", log, "--json")
    assert (done.code, done.json["whole"], len(done.json["problems"])) == (5, False, 1)
    assert f"{segment}: batch " in done.json["problems"][0]
    words = tickloom("log", "verify", log)
    assert words.code == 5
    assert "whole       no" in words.out
    assert tickloom("log", "inspect", log).code == 0


def test_compact_and_recover_leave_the_bars_as_they_are(log: str, tickloom: Tickloom) -> None:
    before = tickloom("replay", log, "--json", "--timeframes", "1m").json
    compacted = tickloom("log", "compact", log, "--level", "9", "--json")
    assert (compacted.code, compacted.json["segments"]) == (0, 1)
    recovered = tickloom("log", "recover", log, "--json")
    assert (recovered.code, recovered.json["rewritten"], recovered.json["set_aside"]) == (0, [], [])
    assert "size      " in tickloom("log", "compact", log).out[2]
    assert "tails cut  none" in tickloom("log", "recover", log).out
    after = tickloom("replay", log, "--json", "--timeframes", "1m").json
    assert after["digest"] == before["digest"]


@pytest.mark.parametrize("option", [(), ("--format", "parquet")])
def test_export_writes_prints_as_parquet(option: tuple[str, ...], log: str, tickloom: Tickloom) -> None:
    done = tickloom("log", "export", log, "t.parquet", *option, "--json")
    assert (done.json["rows"], done.json["format"]) == (240, "parquet")
    table = pl.read_parquet("t.parquet")
    assert (len(table), table["size"].sum(), table["price"].max()) == (240, sum(n % 5 for n in range(240)), 103.0)


def test_export_writes_a_stretch_as_csv(log: str, tickloom: Tickloom) -> None:
    stretch = ("--from", "2025-11-21T15:00:00", "--to", "2025-11-21T09:30:00-06:00")
    done = tickloom("log", "export", log, "t.csv", *stretch)
    assert done.out[1] == "prints  60"
    table = pl.read_csv("t.csv")
    assert (len(table), table["time"][0], set(table["side"])) == (
        60, "2025-11-21 15:00:00.000000000Z", {"buy", "sell"},
    )  # fmt: skip


def test_export_of_a_stretch_in_which_there_is_nothing_says_what_there_is_and_writes_no_file(
    log: str, tickloom: Tickloom, tmp_path: Path
) -> None:
    turned = tickloom("log", "export", log, "t.csv", "--from", "2025-11-21T12:00:04", "--to", "2025-11-21T12:00:04")
    assert turned.code == 2
    assert "it ends before it begins" in turned.err[-1]
    outside = tickloom("log", "export", log, "t.csv", "--from", "2035-01-01")
    assert outside.code == 2
    assert "the log is from 2025-" in outside.err[-1]
    assert not list(tmp_path.rglob("t.csv*"))


def test_export_writes_everything_as_json_lines(log: str, tickloom: Tickloom) -> None:
    done = tickloom("log", "export", log, "t.jsonl")
    lines = [json.loads(line) for line in Path("t.jsonl").read_text().splitlines()]
    assert done.out[1] == f"lines  {len(lines)}"
    assert [line["seq"] for line in lines] == list(range(1, 244))
    assert (lines[0]["record"], lines[-1]["record"]) == ("sessionstarted", "sessionstopped")
    assert not [path for path in Path().iterdir() if ".partial" in path.name]


@pytest.fixture
def segments(log: str, tickloom: Tickloom, tmp_path: Path) -> list[Path]:
    """The log again, in several segments."""
    with LogReader(log) as reader:
        items = list(reader.items(max_rows=20))
    options = LogOptions(batch_rows=20, segment_bytes=6000)
    with LogWriter(tmp_path / "parts", session="parts", options=options) as writer:
        for item in items:
            writer.append(slices(item, 20) if isinstance(item.item, Frames) else [item], 0)
    found = sorted((tmp_path / "parts").glob("*.arrows"))
    assert len(found) >= 4
    return found


def spoil(how: str, segment: Path) -> None:
    if how == "foreign":
        segment.write_text("time,price\n1,2\n" * 50)
    elif how == "newer":
        segment.write_bytes(SCHEMA.with_metadata({b"tickloom.format": b"9"}).serialize().to_pybytes())
    elif how == "damaged":
        data = bytearray(segment.read_bytes())
        data[-60] ^= 1
        segment.write_bytes(data)


BAD = {
    "foreign": "is no segment of a Tickloom log",
    "newer": "is of log format 9, this version reads up to \\d+: install a later Tickloom",
    "damaged": r"batch \d+ at byte \d+ is damaged",
    "in use": "is being written by process",
}


@pytest.mark.parametrize("how", BAD)
def test_a_bad_segment_in_the_middle_is_named_with_its_place_and_code_5(
    how: str, segments: list[Path], tickloom: Tickloom
) -> None:
    log, bad = str(segments[0].parent), segments[1]
    whole = tickloom("replay", log, "--json").json["ticks"]
    spoil(how, bad)
    lock = DirectoryLock(Path(log)) if how == "in use" else None
    for command in (("log", "recover", log), ("log", "compact", log)) if lock else (("replay", log),):
        said = tickloom(*command)
        assert (said.code, said.out) == (5, [])
        [complaint] = [line for line in said.err if line.startswith("tickloom:")]
        assert re.search(BAD[how], complaint)
        assert (log if lock else str(bad)) in complaint
    if lock is not None:
        assert tickloom("replay", log, "--json").json["ticks"] == whole, "whoever only reads is welcome"
        lock.release()
    done = tickloom("log", "recover", log, "--json")
    if how == "newer":
        assert done.code == 5, "what a later version wrote is not damage"
        return
    assert done.code == 0
    rest = tickloom("replay", log, "--json")
    assert rest.code == 0
    assert rest.json["lost"] == 0
    assert (rest.json["ticks"] < whole) == (how != "in use")


def test_verify_of_a_replay_says_what_was_compared(log: str, tickloom: Tickloom) -> None:
    told = tickloom("replay", log, "--verify", "--json").json["verified"]
    assert (told["frames"], told["chained"], told["bars"]) == (0, 0, 0), "an import has neither frames nor live bars"
    assert len(told["notes"]) == 2
    refused = tickloom("replay", log, "--verify", "--against", ".")
    assert refused.code == 2
    assert "holds no bars of this log's sessions" in refused.err[-1]
    assert tickloom("replay", log, "--against", ".").code == 2


def test_a_stretch_is_replayed_by_the_time_of_receipt(log: str, tickloom: Tickloom) -> None:
    stretch = ("--from", "2025-11-21T15:00:00", "--to", "2025-11-21T09:30:00-06:00")
    found = tickloom("replay", log, *stretch, "--timeframes", "1m", "--json")
    assert found.code == 0
    assert found.json["ticks"] == 60
