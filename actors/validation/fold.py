"""Validation as a pure fold: numbered intake in, trades in exact ticks and rejects out. Every print ends in one bin.

Theory of operation. Prints of consecutive frames are gathered by contract and let go as one `Trades` a contract at the
next control record or at the end of the batch, so order against beats is kept and batches stay large. Short runs of
prints are judged row by row; long ones with arrays, in stretches: a stretch in which every row passes every rule is
taken whole, and the rows around a failing one are judged by the same row function. The result does not depend on which
path was taken.

A price outside the band around the last accepted one is *held*. When `Rules.confirm` consecutive prints lie near one
another the move is real and all of them pass, in order; when a print returns to the band the held ones are rejected as
`jump`. Prints held when the session stops are rejected: nobody confirmed them.

`late` is measured against the newest *event* time of the contract, never against a clock: a feed that stalls and then
delivers loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickloom.actors.validation.rules import (
    GRID_TOLERANCE,
    MAX_RECENT,
    MAX_TICKS,
    PASSABLE,
    REASONS,
    Held,
    Reason,
    Reference,
    Row,
    Rules,
    check_row,
    on_grid,
    why,
    within_band,
)
from tickloom.messages.accounts import AccountEvent, AccountEvents, account_events
from tickloom.messages.control import (
    AnyControl,
    Beat,
    ClockMeasured,
    Connected,
    Disconnected,
    Gap,
    Healed,
    SessionStarted,
    SessionStopped,
    Subscribed,
)
from tickloom.messages.intake import Frames, Numbered, Validated
from tickloom.messages.market import (
    FloatArray,
    Instrument,
    IntArray,
    Ints,
    Prints,
    Reject,
    Trades,
    as_float64,
    as_int64,
    as_list,
)
from tickloom.messages.reports import FeedState, Report

Output: TypeAlias = Instrument | Validated | Reject | Report | FeedState | AccountEvents
"""Instruments as they become known, trades for the bars, rejects to keep, account events, and at each beat totals and
freshness."""

VECTOR_ROWS = 48
"""From this many prints of one contract on, arrays beat rows (measured by benchmarks/validation.py)."""


class Counts(msgspec.Struct, frozen=True):
    """Exact totals: prints received (decoded or malformed), trades accepted, prints rejected by reason.

    `flagged` counts, by reason, those among the accepted that only a dry run let pass; `malformed`, by reason, what
    could not be read and is no print: quotes, depth, account events, whole messages.
    """

    received: int = 0
    accepted: int = 0
    rejected: dict[str, int] = {}
    flagged: dict[str, int] = {}
    malformed: dict[str, int] = {}

    @property
    def held(self) -> int:
        """Prints neither accepted nor rejected yet."""
        return self.received - self.accepted - sum(self.rejected.values())


class ValidationState(msgspec.Struct, frozen=True):
    """Instruments, references and last receipts (ns) by contract, exact totals, and the last record folded in."""

    instruments: dict[str, Instrument] = {}
    references: dict[str, Reference] = {}
    receipts: dict[str, int] = {}
    counts: Counts = Counts()
    seq: int = 0


class _Rows:
    """Accepted rows of one contract, growing within one step: lists, or arrays when one stretch is all there is."""

    __slots__ = ("blocks", "price", "side", "size", "tick", "ts")

    def __init__(self) -> None:
        self.ts: list[int] = []
        self.price: list[int] = []
        self.size: list[int] = []
        self.side: list[int] = []
        self.tick: list[int] = []
        self.blocks: list[tuple[Ints, Ints, Ints, Ints, Ints]] = []

    def add(self, ts: int, price: int, size: int, side: int, tick: int) -> None:
        self.ts.append(ts)
        self.price.append(price)
        self.size.append(size)
        self.side.append(side)
        self.tick.append(tick)

    def add_block(self, ts: Ints, price: Ints, size: Ints, side: Ints, tick: Ints) -> None:
        self._seal()
        self.blocks.append((ts, price, size, side, tick))

    def _seal(self) -> None:
        if self.ts:
            self.blocks.append((self.ts, self.price, self.size, self.side, self.tick))
            self.ts, self.price, self.size, self.side, self.tick = [], [], [], [], []

    def trades(self, contract: str, mono_ns: int) -> Trades:
        if not self.blocks:
            return Trades(contract, self.ts, self.price, self.size, self.side, self.tick, mono_ns)
        self._seal()
        if len(self.blocks) == 1:
            ts, price, size, side, tick = self.blocks[0]
        else:
            ts, price, size, side, tick = (
                np.concatenate([as_int64(column) for column in columns]) for columns in zip(*self.blocks, strict=True)
            )
        return Trades(contract, ts, price, size, side, tick, mono_ns)


class _Seen:
    """Which rows of a stretch repeat one accepted before with the newest stamp, and what is remembered after it."""

    def __init__(
        self, reference: Reference, ts: IntArray, newest: IntArray, ticks: IntArray, size: IntArray, side: IntArray
    ) -> None:
        self.reference = reference
        self.ts, self.newest = ts, newest
        self.columns = (ticks, size, side)

    def mark(self, ok: NDArray[np.bool_]) -> None:
        """Take the first repetition out of `ok`; what comes after it is judged in another stretch."""
        ts, newest = self.ts, self.newest
        shares = np.empty(len(ts), dtype=bool)  # the newest stamp with a row before it: nothing else can repeat
        shares[0] = ts[0] == self.reference.newest_ns
        shares[1:] = ts[1:] == newest[:-1]
        for start in np.flatnonzero(shares):
            stamp = int(ts[start])
            first = int(np.searchsorted(newest, stamp))
            if self._row(start) in self._before(stamp, first, int(start)):
                ok[start] = False
                return
            if not ok[start]:
                return

    def at_newest(self, length: int) -> tuple[Row, ...]:
        """Return what is to be remembered when the first `length` rows were accepted."""
        stamp = int(self.newest[length - 1])
        return self._before(stamp, int(np.searchsorted(self.newest, stamp)), length)

    def _before(self, stamp: int, first: int, stop: int) -> tuple[Row, ...]:
        """Return the last rows with that stamp in [first, stop) and, if it is the reference's, those before."""
        rows = [self._row(i) for i in range(max(first, stop - 4 * MAX_RECENT), stop) if self.ts[i] == stamp]
        before = self.reference.recent if stamp == self.reference.newest_ns else ()
        return (*before, *rows)[-MAX_RECENT:]

    def _row(self, i: int) -> Row:
        ticks, size, side = self.columns
        return int(ticks[i]), int(size[i]), int(side[i])


