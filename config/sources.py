"""Where settings come from, and which source wins: defaults, then one TOML file, then the environment, then overrides.

- The file is the one named, else `tickloom.toml` in the working directory, else `~/.config/tickloom/config.toml`;
  files are not merged with one another.
- The environment: `TICKLOOM__SECTION__KEY`; lists are separated by commas. `[calendars]` and `[instruments]` are
  for the file only.
- Overrides: what a command line's flags or a program set, as `{"section.key": value}`.

An unknown key is an error wherever it comes from, and names the nearest that exists. Every value keeps its origin, for
`tickloom config show` and for messages. Nothing is read but the file and the mapping given.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tickloom.config.fields import Field, SettingsError, fields_of, nearest
from tickloom.config.places import config_home
from tickloom.config.secrets import redact
from tickloom.config.sections import SECTIONS
from tickloom.config.settings import Settings

PREFIX: Final = "TICKLOOM__"
FILE_NAME: Final = "tickloom.toml"
_TABLES: Final = ("calendars", "instruments")
_NAMES: Final = {fields_of(section)[0].section: section for section in SECTIONS}
_FIELDS: Final[dict[str, Field]] = {field.key: field for section in SECTIONS for field in fields_of(section)}
_MAX_BYTES = 1024 * 1024


class Origin(msgspec.Struct, frozen=True):
    """Where a value came from.

    `source` is `default`, `file`, `environment` or `override`; `detail` says exactly where.
    """

    source: str
    detail: str = ""

    def __str__(self) -> str:
        return self.detail or self.source


class Loaded(msgspec.Struct, frozen=True):
    """Settings, where each value came from by `section.key`, and the file that was read (None: there was none)."""

    settings: Settings
    provenance: dict[str, Origin]
    file: Path | None


_DEFAULT = Origin("default")


def default_files(env: Mapping[str, str], cwd: Path) -> tuple[Path, ...]:
    """Return where a settings file is looked for, in order."""
    return cwd / FILE_NAME, config_home(env) / "config.toml"


def load(
    path: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    cwd: Path | None = None,
    named: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the settings from all their sources.

    Args:
        path: the settings file; it must exist. None: the first of `default_files` that does, if any.
        env: the environment; `os.environ` when None.
        overrides: `{"section.key": value}`; a value of None means "not given", a text is read as in the environment.
        cwd: the working directory; the process's when None.
        named: what an override is called where it was given, like `--timeframes`, by its key.

    Raises:
        SettingsError: one line that says what is wrong, where (file and line, variable or flag), and what to do.
    """
    env = os.environ if env is None else env
    file = Path(path).expanduser() if path is not None else _find(env, Path.cwd() if cwd is None else cwd)
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    tables: dict[str, Any] = {}
    if file is not None:
        _from_file(file, values, origins, tables)
    _from_environment(env, values, origins)
    for key, value in (overrides or {}).items():
        if value is not None:
            field = _known(key, key, "override")
            values[key] = field.from_text(value) if isinstance(value, str) else value
            origins[key] = Origin("override", (named or {}).get(key, "given explicitly"))
    try:
        settings = Settings(**_sections(values), **tables)
    except SettingsError as error:
        raise _placed(error, origins) from None
    return Loaded(settings, {key: origins.get(key, _DEFAULT) for key in [*_FIELDS, *origins]}, file)


def _find(env: Mapping[str, str], cwd: Path) -> Path | None:
    return next((path for path in default_files(env, cwd) if path.is_file()), None)


def _sections(values: Mapping[str, Any]) -> dict[str, Any]:
    parts: dict[str, dict[str, Any]] = {name: {} for name in _NAMES}
    for key, value in values.items():
        section, _, name = key.partition(".")
        parts[section][name] = value
    return {name: _NAMES[name](**given) for name, given in parts.items()}


def _placed(error: SettingsError, origins: Mapping[str, Origin]) -> SettingsError:
    """Put the place before the message: that of its key, else of the nearest table above it."""
    key = error.key or ""
    while key:
        if key in origins:
            return SettingsError(f"{origins[key]}: {error}", error.key)
        key = key.rpartition(".")[0]
    return error


