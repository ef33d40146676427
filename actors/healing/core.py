"""What to ask of history, when, and what to make of its answers. No clock, no I/O.

Theory of operation. The finest reduction says what is missing (`Repairs`); this says what to do about it. A missing
stretch is cut at the hours into *pieces*, and these are asked for one after the other, oldest first, in bars of a
second. A piece is asked for when it is over and `delay_ns` more has passed, because history lags behind.

An answer is believed when it reaches as far as what we hold of the piece: a second in which prints were received must
lie within what it speaks of. If it ends before, history has not come that far, and is asked again later; if it begins
after, history keeps no seconds from so long ago. An answer with nothing in it may mean either that nothing was traded
or that seconds are not kept: then, and when seconds fail, minutes are asked for, of those that lie wholly within. What
minutes do not cover stays flagged.

What fails is asked again with growing pauses, or when the gateway says. What the gateway refuses, and what has not come
when the bars no longer wait, is given up with the reason. Every piece ends in exactly one way: as `Healed`, as
`Unhealed`, in parts as both, or because the bars stopped waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from tickloom.actors.bars.repairs import MINUTE_NS, Repairs
from tickloom.actors.bars.seconds import WIDTH_NS
from tickloom.actors.validation.rules import on_grid
from tickloom.messages.control import Healed, Unhealed
from tickloom.messages.market import NS, Instrument
from tickloom.messages.projectx import HistoryBar
from tickloom.messages.stamps import parse_stamp

PIECE_NS = 3600 * NS
"""Longest stretch asked for at once: 3,600 bars, well below the 20,000 that one answer holds."""

UNTAKEN_NS = 30 * NS
"""How long the bars may take over an answer before the piece is said to be lost."""

Row = tuple[int, int, int, int, int, int]
"""Open time (ns), open, high, low, close (ticks), volume."""


class Pace(msgspec.Struct, frozen=True):
    """How patient to be, in ns: `delay_ns` after a piece is over it is asked for; `patience_ns` after it could first
    have been asked for it is given up; pauses between attempts grow from `base_ns` to `cap_ns`."""

    delay_ns: int
    patience_ns: int
    base_ns: int = 2 * NS
    cap_ns: int = 60 * NS


class Question(msgspec.Struct, frozen=True):
    """Bars of `width_ns` that history is asked for: those that open within `[from_ns, to_ns)`."""

    contract: str
    from_ns: int
    to_ns: int
    width_ns: int


class NonsenseError(ValueError):
    """A bar of history that cannot be one. The sentence says why."""


class _Piece(msgspec.Struct):
    """What is known of a piece. `held` are the seconds of it in which prints were received."""

    contract: str
    from_ns: int
    to_ns: int
    due_ns: int  # when it may be asked for next
    give_up_ns: int
    held: tuple[int, ...] = ()
    attempts: int = 0
    width_ns: int = WIDTH_NS
    quiet: bool = False  # seconds were asked for and there was nothing, though nothing was expected either
    answered_ns: int = 0


class Healer:
    """The pieces that are missing, and what has been tried. One question is open at a time.

    Args:
        pace: how patient to be.
        source: where bars come from, for the record.
        chance: gives numbers from 0 to 1, which spread the pauses.
    """

    def __init__(self, pace: Pace, source: str, chance: Callable[[], float]) -> None:
        self.pace = pace
        self.source = source
        self.counters: dict[str, int] = {}
        self._chance = chance
        self._pieces: dict[tuple[str, int, int], _Piece] = {}
        self._open: _Piece | None = None

    @property
    def waiting(self) -> int:
        """How many pieces are missing, as far as they were seen."""
        return len(self._pieces)

    # -- what to ask ----------------------------------------------------------------------------------------

    def see(self, repairs: Mapping[str, Repairs], now_ns: int) -> list[Unhealed]:
        """Take in what the bars wait for now; return what has to be given up."""
        pieces = {}
        for key, held in _pieces(repairs):
            known = self._pieces.get(key) or self._answered_in(*key)
            if known is None:
                due = max(now_ns, key[2] + self.pace.delay_ns)
                known = _Piece(*key, due, due + self.pace.patience_ns)
            if not known.answered_ns:
                known.held = held
            pieces[known.contract, known.from_ns, known.to_ns] = known
        for key, gone in self._pieces.items():
            if (
                key not in pieces
                and not gone.answered_ns
                and not any(_overlap(gone, piece) for piece in pieces.values())
            ):
                self._count("too_late")  # the bars stopped waiting before there was an answer
        self._pieces = pieces
        given_up = []
        for piece in pieces.values():
            if piece.answered_ns and now_ns - piece.answered_ns >= UNTAKEN_NS:
                given_up.append(self._lost(piece, "the bars did not take what history gave", now_ns))
            elif not piece.answered_ns and piece is not self._open and now_ns >= piece.give_up_ns:
                given_up.append(self._lost(piece, "history did not give it in time", now_ns))
        return given_up

    def next(self, now_ns: int) -> Question | None:
        """Return what to ask now, or None when nothing is due. It must be answered before the next is asked for."""
        ready = [piece for piece in self._pieces.values() if not piece.answered_ns and piece.due_ns <= now_ns]
        piece = self._open = min(ready, key=lambda each: (each.from_ns, each.contract), default=None)
        if piece is None:
            return None
        self._count("asked")
        from_ns, to_ns = _inner(piece) if piece.width_ns == MINUTE_NS else (piece.from_ns, piece.to_ns)
        return Question(piece.contract, from_ns, to_ns, piece.width_ns)

    # -- what came back -------------------------------------------------------------------------------------

    def answered(self, bars: Sequence[HistoryBar], instrument: Instrument, now_ns: int) -> list[Healed | Unhealed]:
        """Take the answer to the open question; return what it settles, for the log."""
        piece = self._closed()
        try:
            rows = _rows(bars, instrument, piece)
        except NonsenseError as error:
            return self._again(piece, str(error), now_ns)
        minutes = piece.width_ns == MINUTE_NS
        span = _inner(piece) if minutes else (piece.from_ns, piece.to_ns)
        held = [second for second in piece.held if span[0] <= second < span[1]]
        if held and (not rows or rows[-1][0] + piece.width_ns <= held[-1]):
            return self._again(piece, "history does not reach as far as what was received", now_ns)
        if held and rows[0][0] > held[0]:
            return self._coarser(piece, "history begins after what was received", now_ns)
        if rows:
            return self._healed(piece, span, rows, now_ns)
        if not minutes:
            piece.quiet = True
            if _inner(piece)[0] < _inner(piece)[1]:
                return self._coarser(piece, "history has no bar of it", now_ns)
        if piece.quiet:
            piece.width_ns = WIDTH_NS
            return self._healed(piece, (piece.from_ns, piece.to_ns), rows, now_ns)
        return [self._lost(piece, "history has no bar of it", now_ns)]

    def failed(self, why: str, now_ns: int, wait_s: float | None = None) -> list[Healed | Unhealed]:
        """The open question came to nothing, for now. `wait_s` is what the gateway asked for."""
        return self._again(self._closed(), why, now_ns, wait_s)

    def refused(self, why: str, now_ns: int) -> list[Healed | Unhealed]:
        """The gateway will not answer the open question, however often it is asked."""
        return [self._lost(self._closed(), why, now_ns)]

    def _answered_in(self, contract: str, from_ns: int, to_ns: int) -> _Piece | None:
        """Return the piece that this is a rest of, when the log holds the answer and the bars have half of it."""
        for piece in self._pieces.values():
            if piece.answered_ns and piece.contract == contract and piece.from_ns <= from_ns and to_ns <= piece.to_ns:
                return piece
        return None

    # -- the end of a piece ---------------------------------------------------------------------------------

    def _closed(self) -> _Piece:
        if self._open is None:
            raise ValueError("there is no question to answer: ask `next` first")
        piece, self._open = self._open, None
        return piece

    def _again(self, piece: _Piece, why: str, now_ns: int, wait_s: float | None = None) -> list[Healed | Unhealed]:
        pause = min(self.pace.cap_ns, self.pace.base_ns << min(piece.attempts, 16))
        pause = max(round(pause * (0.5 + self._chance() / 2)), round((wait_s or 0.0) * NS))
        piece.attempts += 1
        piece.due_ns = now_ns + pause
        self._count("asked_again")
        return [self._lost(piece, why, now_ns)] if piece.due_ns >= piece.give_up_ns else []

    def _coarser(self, piece: _Piece, why: str, now_ns: int) -> list[Healed | Unhealed]:
        """Ask for minutes next, if there are whole ones."""
        start, end = _inner(piece)
        if piece.width_ns == MINUTE_NS or start >= end:
            return [self._lost(piece, why, now_ns)]
        piece.width_ns = MINUTE_NS
        return []

    def _healed(
        self, piece: _Piece, span: tuple[int, int], rows: Sequence[Row], now_ns: int
    ) -> list[Healed | Unhealed]:
        columns = list(zip(*rows, strict=True)) if rows else [()] * 6
        piece.answered_ns = now_ns
        self._count("healed")
        self._count("bars", len(rows))
        out: list[Healed | Unhealed] = [
            Healed(
                recv_ns=now_ns,
                contract=piece.contract,
                from_ns=span[0],
                to_ns=span[1],
                width_ns=piece.width_ns,
                open_ns=columns[0],
                open=columns[1],
                high=columns[2],
                low=columns[3],
                close=columns[4],
                volume=columns[5],
                source=self.source,
            )
        ]
        for start, end in ((piece.from_ns, span[0]), (span[1], piece.to_ns)):
            if start < end:
                self._count("unhealed")
                why = "history has no seconds of it, only minutes"
                out.append(Unhealed(recv_ns=now_ns, contract=piece.contract, from_ns=start, to_ns=end, reason=why))
        return out

    def _lost(self, piece: _Piece, why: str, now_ns: int) -> Unhealed:
        piece.answered_ns = now_ns
        self._count("unhealed")
        return Unhealed(recv_ns=now_ns, contract=piece.contract, from_ns=piece.from_ns, to_ns=piece.to_ns, reason=why)

    def _count(self, what: str, number: int = 1) -> None:
        self.counters[what] = self.counters.get(what, 0) + number


def _pieces(repairs: Mapping[str, Repairs]) -> Iterator[tuple[tuple[str, int, int], tuple[int, ...]]]:
    """Yield (contract, from, to) of each piece that is missing, cut at the hours, and the seconds held of it."""
    for contract, known in repairs.items():
        for stretch in known.stretches:
            for start, end in stretch.left:
                while start < end:
                    stop = min(end, start - start % PIECE_NS + PIECE_NS)
                    held = (second for second, volume in known.held.items() if start <= second < stop and volume)
                    yield (contract, start, stop), tuple(sorted(held))
                    start = stop


def _overlap(a: _Piece, b: _Piece) -> bool:
    return a.contract == b.contract and a.from_ns < b.to_ns and b.from_ns < a.to_ns


def _inner(piece: _Piece) -> tuple[int, int]:
    """Return the whole minutes of a piece."""
    return piece.from_ns + -piece.from_ns % MINUTE_NS, piece.to_ns - piece.to_ns % MINUTE_NS


def _rows(bars: Sequence[HistoryBar], instrument: Instrument, piece: _Piece) -> list[Row]:
    """Return the bars of a piece in exact form, oldest first; those without volume, and of other times, left out.

    Raises:
        NonsenseError: one of them cannot be a bar.
    """
    start, end = _inner(piece) if piece.width_ns == MINUTE_NS else (piece.from_ns, piece.to_ns)
    rows: dict[int, Row] = {}
    for bar in bars:
        at = parse_stamp(bar.t)
        if at is None or at % piece.width_ns:
            raise NonsenseError(f"history gave a bar of {piece.contract} at {bar.t[:40]!r}, which is no time for one")
        if not start <= at < end or not bar.v:
            continue
        prices = [on_grid(instrument, price) for price in (bar.o, bar.h, bar.l, bar.c)]
        known = [price for price in prices if price is not None]
        if len(known) < len(prices) or max(known) != known[1] or min(known) != known[2] or bar.v < 0 or at in rows:
            raise NonsenseError(f"history gave a bar of {piece.contract} at {bar.t[:40]} that makes no sense: {bar}")
        rows[at] = (at, known[0], known[1], known[2], known[3], bar.v)
    return [row for _, row in sorted(rows.items())]
