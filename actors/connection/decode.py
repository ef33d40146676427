"""Frames in, columns out: what a connection received becomes `Frames`: prints, quotes, depth, malformed elements.

What must live here: the fast path for plain trades, the numbering of prints and the shape of the columns. Oddities are
`elements`'. Pure but for its memory, which only makes it fast: given the same payloads in the same order, a decoder
gives the same prints with the same tick numbers however they are grouped into batches, live or from a log.

Theory of operation. A payload is whole messages, each ended by 0x1e (see `tickloom.messages.signalr`). Nearly all are
one `GatewayTrade`; a typed decoder takes such a message in one call or refuses it, and only what is refused is taken
apart. The stamps of a batch are parsed together. Small batches stay lists, large ones become arrays. Of hundreds of
frames at once, those that differ in digits alone are read together before that (`alike`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from tickloom.actors.connection.alike import ENOUGH, Alike, FormReader
from tickloom.actors.connection.elements import MAX_FAULTS, Fault, read_message
from tickloom.messages.intake import Frames
from tickloom.messages.market import Depth, Ints, Malformed, Prints, Quote, as_int64, as_list
from tickloom.messages.projectx import WirePrint
from tickloom.messages.signalr import SEPARATOR
from tickloom.messages.stamps import StampParser

_TRADE = b'{"type":1,"target":"GatewayTrade",'  # how every server writes it; another order of fields is merely slower
_MAX_CONTRACTS = 4096

USER_SOURCE = "user/"
"""How the source of a user hub's frames begins: prints have no business there, and would be numbered twice."""

Admit = Callable[[Prints], Sequence[int] | None]
"""Chooses the rows of a batch to keep (rising indices), before they are numbered; None keeps all."""


class _TradeArguments(msgspec.Struct, array_like=True, gc=False):
    contract: str
    prints: list[WirePrint]


class _TradeMessage(msgspec.Struct, gc=False):
    type: Literal[1]
    target: Literal["GatewayTrade"]
    arguments: _TradeArguments


_trade = msgspec.json.Decoder(_TradeMessage).decode
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # ValidationError is a DecodeError


def _plain(payload: bytes) -> str | None:
    """Return the contract of a payload that is one message with one print, or None."""
    try:
        arguments = _trade(payload[:-1]).arguments
    except _REFUSED:
        return None
    return arguments.contract if len(arguments.prints) == 1 else None


class _Batch:
    """What is gathered while the frames of one batch are gone through."""

    __slots__ = ("depth", "events", "frames", "malformed", "quotes", "trades")

    def __init__(self) -> None:
        self.trades: list[_TradeArguments] = []
        self.frames: list[int] = []  # the frame of each of `trades`
        self.quotes: list[tuple[int, Quote]] = []
        self.depth: list[tuple[int, Depth]] = []
        self.events: list[tuple[int, str, bytes]] = []
        self.malformed: list[Malformed] = []


