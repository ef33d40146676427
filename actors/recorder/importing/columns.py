"""Which column of a file is what: the `--columns` map, read and matched against a header. Pure.

A map is a list with commas. An entry is a role (`time`, `price`, `size`, `side`, `date`, `contract`), which stands for
the column of that name, or of a name that means the same, or else for the column at its place in the list; `role=NAME`
or `role=3` (counted from 1), which names the column; `role=-`, which says that it has none; or `-`, which passes a
column over.

Without a map a header has to name the columns: a place tells nothing where there are names. And a header that has a
column of contracts has it whatever the map says of the others, unless that column is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ROLES = ("time", "price", "size", "side", "date", "contract")
NEEDED = ("time", "price", "size")
DEFAULT = "time,price,size,side"
"""Where the columns are in a file without a header, if no map says so."""

ALIASES: Mapping[str, frozenset[str]] = {
    "time": frozenset({"time", "timestamp", "datetime", "date_time", "ts", "ts_event", "date"}),
    "price": frozenset({"price", "last", "px", "trade_price"}),
    "size": frozenset({"size", "volume", "vol", "qty", "quantity", "amount"}),
    "side": frozenset({"side", "aggressor", "aggressor_side", "direction"}),
    "date": frozenset(),
    "contract": frozenset({"contract", "symbol", "instrument", "ticker"}),
}


class NoColumn(ValueError):
    """A role has no column, or the map cannot be read."""


def parse_map(text: str) -> list[tuple[str | None, str | None]]:
    """Return the map's entries as (role, name); both None for `-`.

    Raises:
        NoColumn: it names a role that does not exist, or one twice.
    """
    entries: list[tuple[str | None, str | None]] = []
    for part in text.split(","):
        role, _, name = part.strip().partition("=")
        role = role.strip().lower()
        if role in ("", "-", "_"):
            entries.append((None, None))
            continue
        if role not in ROLES:
            raise NoColumn(f"--columns names {role!r}; roles are {', '.join(ROLES)}, and - for a column to pass over")
        if any(role == other for other, _ in entries):
            raise NoColumn(f"--columns names {role} twice")
        entries.append((role, name.strip() or None))
    return entries


def match(text: str | None, header: Sequence[str] | None, width: int) -> dict[str, int]:
    """Return the place of each role's column, counted from 0.

    Args:
        text: the map; None: there is none.
        header: the names in the file's first line, or None when it has no header.
        width: how many columns the file has.

    Raises:
        NoColumn: see the message; `side` and `contract` alone may be missing.
    """
    entries = parse_map(text if text is not None else DEFAULT)
    lower = [name.strip().lower() for name in header] if header is not None else None
    found: dict[str, int] = {}
    for role, name in entries:
        if role is not None and name not in (None, "-"):
            found[role] = _named(role, str(name), lower, width)
    plain = {role: place for place, (role, name) in enumerate(entries) if role is not None and name is None}
    by_name = {role: place for role in plain if (place := _alias(role, lower)) is not None}
    named = lower is not None and all(role in by_name for role in plain if role in NEEDED)
    if named or (lower is not None and text is None):
        found |= by_name
    else:
        found |= {role: place for role, place in plain.items() if place < width}
    for role in NEEDED:
        if role not in found:
            there = ", ".join(repr(name) for name in header) if header is not None else f"{width} columns"
            raise NoColumn(f"there is no column for {role} among {there}: say --columns {role}=NAME or {role}=NUMBER")
    place = _alias("contract", lower)
    passed = {at for at, (role, _) in enumerate(entries) if role is None}
    if (
        place is not None
        and place not in passed | set(found.values())
        and all(role != "contract" for role, _ in entries)
    ):
        found["contract"] = place
    return found


def _named(role: str, name: str, lower: list[str] | None, width: int) -> int:
    if lower is not None and name.lower() in lower:
        return lower.index(name.lower())
    if name.isdigit() and 1 <= int(name) <= width:
        return int(name) - 1
    there = ", ".join(map(repr, lower)) if lower is not None else f"{width} columns and no header"
    raise NoColumn(f"there is no column {name!r} for {role} among {there}")


def _alias(role: str, lower: list[str] | None) -> int | None:
    if lower is None:
        return None
    if role in lower:
        return lower.index(role)
    return next((place for place, name in enumerate(lower) if name in ALIASES[role]), None)
