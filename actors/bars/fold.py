"""A timeframe as a pure fold over what the finest reduction says: open bars in, bars in every stage of their life out.

The state is one `ContractState` a contract (`weave` has the rules of a bar's life), the last beat, and the
number of the last message. Feeding a message twice changes nothing. A step copies what it changes and leaves the
state it was given as it was, so a step that fails has done nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from tickloom.actors.bars.deltas import take
from tickloom.actors.bars.quick import follow, opened
from tickloom.actors.bars.seconds import NEVER
from tickloom.actors.bars.state import BULK_ROWS, BucketRule, ContractState, Weaving
from tickloom.actors.bars.weave import Weaver
from tickloom.messages.bars import Bar, BarColumns, Bars, Delta, DeltaColumns, Patch, Reduced


class TimeframeState(msgspec.Struct, frozen=True):
    """Contracts by id, the last beat (ns), and (`seq`, `part`) of the last message folded in."""

    contracts: dict[str, ContractState] = {}
    beat: int = 0
    seq: int = 0
    part: int = 0


class TimeframeFold:
    """The fold `(TimeframeState, [Reduced]) -> (TimeframeState, [Bars])`: one `Bars` a step if there is anything to
    say, and one more for each session that stops within it.

    Args:
        timeframe: its name, which all bars carry.
        rules: gives a contract's buckets. Always the same ones for a contract, or a replay would differ.
        grace_ns: how long a bar waits after its end before it closes; the reduction's.
        lateness_ns: how long after that it can be revised, in event time; the reduction's.
        emit_empty: make flat bars, flagged `EMPTY`, between two bars of a session, for buckets without a trade in which
            the market trades at any moment; of a run longer than `MAX_FLATS` the newest. They come when the later bar
            closes, again where what is around them is revised, and again, final, when the later bar settles.
        updates: report open bars that changed. Replay has no use for that.
        touched: report just the contracts of those bars. Who looks at them less often than they change asks `opened`.
        bulk_rows: threshold, for tests and benchmarks; no result depends on it.
    """

    def __init__(
        self,
        timeframe: str,
        rules: Callable[[str], BucketRule],
        grace_ns: int,
        lateness_ns: int,
        *,
        emit_empty: bool = False,
        updates: bool = True,
        touched: bool = False,
        bulk_rows: int = BULK_ROWS,
    ) -> None:
        if grace_ns < 0 or lateness_ns < 0:
            raise ValueError(
                f"timeframe {timeframe}: grace {grace_ns} ns and lateness {lateness_ns} ns must not be negative"
            )
        self.weaving = Weaving(timeframe, rules, grace_ns, lateness_ns, emit_empty, bulk_rows)
        self.updates = updates and not touched
        self.touched = touched

    def initial(self) -> TimeframeState:
        """No bars."""
        return TimeframeState()

    def step(self, state: TimeframeState, messages: Sequence[object]) -> tuple[TimeframeState, Sequence[Bars]]:
        """Fold `messages` in order; messages of other types are passed over.

        Raises:
            BarOverflowError: a bar's notional would leave int64.
            ValueError: an instant that the contract's calendar cannot hold.
        """
        quick = self._follow(state, messages)
        if quick is not None:
            return quick
        return self.weave(state, messages)

    def weave(self, state: TimeframeState, messages: Sequence[object]) -> tuple[TimeframeState, Sequence[Bars]]:
        """As `step`, for any messages and at leisure."""
        step = _Step(self, state)
        for message in messages:
            if isinstance(message, Reduced) and (
                not message.seq or (message.seq, message.part) > (step.seq, step.part)
            ):
                step.fold(message)
        return step.result()

    def _follow(
        self, state: TimeframeState, messages: Sequence[object]
    ) -> tuple[TimeframeState, Sequence[Bars]] | None:
        """Return the step of messages that only add to open bars; None for any other."""
        seq, part = state.seq, state.part
        fresh: list[Reduced] = []
        weight = mono_ns = 0
        for message in messages:
            if not isinstance(message, Reduced):
                continue
            if message.seq:
                if (message.seq, message.part) <= (seq, part):
                    continue
                seq, part = message.seq, message.part
            fresh.append(message)
            if message.weight:
                weight += message.weight
                if not mono_ns or message.mono_ns < mono_ns:
                    mono_ns = message.mono_ns
        made = follow(self.weaving, state.contracts, state.beat, fresh)
        if made is None:
            return None
        contracts, beat, touched = made
        after = TimeframeState(contracts, beat, seq, part)
        if not touched or not (self.updates or self.touched):
            return after, []
        if self.touched:
            said = Bars(self.weaving.timeframe, seq, mono_ns=mono_ns, weight=weight, touched=tuple(touched))
        else:
            updated = [
                opened(self.weaving, contracts[name], contracts[name].open[start])
                for name, starts in touched.items()
                for start in sorted(starts)
            ]
            said = Bars(self.weaving.timeframe, seq, tuple(updated), mono_ns=mono_ns, weight=weight)
        return after, [said]

    def split(self, messages: Sequence[object]) -> tuple[Sequence[object], Sequence[object]] | None:
        """Halve a failing batch: by messages, then by what a message does, in the order in which it does it.

        That is rows on time, then time with marks and holds, then late rows, which are revisions only after what is due
        has closed; what is left is settling, the stop, and the number. So a row that is guilty takes nothing with it:
        the other rows' bars are those of a message without it. None for a single row, or for what cannot be told apart.
        """
        if len(messages) != 1:
            middle = len(messages) // 2
            return (messages[:middle], messages[middle:]) if messages else None
        whole = messages[0]
        halves = _parts(whole, self._revises) if isinstance(whole, Reduced) else None
        return None if halves is None else ([halves[0]], [halves[1]])

    def _revises(self, row: Delta) -> bool:
        """Whether a row came when its bar of this timeframe had closed, and not just its second."""
        if not row.late:
            return False
        try:
            _, end = self.weaving.rules(row.contract).bucket(row.bucket)
        except ValueError:  # it fails wherever it stands
            return False
        return end + self.weaving.grace_ns <= row.late

    def digests(self, state: TimeframeState) -> dict[tuple[str, str], bytes]:
        """Return the digest of each contract's final bars so far, for `combine_digests`."""
        return {
            (self.weaving.timeframe, name): contract.chain.digest()
            for name, contract in state.contracts.items()
            if contract.chain.rows
        }

    def opened(self, state: TimeframeState, contracts: Iterable[str]) -> list[Bar]:
        """Return the open bars of some contracts, those of each in order of open time."""
        return [
            opened(self.weaving, known, live)
            for name in contracts
            if (known := state.contracts.get(name)) is not None
            for _, live in sorted(known.open.items())
        ]

    def pending(self, state: TimeframeState, contract: str) -> tuple[list[Bar], list[Bar]]:
        """Return a contract's closed bars that may still be revised, and its open ones, each in order of open time.

        Flat bars that were told are among the closed ones.
        """
        known = state.contracts.get(contract)
        if known is None:
            return [], []
        weaver = Weaver(self.weaving, contract, known)
        return weaver.pending(), [weaver.bar(live, final=False) for _, live in sorted(known.open.items())]


