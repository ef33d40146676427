"""What other rules of validation would have made of a log: both sets of rules over the same items, side by side.

Only validation is folded; no actor runs and no bar is made. A print is compared by its arrival number. What differs is
kept until both have decided on it, so memory is bounded by the rejects, not by the log.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.sinks.shell import rejects_table
from tickloom.actors.validation.fold import ValidationFold, ValidationState
from tickloom.config.fields import SettingsError, nearest
from tickloom.config.settings import Settings, settings_from
from tickloom.logged import hold_stretch, session_start, settings_of
from tickloom.messages.control import SessionStopped
from tickloom.messages.intake import Numbered
from tickloom.messages.market import Reject
from tickloom.wiring import validation_fold

ACCEPTED: Final = "accepted"
"""In place of a reason: the print passed."""

KNOWN: Final = ("validation", "instruments")
"""Sections that a file of rules may have."""


class Change(msgspec.Struct, frozen=True):
    """A print that the two sets of rules do not agree on: its reason under each, or `accepted`."""

    row: Reject
    recorded: str
    proposed: str


class Judged(msgspec.Struct, frozen=True):
    """What came of it: prints looked at, totals by reason under each set of rules, and the prints that change."""

    prints: int
    recorded: dict[str, int]
    proposed: dict[str, int]
    changes: tuple[Change, ...]

    def summary(self, first: int = 20) -> dict[str, Any]:
        """Return it as plain data: totals, the difference by reason, and the first so many changes."""
        reasons = sorted(self.recorded.keys() | self.proposed.keys())
        difference = {name: self.proposed.get(name, 0) - self.recorded.get(name, 0) for name in reasons}
        return {
            "prints": self.prints,
            "recorded": self.recorded,
            "proposed": self.proposed,
            "difference": {name: count for name, count in difference.items() if count},
            "changed": len(self.changes),
            "first": [
                {
                    "contract": each.row.contract,
                    "tick": each.row.tick,
                    "time_ns": each.row.ts_ns,
                    "price": each.row.price,
                    "size": each.row.size,
                    "recorded": each.recorded,
                    "proposed": each.proposed,
                }
                for each in self.changes[:first]
            ],
        }

    def table(self) -> pa.Table:
        """Return all changes as an Arrow table: the prints, with the reason under each set of rules."""
        rows = rejects_table(tuple(each.row for each in self.changes)).drop(["reason"])
        for name in ("recorded", "proposed"):
            rows = rows.append_column(name, pa.array([getattr(each, name) for each in self.changes], pa.string()))
        return rows


def with_rules(settings: Settings, file: Path) -> Settings:
    """Return settings with the rules of a file on top: its `[validation]` and `[instruments]`.

    Raises:
        SettingsError: the file is no TOML, or something in it is unknown or wrong; the sentence names it.
        OSError: it cannot be read.
    """
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}") from None
    for name in document:
        if name not in KNOWN:
            raise SettingsError(f"{file} has a section [{name}]: rules are in [{nearest(name, KNOWN)}]")
    plain = settings.redacted()
    rules = document.get("validation", {})
    if not isinstance(rules, dict):
        raise SettingsError(f"{file}: validation is a section: write [validation] and its keys below")
    try:
        changed = settings_from({"validation": {**plain["validation"], **rules}, "calendars": settings.calendars})
        instruments = {**plain["instruments"]}
        for name, entry in document.get("instruments", {}).items():
            instruments[name] = {**instruments.get(name, {}), **entry}
        own = settings_from({"instruments": instruments, "calendars": settings.calendars}).instruments
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}", error.key) from None
    return settings.replace(validation=changed.validation, instruments=own)


def judge(
    log: str | Path,
    rules: Path,
    *,
    from_ns: int | None = None,
    to_ns: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[float], None] = lambda share: None,
    max_rows: int = 65_536,
) -> Judged:
    """Return what the rules of a file would have made of a log, beside what its session's own made of it.

    Args:
        log: its folder, or one segment.
        rules: the file; what it does not name is as in the recorded session.
        from_ns, to_ns: receipt stamps (ns UTC) between which to look.
        cancelled: asked now and then; True ends it, and what was found so far is returned.
        progress: called now and then with the share done, 0 to 1.
        max_rows: most prints folded at once; no result depends on it.

    Raises:
        NoLog, DamagedLog: there is none, or it does not read back.
        SettingsError: the rules are wrong.
        UsageError: there is nothing of the log between the two stamps.
    """
    with LogReader(log) as reader:
        hold_stretch(reader, from_ns, to_ns)
        before = reader.context(from_ns=from_ns) if from_ns is not None else ()
        in_force = reader.context(from_ns=to_ns) if to_ns is not None else reader.context()
        recorded = settings_of(session_start(reader, before, in_force, from_ns))
        sides = (Side(recorded), Side(with_rules(recorded, rules)))
        first, last = reader.first_seq or 0, reader.last_seq or 0
        compared = _Compared()
        at = 0
        for numbered in reader.items(raw=False, from_ns=from_ns, to_ns=to_ns, max_rows=max_rows):
            # what was in force before the first item has had numbers below its own
            context = enumerate(before if not at else (), start=numbered.seq - len(before))
            items = [*(Numbered(number, record) for number, record in context), numbered]
            compared.take(*(side.fold(items) for side in sides))
            at = numbered.last_seq
            progress((at - first) / max(last - first, 1))
            if cancelled():
                break
        stopped = Numbered(max(at, last) + 1, SessionStopped(recv_ns=0, reason="the log ends here"))
        compared.take(*(side.fold([stopped]) for side in sides))
    return Judged(sides[0].prints, sides[0].totals, sides[1].totals, compared.changes())


class Side:
    """One set of rules, and what it has come to."""

    def __init__(self, settings: Settings) -> None:
        self._fold: ValidationFold = validation_fold(settings)
        self._state: ValidationState = self._fold.initial()

    def fold(self, items: Iterable[Numbered]) -> list[Reject]:
        """Fold items; return the prints rejected with them."""
        self._state, outputs = self._fold.step(self._state, list(items))
        return [each for each in outputs if isinstance(each, Reject) and each.tick >= 0 and not each.passed]

    @property
    def prints(self) -> int:
        """Prints folded so far, those that could not be decoded included."""
        return self._state.counts.received

    @property
    def totals(self) -> dict[str, int]:
        """Totals by reason, with what was accepted first."""
        counts = self._state.counts
        return {ACCEPTED: counts.accepted, **dict(sorted(counts.rejected.items()))}


class _Compared:
    """Rejects of the two sides by arrival number, as far as they do not agree."""

    def __init__(self) -> None:
        self._open: tuple[dict[int, Reject], dict[int, Reject]] = ({}, {})

    def take(self, recorded: list[Reject], proposed: list[Reject]) -> None:
        """Take in what each side rejected; what both did for the same reason is forgotten."""
        for side, rejects in enumerate((recorded, proposed)):
            mine, other = self._open[side], self._open[1 - side]
            for reject in rejects:
                twin = other.get(reject.tick)
                if twin is not None and twin.reason == reject.reason:
                    del other[reject.tick]
                else:
                    mine[reject.tick] = reject

    def changes(self) -> tuple[Change, ...]:
        """Return what the two sides do not agree on, in order of arrival."""
        recorded, proposed = self._open
        found = []
        for tick in sorted(recorded.keys() | proposed.keys()):
            before, after = recorded.get(tick), proposed.get(tick)
            row = after or before
            assert row is not None
            found.append(Change(row, before.reason if before else ACCEPTED, after.reason if after else ACCEPTED))
        return tuple(found)
