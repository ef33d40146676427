"""Notes of running sessions: there while a session runs, readable by nobody else, gone with it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tickloom.scripts.notes import folder, found, noted

ADDRESS = "http://127.0.0.1:8787/?token=canary-token"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return folder({"XDG_CONFIG_HOME": str(tmp_path)})


def test_a_note_is_there_for_as_long_as_the_session_and_for_its_owner_alone(place: Path) -> None:
    with noted(ADDRESS, "tickloom demo", place):
        ((path, note),) = found(place)
        assert (note.port, note.token.reveal(), note.title, note.pid) == (
            8787,
            "canary-token",
            "tickloom demo",
            os.getpid(),
        )
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert [each.name for each in place.iterdir()] == ["8787.json"]
        assert "canary" not in repr(note)
    assert list(place.iterdir()) == []


def test_it_goes_also_when_the_session_fails(place: Path) -> None:
    with pytest.raises(ZeroDivisionError), noted(ADDRESS, "tickloom demo", place):
        raise ZeroDivisionError
    assert found(place) == []


def test_a_session_without_a_dashboard_leaves_none(place: Path) -> None:
    with noted(None, "tickloom live", place):
        assert not place.exists()


def test_where_none_can_be_kept_the_session_runs_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "tickloom").write_text("a file")
    ran = []
    with noted(ADDRESS, "tickloom demo", tmp_path / "tickloom" / "running"):
        ran.append(True)
    assert ran == [True]


def test_what_others_can_read_what_is_a_link_and_what_is_no_note_is_passed_over(place: Path, tmp_path: Path) -> None:
    with noted(ADDRESS, "tickloom demo", place):
        path = place / "8787.json"
        (place / "1.json").write_text("{}")
        (place / "1.json").chmod(0o600)
        (place / "2.json").symlink_to(path)
        assert [each for each, _ in found(place)] == [path]
        path.chmod(0o644)
        assert found(place) == []
    assert found(tmp_path / "nowhere") == []