def _parts(whole: Reduced, revises: Callable[[Delta], bool]) -> tuple[Reduced, Reduced] | None:
    """Return a message in two that say the same one after the other; None: it is one thing, or nothing.

    All but the last of a message's parts say that more follows, so nothing settles before a late row has been seen.
    The last one names every contract that the others touched: that is what has it settle what they left.
    """
    rows, columns = whole.rows, whole.columns
    late = tuple(row for row in rows if revises(row))
    on_time = tuple(row for row in rows if not revises(row))
    if len(columns) > 1 or (columns and (rows or (len(columns[0]) == 1 and not whole.more))):
        return _rows_first(whole, (), columns[:1], rows, columns[1:])
    if columns and len(columns[0]) > 1:
        middle = len(columns[0]) // 2
        lower, upper = take(columns[0], slice(0, middle)), take(columns[0], slice(middle, None))
        return _rows_first(whole, (), (lower,), (), (upper,))
    if len(on_time) > 1 or (on_time and (late or not whole.more)):
        middle = max(len(on_time) // 2, 1)
        return _rows_first(whole, on_time[:middle], (), on_time[middle:] + late, ())
    moves = whole.beat or whole.holds or any(newest != NEVER for _, newest in whole.watermarks)
    if (late and (moves or whole.marks)) or (whole.marks and moves):
        marks, left = (whole.marks, ()) if late else ((), whole.marks)
        first = Reduced(0, (), (), whole.watermarks, whole.beat, marks, holds=whole.holds, more=True)
        rest = msgspec.structs.replace(whole, watermarks=(), beat=0, marks=left, holds=())
        return first, _touching(rest, first)
    if len(late) > 1 or (late and not whole.more):
        middle = max(len(late) // 2, 1)
        return _rows_first(whole, late[:middle], (), late[middle:], ())
    if len(whole.marks) > 1 or (whole.marks and not whole.more):
        middle = max(len(whole.marks) // 2, 1)
        first = Reduced(0, marks=whole.marks[:middle], more=True)
        return first, msgspec.structs.replace(_touching(whole, first), marks=whole.marks[middle:])
    return None


def _rows_first(
    whole: Reduced,
    rows: tuple[Delta, ...],
    columns: tuple[DeltaColumns, ...],
    other_rows: tuple[Delta, ...],
    other_columns: tuple[DeltaColumns, ...],
) -> tuple[Reduced, Reduced]:
    """Return a part with some rows and nothing else, and the message with the others."""
    first = Reduced(0, rows, columns, more=True)
    return first, msgspec.structs.replace(_touching(whole, first), rows=other_rows, columns=other_columns)


def _touching(whole: Reduced, part: Reduced) -> Reduced:
    """Return the last part of a message with the contracts of `part` named, where it does not do so anyway."""
    if whole.more:
        return whole
    known = {name for name, _ in whole.watermarks}
    added = tuple((name, NEVER) for name in _touched(part) if name not in known)
    return msgspec.structs.replace(whole, watermarks=whole.watermarks + added) if added else whole


def _touched(part: Reduced) -> list[str]:
    names = [row.contract for row in part.rows] + [block.contract for block in part.columns]
    names += [name for name, _ in part.watermarks] + [mark.contract for mark in part.marks]
    return list(dict.fromkeys(names + [name for name, _ in part.holds]))


class _Step:
    """The working copy of one step; thrown away if the step fails."""

    def __init__(self, fold: TimeframeFold, state: TimeframeState) -> None:
        self.weaving = fold.weaving
        self.updates, self.touches = fold.updates, fold.touched
        self.contracts = state.contracts
        self.beat, self.seq, self.part = state.beat, state.seq, state.part
        self.weavers: dict[str, Weaver] = {}
        self.outputs: list[Bars] = []
        self.mono_ns = self.weight = 0

    def weaver(self, name: str) -> Weaver:
        weaver = self.weavers.get(name)
        if weaver is None:
            weaver = self.weavers[name] = Weaver(self.weaving, name, self.contracts.get(name, _NEW))
        return weaver

    def fold(self, message: Reduced) -> None:
        if message.seq:
            self.seq, self.part = message.seq, message.part
        if message.weight:
            self.weight += message.weight
            if not self.mono_ns or message.mono_ns < self.mono_ns:
                self.mono_ns = message.mono_ns
        for row in message.rows:
            self.weaver(row.contract).add(row)
        for name, newest in message.watermarks:
            if newest != NEVER or name in self.contracts:
                self.weaver(name).advance(newest)
        for mark in message.marks:
            if isinstance(mark, Patch):
                self.weaver(mark.contract).heal(mark)
            else:
                self.weaver(mark.contract).mark(mark)
        for name, hold in message.holds:
            self.weaver(name).hold = hold
        if message.columns:
            parts: dict[str, list[DeltaColumns]] = {}
            for block in message.columns:
                parts.setdefault(block.contract, []).append(block)
            for name, blocks in parts.items():
                self.weaver(name).add_columns(blocks, bulk=not message.more)
        if message.beat > self.beat:
            self.beat = message.beat
            for name, contract in self.contracts.items():
                if name not in self.weavers and contract.due + self.weaving.grace_ns <= self.beat:
                    self.weaver(name)
        for weaver in self.weavers.values():
            weaver.turn(self.beat, settle=not message.more)
        if message.stop:
            self.stop()

    def stop(self) -> None:
        for name in self.contracts:
            self.weaver(name)
        for weaver in self.weavers.values():
            weaver.stop()
        self.flush(stop=True)
        self.beat = 0

    def flush(self, *, stop: bool = False) -> None:
        """Say what happened since the last flush, if anything, and take the weavers' work over."""
        updated: list[Bar] = []
        touched: list[str] = []
        closed: list[Bar] = []
        revised: list[Bar] = []
        settled: list[Bar] = []
        columns: list[BarColumns] = []
        refused = 0
        if self.weavers:
            self.contracts = dict(self.contracts)
        for name, weaver in self.weavers.items():
            if self.updates:
                updated += weaver.updates()
            elif self.touches and weaver.touched:
                touched.append(name)
            if weaver.busy:
                closed += weaver.said
                revised += weaver.revisions()
                settled += weaver.settled
                columns += weaver.blocks
                refused += weaver.refused
            self.contracts[name] = weaver.freeze()
        if updated or touched or closed or revised or settled or columns or refused or stop:
            self.outputs.append(
                Bars(
                    self.weaving.timeframe,
                    self.seq,
                    tuple(updated),
                    tuple(closed),
                    tuple(revised),
                    tuple(settled),
                    tuple(columns),
                    refused,
                    self.mono_ns,
                    self.weight,
                    stop,
                    tuple(touched),
                )
            )
        self.weavers = {}
        self.mono_ns = self.weight = 0

    def result(self) -> tuple[TimeframeState, Sequence[Bars]]:
        self.flush()
        return TimeframeState(self.contracts, self.beat, self.seq, self.part), self.outputs


_NEW = ContractState()
