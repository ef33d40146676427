"""Where settings come from, which source wins, and errors that say where the wrong one stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.config.fields import SettingsError
from tickloom.config.settings import Settings
from tickloom.config.sources import Origin, line_numbers, load


@pytest.fixture
def file(tmp_path: Path):
    """Writes `tickloom.toml` in an empty working directory and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "tickloom.toml"
        path.write_text(text)
        return path

    return write


def refusal(path=None, env=None, overrides=None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(path, env or {}, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestPrecedence:
    def test_with_no_source_at_all_they_are_the_defaults(self, tmp_path):
        loaded = load(env={"XDG_CONFIG_HOME": str(tmp_path)}, cwd=tmp_path)
        assert loaded.settings == Settings()
        assert loaded.file is None
        assert set(loaded.provenance.values()) == {Origin("default")}

    def test_overrides_beat_the_environment_which_beats_the_file(self, file):
        path = file("[session]\ngrace_ms = 1\nbeat_ms = 11\nlateness_ms = 111\n")
        env = {"TICKLOOM__SESSION__BEAT_MS": "22", "TICKLOOM__SESSION__LATENESS_MS": "222"}
        loaded = load(path, env, {"session.lateness_ms": 333, "session.emit_empty": None})
        session = loaded.settings.session
        assert (session.grace_ms, session.beat_ms, session.lateness_ms, session.emit_empty) == (1, 22, 333, False)
        assert {
            key: str(loaded.provenance[f"session.{key}"])
            for key in ("grace_ms", "beat_ms", "lateness_ms", "emit_empty")
        } == {
            "grace_ms": f"{path}, line 2",
            "beat_ms": "TICKLOOM__SESSION__BEAT_MS",
            "lateness_ms": "given explicitly",
            "emit_empty": "default",
        }

    def test_the_working_directory_goes_before_the_home_directory(self, tmp_path):
        home, cwd = tmp_path / "home", tmp_path / "cwd"
        (home / "tickloom").mkdir(parents=True)
        cwd.mkdir()
        env = {"XDG_CONFIG_HOME": str(home)}
        (home / "tickloom" / "config.toml").write_text("[session]\ngrace_ms = 1\n")
        assert load(env=env, cwd=cwd).settings.session.grace_ms == 1
        (cwd / "tickloom.toml").write_text("[session]\nbeat_ms = 20\n")
        loaded = load(env=env, cwd=cwd)
        assert (loaded.settings.session.grace_ms, loaded.settings.session.beat_ms) == (250, 20)
        assert loaded.file == cwd / "tickloom.toml"

    def test_text_overrides_are_read_like_the_environment(self, tmp_path):
        loaded = load(
            env={},
            overrides={"session.timeframes": "1s,60s", "http.enabled": "on", "validation.band": "0.5"},
            cwd=tmp_path,
        )
        assert loaded.settings.session.timeframes == ("1s", "1m")
        assert loaded.settings.http.enabled is True
        assert loaded.settings.validation.band == 0.5

    def test_calendars_and_instruments_come_from_the_file_with_their_lines(self, file):
        path = file(
            '[calendars.asx]\nzone = "Australia/Sydney"\nsittings = [{ open = "09:50", close = "16:30" }]\n'
            'holidays = [2025-12-25]\n\n[instruments."CON.F.US.MNQ.Z25"]\ncalendar = "asx"\n'
        )
        loaded = load(path, {})
        assert loaded.settings.calendar_for("CON.F.US.MNQ.Z25").zone == "Australia/Sydney"
        assert str(loaded.provenance["calendars.asx"]) == f"{path}, line 1"
        assert str(loaded.provenance["instruments.CON.F.US.MNQ.Z25"]) == f"{path}, line 6"

    def test_other_variables_of_the_environment_are_not_ours(self, tmp_path):
        env = {
            "TICKLOOM_DEBUG": "1",
            "TICKLOOM_LONG": "1",
            "PATH": "/bin",
            "PROJECT_X_API_KEY": "x",
            "tickloom__x": "1",
        }
        assert load(env=env, cwd=tmp_path).settings == Settings()

    def test_a_byte_order_mark_is_no_error(self, tmp_path):
        path = tmp_path / "bom.toml"
        path.write_bytes(b"\xef\xbb\xbf[session]\ngrace_ms = 3\n")
        assert load(path, {}).settings.session.grace_ms == 3


class TestErrorsOfTheFile:
    def test_an_unknown_key_with_its_line_and_the_nearest(self, file):
        path = file("\n[session]\ngraze_ms = 1\n")
        assert refusal(path) == f"{path}, line 3: session.graze_ms is unknown: did you mean 'session.grace_ms'?"

    def test_an_unknown_section_with_its_line_and_the_nearest(self, file):
        path = file("[sesion]\ngrace_ms = 1\n")
        assert refusal(path) == f"{path}, line 1: section [sesion] is unknown: did you mean [session]?"

    def test_a_key_outside_a_section(self, file):
        path = file("\ngrace_ms = 1\n")
        assert refusal(path) == f"{path}, line 2: 'grace_ms' stands outside a section: put it under one, like [session]"

    def test_a_section_that_is_a_value(self, file):
        assert "line 1: 'session' is a section" in refusal(file("session = 5\n"))

    def test_a_value_of_the_wrong_type_with_its_line(self, file):
        path = file('[session]\nbeat_ms = 100\ngrace_ms = "soon"\n')
        assert refusal(path) == (
            f"{path}, line 3: session.grace_ms is 'soon'; it wants a whole number from 0 to 60_000"
        )

    def test_a_value_out_of_range_in_dotted_form(self, file):
        path = file("session.grace_ms = -1\n")
        assert refusal(path).startswith(f"{path}, line 1: session.grace_ms is -1; it wants")

    def test_a_timeframe_that_does_not_fit(self, file):
        path = file('[session]\ncontracts = ["CON.F.US.MNQ.Z25"]\ntimeframes = [\n  "1m",\n  "7m"]\n')
        assert refusal(path).startswith(f"{path}, line 3: session.timeframes: timeframe '7m' divides neither")

    def test_a_broken_calendar_with_the_line_of_its_table(self, file):
        path = file('[calendars.asx]\nzone = "Australia/Sidney"\nsittings = []\n')
        assert refusal(path).startswith(f"{path}, line 1: calendar 'asx': zone 'Australia/Sidney' is unknown")

    def test_a_broken_instrument_with_its_line(self, file):
        path = file('[instruments."CON.F.US.MNQ.Z25"]\ntick_size = 0.25\n')
        assert refusal(path).startswith(
            f"{path}, line 2: instruments.CON.F.US.MNQ.Z25.tick_size is 0.25; it wants a text"
        )

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("[session]\ngrace_ms == 1\n", ", line 2, column 11: not valid TOML"),
            ("[session\n", ", line 1, column 9: not valid TOML"),
            ('[session]\nx = "', "at its end: not valid TOML"),
            ("[session]\n[session]\n", ", line 2"),
        ],
    )
    def test_malformed_toml_with_line_and_column(self, text, place, file):
        path = file(text)
        assert refusal(path).startswith(str(path))
        assert place in refusal(path)

    def test_a_file_that_was_named_must_exist(self, tmp_path):
        assert refusal(tmp_path / "none.toml") == (
            f"settings file {tmp_path / 'none.toml'} does not exist: run `tickloom config init` to make one"
        )

    def test_a_directory_a_huge_file_and_bytes_that_are_no_text(self, tmp_path):
        assert "cannot be read" in refusal(tmp_path)
        (tmp_path / "huge.toml").write_text("#" * 1_100_000)
        assert "larger than 1 MB" in refusal(tmp_path / "huge.toml")
        (tmp_path / "bytes.toml").write_bytes(b"[session]\n# \xff\n")
        assert "line 2: not UTF-8" in refusal(tmp_path / "bytes.toml")


