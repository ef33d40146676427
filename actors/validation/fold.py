"""Validation as a pure fold: numbered intake in, trades in exact ticks and rejects out. Every print ends in one bin.

Theory of operation. Prints of consecutive frames are gathered by contract and let go as one `Trades` a contract at the
next control record or at the end of the batch, so order against beats is kept and batches stay large. Short runs of
prints are judged row by row; long ones with arrays (`columns`), in stretches of rows that can be decided together, and
the rows in between by the same row function. The result does not depend on which path was taken.

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

from tickloom.actors.validation.columns import Columns, Mask, alone, stretch, usual
from tickloom.actors.validation.columns import on_grid as on_grid_all
from tickloom.actors.validation.lanes import Lane, Limits, Rows
from tickloom.actors.validation.quotes import MOST_QUOTED
from tickloom.actors.validation.quotes import judge as judge_quote
from tickloom.actors.validation.quotes import why as why_quote
from tickloom.actors.validation.rules import (
    MAX_RECENT,
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
    Midway,
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
    Quote,
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

MOST_COUNTED = 256
"""Contracts that are counted by name."""

_NEVER = -(2**63)

VECTOR_ROWS = 64
"""From this many prints a contract on, arrays beat rows: they cost about what 64 rows do, whatever their length."""


class Counts(msgspec.Struct, frozen=True):
    """Exact totals: prints received (decoded or malformed), trades accepted, prints rejected by reason.

    `flagged` counts, by reason, those among the accepted that only a dry run let pass; `malformed`, by reason, what
    could not be read and is no print: quotes, depth, account events, whole messages. `quotes` counts quotes, `received`
    and by the reason they were rejected for. `contracts` has (accepted, rejected) of each of the first `MOST_COUNTED`
    contracts, and of all others together under "".
    """

    received: int = 0
    accepted: int = 0
    rejected: dict[str, int] = {}
    flagged: dict[str, int] = {}
    malformed: dict[str, int] = {}
    quotes: dict[str, int] = {}
    contracts: dict[str, tuple[int, int]] = {}

    @property
    def held(self) -> int:
        """Prints neither accepted nor rejected yet."""
        return self.received - self.accepted - sum(self.rejected.values())


class ValidationState(msgspec.Struct, frozen=True):
    """Instruments, references and last receipts (ns) by contract, exact totals, the last record folded in, how far the
    gateway's clock may be ahead of ours (ns; as far as that was measured), and the newest stamps of quotes by contract.
    """

    instruments: dict[str, Instrument] = {}
    references: dict[str, Reference] = {}
    receipts: dict[str, int] = {}
    counts: Counts = Counts()
    seq: int = 0
    offset_ns: int = 0
    quoted: dict[str, int] = {}


class _Step:
    """The working copy of one step: copied lazily from the state, thrown away if the step fails."""

    def __init__(self, fold: ValidationFold, state: ValidationState) -> None:
        self.rules, self.limits = fold.rules, fold.limits
        self.offset_ns = state.offset_ns
        self.vector_rows = fold.vector_rows
        self.state = state
        self.instruments = state.instruments
        self.references = dict(state.references)
        self.receipts = dict(state.receipts)
        self.beaten = False
        self.learnt: list[Instrument] = []
        self.received = state.counts.received
        self.accepted = state.counts.accepted
        # the next five are copied by whoever changes them: most steps do not
        self.rejected = state.counts.rejected
        self.flagged = state.counts.flagged
        self.malformed = state.counts.malformed
        self.quotes = state.counts.quotes
        self.quoted = state.quoted
        self.contracts = dict(state.counts.contracts)
        self.accounts: list[AccountEvent] = []
        self.seq = state.seq
        self.items: list[Trades | AnyControl] = []
        self.passed: list[Validated] = []
        self.rejects: list[Reject] = []
        self.rows: dict[str, Rows] = {}
        self.mono_ns = 0
        self.weight = 0

    # -- prints ---------------------------------------------------------------------------------------------

    def frames(self, frames: Frames) -> None:
        for bad in frames.malformed:
            if bad.prints:
                self.received += bad.prints
                self.rejected = _added(self.rejected, bad.reason, bad.prints)
                self.rejects.append(Reject("", -1, 0, float("nan"), 0, 2, bad.reason, bad.detail))
            else:
                self.malformed = _added(self.malformed, bad.reason, 1)
        if frames.quotes:
            self._quotes([quote for _, quote in frames.quotes])
        prints = frames.prints
        if prints is None or not len(prints):
            return
        self.received += len(prints)
        if not self.mono_ns:
            self.mono_ns = int(frames.mono_ns[0])
        if self._is_short(prints):
            self._each(prints, frames.recv_ns)
        else:
            self._by_contract(prints, frames.recv_ns)

    def _is_short(self, prints: Prints) -> bool:
        """Whether a run has so few prints a contract that rows beat arrays."""
        rows, least = len(prints), self.vector_rows
        if rows < least or rows >= least * len(prints.contracts):
            return rows < least
        return rows < least * len(set(as_list(prints.contract)))

    def _quotes(self, quotes: Sequence[Quote]) -> None:
        """Judge quotes: what is rejected is kept and counted, and no print is touched by it."""
        self.quotes = counts = _added(self.quotes, "received", len(quotes))
        self.quoted = dict(self.quoted) if len(self.quoted) <= MOST_QUOTED else {}
        for quote in quotes:
            name, lateness = quote.contract, self.rules(quote.contract).lateness_ns
            newest = self.quoted.get(name, _NEVER)
            reason = judge_quote(quote, newest, lateness)
            if reason is None:
                self.quoted[name] = max(newest, quote.ts_ns)
                continue
            counts[reason] = counts.get(reason, 0) + 1
            words = why_quote(reason, quote, newest, lateness)
            price = float("nan") if quote.bid is None else quote.bid
            self.rejects.append(Reject(name, -1, quote.ts_ns, price, 0, 2, reason, words))

    def _count(self, name: str, accepted: int, rejected: int) -> None:
        """Count prints of a contract."""
        counts = self.contracts
        if name not in counts and len(counts) >= MOST_COUNTED:
            name = ""
        before = counts.get(name, (0, 0))
        counts[name] = (before[0] + accepted, before[1] + rejected)

    def _each(self, prints: Prints, recv_ns: Ints) -> None:
        """Judge a short run of prints one after the other."""
        names, recv = prints.contracts, recv_ns
        contracts, frames = as_list(prints.contract), as_list(prints.frame)
        # of each contract that is there, and of no other in the table, the frame that came last
        for c, frame in dict(zip(contracts, frames, strict=True)).items():
            self.receipts[names[c]] = int(recv[frame])
        tick, offset = prints.first_tick, self.offset_ns
        lanes: dict[int, Lane | None] = {}
        for c, ts, price, size, side, frame in zip(
            contracts,
            as_list(prints.ts_ns),
            as_list(prints.price),
            as_list(prints.size),
            as_list(prints.side),
            frames,
            strict=True,
        ):
            if c not in lanes:
                lanes[c] = self._lane(names[c])
            lane = lanes[c]
            gateway = int(recv[frame]) + offset
            if lane is None or not lane.takes(tick, ts, price, size, side, gateway):
                self._end_lane(lanes.pop(c))
                name = names[c]
                instrument = self.instruments.get(name)
                if instrument is None:
                    self._reject(name, tick, ts, price, size, side, "unknown_contract")
                else:
                    self._judge(instrument, tick, ts, price, size, side, gateway)
            tick += 1
        for lane in lanes.values():
            self._end_lane(lane)

    def _lane(self, name: str) -> Lane | None:
        """Return what lets plain prints of a contract pass, if any may as things are."""
        instrument, reference = self.instruments.get(name), self.references.get(name)
        if instrument is None or reference is None or reference.last is None or reference.held:
            return None
        limits = self.limits(name, instrument)
        if limits.shut:
            return None
        return Lane(name, limits, reference, self.rows)

    def _end_lane(self, lane: Lane | None) -> None:
        """Take over what passed in a lane."""
        if lane is not None and lane.count:
            self.accepted += lane.count
            self.weight += lane.count
            self.references[lane.name] = Reference(lane.newest, lane.last)

    def _by_contract(self, prints: Prints, recv_ns: Ints) -> None:
        """Judge a long run with arrays, contract by contract (contracts do not see one another)."""
        contract = as_int64(prints.contract)
        ts, price = as_int64(prints.ts_ns), as_float64(prints.price)
        size, side = as_int64(prints.size), as_int64(prints.side)
        recv = as_int64(recv_ns)
        frame = as_int64(prints.frame)
        if len(recv) != len(frame) or not (frame == np.arange(len(frame))).all():  # else one print a frame
            recv = recv[frame]
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
        stops: list[int] = []
        plain = usual(rules, instrument, tick, ts, price, size, side, gateway)
        if plain is None:
            ticks, gridded = on_grid_all(instrument, price)
            columns = Columns(tick, ts, price, size, side, gateway, ticks)
            good = alone(rules, columns, gridded)
            if not good.all():
                stops = self._refuse(rules, instrument, columns, good)
                columns = columns.at(np.flatnonzero(good))
        else:
            columns = plain
        start, n = 0, len(columns.tick)
        reach = n  # how far ahead to look: where much is held, what lies far ahead would be looked at in vain
        while start < n:
            while stops and stops[0] < start:
                stops.pop(0)
            stop = min(stops[0] if stops else n, start + reach)
            reference = self.references.get(name, Reference())
            taken = 0
            if not reference.held and reference.last is not None and stop > start:
                taken = self._take(name, rules, instrument, reference, columns.at(slice(start, stop)))
            reach = 4 * reach if taken == stop - start > 0 else max(2 * taken, VECTOR_ROWS)
            start += taken
            if taken == 0:
                # One row by the row function: it flags, holds, confirms or sets the first reference.
                c, i = columns, start
                self._judge(
                    instrument,
                    int(c.tick[i]),
                    int(c.ts[i]),
                    float(c.price[i]),
                    int(c.size[i]),
                    int(c.side[i]),
                    int(c.gateway[i]),
                )
                start += 1

    def _refuse(self, rules: Rules, instrument: Instrument, columns: Columns, good: Mask) -> list[int]:
        """Reject rows that fail a rule by themselves. Those that a dry run may let pass become `good` instead; returns
        where they are among those that are.
        """
        passable = []
        for i in np.flatnonzero(~good):
            ts, price, gateway = int(columns.ts[i]), float(columns.price[i]), int(columns.gateway[i])
            size, side = int(columns.size[i]), int(columns.side[i])
            reason = check_row(rules, instrument, Reference(), ts, price, size, side, gateway)
            assert reason is not None
            if rules.dry_run and reason in PASSABLE:
                passable.append(i)
                continue
            words = why(reason, rules, instrument, Reference(), gateway)
            self._reject(instrument.contract, int(columns.tick[i]), ts, price, size, side, reason, words)
        if not passable:
            return []
        good[passable] = True
        return (np.cumsum(good)[passable] - 1).tolist()  # type: ignore[no-any-return]

    def _take(self, name: str, rules: Rules, instrument: Instrument, reference: Reference, columns: Columns) -> int:
        """Accept and reject as many rows as can be decided together; returns how many."""
        decided = stretch(rules, reference, columns)
        for i, newest in zip(decided.late.tolist(), decided.newest.tolist(), strict=True):
            ts, gateway = int(columns.ts[i]), int(columns.gateway[i])
            reason: Reason = "late" if ts < newest - rules.lateness_ns else "regressing"
            words = why(reason, rules, instrument, Reference(newest), gateway)
            price, size, side = float(columns.price[i]), int(columns.size[i]), int(columns.side[i])
            self._reject(name, int(columns.tick[i]), ts, price, size, side, reason, words)
        chosen = slice(decided.taken) if decided.accepted is None else decided.accepted
        ts_ns, ticks, size_, side_, tick = (
            column[chosen] for column in (columns.ts, columns.ticks, columns.size, columns.side, columns.tick)
        )
        if len(tick):
            self.rows.setdefault(name, Rows()).add_block(ts_ns, ticks, size_, side_, tick)
            self.accepted += len(tick)
            self.weight += len(tick)
            self.references[name] = decided.reference
        return decided.taken

    def _judge(
        self, instrument: Instrument, tick: int, ts: int, price: float, size: int, side: int, gateway: int
    ) -> None:
        """Judge one print: reject it, hold it, or accept it with whatever it confirms."""
        name = instrument.contract
        rules = self.rules(name)
        reference = self.references.get(name) or Reference()
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
            rows = self.rows[name] = Rows()
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
        newest = before.newest_ns
        self.references[name] = Reference(ts if ts > newest else newest, ticks, (), recent)

    def _reject(
        self, name: str, tick: int, ts: int, price: float, size: int, side: int, reason: Reason, words: str = ""
    ) -> None:
        self.rejected = _added(self.rejected, reason, 1)
        self._count(name, 0, 1)
        self.rejects.append(Reject(name, tick, ts, price, size, side, reason, words or REASONS[reason]))

    def _flag(
        self, name: str, tick: int, ts: int, price: float, size: int, side: int, reason: Reason, words: str
    ) -> None:
        self.flagged = _added(self.flagged, reason, 1)
        words = f"{words} (dry run: passed)"
        self.rejects.append(Reject(name, tick, ts, price, size, side, reason, words, passed=True))

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
        if isinstance(record, Midway):
            self.items += [msgspec.structs.replace(record, contract=name) for name in self.instruments]
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
            trades = rows.trades(name, self.mono_ns)
            self.items.append(trades)
            self._count(name, len(trades), 0)
        self.rows = {}

    def cut(self) -> None:
        """End the message at hand here, so that its number says exactly what is in it."""
        self.flush()
        if self.items:
            self.passed.append(Validated(self.seq, tuple(self.items), self.mono_ns, self.weight))
            self.items, self.mono_ns, self.weight = [], 0, 0

    def result(self) -> tuple[ValidationState, list[Output]]:
        self.cut()
        counts = Counts(
            self.received,
            self.accepted,
            self.rejected,
            self.flagged,
            self.malformed,
            self.quotes,
            self.contracts,
        )
        state = ValidationState(
            self.instruments, self.references, self.receipts, counts, self.seq, self.offset_ns, self.quoted
        )
        outputs: list[Output] = [*self.learnt, *self.passed]
        self.rejects.sort(key=_arrival)
        outputs.extend(self.rejects)
        if self.accounts:
            outputs.append(AccountEvents(tuple(self.accounts)))
        if self.beaten:
            outputs += [report(state), feed(state)]
        return state, outputs


def _added(counts: dict[str, int], name: str, number: int) -> dict[str, int]:
    """Return counts with so many more of a name."""
    return {**counts, name: counts.get(name, 0) + number}


def _arrival(reject: Reject) -> int:
    return reject.tick


def report(state: ValidationState) -> Report:
    """Return the totals as a report. They survive restarts, so there is one epoch only."""
    counts = state.counts
    rejected = {f"rejected_{reason}": number for reason, number in counts.rejected.items()}
    flagged = {f"flagged_{reason}": number for reason, number in counts.flagged.items()}
    malformed = {f"malformed_{reason}": number for reason, number in counts.malformed.items()}
    quotes = {f"quotes_{name.removeprefix('quote_')}": number for name, number in counts.quotes.items()}
    totals = {"received": counts.received, "accepted": counts.accepted}
    counters = {**totals, **rejected, **flagged, **malformed, **quotes}
    return Report("validation", 0, counters, contracts=counts.contracts)


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
        self._limits: dict[str, Limits] = {}

    def limits(self, contract: str, instrument: Instrument) -> Limits:
        """Return what a contract's rules come to. They are worked out once, as long as neither changes."""
        rules, known = self.rules(contract), self._limits.get(contract)
        if known is None or known.rules is not rules or known.instrument is not instrument:
            if len(self._limits) >= MOST_COUNTED:
                self._limits.clear()
            known = self._limits[contract] = Limits(rules, instrument)
        return known

    def initial(self) -> ValidationState:
        """Nothing known: every contract is unknown until a record names its instrument."""
        return ValidationState()

    def step(self, state: ValidationState, messages: Sequence[object]) -> tuple[ValidationState, list[Output]]:
        """Fold `messages` in order. A record not after the last one is passed over: feeding is idempotent."""
        step = _Step(self, state)
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
