"""What a settings section knows about its own keys: type, limits, meaning. The one place where values are checked.

A key is a field annotated `Annotated[type, msgspec.Meta(description=…, ge=…, le=…)]`. From that come the check of
every value whatever its source, the reading of environment text, the commented file and the reference. Nothing is
said twice, so nothing can go stale.
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec


class SettingsError(ValueError):
    """Settings that cannot be: one line with what is wrong, where, and what to do.

    `key` is the `section.key` it is about, or None.
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class Field(msgspec.Struct, frozen=True):
    """One key of a section. `kind` is `bool`, `int`, `float`, `str`, `choice`, `texts` (a list of texts) or `ints`."""

    section: str
    name: str
    kind: str
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`section.name`, as in messages and overrides."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"TICKLOOM__{self.section.upper()}__{self.name.upper()}"

    @property
    def wants(self) -> str:
        """What a value must be, in words."""
        return {
            "bool": "true or false",
            "int": f"a whole number{self._range()}",
            "float": f"a number{self._range()}",
            "str": "a text",
            "choice": " or ".join(f'"{choice}"' for choice in self.choices),
            "texts": "a list of texts",
            "ints": "a list of whole numbers",
        }[self.kind]

    def _range(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f" from {self.low:g} to {self.high:,.12g}".replace(",", "_")

    def check(self, value: Any) -> Any:
        """Return `value` in its canonical form (lists as tuples, whole floats for numbers).

        Raises:
            SettingsError: it is of another type or out of range.
        """
        ok, clean = self._converted(value)
        if not ok:
            raise SettingsError(f"{self.key} is {_brief(value)}; it wants {self.wants}", self.key)
        return clean

    def _converted(self, value: Any) -> tuple[bool, Any]:
        match self.kind:
            case "bool":
                return isinstance(value, bool), value
            case "int":
                return _is_int(value) and self._within(value), value
            case "float":
                fits = (_is_int(value) or isinstance(value, float)) and math.isfinite(value) and self._within(value)
                return fits, float(value) if fits else value
            case "str":
                return isinstance(value, str), value
            case "choice":
                text = value.lower() if isinstance(value, str) else value
                return text in self.choices, text
            case "texts":
                return isinstance(value, list | tuple) and all(isinstance(v, str) for v in value), _tuple(value)
            case _:
                return isinstance(value, list | tuple) and all(_is_int(v) for v in value), _tuple(value)

    def _within(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def from_text(self, text: str) -> Any:
        """Read a value written as text (environment, command line); what cannot be read comes back as the text itself.

        Lists are separated by commas. `check` then says what is wrong.
        """
        text = text.strip()
        match self.kind:
            case "bool":
                return _BOOLEANS.get(text.lower(), text)
            case "int":
                return _number(int, text)
            case "float":
                return _number(float, text)
            case "texts":
                return tuple(part.strip() for part in text.split(",") if part.strip())
            case "ints":
                numbers = tuple(_number(int, part) for part in text.split(",") if part.strip())
                return numbers if all(isinstance(number, int) for number in numbers) else text
            case _:
                return text


_BOOLEANS: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def _number(kind: type[int] | type[float], text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _brief(value: object) -> str:
    shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the sections: whatever makes one, every value is checked against its annotation.

    Raises:
        SettingsError: a value of another type, or out of range.
    """

    def __post_init__(self) -> None:
        for field in fields_of(type(self)):
            value = getattr(self, field.name)
            clean = field.check(value)
            if clean is not value:
                msgspec.structs.force_setattr(self, field.name, clean)


def section_name(section: type[Section]) -> str:
    """`gateway` of `GatewaySettings`."""
    return section.__name__.removesuffix("Settings").lower()


@lru_cache(maxsize=64)
def fields_of(section: type[Section]) -> tuple[Field, ...]:
    """Return the keys of a section, in the order they are declared."""
    hints = get_type_hints(section, include_extras=True)
    found = []
    for info in msgspec.structs.fields(section):
        hint = hints[info.name]
        assert get_origin(hint) is Annotated, f"{section.__name__}.{info.name} is not documented"
        base, meta = get_args(hint)
        kind, choices = _kind(base)
        found.append(
            Field(
                section_name(section),
                info.name,
                kind,
                info.default,
                meta.description,
                meta.ge,
                meta.le,
                choices,
            )
        )
    return tuple(found)


def _kind(hint: Any) -> tuple[str, tuple[str, ...]]:
    if get_origin(hint) is Literal:
        return "choice", get_args(hint)
    if isinstance(hint, types.GenericAlias):
        return ("ints" if get_args(hint)[0] is int else "texts"), ()
    return hint.__name__, ()


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the one of `words` that `word` most likely meant."""
    known = list(words)
    return (difflib.get_close_matches(word, known, n=1, cutoff=0) or known)[0]
