"""What `doctor` finds on this machine: where values come from, never a secret, and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tickloom.config.settings import Settings
from tickloom.config.sources import load
from tickloom.scripts import findings

FREE = shutil.disk_usage("/").free


def settings_with(**overrides: object) -> Settings:
    return load(overrides={key.replace("__", "."): value for key, value in overrides.items()}, env={}).settings


def test_versions_name_the_program_and_its_parts() -> None:
    found = findings.versions()
    assert found.status == "ok"
    assert found.found.startswith("tickloom ")
    assert all(name in found.found for name in ("Python", *findings.PACKAGES))


def test_settings_that_are_not_defaults_are_named_with_their_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[session]\ngrace_ms = 100\n")
    monkeypatch.setenv("TICKLOOM__SESSION__BEAT_MS", "500")
    loaded, found = findings.settings(file)
    assert loaded is not None
    assert found.status == "ok"
    assert f"session.grace_ms ({file}, line 2)" in found.found
    assert "session.beat_ms (TICKLOOM__SESSION__BEAT_MS)" in found.found
    assert "lateness" not in found.found


def test_settings_that_are_wrong_are_a_failure_of_configuration(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[sessions]\n")
    loaded, found = findings.settings(file)
    assert loaded is None
    assert (found.status, found.code) == ("failure", 2)
    assert "did you mean [session]?" in found.found


def test_credentials_are_located_and_never_shown(tmp_path: Path) -> None:
    env = {"PROJECT_X_USERNAME": "canary-user", "PROJECT_X_API_KEY": "canary-key", "XDG_CONFIG_HOME": str(tmp_path)}
    credentials, found = findings.credentials(env)
    assert credentials is not None
    assert (found.status, found.found) == ("ok", "found: environment")
    assert "canary" not in repr(found)


def test_no_credentials_are_a_warning_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickloom.config.credentials._installed", lambda: None)
    credentials, found = findings.credentials({"XDG_CONFIG_HOME": str(tmp_path)})
    assert credentials is None
    assert (found.status, found.code) == ("warning", 0)
    assert found.advice.startswith("set PROJECT_X_USERNAME and PROJECT_X_API_KEY")


def test_credentials_that_others_can_read_are_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "credentials.toml"
    file.write_text('username = "u"\napi_key = "canary-key"\n')
    file.chmod(0o644)
    credentials, found = findings.credentials({"PROJECT_X_CREDENTIALS": str(file)})
    assert credentials is None
    assert (found.status, found.code) == ("failure", 3)
    assert "chmod 600" in found.found
    assert "canary" not in repr(found)


def test_folders_that_do_not_exist_yet_are_judged_by_where_they_will_be(tmp_path: Path) -> None:
    chosen = settings_with(
        recorder__dir=str(tmp_path / "a" / "log"), sinks__out=str(tmp_path / "out"), recorder__retention_mb=1
    )
    found = list(findings.folders(chosen))
    assert [(each.name, each.status) for each in found] == [("log", "ok"), ("output", "ok")]
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_is_a_failure_of_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (found,) = findings.folders(settings_with(recorder__dir=str(tmp_path / "file" / "log")))
    assert (found.name, found.status, found.code) == ("log", "failure", 2)


def test_more_retention_than_room_is_a_warning(tmp_path: Path) -> None:
    retained = FREE // 1_048_576 + 1_000_000
    (found,) = findings.folders(settings_with(recorder__dir=str(tmp_path), recorder__retention_mb=retained))
    assert found.status == "warning"
    assert "recorder.retention_mb" in found.advice


@pytest.mark.parametrize(("kilobytes", "status"), [(32_000_000, "ok"), (600_000, "warning")])
def test_memory_is_what_the_system_says_is_available(kilobytes: int, status: str, tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:  64000000 kB\nMemFree:  100 kB\nMemAvailable:  {kilobytes} kB\n")
    found = findings.memory(Settings(), meminfo)
    assert found.status == status
    assert found.found.startswith("32.8 GB" if status == "ok" else "614.4 MB")


def test_memory_that_is_not_told_is_no_failure(tmp_path: Path) -> None:
    assert findings.memory(Settings(), tmp_path / "none").status == "ok"


def test_there_is_time_zone_data() -> None:
    assert findings.zones().status == "ok"