class _Step:
    """The working copy of one step: copied lazily from the state, thrown away if the step fails."""

    def __init__(self, rules: Callable[[str], Rules], state: ValidationState, vector_rows: int) -> None:
        self.rules = rules
        self.offset_ns = state.offset_ns
        self.vector_rows = vector_rows
        self.state = state
        self.instruments = state.instruments
        self.references = dict(state.references)
        self.receipts = dict(state.receipts)
        self.beaten = False
        self.learnt: list[Instrument] = []
        self.received = state.counts.received
        self.accepted = state.counts.accepted
        self.rejected = dict(state.counts.rejected)
        self.flagged = dict(state.counts.flagged)
        self.malformed = dict(state.counts.malformed)
        self.accounts: list[AccountEvent] = []
        self.seq = state.seq
        self.items: list[Trades | AnyControl] = []
        self.passed: list[Validated] = []
        self.rejects: list[Reject] = []
        self.rows: dict[str, _Rows] = {}
        self.mono_ns = 0
        self.weight = 0

    # -- prints ---------------------------------------------------------------------------------------------

    def frames(self, frames: Frames) -> None:
        for bad in frames.malformed:
            if bad.prints:
                self.received += bad.prints
                self.rejected[bad.reason] = self.rejected.get(bad.reason, 0) + bad.prints
                self.rejects.append(Reject("", -1, 0, float("nan"), 0, 2, bad.reason, bad.detail))
            else:
                self.malformed[bad.reason] = self.malformed.get(bad.reason, 0) + 1
        prints = frames.prints
        if prints is None or not len(prints):
            return
        self.received += len(prints)
        if not self.mono_ns:
            self.mono_ns = int(frames.mono_ns[0])
        if len(prints) < self.vector_rows:
            self._each(prints, frames.recv_ns)
        else:
            self._by_contract(prints, frames.recv_ns)

    def _each(self, prints: Prints, recv_ns: Ints) -> None:
        """Judge a short run of prints one after the other."""
        names, recv = prints.contracts, recv_ns
        # of each contract that is there, and of no other in the table, the frame that came last
        for c, frame in dict(zip(as_list(prints.contract), as_list(prints.frame), strict=True)).items():
            self.receipts[names[c]] = int(recv[frame])
        tick = prints.first_tick
        for c, ts, price, size, side, frame in zip(
            as_list(prints.contract),
            as_list(prints.ts_ns),
            as_list(prints.price),
            as_list(prints.size),
            as_list(prints.side),
            as_list(prints.frame),
            strict=True,
        ):
            name = names[c]
            instrument = self.instruments.get(name)
            if instrument is None:
                self._reject(name, tick, ts, price, size, side, "unknown_contract")
            else:
                self._judge(instrument, tick, ts, price, size, side, int(recv[frame]))
            tick += 1

    def _by_contract(self, prints: Prints, recv_ns: Ints) -> None:
        """Judge a long run with arrays, contract by contract (contracts do not see one another)."""
        contract = as_int64(prints.contract)
        ts, price = as_int64(prints.ts_ns), as_float64(prints.price)
        size, side = as_int64(prints.size), as_int64(prints.side)
        recv = as_int64(recv_ns)[as_int64(prints.frame)]
        tick = np.arange(prints.first_tick, prints.first_tick + len(prints), dtype=np.int64)
        single = len(prints.contracts) == 1
        for index, name in enumerate(prints.contracts):
            if single:
                self.receipts[name] = int(recv[-1])
                self._column(name, tick, ts, price, size, side, recv)
                return
            chosen = np.flatnonzero(contract == index)
            if len(chosen):
                self.receipts[name] = int(recv[chosen[-1]])
                self._column(name, tick[chosen], ts[chosen], price[chosen], size[chosen], side[chosen], recv[chosen])

    def _column(
        self,
        name: str,
        tick: IntArray,
        ts: IntArray,
        price: FloatArray,
        size: IntArray,
        side: IntArray,
        recv: IntArray,
    ) -> None:
        rules, instrument = self.rules(name), self.instruments.get(name)
        if instrument is None:
            for i in range(len(tick)):
                self._reject(
                    name, int(tick[i]), int(ts[i]), float(price[i]), int(size[i]), int(side[i]), "unknown_contract"
                )
            return
        gateway = recv + self.offset_ns if self.offset_ns else recv
        with np.errstate(invalid="ignore", over="ignore"):
            exact = price * (instrument.denominator / 1.0) / instrument.numerator
            rounded = np.rint(exact)
            good = np.abs(exact - rounded) <= GRID_TOLERANCE  # False for NaN and infinities
            good &= np.abs(exact) <= MAX_TICKS
            ticks = np.where(good, rounded, 0.0).astype(np.int64)
        good &= size >= (1 if rules.zero_size == "reject" else 0)
        good &= size <= rules.max_size
        ahead = ts - gateway
        good &= ahead <= rules.future_ns
        if rules.max_age_ns:
            good &= ahead >= -rules.max_age_ns
        low, high = rules.range
        if low > -np.inf or high < np.inf:
            good &= (price >= low) & (price <= high)
        start, n = 0, len(tick)
        # Where every row is good alone, what is left are the rules between neighbours: band and lateness.
        bad_alone = np.flatnonzero(~good)
        while start < n:
            reference = self.references.get(name, Reference())
            stop = int(bad_alone[np.searchsorted(bad_alone, start)]) if len(bad_alone) and bad_alone[-1] >= start else n
            taken = 0
            if not reference.held and reference.last is not None and stop > start:
                taken = self._stretch(name, rules, reference, tick, ts, ticks, size, side, start, stop)
            start += taken
            if taken == 0:
                # One row by the row function: it rejects, holds, confirms or sets the first reference.
                i = start
                self._judge(
                    instrument, int(tick[i]), int(ts[i]), float(price[i]), int(size[i]), int(side[i]), int(recv[i])
                )
                start += 1

    def _stretch(
        self,
        name: str,
        rules: Rules,
        reference: Reference,
        tick: IntArray,
        ts: IntArray,
        ticks: IntArray,
        size: IntArray,
        side: IntArray,
        start: int,
        stop: int,
    ) -> int:
        """Accept the longest prefix of [start, stop) whose rows pass band and lateness; return its length."""
        assert reference.last is not None
        p = ticks[start:stop]
        before = np.empty_like(p)
        before[0] = reference.last
        before[1:] = p[:-1]
        ok = np.abs(p - before) <= np.maximum(rules.band * np.abs(before), rules.band_ticks)
        t = ts[start:stop]
        newest = np.maximum(np.maximum.accumulate(t), reference.newest_ns)
        # a row is late against the newest stamp before it; its own stamp cannot make it late
        ok &= newest - t <= rules.lateness_ns
        if rules.regressing == "reject":
            ok &= newest == t
        rows_at_newest: tuple[Row, ...] = ()
        if rules.duplicates == "reject":
            seen = _Seen(reference, t, newest, p, size[start:stop], side[start:stop])
            seen.mark(ok)
        length = len(p) if ok.all() else int(np.argmin(ok))
        if length == 0:
            return 0
        end = start + length
        rows = self.rows.setdefault(name, _Rows())
        rows.add_block(ts[start:end], ticks[start:end], size[start:end], side[start:end], tick[start:end])
        self.accepted += length
        self.weight += length
        if rules.duplicates == "reject":
            rows_at_newest = seen.at_newest(length)
        self.references[name] = Reference(int(newest[length - 1]), int(p[length - 1]), (), rows_at_newest)
        return length

    def _judge(self, instrument: Instrument, tick: int, ts: int, price: float, size: int, side: int, recv: int) -> None:
        """Judge one print: reject it, hold it, or accept it with whatever it confirms."""
        name = instrument.contract
        rules = self.rules(name)
        reference = self.references.get(name) or Reference()
        gateway = recv + self.offset_ns
        reason = check_row(rules, instrument, reference, ts, price, size, side, gateway)
        passed = reason is not None and rules.dry_run and reason in PASSABLE
        words = why(reason, rules, instrument, reference, gateway) if reason is not None else ""
        if reason is not None and not passed:
            self._reject(name, tick, ts, price, size, side, reason, words)
            return
        ticks = on_grid(instrument, price)
        assert ticks is not None
        last = reference.last
        if passed and reason is not None:
            self._flag(name, tick, ts, price, size, side, reason, words)
        near = within_band(rules, last, ticks) if last is not None else ticks > 0 and not reference.held
        if not near and rules.dry_run:
            words = why("jump", rules, instrument, reference, gateway)
            self._flag(name, tick, ts, price, size, side, "jump", words)
            near = True
        if near:
            self._condemn(name, reference)
            self._accept(rules, name, tick, ts, ticks, size, side, reference)
            return
        row = Held(tick, ts, ticks, price, size, side)
        if reference.held and not within_band(rules, reference.held[-1].ticks, ticks):
            self._condemn(name, reference)
            held: tuple[Held, ...] = (row,)
        else:
            held = (*reference.held, row)
        if len(held) < rules.confirm:
            self.references[name] = Reference(reference.newest_ns, reference.last, held, reference.recent)
            return
        for h in held:
            self._accept(rules, name, h.tick, h.ts_ns, h.ticks, h.size, h.side, reference)
            reference = self.references[name]

    def _accept(
        self, rules: Rules, name: str, tick: int, ts: int, ticks: int, size: int, side: int, before: Reference
    ) -> None:
        rows = self.rows.get(name)
        if rows is None:
            rows = self.rows[name] = _Rows()
        rows.add(ts, ticks, size, side, tick)
        self.accepted += 1
        self.weight += 1
        recent: tuple[Row, ...] = ()
        if rules.duplicates == "reject":
            recent = before.recent
            if ts > before.newest_ns:
                recent = ((ticks, size, side),)
            elif ts == before.newest_ns:
                recent = (*recent, (ticks, size, side))[-MAX_RECENT:]
        self.references[name] = Reference(max(ts, before.newest_ns), ticks, (), recent)

    def _reject(
        self, name: str, tick: int, ts: int, price: float, size: int, side: int, reason: Reason, words: str = ""
    ) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        self.rejects.append(Reject(name, tick, ts, price, size, side, reason, words or REASONS[reason]))

    def _flag(
        self, name: str, tick: int, ts: int, price: float, size: int, side: int, reason: Reason, words: str
    ) -> None:
        self.flagged[reason] = self.flagged.get(reason, 0) + 1
        self.rejects.append(Reject(name, tick, ts, price, size, side, reason, f"{words} (dry run: passed)"))

    def _condemn(self, name: str, reference: Reference) -> None:
        """Reject what is held: nothing confirmed it."""
        if reference.held:
            words = why("jump", self.rules(name), self.instruments[name], reference, 0)
            for h in reference.held:
                self._reject(name, h.tick, h.ts_ns, h.price, h.size, h.side, "jump", words)

    # -- control --------------------------------------------------------------------------------------------

    def control(self, record: AnyControl) -> None:
        self.flush()
        if isinstance(record, SessionStarted):
            self._learn(record.instruments)
        elif isinstance(record, Subscribed):
            self._learn((record.instrument,))
            self.receipts.setdefault(record.contract, record.recv_ns)
        elif isinstance(record, Beat):
            self.beaten = True
        elif isinstance(record, ClockMeasured):
            self.offset_ns = record.offset_ns + record.uncertainty_ns
        elif isinstance(record, SessionStopped):
            self.beaten = True
            for name, reference in self.references.items():
                if reference.held:
                    self._condemn(name, reference)
                    self.references[name] = Reference(reference.newest_ns, reference.last, (), reference.recent)
        if isinstance(record, Gap) and not record.contract:
            # what the log itself could not keep is missing of every contract; nothing, if the stretch is empty
            if record.from_ns < record.to_ns:
                self.items += [msgspec.structs.replace(record, contract=name) for name in self.receipts]
            return
        self.items.append(record)

    def _learn(self, instruments: Sequence[Instrument]) -> None:
        fresh = [i for i in instruments if self.instruments.get(i.contract) != i]
        if fresh:
            self.instruments = {**self.instruments, **{i.contract: i for i in fresh}}
            self.learnt += fresh

    def flush(self) -> None:
        """Let gathered rows go as one `Trades` a contract."""
        for name, rows in self.rows.items():
            self.items.append(rows.trades(name, self.mono_ns))
        self.rows = {}

    def cut(self) -> None:
        """End the message at hand here, so that its number says exactly what is in it."""
        self.flush()
        if self.items:
            self.passed.append(Validated(self.seq, tuple(self.items), self.mono_ns, self.weight))
            self.items, self.mono_ns, self.weight = [], 0, 0

    def result(self) -> tuple[ValidationState, list[Output]]:
        self.cut()
        counts = Counts(self.received, self.accepted, self.rejected, self.flagged, self.malformed)
        state = ValidationState(self.instruments, self.references, self.receipts, counts, self.seq)
        outputs: list[Output] = [*self.learnt, *self.passed]
        outputs.extend(self.rejects)
        if self.accounts:
            outputs.append(AccountEvents(tuple(self.accounts)))
        if self.beaten:
            outputs += [report(state), feed(state)]
        return state, outputs