def _known(key: str, shown: str, where: str) -> Field:
    field = _FIELDS.get(key)
    if field is not None:
        return field
    section, _, name = key.partition(".")
    if section in _NAMES:
        near = f"{section}.{nearest(name, [f.name for f in fields_of(_NAMES[section])])}"
    else:
        near = nearest(key, _FIELDS)
    raise SettingsError(f"{where}: {shown} is unknown: did you mean '{near}'?", key)


def _from_environment(env: Mapping[str, str], values: dict[str, Any], origins: dict[str, Origin]) -> None:
    for variable in sorted(env):
        if not variable.startswith(PREFIX):
            continue
        section, _, name = variable.removeprefix(PREFIX).lower().partition("__")
        if section in _TABLES:
            raise SettingsError(f"environment: {variable}: [{section}] can be set in the settings file only", section)
        field = _FIELDS.get(f"{section}.{name}")
        if field is None or field.variable != variable:
            near = nearest(variable.upper(), [known.variable for known in _FIELDS.values()])
            raise SettingsError(f"environment: {variable} is unknown: did you mean '{near}'?", None)
        values[field.key] = field.from_text(env[variable])
        origins[field.key] = Origin("environment", variable)


def _from_file(file: Path, values: dict[str, Any], origins: dict[str, Origin], tables: dict[str, Any]) -> None:
    text = _text(file)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).rpartition(" (at ")
        found = re.search(r"line (\d+), column (\d+)", place)
        line = f", line {found[1]}, column {found[2]}" if found else ", at its end"
        words = redact(what or str(error))
        raise SettingsError(f"{file}{line}: not valid TOML: {words[:1].lower()}{words[1:]}") from None
    lines = line_numbers(text)
    for section, table in document.items():
        place = _place(file, lines, section)
        if section not in _NAMES and section not in _TABLES:
            if not isinstance(table, dict):
                raise SettingsError(
                    f"{place}: '{section}' stands outside a section: put it under one, like [session]", section
                )
            near = nearest(section, [*_NAMES, *_TABLES])
            raise SettingsError(f"{place}: section [{section}] is unknown: did you mean [{near}]?", section)
        if not isinstance(table, dict):
            raise SettingsError(f"{place}: '{section}' is a section: write [{section}] and its keys below", section)
        if section in _TABLES:
            tables[section] = table
            for key in _paths(table, section):
                origins[key] = Origin("file", _place(file, lines, key))
            continue
        for name, value in table.items():
            key = f"{section}.{name}"
            where = _place(file, lines, key)
            _known(key, key, where)
            values[key] = value
            origins[key] = Origin("file", where)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as handle:
            content = handle.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise SettingsError(f"settings file {file} does not exist: run `tickloom config init` to make one") from None
    except OSError as error:
        raise SettingsError(f"settings file {file} cannot be read: {error.strerror or type(error).__name__}") from None
    if len(content) > _MAX_BYTES:
        raise SettingsError(f"settings file {file} is larger than 1 MB; that is hardly one")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"{file}, line {line}: not UTF-8 text") from None


def _paths(table: Mapping[str, Any], above: str) -> list[str]:
    """The keys of nested tables, dotted, each table before what is in it."""
    found = []
    for name, value in table.items():
        found.append(f"{above}.{name}")
        if isinstance(value, dict):
            found += _paths(value, f"{above}.{name}")
    return found


def _place(file: Path, lines: Mapping[str, int], key: str) -> str:
    return f"{file}, line {lines[key]}" if key in lines else str(file)


_HEADER = re.compile(r"\s*\[\[?\s*(?P<path>[^\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*(?P<path>(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([\w-]+)""")


def line_numbers(text: str) -> dict[str, int]:
    """Return the line (from 1) on which each table and key of a TOML document is first written, by its dotted path.

    For messages only: `tomllib` gives no positions. Inside multi-line texts a line may look like a key and be taken
    for one.
    """
    found: dict[str, int] = {}
    above = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.fullmatch(line):
            above = _dotted(match["path"])
            path = above
        elif match := _KEY.match(line):
            path = ".".join(part for part in (above, _dotted(match["path"])) if part)
        else:
            continue
        while path and path not in found:
            found[path] = number
            path = path.rpartition(".")[0]
    return found


def _dotted(path: str) -> str:
    return ".".join(double or single or bare for double, single, bare in _PART.findall(path))
