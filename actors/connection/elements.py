"""Messages that are not plain trades, one at a time: quotes, depth, user events, and everything odd. Pure.

What must live here: whatever one message may be beyond the form the fast path of `decode` takes whole, and the words
for what was wrong with it. A bad element never spoils its neighbours: an array is taken apart, the good prints are kept
in order, each bad one is a `Fault` with a reason. Even a message that is not JSON (cut off, glued to the next, `NaN`
for a price) gives up the prints that can be read.

What is decided here, for `GatewayTrade`:

- price: any JSON number, an integer too; `NaN` and infinities pass (validation refuses them). Text is not a number.
- volume: an integer within int64, or a float that is one.
- type: 0 or 1. Missing or another number is no side the gateway documents, so the print is refused (`side`).
- timestamp: as `tickloom.messages.stamps` reads it; checked by `decode`, many at once (`timestamp`).
- an array of prints or a single one; null where a print should be is a fault (`schema`).

For `GatewayDepth` null entries are the gateway's habit and skipped. Quotes may leave everything out; a quote with
neither `timestamp` nor `lastUpdated` has the stamp 0. Unknown targets are faults (`unknown_target`), unknown message
types and fields are not. User events lose their `{"action": …, "data": …}` wrapper and are otherwise left as JSON; one
that does not fit its type is a fault (`schema`). The user hub has no market data: there it is an unknown target.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

import msgspec

from tickloom.messages.market import Depth, DepthLevel, Quote
from tickloom.messages.projectx import (
    DEPTH,
    LOGOUT,
    QUOTE,
    TRADE,
    USER_EVENTS,
    WireLevel,
    WirePrint,
    WireQuote,
    user_event,
)
from tickloom.messages.stamps import StampParser

REASONS: dict[str, str] = {
    "json": "the message, or an element of it, is not JSON",
    "depth": "the message is nested too deeply",
    "schema": "a field is missing or of the wrong type, or the element is none",
    "side": "the print's type is neither 0 (buy) nor 1 (sell)",
    "timestamp": "the stamp is no ISO 8601 stamp with a zone, or outside the years 1678 to 2261",
    "unknown_target": "the event is none the gateway documents",
    "overlap": "the prints had already come on the connection before this one (not counted as malformed prints)",
}
"""Every reason a `Malformed` of this package can have."""

MAX_FAULTS = 256
"""How many faults of one message are told apart; more of them are one fault that stands for the rest."""

_INT64 = 2**63
_LONGEST_SALVAGE = 1024 * 1024
_HEAD = re.compile(rb'"target"\s*:\s*"GatewayTrade"\s*,\s*"arguments"\s*:\s*\[\s*"([^"\\\x00-\x1f]*)"\s*,\s*\[')
_NEXT_MESSAGE = b'{"type":1,"target":"'
_SPACE = " \t\n\r"


class Fault(NamedTuple):
    """What a `Malformed` says, before the frame is known."""

    reason: str
    detail: str
    prints: int = 0


class Found(NamedTuple):
    """What one message held. Every list is in the message's order."""

    prints: list[tuple[str, list[WirePrint]]]
    quotes: list[Quote]
    depth: list[Depth]
    events: list[tuple[str, bytes]]
    faults: list[Fault]


class _Envelope(msgspec.Struct, gc=False):
    type: int
    target: str = ""
    arguments: list[msgspec.Raw] | None = None


_envelope = msgspec.json.Decoder(_Envelope).decode
_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_print = msgspec.json.Decoder(WirePrint).decode
_quote = msgspec.json.Decoder(WireQuote).decode
_levels = msgspec.json.Decoder(list[WireLevel | None] | WireLevel).decode
_any = msgspec.json.Decoder().decode
_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode
_loose = json.JSONDecoder()


def read_message(message: bytes, stamps: StampParser, *, market: bool = True) -> Found:
    """Return what one message (without its separator) holds; `market`: whether market data may be in it."""
    found = Found([], [], [], [], [])
    _read(message, stamps, found, market)
    faults = found.faults
    if len(faults) > MAX_FAULTS:
        rest = faults[MAX_FAULTS - 1 :]
        faults[MAX_FAULTS - 1 :] = [
            Fault(rest[0].reason, f"{len(rest)} faults, the first: {rest[0].detail}", sum(f.prints for f in rest))
        ]
    return found