def report(state: ValidationState) -> Report:
    """Return the totals as a report. They survive restarts, so there is one epoch only."""
    counts = state.counts
    rejected = {f"rejected_{reason}": number for reason, number in counts.rejected.items()}
    flagged = {f"flagged_{reason}": number for reason, number in counts.flagged.items()}
    malformed = {f"malformed_{reason}": number for reason, number in counts.malformed.items()}
    totals = {"received": counts.received, "accepted": counts.accepted}
    return Report("validation", 0, {**totals, **rejected, **flagged, **malformed})


def feed(state: ValidationState) -> FeedState:
    """Return each known contract's newest stamp (its receipt when it has none) and last receipt."""
    newest = {name: r.newest_ns for name, r in state.references.items() if r.last is not None}
    return FeedState(tuple((name, newest.get(name, recv), recv) for name, recv in state.receipts.items()))


class ValidationFold:
    """The fold `(ValidationState, [Numbered]) -> (ValidationState, [Output])`. Holds rules only.

    Args:
        rules: for all contracts, or what gives those of a contract, the same ones each time.
        vector_rows: the length from which a run of prints is judged with arrays; the result does not depend on it.
    """

    def __init__(self, rules: Rules | Callable[[str], Rules], vector_rows: int = VECTOR_ROWS) -> None:
        self.rules: Callable[[str], Rules] = (lambda _: rules) if isinstance(rules, Rules) else rules
        self.vector_rows = vector_rows

    def initial(self) -> ValidationState:
        """Nothing known: every contract is unknown until a record names its instrument."""
        return ValidationState()

    def step(self, state: ValidationState, messages: Sequence[object]) -> tuple[ValidationState, list[Output]]:
        """Fold `messages` in order. A record not after the last one is passed over: feeding is idempotent."""
        step = _Step(self.rules, state, self.vector_rows)
        for message in messages:
            if not isinstance(message, Numbered) or message.seq <= step.seq:
                continue
            item = message.item
            if isinstance(item, SessionStarted | SessionStopped | Healed):
                # where a session begins or ends, or history speaks, the reduction lets go of what it has: alone in its
                # message, it has a number of its own
                step.cut()
                step.seq = message.last_seq
                step.control(item)
                step.cut()
                continue
            step.seq = message.last_seq
            if isinstance(item, Frames):
                if item.events:
                    step.accounts += account_events(message)
                step.frames(item)
            else:
                if isinstance(item, Connected | Disconnected):
                    step.accounts += account_events(message)
                step.control(item)
        return step.result()

    def split(self, messages: Sequence[Numbered]) -> tuple[Sequence[Numbered], Sequence[Numbered]] | None:
        """Halve a failing batch by messages; a single message cannot be halved."""
        if len(messages) < 2:
            return None
        middle = len(messages) // 2
        return messages[:middle], messages[middle:]
