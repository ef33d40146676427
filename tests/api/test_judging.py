"""Other rules over a log: what they would have rejected, print by print, with nothing else changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.config.fields import SettingsError
from tickloom.config.sources import load
from tickloom.judging import judge
from tickloom.messages.control import SessionStarted, SessionStopped
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, Instrument, Prints

MNQ = Instrument("CON.F.US.MNQ.Z25", 1, 4)
T0 = 1_763_990_000 * NS
PRICES = [100.0, 100.25, 120.0, 100.5, 100.75, 101.0, 100.3]
SIZES = [1, 2, 1, 500, 1, 0, 1]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Seven prints: one jump, one large, one of size 0, one off the grid; by rules that take sizes up to a million."""
    settings = load(overrides={"session.contracts": (MNQ.contract,)}).settings
    started = SessionStarted(
        recv_ns=T0, version="t", settings=settings.redacted(), instruments=(MNQ,), timeframes=("1s",)
    )
    with LogWriter(tmp_path / "log", session="s", options=LogOptions()) as writer:
        writer.append([Numbered(1, started)], 0)
        for i, (price, size) in enumerate(zip(PRICES, SIZES, strict=True)):
            prints = Prints((MNQ.contract,), [0], [T0 + i * NS], [price], [size], [0], [0], i + 1)
            frames = Frames("market/1", [T0 + i * NS], [i], [b"{}"], prints)
            writer.append([Numbered(2 + i, frames)], 0)
        writer.append([Numbered(9, SessionStopped(recv_ns=T0 + 9 * NS))], 0)
    return tmp_path / "log"


def rules(folder: Path, text: str) -> Path:
    file = folder / "rules.toml"
    file.write_text(text)
    return file


def test_the_same_rules_change_nothing(log: Path, tmp_path: Path) -> None:
    judged = judge(log, rules(tmp_path, ""))
    assert judged.recorded == judged.proposed == {"accepted": 6, "off_grid": 1}
    assert (judged.prints, judged.changes) == (7, ())


def test_other_rules_are_shown_by_reason_and_print_by_print(log: Path, tmp_path: Path) -> None:
    text = '[validation]\nmax_size = 100\nzero_size = "reject"\nband_ticks = 20\n'
    judged = judge(log, rules(tmp_path, text))
    assert judged.proposed == {"accepted": 3, "jump": 1, "off_grid": 1, "size_large": 1, "size_zero": 1}
    said = judged.summary()
    assert said["difference"] == {"accepted": -3, "jump": 1, "size_large": 1, "size_zero": 1}
    assert [(each["tick"], each["recorded"], each["proposed"]) for each in said["first"]] == [
        (3, "accepted", "jump"),
        (4, "accepted", "size_large"),
        (6, "accepted", "size_zero"),
    ]
    assert judged.table().column("proposed").to_pylist() == ["jump", "size_large", "size_zero"]


def test_it_does_not_depend_on_how_the_log_is_cut(log: Path, tmp_path: Path) -> None:
    file = rules(tmp_path, "[validation]\nband_ticks = 20\n")
    assert judge(log, file, max_rows=1) == judge(log, file)


def test_a_part_of_the_log_is_judged_with_what_was_in_force_there(log: Path, tmp_path: Path) -> None:
    judged = judge(log, rules(tmp_path, ""), from_ns=T0 + 3 * NS)
    assert judged.prints == 4
    assert "unknown_contract" not in judged.recorded


def test_rules_for_one_contract_alone(log: Path, tmp_path: Path) -> None:
    text = '[instruments.MNQ]\nprice_high = "110"\n[instruments.MNQ.validation]\nmax_size = 100\n'
    judged = judge(log, rules(tmp_path, text))
    assert judged.proposed == {"accepted": 4, "off_grid": 1, "out_of_range": 1, "size_large": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[validation]\nbnad = 1\n", "validation.bnad is unknown: did you mean 'band'?"),
        ("[validation]\nconfirm = 0\n", "validation.confirm is 0; it wants a whole number"),
        ("[sesion]\n", r"has a section \[sesion\]"),
        ("validation = 3\n", "validation is a section"),
        ("no toml", "is not TOML"),
        ("[instruments.MNQ]\nprice_low = 3\n", "wants a text in quotes"),
    ],
)
def test_rules_that_cannot_be_are_refused_with_the_file_and_the_key(
    log: Path, tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        judge(log, rules(tmp_path, text))
    assert "rules.toml" in str(caught.value)