class Decoder:
    """Decodes the frames of one session, in order, and numbers its prints.

    One decoder serves all connections of a session, so that tick numbers are the order of arrival. Not for two threads.

    Args:
        first_tick: the number of the first print it will see.
    """

    def __init__(self, first_tick: int = 0) -> None:
        self.next_tick = first_tick
        self._stamps = StampParser()
        self._forms = FormReader(_plain, self._stamps)
        self._contracts: dict[str, int] = {}

    def decode(
        self, source: str, payloads: list[bytes], recv_ns: Ints, mono_ns: Ints, admit: Admit | None = None
    ) -> Frames:
        """Decode a run of payloads received on connection `source`.

        Args:
            source: the connection's name, as `Frames.source`.
            payloads: whole messages each, as received.
            recv_ns, mono_ns: when each was received (wall clock, monotonic clock).
            admit: chooses the prints to keep; what it leaves out is told by a `Malformed` of reason `overlap` a frame,
                which stands for no prints because they came on the other connection.
        """
        batch = _Batch()
        trades, frames = batch.trades, batch.frames
        market = not source.startswith(USER_SOURCE)
        alike = self._forms.read(payloads) if market and len(payloads) >= ENOUGH else None
        for index, payload in enumerate(payloads) if alike is None else [(i, payloads[i]) for i in alike.rest]:
            if not market:
                self._messages(index, payload, batch, market=False)
                continue
            try:
                trades.append(_trade(payload[:-1]).arguments)
            except _REFUSED:
                self._messages(index, payload, batch)
            else:
                frames.append(index)
        prints = self._columns(batch) if trades else None
        if alike is not None:
            prints = self._together(alike, prints)
        if prints is not None:
            if admit is not None:
                prints = _admitted(prints, admit, batch)
            self.next_tick += len(prints)
        batch.malformed.sort(key=_by_frame)
        return Frames(
            source,
            recv_ns,
            mono_ns,
            payloads,
            prints if prints else None,
            tuple(batch.quotes),
            tuple(batch.depth),
            tuple(batch.malformed),
            tuple(batch.events),
        )

    def _messages(self, frame: int, payload: bytes, batch: _Batch, *, market: bool = True) -> None:
        """Take a payload apart: several messages, or one that is no plain trade."""
        for message in payload.split(SEPARATOR):
            if market and message.startswith(_TRADE):
                try:
                    batch.trades.append(_trade(message).arguments)
                except _REFUSED:
                    pass
                else:
                    batch.frames.append(frame)
                    continue
            elif not message:
                continue
            found = read_message(message, self._stamps, market=market)
            for contract, prints in found.prints:
                batch.trades.append(_TradeArguments(contract, prints))
                batch.frames.append(frame)
            for quote in found.quotes:
                batch.quotes.append((frame, quote))
            for depth in found.depth:
                batch.depth.append((frame, depth))
            for target, payload_json in found.events:
                batch.events.append((frame, target, payload_json))
            batch.malformed += [_malformed(frame, fault) for fault in found.faults]

    def _columns(self, batch: _Batch) -> Prints | None:
        trades, frames = batch.trades, batch.frames
        rows = [row for message in trades for row in message.prints]
        if not rows:
            return None
        stamps, bad = self._stamps.many([row.timestamp for row in rows])
        columns = _as_arrays if isinstance(stamps, np.ndarray) else _as_lists
        contract = self._indices(trades)
        prints = columns(tuple(self._contracts), contract, trades, frames, rows, stamps, self.next_tick)
        if bad:
            _condemn(bad, rows, as_list(prints.frame), batch)
            without = set(bad)
            prints = _chosen(prints, [row for row in range(len(rows)) if row not in without])
        return prints

    def _together(self, alike: Alike, others: Prints | None) -> Prints:
        """Return the prints that were read together, with the others among them where their frames were."""
        table = self._contracts
        which = np.array([table.setdefault(name, len(table)) for name in alike.contracts], np.int64)[alike.contract]
        found = Prints(
            tuple(table), which, alike.ts_ns, alike.price, alike.size, alike.side, alike.message, self.next_tick
        )
        return found if others is None else _merged(found, others)

    def _indices(self, trades: list[_TradeArguments]) -> list[int]:
        """Return the index of each message's contract in the table, which grows until it is started afresh."""
        if len(self._contracts) >= _MAX_CONTRACTS:  # nobody subscribes to that many: names are made up
            self._contracts = {}
        table = self._contracts
        try:
            return [table[message.contract] for message in trades]
        except KeyError:
            return [table.setdefault(message.contract, len(table)) for message in trades]


def _merged(one: Prints, other: Prints) -> Prints:
    """Return the prints of both in the order of their frames, none of which has prints in both."""
    order = np.argsort(np.concatenate((as_int64(one.frame), as_int64(other.frame))), kind="stable")

    def column(mine: Any, theirs: Any) -> Any:
        return np.concatenate((mine, theirs))[order]

    return Prints(
        one.contracts,
        column(one.contract, other.contract),
        column(one.ts_ns, other.ts_ns),
        column(one.price, other.price),
        column(one.size, other.size),
        column(one.side, other.side),
        column(one.frame, other.frame),
        one.first_tick,
    )