def _read(message: bytes, stamps: StampParser, found: Found, market: bool) -> None:
    try:
        message.decode()
    except UnicodeDecodeError:  # a damaged text loses its own field at most
        message = message.decode("utf-8", "replace").encode()
    try:
        envelope = _envelope(message)
    except msgspec.ValidationError as error:
        found.faults.append(Fault("schema", str(error)))
        return
    except RecursionError:
        found.faults.append(Fault("depth", f"a message of {len(message)} bytes is nested too deeply"))
        return
    except msgspec.DecodeError as error:
        if market:
            _salvage(message, stamps, found, str(error))
        else:
            found.faults.append(Fault("json", f"{len(message)} bytes that are not JSON ({error})"))
        return
    if envelope.type != 1:
        return  # what steers the session is the protocol engine's; it counts unknown types as well
    arguments = envelope.arguments or []
    target = envelope.target
    if market and target in (TRADE, QUOTE, DEPTH):
        _market(target, [bytes(argument) for argument in arguments], stamps, found)
    elif target in USER_EVENTS:
        _user(target, bytes(arguments[0]) if arguments else b"null", found)
    elif target == LOGOUT:
        found.events.append((target, b"[" + b",".join(map(bytes, arguments)) + b"]"))
    else:
        found.faults.append(Fault("unknown_target", f"no event {target[:64]!r} is known"))


def _market(target: str, arguments: list[bytes], stamps: StampParser, found: Found) -> None:
    try:
        contract = _text(arguments[0])
        body = arguments[1]
    except (msgspec.DecodeError, IndexError):
        found.faults.append(Fault("schema", f"{target} without a contract and data"))
        return
    try:
        if target == TRADE:
            _trades(contract, body, found)
        elif target == QUOTE:
            _take_quote(contract, _quote(body), stamps, found)
        else:
            _take_depth(contract, body, stamps, found)
    except msgspec.ValidationError as error:
        found.faults.append(Fault("schema", f"{target}: {error}"))
    except RecursionError:
        found.faults.append(Fault("depth", f"{target} is nested too deeply"))


# ------------------------------------------------------------------------------------------ trades


def _trades(contract: str, body: bytes, found: Found) -> None:
    """An array of prints, or one. An element that is not plainly a print is looked at closely."""
    if body[:1] == b"[":
        elements = _raw_list(body)
        if not elements:
            return
    elif body[:1] == b"{":
        elements = [msgspec.Raw(body)]
    else:
        found.faults.append(Fault("schema", f"{TRADE}: expected an array of prints, got {_shown(body)}"))
        return
    prints: list[WirePrint] = []
    for element in elements:
        try:
            prints.append(_print(element))
        except msgspec.ValidationError:
            _look_at(element, prints, found)
        except RecursionError:
            found.faults.append(Fault("depth", "a print is nested too deeply", 1))
    if prints:
        found.prints.append((contract, prints))


def _look_at(element: msgspec.Raw, prints: list[WirePrint], found: Found) -> None:
    try:
        value = _any(element)
    except msgspec.ValidationError:  # a number beyond floats, which Python's own parser takes for an infinity
        value = json.loads(bytes(element))
    except RecursionError:
        found.faults.append(Fault("depth", "a print is nested too deeply", 1))
        return
    _judge(value, prints, found)


