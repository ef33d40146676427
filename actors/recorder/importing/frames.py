"""Ticks of recorded frames: one JSON message a line, with or without the local receipt stamp before it.

Two dialects are understood. The gateway's: SignalR invocations of `GatewayTrade`, arguments `(contract, print or
prints)`. And Binance's `trade` and `aggTrade` events, bare or in a combined stream's envelope, whose prices and sizes
are texts and whose `m` says that the buyer was the maker, so that the seller was the aggressor. Messages of other kinds
are passed over and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec
import numpy as np

from tickloom.actors.recorder.errors import ImportFault
from tickloom.actors.recorder.importing.tables import Ticks
from tickloom.actors.recorder.importing.times import YEARS, Beyond, check_years
from tickloom.messages.market import Side, as_int64
from tickloom.messages.projectx import TRADE, WirePrint
from tickloom.messages.stamps import StampParser

_STAMPED = re.compile(rb"(\d{10,19}) +(?=[\[{])")
_END_MS = 2**63 // 1_000_000 - 1
_RECORD_SEPARATOR = b"\x1e"


class FrameTicks(msgspec.Struct, frozen=True):
    """What lines of frames held.

    Attributes:
        ticks: by contract (the gateway's) or symbol; sizes are left as `sizes` where they come in fractions.
        sizes: sizes as floats, by contract or symbol, for those whose `ticks.size` is not filled in yet.
        named: whether the file names contracts itself (the gateway's dialect).
        skipped: messages passed over, by kind.
    """

    ticks: dict[str, Ticks]
    sizes: dict[str, Any]
    named: bool
    skipped: dict[str, int]


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
    arguments: msgspec.Raw = msgspec.Raw()


_event_decoder = msgspec.json.Decoder(_Event)
_text_decoder = msgspec.json.Decoder(str)
_trade_decoder = msgspec.json.Decoder(tuple[str, list[WirePrint] | WirePrint])


class _Column:
    """What is gathered of one contract or symbol."""

    def __init__(self) -> None:
        self.recv: list[int] = []
        self.line: list[int] = []
        self.time: list[Any] = []
        self.price: list[float] = []
        self.size: list[float] = []
        self.side: list[int] = []


def looks_like_frames(data: bytes) -> bool:
    """Whether the first line is a frame, stamped or not."""
    first = data[:4096].lstrip()
    return first.startswith(b"{") or _STAMPED.match(first) is not None


def read_frames(name: str, data: bytes) -> FrameTicks:
    """Read lines of frames.

    Raises:
        ImportFault: naming file and line, and what is wrong there.
    """
    columns: dict[str, _Column] = {}
    skipped: Counter[str] = Counter()
    dialects: set[bool] = set()
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.strip()
        if not text:
            continue
        stamp = _STAMPED.match(text)
        recv = int(stamp[1]) if stamp is not None else -1
        for message in (text[stamp.end() :] if stamp is not None else text).split(_RECORD_SEPARATOR):
            if message.strip():
                kind = _take(name, number, recv, message, columns, dialects)
                if kind:
                    skipped[kind] += 1
    if len(dialects) > 1:
        raise ImportFault(f"{name}: it mixes frames of the gateway with those of Binance; part them first")
    named = dialects == {True}
    ticks = {key: _ticks(name, key, column, named=named) for key, column in columns.items()}
    sizes = {} if named else {key: np.array(column.size) for key, column in columns.items()}
    return FrameTicks(ticks, sizes, named, dict(skipped.most_common()))


def _take(
    name: str, number: int, recv: int, message: bytes, columns: dict[str, _Column], dialects: set[bool]
) -> str | None:
    """Gather what a message says; return its kind when it is not one of trades."""
    try:
        event = _event_decoder.decode(message)
        if event.target == TRADE:
            contract, prints = _trade_decoder.decode(event.arguments)
            column = columns.setdefault(contract, _Column())
            for one in prints if isinstance(prints, list) else [prints]:
                _add(column, recv, number, one.timestamp, one.price, one.volume, one.type)
            dialects.add(True)
            return None
        inner = event.data if event.data is not None else event
        if inner.e in ("trade", "aggTrade"):
            price, size = float(_text_decoder.decode(inner.p)), float(_text_decoder.decode(inner.q))
            side = Side.SELL if inner.m else Side.BUY
            _add(columns.setdefault(inner.s, _Column()), recv, number, inner.T, price, size, side)
            dialects.add(False)
            return None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ImportFault(f"{name}, line {number}: it is no frame of trades that can be read ({error})") from None
    return inner.e or event.target or (f"type {event.type}" if event.type else "other")


def _add(column: _Column, recv: int, line: int, time: Any, price: float, size: float, side: int) -> None:
    column.recv.append(recv)
    column.line.append(line)
    column.time.append(time)
    column.price.append(price)
    column.size.append(size)
    column.side.append(side)


def _ticks(name: str, key: str, column: _Column, *, named: bool) -> Ticks:
    price = np.array(column.price, np.float64)
    bad = np.flatnonzero(~np.isfinite(price) | (np.array(column.size) < 0))
    if len(bad):
        line = column.line[bad[0]]
        raise ImportFault(f"{name}, line {line}: price and size must be finite numbers, the size not below zero")
    if named:
        stamps, wrong = StampParser().many(column.time)
        if wrong:
            text = column.time[wrong[0]]
            raise ImportFault(
                f"{name}, line {column.line[wrong[0]]}, field 'timestamp': {text!r} stands where a time with a zone is "
                "wanted"
            )
        ts = as_int64(stamps)
    else:
        limit = _END_MS  # what is beyond it stays beyond, and within 64 bits
        ts = np.array([max(-limit, min(ms, limit)) for ms in column.time], np.int64) * 1_000_000
    try:
        check_years(ts)
    except Beyond as error:
        raise ImportFault(
            f"{name}, line {column.line[error.row]}: {column.time[error.row]!r} stands where a time of the {YEARS} is "
            "wanted"
        ) from None
    recv = np.array(column.recv, np.int64)
    size = np.array(column.size, np.int64) if named else np.zeros(len(price), np.int64)
    side = np.array(column.side, np.int64)
    return Ticks(key, ts, price, size, side, recv if len(recv) and int(recv.min()) >= 0 else None)
