"""What a log comes to: the states of the folds at its end, from a checkpoint and the rest of the log, or the log alone.

The rule of recovery is the rule of everything else: state = fold(log). A session that goes on with a log starts from
what the log comes to, whether the session before was cut off or stopped in order. The difference is in the log itself:
an ordinary stop let the open bars go, a cut did not.

Nothing here changes the log or starts an actor; `recover` is a function of the log, the settings and the checkpoints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from tickloom.actors.bars.activity import ActivityFold
from tickloom.actors.bars.fold import TimeframeFold
from tickloom.actors.checkpoint.files import BadCheckpointError, Checkpoint, read
from tickloom.actors.checkpoint.states import States
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.sinks.history import HistoryFold
from tickloom.actors.sinks.parquet import ParquetState
from tickloom.config.settings import Settings
from tickloom.config.timeframes import parse_timeframes
from tickloom.errors import Cancelled
from tickloom.logged import known_before
from tickloom.messages.bars import Bars
from tickloom.messages.control import SessionStarted, SessionStopped
from tickloom.messages.intake import Frames, Numbered, Validated
from tickloom.wiring import (
    FINEST,
    HISTORY,
    MS,
    PARQUET,
    VALIDATION,
    Wires,
    bucket_rules,
    reduce_fold,
    timeframe_path,
    validation_fold,
)

BATCH_ITEMS = 1024
"""Most items folded in one step."""

BATCH_ROWS = 65_536
"""And about the most prints."""


_TELLING = ("timeframes", "grace_ms", "lateness_ms", "emit_empty", "heal_gaps", "heal_patience_s")


Aside: TypeAlias = Callable[[Sequence[Any], Exception], None]
"""Hears of messages that a fold failed on, and why."""


class Recovered(msgspec.Struct, frozen=True):
    """What a log comes to.

    Attributes:
        states: of the folds at the log's end, with validation's totals begun anew.
        last_seq: the log's last sequence number.
        cut_off: whether its last session did not stop in order, so that its bars are still open.
        from_seq: the number of the checkpoint that was gone on from; 0: the log alone.
        warnings: checkpoints that were passed over, in sentences.
    """

    states: States
    last_seq: int
    cut_off: bool
    from_seq: int = 0
    warnings: tuple[str, ...] = ()


class Folds:
    """The folds of a session with these settings, in one chain, without actors."""

    def __init__(self, settings: Settings) -> None:
        session = settings.session
        grace, lateness = session.grace_ms * MS, session.lateness_ms * MS
        self.validation = validation_fold(settings)
        self.reduce = reduce_fold(settings)
        frames = parse_timeframes(session.timeframes)
        self.activities = {str(t): ActivityFold(t, updates=False) for t in frames if t.is_activity}
        self.timeframes = {
            str(t): TimeframeFold(
                str(t), bucket_rules(settings, t), grace, lateness, emit_empty=session.emit_empty, updates=False
            )
            for t in frames
            if not t.is_activity
        }

    def initial(self) -> States:
        """Return the states before anything."""
        return States(
            self.validation.initial(),
            self.reduce.initial(),
            {name: fold.initial() for name, fold in self.timeframes.items()},
            {name: fold.initial() for name, fold in self.activities.items()},
        )

    def step(self, states: States, items: Sequence[Numbered]) -> States:
        """Return the states after items. What a fold cannot digest it passes over, as its actor would."""
        return self.tell(states, items)[0]

    def tell(self, states: States, items: Sequence[Numbered], aside: Aside | None = None) -> tuple[States, list[Bars]]:
        """Return the states after items, and what the timeframes say; what their folds fail on is told to `aside`."""
        validation, outputs = fold_all(self.validation, states.validation, items)
        validated = [output for output in outputs if isinstance(output, Validated)]
        if not validated:
            return msgspec.structs.replace(states, validation=validation), []
        reduce, reduced = fold_all(self.reduce, states.reduce, validated)
        timeframes, activities = dict(states.timeframes), dict(states.activities)
        said: list[Bars] = []
        for name, fold in self.timeframes.items():
            timeframes[name], more = fold_all(fold, timeframes[name], reduced, aside)
            said += more
        for name, activity in self.activities.items():
            activities[name], more = fold_all(activity, activities[name], validated, aside)
            said += more
        return States(validation, reduce, timeframes, activities), said

    def fits(self, states: States) -> bool:
        """Whether states are those of these timeframes."""
        return states.timeframes.keys() == self.timeframes.keys() and states.activities.keys() == self.activities.keys()

    def pending(self, states: States) -> list[Bars]:
        """Return the bars that are not final yet, as each timeframe would tell them."""
        told = []
        folds: dict[str, Any] = {**self.timeframes, **self.activities}
        for name, fold in folds.items():
            known: Any = {**states.timeframes, **states.activities}[name]
            closed, updated = [], []
            for contract in known.contracts:
                done, still_open = fold.pending(known, contract)
                closed += done
                updated += still_open
            told.append(Bars(name, known.seq, tuple(updated), tuple(closed)))
        return told


def fold_all(fold: Any, state: Any, messages: Sequence[Any], aside: Aside | None = None) -> tuple[Any, list[Any]]:
    """Fold messages; a piece that fails is halved until what is guilty stands alone: left out, and told to `aside`."""
    if not messages:
        return state, []
    try:
        state, outputs = fold.step(state, messages)
    except Exception as error:  # noqa: BLE001 - any failure of a fold is the batch's, as in its actor, which told of it
        halves = fold.split(messages)
        if halves is None or not halves[0] or not halves[1]:
            if aside is not None:
                aside(messages, error)
            return state, []
        state, first = fold_all(fold, state, halves[0], aside)
        state, second = fold_all(fold, state, halves[1], aside)
        return state, [*first, *second]
    return state, list(outputs)


def fingerprint(settings: Settings) -> str:
    """Return what stands for the settings that decide what the folds do, and for the program's version."""
    from importlib import metadata

    plain = settings.redacted()
    session = plain["session"]
    telling = {
        "version": metadata.version("tickloom"),
        "session": [session[key] for key in _TELLING],
        **{key: plain[key] for key in ("validation", "flags", "calendars", "instruments")},
    }
    return hashlib.sha256(msgspec.json.encode(telling, order="deterministic")).hexdigest()


