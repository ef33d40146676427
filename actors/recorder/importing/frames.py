"""Ticks of recorded frames: one JSON message a line, with or without the local receipt stamp before it.

Two dialects are understood. The gateway's: SignalR invocations of `GatewayTrade`, arguments `(contract, print or
prints)`, read by the decoder of live sessions and judged as there. And Binance's `trade` and `aggTrade` events, bare or
in a combined stream's envelope, whose prices and sizes are texts and whose `m` says that the buyer was the maker, so
that the seller was the aggressor. Messages of other kinds are passed over and counted.

What cannot be read ends the import, named by its line. Asked to be lenient, it is counted by reason and left out, as a
live session would do. Receipt stamps are whole numbers since 1970 whose digits tell the unit. They are there for all
lines with trades or for none: a receipt that is made up would stand among true ones.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import msgspec
import numpy as np

from tickloom.actors.connection.decode import Decoder
from tickloom.actors.recorder.errors import ImportFault
from tickloom.actors.recorder.importing.tables import Ticks
from tickloom.actors.recorder.importing.times import SCALES, YEARS, in_years, unit_of
from tickloom.messages.market import IntArray, Prints, Side, as_int64
from tickloom.messages.projectx import TRADE

_STAMPED = re.compile(rb"(\d{9,40}) +(?=[\[{])")
_RECORD_SEPARATOR = b"\x1e"
_AT_ONCE = 65_536
_MS = 1_000_000


class FrameTicks(msgspec.Struct, frozen=True):
    """What lines of frames held.

    Attributes:
        ticks: by contract (the gateway's) or symbol; sizes are left as `sizes` where they come in fractions.
        sizes: sizes as floats, by symbol, for those whose `ticks.size` is not filled in yet.
        lines: the line of each of `sizes`.
        named: whether the file names contracts itself (the gateway's dialect).
        skipped: messages passed over, by kind.
        rejected: what could not be read and was left out, by reason.
        receipt: the unit of the receipt stamps; empty without any.
    """

    ticks: dict[str, Ticks]
    sizes: dict[str, Any]
    lines: dict[str, list[int]]
    named: bool
    skipped: dict[str, int]
    rejected: dict[str, int]
    receipt: str


class _Event(msgspec.Struct):
    """Either dialect's message, as far as it matters."""

    data: _Event | None = None
    e: str = ""
    s: str = ""
    p: msgspec.Raw = msgspec.Raw()
    q: msgspec.Raw = msgspec.Raw()
    T: int = 0
    m: bool = False
    type: int = 0
    target: str = ""


_event_decoder = msgspec.json.Decoder(_Event)
_text_decoder = msgspec.json.Decoder(str)


class _Column:
    """What is gathered of one symbol of Binance."""

    def __init__(self) -> None:
        self.recv: list[int] = []
        self.line: list[int] = []
        self.time: list[int] = []
        self.price: list[float] = []
        self.size: list[float] = []
        self.side: list[int] = []


class _Message(msgspec.Struct, frozen=True):
    """A message for the decoder of live sessions; `fault` when no dialect could be told of it."""

    line: int
    recv: int
    text: bytes
    fault: str = ""


def looks_like_frames(data: bytes) -> bool:
    """Whether the first line is a frame, stamped or not."""
    first = data[:4096].lstrip()
    return first.startswith(b"{") or _STAMPED.match(first) is not None


def read_frames(name: str, data: bytes, *, lenient: bool = False) -> FrameTicks:
    """Read lines of frames.

    Args:
        name: the file's name for messages.
        data: its content.
        lenient: leave out and count what cannot be read.

    Raises:
        ImportFault: naming file and line, and what is wrong there.
    """
    reader = _Reader(name, lenient=lenient)
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.strip()
        if text:
            reader.take(number, text)
    return reader.result()


class _Reader:
    """What is gathered while the lines of one file are gone through."""

    def __init__(self, name: str, *, lenient: bool) -> None:
        self._name = name
        self._lenient = lenient
        self._columns: dict[str, _Column] = {}
        self._messages: list[_Message] = []
        self._gateway = False
        self._skipped: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._unit = ""
        self._first: tuple[int, bool] | None = None

    def take(self, line: int, text: bytes) -> None:
        """Take a line: its stamp if it has one, and its messages."""
        stamp = _STAMPED.match(text)
        recv = -1
        if stamp is not None:
            recv, text = self._receipt(line, stamp[1].decode()), text[stamp.end() :]
        for message in text.split(_RECORD_SEPARATOR):
            if message.strip():
                self._take(line, recv, message)

    def _receipt(self, line: int, digits: str) -> int:
        unit = unit_of(digits)
        if not self._unit:
            self._unit = unit
        if unit != self._unit:
            raise ImportFault(
                f"{self._name}, line {line}: receipt stamp {digits!r} counts {unit}, those before count {self._unit}: "
                "give all in one unit"
            )
        ns: int = int(digits) * 10 ** SCALES[unit]
        if not in_years(ns):
            raise ImportFault(f"{self._name}, line {line}: receipt stamp {digits!r} is outside the {YEARS}")
        return ns

    def _take(self, line: int, recv: int, message: bytes) -> None:
        try:
            event = _event_decoder.decode(message)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._messages.append(_Message(line, recv, message, str(error)))
            return
        except RecursionError:
            self._messages.append(_Message(line, recv, message, "it is nested too deeply"))
            return
        if event.target == TRADE:
            self._gateway = True
            self._stamped_alike(line, stamped=recv >= 0)
            self._messages.append(_Message(line, recv, message))
            return
        inner = event.data if event.data is not None else event
        if inner.e in ("trade", "aggTrade"):
            self._stamped_alike(line, stamped=recv >= 0)
            self._binance(line, recv, inner)
        else:
            self._skipped[inner.e or event.target or (f"type {event.type}" if event.type else "other")] += 1

    def _stamped_alike(self, line: int, *, stamped: bool) -> None:
        if self._first is None:
            self._first = (line, stamped)
        first, was = self._first
        if was is not stamped:
            has, had = ("a", "no") if stamped else ("no", "a")
            raise ImportFault(
                f"{self._name}, line {line}: it has {has} receipt stamp, and line {first} has {had}: stamp all lines "
                "with trades or none"
            )

    def _binance(self, line: int, recv: int, event: _Event) -> None:
        try:
            price, size = float(_text_decoder.decode(event.p)), float(_text_decoder.decode(event.q))
        except (msgspec.MsgspecError, ValueError) as error:
            self._refuse(line, "schema", str(error))
            return
        column = self._columns.setdefault(event.s, _Column())
        if not _is_price_and_size(price, size):
            self._refuse(line, "value", _unfit(price, size))
        elif not in_years(event.T * _MS):
            self._refuse(line, "timestamp", _beyond(event.T))
        else:
            column.recv.append(recv)
            column.line.append(line)
            column.time.append(event.T)
            column.price.append(price)
            column.size.append(size)
            column.side.append(Side.SELL if event.m else Side.BUY)

    def _refuse(self, line: int, reason: str, detail: str, count: int = 1) -> None:
        if not self._lenient:
            raise ImportFault(
                f"{self._name}, line {line}: it is no frame of trades that can be read ({detail}): mend the line, or "
                "leave such out with --lenient"
            )
        self._rejected[reason] += count

    def result(self) -> FrameTicks:
        """Return what all lines held."""
        if self._gateway and self._columns:
            raise ImportFault(f"{self._name}: it mixes frames of the gateway with those of Binance; part them first")
        sizes: dict[str, Any] = {}
        if self._gateway:
            ticks = self._decoded()
        else:
            for message in self._messages:
                self._refuse(message.line, "json", message.fault)
            ticks = {symbol: _ticks(symbol, column) for symbol, column in self._columns.items()}
            sizes = {symbol: np.array(column.size, np.float64) for symbol, column in self._columns.items()}
        return FrameTicks(
            ticks,
            sizes,
            {symbol: column.line for symbol, column in self._columns.items()},
            self._gateway,
            dict(self._skipped.most_common()),
            dict(self._rejected.most_common()),
            self._unit,
        )

    def _decoded(self) -> dict[str, Ticks]:
        """Have the gateway's messages read as a live session reads them, and part them by contract."""
        decoder = Decoder()
        parts: dict[str, list[tuple[IntArray, Prints]]] = {}
        for start in range(0, len(self._messages), _AT_ONCE):
            messages = self._messages[start : start + _AT_ONCE]
            payloads = [message.text + _RECORD_SEPARATOR for message in messages]
            recv = np.array([message.recv for message in messages], np.int64)
            found = decoder.decode("import", payloads, recv, np.zeros(len(recv), np.int64))
            for bad in found.malformed:
                self._refuse(messages[bad.frame].line, bad.reason, f"{bad.reason}: {bad.detail}", max(bad.prints, 1))
            if found.prints is not None:
                self._part(found.prints, messages, start, parts)
        return {name: _joined(name, of_contract, self._messages) for name, of_contract in parts.items()}

    def _part(
        self, prints: Prints, messages: list[_Message], start: int, parts: dict[str, list[tuple[IntArray, Prints]]]
    ) -> None:
        price, size, ts = np.asarray(prints.price, np.float64), as_int64(prints.size), as_int64(prints.ts_ns)
        frame, code = as_int64(prints.frame), as_int64(prints.contract)
        fine = np.isfinite(price) & (size >= 0)
        for row in np.flatnonzero(~fine).tolist():
            self._refuse(messages[int(frame[row])].line, "value", _unfit(float(price[row]), float(size[row])))
        timely = in_years(ts)
        for row in np.flatnonzero(fine & ~timely).tolist():
            self._refuse(messages[int(frame[row])].line, "timestamp", _beyond(int(ts[row])))
        fine &= timely
        for at in np.unique(code[fine]).tolist():
            rows = np.flatnonzero(fine & (code == at))
            chosen = Prints(
                prints.contracts, code[rows], ts[rows], price[rows], size[rows], as_int64(prints.side)[rows],
                frame[rows] + start, 0,
            )  # fmt: skip
            parts.setdefault(prints.contracts[at], []).append((rows + prints.first_tick, chosen))


def _joined(name: str, parts: list[tuple[IntArray, Prints]], messages: list[_Message]) -> Ticks:
    ts, price, size, side, frame = (
        np.concatenate([getattr(prints, column) for _, prints in parts])
        for column in ("ts_ns", "price", "size", "side", "frame")
    )
    recv = np.array([messages[at].recv for at in frame.tolist()], np.int64)
    rows = np.concatenate([rows for rows, _ in parts])
    return Ticks(name, ts, price, size, side, recv if int(recv.min()) >= 0 else None, row=rows)


def _ticks(symbol: str, column: _Column) -> Ticks:
    recv = np.array(column.recv, np.int64)
    return Ticks(
        symbol,
        np.array(column.time, np.int64) * _MS,
        np.array(column.price, np.float64),
        np.zeros(len(recv), np.int64),
        np.array(column.side, np.int64),
        recv if len(recv) and int(recv.min()) >= 0 else None,
    )


def _is_price_and_size(price: float, size: float) -> bool:
    return math.isfinite(price) and math.isfinite(size) and size >= 0


def _unfit(price: float, size: float) -> str:
    return f"price {price:g} and size {size:g} must be finite numbers, the size not below zero"


def _beyond(stamp: int) -> str:
    return f"{stamp} stands where a time of the {YEARS} is wanted"
