"""GatewayTrade on the wire: ticks as elements, elements as messages, messages as frames.

How prints are grouped is the `Layout`: each trade an array of its own (as the real gateway does), or up to so many
prints an array; so many messages a frame. The hot path, one print a message and a message a frame, is one template a
(price, side, size) with the stamp filled in; everything else goes element by element.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import msgspec

from tickloom.scripts.gateway.contracts import ContractSpec
from tickloom.scripts.gateway.frames import RS, header, into_frames, number, text_frame, tick_stamp, whole_second
from tickloom.scripts.gateway.shaping import Item
from tickloom.scripts.gateway.stamps import SECOND_NS
from tickloom.scripts.gateway.switches import MESSAGE_KINDS, WIRE_KINDS
from tickloom.scripts.gateway.ticks import Ticks

_CACHE: Final = 20_000
_STAMP: Final = 27
"""Bytes of a stamp without its zone."""
_APART: Final = frozenset(MESSAGE_KINDS + WIRE_KINDS)


class Layout(NamedTuple):
    """`batch_max` prints an array at most (0: a trade an array), `frame_max` messages a frame (0: no limit)."""

    batch_max: int = 0
    frame_max: int = 1


class Printer:
    """Encodes the trades of one contract."""

    def __init__(self, spec: ContractSpec) -> None:
        self._spec = spec
        self._head = b'{"type":1,"target":"GatewayTrade","arguments":[%b,[' % msgspec.json.encode(spec.id)
        self._tail = b"]]}" + RS
        self._symbol = msgspec.json.encode(spec.symbol_id)
        self._whole: dict[tuple[float, int, int, int], bytes] = {}
        self._elements: dict[tuple[float, int, int, int], bytes] = {}
        self._second = -1
        self._second_text = b""

    def _element_template(self, price: float, side: int, size: int, odd: int) -> bytes:
        return b'{"symbolId":%b,"price":%b,"timestamp":"%%b%%07d%b","type":%d,"volume":%d}' % (
            self._symbol.replace(b"%", b"%%"),
            number(price),
            b"+00:00" if odd else b"Z",
            side,
            size,
        )

    def _element(self, key: tuple[float, int, int, int]) -> bytes:
        template = self._elements.get(key)
        if template is None:
            if len(self._elements) >= _CACHE:
                self._elements.clear()
            template = self._elements[key] = self._element_template(*key)
        return template

    def _frame(self, key: tuple[float, int, int, int]) -> bytes:
        template = self._whole.get(key)
        if template is None:
            if len(self._whole) >= _CACHE:
                self._whole.clear()
            body = self._head.replace(b"%", b"%%") + self._element_template(*key) + self._tail
            size = len(body % (b"x" * 20, 0))
            template = self._whole[key] = header(size).replace(b"%", b"%%") + body
        return template

    def _text(self, second: int) -> bytes:
        if second != self._second:
            self._second, self._second_text = second, whole_second(second)
        return self._second_text

    def elements(self, ticks: Ticks) -> list[bytes]:
        """Return each tick as an element of a GatewayTrade array."""
        done: list[bytes] = []
        index = ticks.first
        for stamp, price, side, size in zip(ticks.stamp, ticks.price, ticks.side, ticks.size, strict=True):
            second, rest = divmod(stamp, SECOND_NS)
            text = self._second_text if second == self._second else self._text(second)
            done.append(self._element((price, side, size, index & 1)) % (text, rest // 100))
            index += 1
        return done

    def message(self, elements: list[bytes]) -> bytes:
        """Return elements as one GatewayTrade message."""
        return self._head + b",".join(elements) + self._tail

    def encode(self, ticks: Ticks, layout: Layout) -> tuple[bytes, int]:
        """Return the ticks as frames, and how many messages that is."""
        if layout.frame_max == 1 and layout.batch_max <= 1:
            return self._singles(ticks, by_trade=layout.batch_max == 0)
        elements = self.elements(ticks)
        if layout.batch_max:
            bounds = list(range(0, len(elements), layout.batch_max))
        else:
            starts = ticks.start
            bounds = [0, *(at for at in range(1, len(starts)) if starts[at] != starts[at - 1])]
        ends = [*bounds[1:], len(elements)]
        messages = [self.message(elements[a:b]) for a, b in zip(bounds, ends, strict=True)]
        return into_frames(messages, layout.frame_max), len(messages)

    def _singles(self, ticks: Ticks, *, by_trade: bool) -> tuple[bytes, int]:
        """One print a message and a message a frame, but for the trades of several prints if `by_trade`."""
        frames: list[bytes] = []
        sweep: list[bytes] = []
        index = ticks.first
        following = [*ticks.start[1:], -1]
        known = self._whole
        current, current_text = self._second, self._second_text
        columns = zip(ticks.stamp, ticks.price, ticks.side, ticks.size, ticks.start, following, strict=True)
        for stamp, price, side, size, start, after in columns:
            second, rest = divmod(stamp, SECOND_NS)
            if second != current:
                current, current_text = second, self._text(second)
            key = (price, side, size, index & 1)
            if by_trade and (sweep or start == after):
                sweep.append(self._element(key) % (current_text, rest // 100))
                if start != after:
                    frames.append(text_frame(self.message(sweep)))
                    sweep = []
            else:
                frames.append((known.get(key) or self._frame(key)) % (current_text, rest // 100))
            index += 1
        return b"".join(frames), len(frames)

    def encode_items(self, items: list[Item], ticks: Ticks, layout: Layout) -> tuple[bytes, int]:
        """Return shaped items as frames, and how many messages; `ticks` holds every tick that an item names."""
        good = self.elements(ticks)
        frames: list[bytes] = []
        messages: list[bytes] = []
        group: list[bytes] = []
        trade = -1
        count = 0

        def flush() -> None:
            if group:
                messages.append(self.message(group))
                group.clear()

        for item in items:
            at = item.tick - ticks.first
            if item.bad in _APART:
                flush()
                if item.bad in WIRE_KINDS:
                    frames.append(into_frames(messages, layout.frame_max))
                    frames.append(self._broken_frame(item.bad))
                    count += len(messages) + 1
                    messages.clear()
                else:
                    messages.append(self._broken_message(item))
                continue
            if group and (len(group) >= layout.batch_max if layout.batch_max else ticks.start[at] != trade):
                flush()
            trade = ticks.start[at]
            group.append(good[at] if item.bad is None else self._broken(item, ticks, at))
        flush()
        frames.append(into_frames(messages, layout.frame_max))
        return b"".join(frames), count + len(messages)

    def _broken_message(self, item: Item) -> bytes:
        contract = msgspec.json.encode(self._spec.id)
        if item.bad == "unknown_target":
            return b'{"type":1,"target":"GatewayMystery","arguments":[%b,{"i":%d}]}\x1e' % (contract, item.tick)
        data = b"null" if item.bad == "null_batch" else b'{"symbolId":%b}' % self._symbol
        return b'{"type":1,"target":"GatewayTrade","arguments":[%b,%b]}\x1e' % (contract, data)

    def _broken_frame(self, kind: str | None) -> bytes:
        """Return what no real server would send: see `switches.WIRE_KINDS`."""
        if kind == "deep_json":
            return text_frame(self._head + b"[" * 5_000 + b"]" * 5_000 + self._tail)
        if kind == "oversized_message":
            return text_frame(self._head + b'"%b"' % (b"x" * 2_000_000) + self._tail)
        if kind == "binary_frame":
            payload = b'{"type":6}' + RS
            return b"\x82" + bytes([len(payload)]) + payload
        if kind == "split_message":
            return text_frame(b'{"type"') + text_frame(b":6}" + RS)
        return text_frame(b'{"type":1,"target":' + RS)

    def _broken(self, item: Item, ticks: Ticks, at: int) -> bytes:
        """Return an element that is the tick with one thing wrong."""
        price, tick = ticks.price[at], self._spec.tick_size
        fields: dict[str, Any] = {
            "symbolId": self._spec.symbol_id,
            "price": price,
            "timestamp": tick_stamp(item.tick, ticks.stamp[at]),
            "type": ticks.side[at],
            "volume": ticks.size[at],
        }
        victim = ("price", "timestamp", "type", "volume")[item.tick % 4]
        match item.bad:
            case "negative_price":
                fields["price"] = -price
            case "zero_price":
                fields["price"] = 0
            case "off_tick":
                fields["price"] = price + tick / 3
            case "zero_volume":
                fields["volume"] = 0
            case "negative_volume":
                fields["volume"] = -ticks.size[at]
            case "bad_timestamp":
                fields["timestamp"] = "yesterday, about noon"
            case "future_timestamp":
                fields["timestamp"] = "2999-12-31T23:59:59.9999999+00:00"
            case "missing_field":
                del fields[victim]
            case "null_element":
                return b"null"
            case "null_field":
                fields[victim] = None
            case "huge_number":
                fields["price"] = math.nextafter(math.inf, 0)
            case "huge_integer":
                fields["volume"] = msgspec.Raw(b"9" * 30)
            case "string_price":
                fields["price"] = str(price)
            case "unknown_type":
                fields["type"] = 9
        return msgspec.json.encode(fields)