def recover(
    log: LogReader,
    settings: Settings,
    checkpoints: Iterable[Path] = (),
    *,
    to_seq: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Recovered:
    """Return what a log comes to.

    Args:
        log: open for reading; all of it must be readable that no checkpoint stands for.
        settings: those of the session that goes on; with others than the log's sessions had, all of it is folded anew.
        checkpoints: files to go on from, newest first; one that does not fit is passed over with a warning.
        to_seq: fold up to before this number; None: to the end.
        cancelled: asked now and then; True gives up.

    Raises:
        DamagedLog: a place that has to be read does not read back.
        Cancelled: `cancelled` said so.
    """
    folds = Folds(settings)
    end = (log.last_seq or 0) + 1 if to_seq is None else to_seq
    warnings: list[str] = []
    found = newest_of(log, folds, fingerprint(settings), checkpoints, end, warnings)
    states = folds.initial() if found is None else found
    first = log.first_seq or 1
    if found is None and first > 1:
        # the segments before are gone; what was in force is in the header of the first that is left
        states = folds.step(states, before_head(log, first))
    # a message must not reach across the number a state has come to, or the state would hold half of it
    edges = sorted(
        {seq for seq in states.seqs if seq > states.validation.seq} | {max(states.validation.seq, first - 1)}
    )
    for after, upto in pairwise([*(edge for edge in edges if edge < end - 1), end - 1]):
        for batch in batches_of(log.items(from_seq=after + 1, to_seq=upto + 1, max_rows=BATCH_ROWS)):
            if cancelled():
                raise Cancelled("the session was called off while it read its log")
            states = folds.step(states, batch)
    in_force = log.context(from_seq=end) if to_seq is not None else log.context()
    return Recovered(
        states=states.counted_anew(),
        last_seq=end - 1,
        cut_off=bool(in_force) and not any(isinstance(record, SessionStopped) for record in in_force),
        from_seq=0 if found is None else found.validation.seq,
        warnings=tuple(warnings),
    )


def before_head(log: LogReader, first: int) -> list[Numbered]:
    """Return what is to be folded ahead of a log whose first number is `first`, because what was before is gone."""
    head = next(iter(log.items(from_seq=first, to_seq=first + 1)), None)
    return [] if head is None else known_before(log.context(from_seq=first), head)


def newest_of(
    log: LogReader, folds: Folds, settings: str, paths: Iterable[Path], end: int, warnings: list[str]
) -> States | None:
    """Return the states of the newest of the checkpoints in `paths` that fits the log before number `end` and the
    fingerprint of `settings`; why each before it does not goes into `warnings`."""
    for path in paths:
        try:
            checkpoint = read(path)
        except BadCheckpointError as error:
            why = str(error)
        else:
            why = _misfit(log, folds, settings, checkpoint, end)
            if not why:
                return checkpoint.states
        warnings.append(f"{path} is not used: {why}; the log itself is read instead")
    return None


def _misfit(log: LogReader, folds: Folds, settings: str, checkpoint: Checkpoint, end: int) -> str:
    """Return why a checkpoint cannot be gone on from; empty: it can."""
    states = checkpoint.states
    if checkpoint.settings != settings or not folds.fits(states):
        return "it was made with other settings, or by another version of the program"
    if states.last_seq >= end:
        return f"it has number {states.last_seq}, and the log ends with {end - 1}"
    if states.validation.seq + 1 < (log.first_seq or 1):
        return f"it has come to number {states.validation.seq}, and the log begins with {log.first_seq}"
    started = [
        record for record in log.context(from_seq=states.validation.seq + 1) if isinstance(record, SessionStarted)
    ]
    if not started or started[0].recv_ns != checkpoint.session_ns:
        return "it belongs to another log"
    return ""


def batches_of(items: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    """Yield items in batches that are folded in one step."""
    batch: list[Numbered] = []
    rows = 0
    for numbered in items:
        batch.append(numbered)
        rows += len(numbered.item) if isinstance(numbered.item, Frames) else 1
        if rows >= BATCH_ROWS or len(batch) >= BATCH_ITEMS:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def seeds(wires: Wires) -> dict[str, Any]:
    """Return what each actor begins with, by path: the states carried over, and for the keepers the open bars."""
    settings, states = wires.settings, wires.carried
    if states is None:
        return {}
    instruments = tuple(states.validation.instruments.values())
    history = HistoryFold(settings.history.rows, settings.history.megabytes * 1_048_576)
    given: dict[str, Any] = {VALIDATION: states.validation, FINEST: states.reduce}
    given |= {timeframe_path(name): state for name, state in {**states.timeframes, **states.activities}.items()}
    given[HISTORY] = history.step(history.initial(), [*instruments, *Folds(settings).pending(states)])[0]
    if wires.out is not None:
        given[PARQUET] = ParquetState(instruments=dict(states.validation.instruments))
    return given


__all__ = [
    "Folds",
    "Recovered",
    "batches_of",
    "before_head",
    "fingerprint",
    "fold_all",
    "newest_of",
    "recover",
    "seeds",
]
