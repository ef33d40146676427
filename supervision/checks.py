"""The checks that specifications have in common. Each refuses with a sentence that names the owner and the field."""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar

from tickloom.supervision.errors import SpecError

E = TypeVar("E", bound=Enum)


def whole(owner: str, name: str, value: Any, least: int = 1) -> None:
    """Refuse what is not a whole number of at least `least`.

    Raises:
        SpecError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SpecError(f"{owner}: {name} must be a whole number of {least} or more, not {value!r}")


def seconds(owner: str, name: str, value: Any, *, above_zero: bool = False) -> None:
    """Refuse what is not a finite number of seconds, 0 or more (or above 0).

    Raises:
        SpecError: it is not.
    """
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")
    if not good or (above_zero and value == 0):
        least = "above 0" if above_zero else "of 0 or more"
        raise SpecError(f"{owner}: {name} must be a finite number of seconds {least}, not {value!r}")


def share(owner: str, name: str, value: Any) -> None:
    """Refuse what is not a number between 0 and 1.

    Raises:
        SpecError: it is not.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise SpecError(f"{owner}: {name} must be a share between 0 and 1, not {value!r}")


def choice(owner: str, name: str, kind: type[E], value: Any) -> E:
    """Return the member of `kind` that `value` is, or is the word for.

    Raises:
        SpecError: there is none.
    """
    try:
        return kind(value)
    except ValueError:
        words = ", ".join(str(member.value) for member in kind)
        raise SpecError(f"{owner}: {name} must be one of {words}, not {value!r}") from None


def instance(owner: str, name: str, value: Any, kind: type) -> None:
    """Refuse what is not a `kind`.

    Raises:
        SpecError: it is not.
    """
    if not isinstance(value, kind):
        raise SpecError(f"{owner}: {name} must be a {kind.__name__}, not {value!r}")