def _as_lists(
    contracts: tuple[str, ...],
    contract: list[int],
    trades: list[_TradeArguments],
    frames: list[int],
    rows: list[WirePrint],
    stamps: Ints,
    first_tick: int,
) -> Prints:
    if len(rows) != len(trades):
        contract = [value for value, message in zip(contract, trades, strict=True) for _ in message.prints]
        frames = [value for value, message in zip(frames, trades, strict=True) for _ in message.prints]
    return Prints(
        contracts,
        contract,
        stamps,
        [row.price for row in rows],
        [row.volume for row in rows],
        [row.type for row in rows],
        frames,
        first_tick,
    )


def _as_arrays(
    contracts: tuple[str, ...],
    contract: list[int],
    trades: list[_TradeArguments],
    frames: list[int],
    rows: list[WirePrint],
    stamps: Ints,
    first_tick: int,
) -> Prints:
    which = np.array(contract, dtype=np.int64)
    frame = np.array(frames, dtype=np.int64)
    if len(rows) != len(trades):
        counts = [len(message.prints) for message in trades]
        which, frame = which.repeat(counts), frame.repeat(counts)
    return Prints(
        contracts,
        which,
        stamps,
        np.array([row.price for row in rows], dtype=np.float64),
        np.array([row.volume for row in rows], dtype=np.int64),
        np.frombuffer(bytes([row.type for row in rows]), dtype=np.uint8).astype(np.int64),
        frame,
        first_tick,
    )


def _by_frame(malformed: Malformed) -> int:
    return malformed.frame


def _malformed(frame: int, fault: Fault) -> Malformed:
    return Malformed(frame, fault.reason, fault.detail[:200], fault.prints)


def _condemn(bad: list[int], rows: list[WirePrint], frames: list[int], batch: _Batch) -> None:
    """Report the prints without a stamp, each by itself up to `MAX_FAULTS` a frame."""
    of_frame: dict[int, list[int]] = {}
    for row in bad:
        of_frame.setdefault(frames[row], []).append(row)
    for frame, found in of_frame.items():
        for row in found[: MAX_FAULTS - 1]:
            fault = Fault("timestamp", f"{rows[row].timestamp[:48]!r} is no stamp", 1)
            batch.malformed.append(_malformed(frame, fault))
        rest = found[MAX_FAULTS - 1 :]
        if rest:
            fault = Fault("timestamp", f"{len(rest)} more stamps that are none", len(rest))
            batch.malformed.append(_malformed(frame, fault))


def _chosen(prints: Prints, rows: Sequence[int]) -> Prints:
    """Return some rows of `prints`, numbered from the same first tick."""

    def column(values: Any) -> Any:
        return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]

    return Prints(
        prints.contracts,
        column(prints.contract),
        column(prints.ts_ns),
        column(prints.price),
        column(prints.size),
        column(prints.side),
        column(prints.frame),
        prints.first_tick,
    )


def _admitted(prints: Prints, admit: Admit, batch: _Batch) -> Prints:
    """Keep what `admit` chooses, and say how many rows of each frame it did not."""
    rows = admit(prints)
    if rows is None or len(rows) == len(prints):
        return prints
    kept = _chosen(prints, rows)
    missing: dict[int, int] = {}
    for frame in as_list(prints.frame):
        missing[frame] = missing.get(frame, 0) + 1
    for frame in as_list(kept.frame):
        missing[frame] -= 1
    for frame, count in missing.items():
        if count:
            detail = f"{count} prints had come on the other connection"
            batch.malformed.append(_malformed(frame, Fault("overlap", detail)))
    return kept