class TestErrorsOfTheOthers:
    @pytest.mark.parametrize(
        ("variable", "meant"),
        [
            ("TICKLOOM__SESSION__GRAZE_MS", "TICKLOOM__SESSION__GRACE_MS"),
            ("TICKLOOM__SESSION__grace_ms", "TICKLOOM__SESSION__GRACE_MS"),
            ("TICKLOOM__SESION__GRACE_MS", "TICKLOOM__SESSION__GRACE_MS"),
            ("TICKLOOM__HTTP_PORT", "TICKLOOM__HTTP__PORT"),
        ],
    )
    def test_an_unknown_variable_is_named_with_the_nearest(self, variable, meant):
        assert refusal(env={variable: "1"}) == f"environment: {variable} is unknown: did you mean '{meant}'?"

    def test_a_wrong_value_of_a_variable_is_named_with_it(self):
        assert refusal(env={"TICKLOOM__HTTP__PORT": "eighty"}) == (
            "TICKLOOM__HTTP__PORT: http.port is 'eighty'; it wants a whole number from 0 to 65_535"
        )

    def test_tables_cannot_come_from_the_environment(self):
        assert "[calendars] can be set in the settings file only" in refusal(
            env={"TICKLOOM__CALENDARS__X__ZONE": "UTC"}
        )

    def test_an_unknown_override_is_named_with_the_nearest(self):
        assert refusal(overrides={"session.timeframe": "1m"}) == (
            "override: session.timeframe is unknown: did you mean 'session.timeframes'?"
        )
        assert "did you mean 'session.contracts'" in refusal(overrides={"contracts": ("x",)})

    def test_a_wrong_override_says_it_was_given_explicitly(self):
        assert refusal(overrides={"recorder.sync_ms": 0}).startswith("given explicitly: recorder.sync_ms is 0")

    def test_a_rule_of_two_keys_names_the_place_of_the_one(self):
        message = refusal(env={"TICKLOOM__GATEWAY__SERVER_TIMEOUT_S": "5"})
        assert message.startswith("TICKLOOM__GATEWAY__SERVER_TIMEOUT_S: gateway.server_timeout_s is 5")

    def test_a_rule_of_two_keys_names_both_when_the_other_one_was_set(self):
        message = refusal(env={"TICKLOOM__GATEWAY__KEEPALIVE_S": "45"})
        assert "gateway.server_timeout_s is 30" in message
        assert "gateway.keepalive_s (45)" in message

    def test_plain_text_to_another_machine_is_refused_wherever_it_comes_from(self):
        assert "travel in the clear" in refusal(env={"TICKLOOM__GATEWAY__API_URL": "http://api.example"})


class TestLineNumbers:
    def test_tables_keys_quotes_and_dots(self):
        text = '# head\n[a]\nx = 1\n"y z" = 2\n[b."C.D".e] # tail\nz = [\n 1 ]\n\n[[list]]\n  k.l = 3\n'
        assert line_numbers(text) == {
            "a": 2, "a.x": 3, "a.y z": 4, "b.C.D.e": 5, "b.C.D": 5, "b.C": 5, "b": 5, "b.C.D.e.z": 6,
            "list": 9, "list.k.l": 10, "list.k": 10,
        }  # fmt: skip

    @given(st.text())
    def test_any_text_has_line_numbers_within_it(self, text):
        lines = len(text.splitlines())
        assert all(1 <= number <= lines for number in line_numbers(text).values())


@given(st.text(max_size=200))
def test_any_text_as_a_file_is_settings_or_one_line_of_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    line = ""
    try:
        load(path, {})
    except SettingsError as error:
        line = str(error)
    assert "\n" not in line.replace(str(path), "")