def _judge(element: Any, prints: list[WirePrint], found: Found) -> None:
    """Take a decoded element as a print if it can be one, else say why not."""
    if not isinstance(element, dict):
        found.faults.append(Fault("schema", f"a print is an object, not {_shown(element)}", 1))
        return
    for name in ("price", "timestamp", "type", "volume"):
        if element.get(name) is None:
            found.faults.append(Fault("schema", f"{name} is {'null' if name in element else 'missing'}", 1))
            return
    price, stamp, kind, volume = (element[name] for name in ("price", "timestamp", "type", "volume"))
    for name, value in (("price", price), ("type", kind), ("volume", volume)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            found.faults.append(Fault("schema", f"{name} is not a number: {_shown(value)}", 1))
            return
    if not isinstance(stamp, str):
        found.faults.append(Fault("schema", f"timestamp is not text: {_shown(stamp)}", 1))
        return
    if kind not in (0, 1):
        found.faults.append(Fault("side", f"type is {_shown(kind)}, neither 0 nor 1", 1))
        return
    size = _integer(volume)
    if size is None:
        found.faults.append(Fault("schema", f"volume is not an integer of 64 bits: {_shown(volume)}", 1))
        return
    try:
        value = float(price)
    except OverflowError:
        value = math.inf if price > 0 else -math.inf
    prints.append(WirePrint(value, stamp, 0 if kind == 0 else 1, size))


def _integer(value: int | float) -> int | None:
    if isinstance(value, float):
        if not value.is_integer():  # False for NaN and infinities
            return None
        value = int(value)
    return value if -_INT64 <= value < _INT64 else None


def _shown(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


# ------------------------------------------------------------------------------------------ what is not JSON


def _salvage(message: bytes, stamps: StampParser, found: Found, why: str) -> None:
    """Read what can be read of a message that is not JSON.

    A message cut off before its end may be glued to whole ones: they are read by themselves. `NaN` and infinities,
    which Python's own parser takes, are no reason to lose their neighbours. Then trades are read up to the first
    character that makes no sense, and on from the next element.
    """
    if message.find(_NEXT_MESSAGE, 1) > 0:
        first, *others = message[1:].split(_NEXT_MESSAGE)
        for piece in (message[:1] + first, *(_NEXT_MESSAGE + other for other in others)):
            _read(piece, stamps, found, True)
        return
    head = _HEAD.search(message)
    if head is None or len(message) > _LONGEST_SALVAGE:
        found.faults.append(Fault("json", f"{len(message)} bytes that are not JSON ({why})"))
        return
    prints: list[WirePrint] = []
    _elements(message[head.end() :].decode("utf-8", "replace"), prints, found)
    if prints:
        found.prints.append((head[1].decode("utf-8", "replace"), prints))


def _elements(text: str, prints: list[WirePrint], found: Found) -> None:
    at = 0
    while True:
        while at < len(text) and text[at] in _SPACE:
            at += 1
        if at < len(text) and text[at] == "]":
            return
        try:
            element, end = _loose.raw_decode(text, at)
            while end < len(text) and text[end] in _SPACE:
                end += 1
            if text[end : end + 1] not in (",", "]"):
                raise ValueError(f"unexpected text at character {end}")
        except (ValueError, RecursionError) as error:
            found.faults.append(
                Fault("json", f"an element that is not JSON ({error}): {_shown(text[at : at + 80])}", 1)
            )
            following = text.find("},{", at)
            if following < 0:
                return
            at = following + 2
            continue
        _judge(element, prints, found)
        if text[end] == "]":
            return
        at = end + 1


# ------------------------------------------------------------------------------------------ quotes, depth, users


def _take_quote(contract: str, wire: WireQuote, stamps: StampParser, found: Found) -> None:
    text = wire.timestamp if wire.timestamp is not None else wire.last_updated
    ts = 0 if text is None else stamps.one(text)
    if ts is None:
        found.faults.append(Fault("timestamp", f"{QUOTE}: {_shown(text)} is no stamp"))
        return
    volume = None if wire.volume is None else _integer(wire.volume)
    if wire.volume is not None and volume is None:
        found.faults.append(Fault("schema", f"{QUOTE}: volume is not an integer of 64 bits: {_shown(wire.volume)}"))
        return
    found.quotes.append(
        Quote(
            contract,
            ts,
            wire.last_price,
            wire.best_bid,
            wire.best_ask,
            volume,
            wire.open,
            wire.high,
            wire.low,
            wire.change,
            wire.change_percent,
        )
    )


def _take_depth(contract: str, body: bytes, stamps: StampParser, found: Found) -> None:
    try:
        decoded = _levels(body)
        entries = decoded if isinstance(decoded, list) else [decoded]
    except msgspec.ValidationError:
        if body[:1] != b"[":
            raise
        entries = []
        for element in _raw_list(body):
            try:
                entries.append(None if bytes(element) == b"null" else msgspec.json.decode(element, type=WireLevel))
            except msgspec.ValidationError as error:
                found.faults.append(Fault("schema", f"{DEPTH}: {error}"))
    wires = [entry for entry in entries if entry is not None]
    values, bad = stamps.many([wire.timestamp for wire in wires])
    for index in bad:
        found.faults.append(Fault("timestamp", f"{DEPTH}: {_shown(wires[index].timestamp)} is no stamp"))
    without = set(bad)
    levels = []
    for index, wire in enumerate(wires):
        volume, current = _integer(wire.volume), _integer(wire.current_volume)
        if volume is None or current is None:
            found.faults.append(Fault("schema", f"{DEPTH}: a volume is not an integer of 64 bits"))
        elif index not in without:
            levels.append(DepthLevel(int(values[index]), wire.type, wire.price, volume, current))
    if levels:
        found.depth.append(Depth(contract, tuple(levels)))


def _user(target: str, payload: bytes, found: Found) -> None:
    """Take the wrapper off; an array holds several events."""
    elements = [bytes(element) for element in _raw_list(payload)] if payload[:1] == b"[" else [payload]
    for element in elements:
        event = _unwrapped(element)
        if event is None:
            found.faults.append(Fault("schema", f"{target}: expected an object, got {_shown(element)}"))
        else:
            try:
                user_event(target, event)
            except msgspec.ValidationError as error:
                found.faults.append(Fault("schema", f"{target}: {error}"))
            except RecursionError:
                found.faults.append(Fault("depth", f"{target} is nested too deeply"))
            else:
                found.events.append((target, event))


def _unwrapped(element: bytes) -> bytes | None:
    try:
        fields = msgspec.json.decode(element, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return None
    if "data" in fields and fields.keys() <= {"action", "data"}:
        inner = bytes(fields["data"])
        return inner if inner[:1] == b"{" else None
    return element
