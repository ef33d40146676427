"""The finest reduction: validated trades in, deltas of one second out. Every trade is looked at here, and only here.

Rules. Trades of one contract and second become one delta, however they were cut into batches. Each contract has a
watermark: its newest event stamp, or the last clock beat if that is later. A trade whose second had ended, by
`grace_ns` or more, before the watermark at its arrival is *late*: it travels in a delta of its own that carries that
watermark, so that every timeframe can tell whether *its* bar was closed by then. Thus lateness is decided once, by
arrival, and what follows does not depend on batches. A trade more than `lateness_ns` behind its contract's newest
stamp is refused and counted; validation refuses those first, by the same rule.

How trades are folded fast, one by one and as arrays, is in `seconds`; what history adds to a gap, in `repairs`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tickloom.actors.bars import repairs
from tickloom.actors.bars.deltas import COLUMN_ROWS
from tickloom.actors.bars.repairs import Recent, Repairs
from tickloom.actors.bars.seconds import NEVER, VECTOR_ROWS, Seconds
from tickloom.messages.bars import BarFlag, Delta, DeltaColumns, Mark, Patch, Reduced
from tickloom.messages.control import (
    Beat,
    Gap,
    Healed,
    Midway,
    SessionStarted,
    SessionStopped,
    Subscribed,
    Unhealed,
    Unsubscribed,
)
from tickloom.messages.intake import Validated
from tickloom.messages.market import Trades


class ReduceState(msgspec.Struct, frozen=True):
    """The last record folded in, the last beat, each contract's newest event stamp, and who is being followed.

    `recent` is the volume of the last seconds, `repairs` are the gaps that history may fill, both by contract.
    """

    seq: int = 0
    beat: int = 0
    newest: dict[str, int] = {}
    followed: frozenset[str] = frozenset()
    recent: dict[str, Recent] = {}
    repairs: dict[str, Repairs] = {}


class ReduceFold:
    """The fold `(ReduceState, [Validated]) -> (ReduceState, [Reduced])`: one `Reduced` a step, one more for each
    session that stops, and each piece of history that comes, within it.

    Input that was folded before (by `seq`) is passed over. A contract's bars that had begun when it was first
    subscribed are marked partial, as are those from before the place where a log is begun in its middle; so is what is
    open when a session stops. A session that starts anew where the last one was cut off stops that one first.

    Args:
        grace_ns: how long a second waits for its trades.
        lateness_ns: how far behind the newest stamp a trade may be; not less than validation's.
        patience_ns: how far the newest stamp may get past a gap while its bars wait for history; 0: no bar waits.
        vector_rows, column_rows: thresholds, for tests and benchmarks; no result depends on them. 0 vector rows force
            the array path.
    """

    def __init__(
        self,
        grace_ns: int,
        lateness_ns: int,
        patience_ns: int = 0,
        *,
        vector_rows: int = VECTOR_ROWS,
        column_rows: int = COLUMN_ROWS,
    ) -> None:
        if grace_ns < 0 or lateness_ns < 0:
            raise ValueError(f"grace {grace_ns} ns and lateness {lateness_ns} ns must not be negative")
        self.grace_ns = grace_ns
        self.lateness_ns = lateness_ns
        self.patience_ns = patience_ns
        self.vector_rows = vector_rows
        self.column_rows = column_rows

    def initial(self) -> ReduceState:
        """Nothing seen."""
        return ReduceState()

    def step(self, state: ReduceState, messages: Sequence[object]) -> tuple[ReduceState, Sequence[Reduced]]:
        """Fold `messages` in order; messages of other types are passed over.

        Raises:
            BarOverflowError: a delta's notional would leave int64.
        """
        step = _Step(self, state)
        for message in messages:
            if isinstance(message, Validated) and not 0 < message.seq <= step.seq:
                step.fold(message)
        return step.result()

    def split(self, messages: Sequence[object]) -> tuple[Sequence[object], Sequence[object]] | None:
        """Halve a failing batch: by messages, then by items, then by trades. None for a single item or trade."""
        return halve(messages)


def halve(messages: Sequence[object]) -> tuple[Sequence[object], Sequence[object]] | None:
    """Halve `Validated` messages: by messages, then by items, then by trades. None for a single item or trade."""
    if len(messages) != 1:
        middle = len(messages) // 2
        return (messages[:middle], messages[middle:]) if messages else None
    whole = messages[0]
    if not isinstance(whole, Validated):
        return None
    if len(whole.items) > 1:
        middle = len(whole.items) // 2
        first, second = whole.items[:middle], whole.items[middle:]
    elif whole.items and isinstance(trades := whole.items[0], Trades) and len(trades) > 1:
        middle = len(trades) // 2
        first, second = (_slice(trades, 0, middle),), (_slice(trades, middle, len(trades)),)
    else:
        return None
    weight = sum(len(item) for item in first if isinstance(item, Trades))
    # the first half is unnumbered, or the second would be taken for a repetition
    return (
        [Validated(0, first, whole.mono_ns, weight)],
        [Validated(whole.seq, second, whole.mono_ns, max(whole.weight - weight, 0))],
    )


def _slice(trades: Trades, start: int, stop: int) -> Trades:
    part = slice(start, stop)
    return Trades(
        trades.contract,
        trades.ts_ns[part],
        trades.price[part],
        trades.size[part],
        trades.side[part],
        trades.tick[part],
        trades.mono_ns,
    )


class _Step:
    """The working copy of one step; thrown away if the step fails."""

    def __init__(self, rules: ReduceFold, state: ReduceState) -> None:
        self.rules = rules
        self.state = state
        self.seq = state.seq
        self.number = 0  # that of the step itself; unnumbered input must not pass for a repetition of what came before
        self.beat = state.beat
        self.newest = state.newest
        self.followed = state.followed
        self.recent = dict(state.recent)
        self.repairs = state.repairs
        self.outputs: list[Reduced] = []
        self.restart()

    def restart(self) -> None:
        self.contracts: dict[str, Seconds] = {}
        self.marks: list[Mark | Patch] = []
        self.holds: dict[str, int] = {}
        self.beaten = False
        self.mono_ns = 0
        self.weight = 0

    def fold(self, message: Validated) -> None:
        if message.items and isinstance(message.items[0], Healed):
            self.flush()  # under the number of what came before
        if message.seq:
            self.seq = self.number = message.seq
        if message.weight:
            self.weight += message.weight
            if not self.mono_ns or message.mono_ns < self.mono_ns:
                self.mono_ns = message.mono_ns
        for item in message.items:
            if isinstance(item, Trades):
                self.trades(item)
            elif isinstance(item, Beat):
                self.advance(item.recv_ns)
            elif isinstance(item, Gap):
                self.gap(item)
            elif isinstance(item, Healed):
                self.heal(item)
            elif isinstance(item, Unhealed):
                self.repair(item.contract, repairs.give_up(self.known_repairs(item.contract), item.from_ns, item.to_ns))
            elif isinstance(item, Subscribed):
                if item.contract not in self.followed:
                    self.followed |= {item.contract}
                    self.mark(item.contract, item.recv_ns - 1, item.recv_ns, BarFlag.PARTIAL)
            elif isinstance(item, Midway):
                self.mark(item.contract, NEVER, item.recv_ns, BarFlag.PARTIAL)
            elif isinstance(item, Unsubscribed):
                self.followed -= {item.contract}
            elif isinstance(item, SessionStopped):
                self.advance(item.recv_ns)
                self.stop()
            elif isinstance(item, SessionStarted) and not item.resumed and (self.newest or self.contracts or self.beat):
                self.stop()

    def advance(self, beat: int) -> None:
        if beat > self.beat:
            self.beat = beat
            self.beaten = True

    def newest_of(self, name: str) -> int:
        contract = self.contracts.get(name)
        return contract.newest if contract is not None else self.newest.get(name, NEVER)

    def mark(self, name: str, from_ns: int, to_ns: int, flag: BarFlag) -> None:
        self.marks.append(Mark(name, from_ns, to_ns, int(flag), self.newest_of(name)))

    def gap(self, gap: Gap) -> None:
        name = gap.contract
        self.mark(name, gap.from_ns, gap.to_ns, BarFlag.GAP)
        if self.rules.patience_ns:
            known = self.known_repairs(name)
            self.repair(name, repairs.begin(known, gap, self.newest_of(name), self.recent.get(name, repairs.NO_TRADES)))

    def heal(self, healed: Healed) -> None:
        """Take in a piece of history. What was folded before goes first, so that its volume is known."""
        name = healed.contract
        if self.contracts:
            self.flush()
        newest = self.newest.get(name, NEVER)
        late, keep_ns = max(newest, self.beat), self.rules.lateness_ns
        after, patches = repairs.heal(self.known_repairs(name), healed, newest, late, keep_ns)
        if patches:
            self.marks += patches
            self.repair(name, after)

    def known_repairs(self, name: str) -> Repairs:
        return self.repairs.get(name, repairs.NONE)

    def repair(self, name: str, after: Repairs) -> None:
        """Keep a contract's repairs, and say from where on its bars are held, if that is news."""
        before = self.known_repairs(name)
        if after is before:
            return
        if after.hold != before.hold:
            self.holds[name] = after.hold
        self.repairs = {**self.repairs, name: after}
        if not after.stretches:
            del self.repairs[name]

    def trades(self, trades: Trades) -> None:
        if len(trades):
            contract = self.contracts.get(trades.contract)
            if contract is None:
                newest = self.newest.get(trades.contract, NEVER)
                contract = Seconds(trades.contract, newest, self.rules.grace_ns, self.rules.lateness_ns)
                self.contracts[trades.contract] = contract
            contract.add(trades, self.beat, self.rules.vector_rows)

    def stop(self) -> None:
        """Let everything go: with a session its time ends."""
        self.flush(stop=True)
        self.newest, self.beat, self.followed, self.recent, self.repairs = {}, 0, frozenset(), {}, {}

    def flush(self, *, stop: bool = False) -> None:
        """Say what was folded since the last flush, if anything."""
        rows: list[Delta] = []
        columns: list[DeltaColumns] = []
        watermarks: list[tuple[str, int]] = []
        refused = 0
        for name, contract in self.contracts.items():
            own, block = contract.take(self.rules.column_rows)
            if self.rules.patience_ns:
                self.recent[name] = repairs.advance(
                    self.recent.get(name, repairs.NO_TRADES), contract.newest, own, block
                )
            if name in self.repairs:
                own, block = self.follow(name, contract.newest, own, block)
            rows += own
            columns += block
            refused += contract.refused
            if contract.newest != self.newest.get(name, NEVER):
                watermarks.append((name, contract.newest))
        if not (rows or columns or watermarks or self.marks or self.beaten or refused or stop or self.holds):
            return
        if watermarks:
            self.newest = {**self.newest, **dict(watermarks)}
        self.outputs.append(
            Reduced(
                self.number,
                tuple(rows),
                tuple(columns),
                tuple(watermarks),
                self.beat if self.beaten else 0,
                tuple(self.marks),
                self.mono_ns,
                self.weight,
                stop,
                sum(output.seq == self.number for output in self.outputs),
                refused,
                tuple(self.holds.items()),
            )
        )
        self.restart()

    def follow(
        self, name: str, newest: int, rows: list[Delta], columns: list[DeltaColumns]
    ) -> tuple[list[Delta], list[DeltaColumns]]:
        """Account for deltas of a contract with gaps to heal."""
        after, rows, columns = repairs.account(self.repairs[name], rows, columns)
        self.repair(name, repairs.expire(after, newest, self.rules.patience_ns, self.rules.lateness_ns))
        return rows, columns

    def result(self) -> tuple[ReduceState, Sequence[Reduced]]:
        self.flush()
        return ReduceState(self.seq, self.beat, self.newest, self.followed, self.recent, self.repairs), self.outputs
