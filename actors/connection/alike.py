"""Messages that are written alike, many at once: one print each, and nothing that differs but digits. Pure.

A server writes a `GatewayTrade` of one print in the same way each time: of one contract, and of one number of digits in
price, stamp and volume, two messages differ in those digits alone. So messages are put together by what is left of
them when each digit is a nought. Of the first of them, once the typed decoder has taken it, a `Form` is made: which
bytes are as they are, and which are digits of what. All of them are then a matrix of bytes that is compared and
weighed as a whole. What fits no form is left to the typed decoder, message by message; it stays the oracle, and a
property test compares the two.

Why a form may be trusted. It is only made of a message without backslash and white space, so that `"price":` in it is
a key and nothing else; that key, and the others, are in it once; and the typed decoder has taken it. Another message
of the form has the same bytes but for the digits of those numbers, and no number got a leading nought: so it is JSON of
the same structure. A price is its digits as an integer below 2**53 divided by a power of ten up to 10**15, both exact
as floats, so the quotient is the float nearest to the decimal: what a parser gives (W. D. Clinger, How to Read
Floating Point Numbers Accurately, 1990). Stamps are parsed as strictly as any other; one that is none is left to the
typed decoder's way, which says so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tickloom.messages.market import FloatArray, IntArray
from tickloom.messages.stamps import STAMP_WIDTH, StampParser, weigh

ENOUGH = 4096
"""From this many messages on it pays to look for forms, however many there are (benchmarks/decode.py)."""

_FEW = 128
"""Messages of one shape below which they are cheaper one by one."""

_MAX_SHAPES = 1024
_MAX_FORMS = 4
_CHUNK = 1024  # rows compared at once: what a core's cache holds
_NOUGHTS = bytes.maketrans(b"123456789", b"0" * 9)

_PRICE = re.compile(rb'"price":(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?[,}]')
_VOLUME = re.compile(rb'"volume":(0|[1-9][0-9]*)[,}]')
_STAMP = re.compile(rb'"timestamp":"([0-9T:.+Z-]*)"')
_SIDE = re.compile(rb'"type":([01])[,}]')
_DIGITS = re.compile(rb"[0-9]")
_UNSURE = re.compile(rb"[\\\s]")

_MOST_DIGITS = 15
"""Digits of a price or a volume of a form: an integer of so many is exact as a float."""

_ZERO = np.uint8(ord("0"))
_HEAD = len(b'{"type":1,')

Plain: TypeAlias = Callable[[bytes], str | None]
"""The typed decoder: the contract of a message, with its separator, that is one plain print, or None."""


class Alike(NamedTuple):
    """The prints found, a row each in the order of their messages; `rest`: the messages that fit no form, rising."""

    contracts: tuple[str, ...]
    message: IntArray
    contract: IntArray
    ts_ns: IntArray
    price: FloatArray
    size: IntArray
    side: IntArray
    rest: list[int]


class _Number(NamedTuple):
    """The places of an integer's digits within a message, and what each is worth."""

    at: IntArray
    weights: FloatArray


class Form:
    """What messages that are written alike have in common.

    A message is of this form if `byte - low <= span` at each place: bytes that stay have a span of 0, digits one of
    9, a leading digit one of 8 above `1`, the side one of 1.
    """

    __slots__ = ("contract", "divisor", "low", "price", "side", "size", "span", "stamp")

    def __init__(
        self, message: bytes, contract: str, price: re.Match[bytes], size: re.Match[bytes], stamp: slice, side: int
    ) -> None:
        self.contract = contract
        self.low = np.frombuffer(message, np.uint8).copy()
        self.span = np.zeros(len(message), np.uint8)
        whole, fraction = price.span(2), price.span(3)
        self.price = self._number([*range(*whole), *range(*fraction)])
        self._lead(*whole)
        self.divisor = 10.0 ** (fraction[1] - fraction[0])
        if price[1]:  # with the sign in it a nought comes out as -0.0, as it does from a parser
            self.divisor = -self.divisor
        self.size = self._number([*range(*size.span(1))])
        self._lead(*size.span(1))
        self.stamp = stamp
        for found in _DIGITS.finditer(message, stamp.start, stamp.stop):
            self._digit(found.start())
        self.side = side
        self._digit(side, 1)

    def _digit(self, at: int, span: int = 9) -> None:
        self.low[at], self.span[at] = ord("0"), span

    def _lead(self, start: int, stop: int) -> None:
        """An integer of several digits does not begin with a nought."""
        if stop - start > 1:
            self.low[start], self.span[start] = ord("1"), 8

    def _number(self, at: list[int]) -> _Number:
        for place in at:
            self._digit(place)
        return _Number(np.array(at), np.array([10.0**power for power in range(len(at) - 1, -1, -1)]))

    def fits(self, chars: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return which rows are of this form."""
        fits = np.empty(len(chars), bool)
        for start in range(0, len(chars), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            np.all((chars[chunk] - self.low) <= self.span, axis=1, out=fits[chunk])  # wraps below `low`
        return fits


def form_of(message: bytes, plain: Plain) -> Form | None:
    """Return the form of a message, with its separator, or None if it cannot be sure of one."""
    contract = plain(message)
    if contract is None or _UNSURE.search(message):
        return None
    fields = [_once(pattern, message) for pattern in (_PRICE, _VOLUME, _STAMP, _SIDE)]
    price, size, stamp, side = fields
    if price is None or size is None or stamp is None or side is None:
        return None
    if price[1] and price[3] is None:
        return None  # -0 is an integer without a sign, where -1 has one
    digits = len(price[2]) + len(price[3] or b"")
    if max(digits, len(size[1])) > _MOST_DIGITS or len(stamp[1]) >= STAMP_WIDTH:
        return None
    return Form(message, contract, price, size, slice(*stamp.span(1)), side.start(1))


def _once(pattern: re.Pattern[bytes], message: bytes) -> re.Match[bytes] | None:
    """Return the field if its key is in the message once, after the message's own `type`."""
    key = pattern.pattern[: pattern.pattern.index(b":") + 1]
    return pattern.search(message, _HEAD) if message.count(key, _HEAD) == 1 else None


class _Part(NamedTuple):
    """Messages of one form: which they are, the index of their contract, and their bytes."""

    messages: IntArray
    contract: int
    chars: NDArray[np.uint8]
    form: Form


class FormReader:
    """Reads the prints of messages written alike, and remembers the forms it has seen. Bounded; not for two threads.

    Args:
        plain: the typed decoder.
        stamps: parses the stamps.
        few: messages of one shape below which they are left to the typed decoder.
    """

    def __init__(self, plain: Plain, stamps: StampParser, *, few: int = _FEW) -> None:
        self._few = few
        self._plain = plain
        self._stamps = stamps
        self._forms: dict[bytes, list[Form]] = {}

    def read(self, messages: list[bytes]) -> Alike | None:
        """Return the prints of those messages that fit a form, or None if hardly any does."""
        groups: defaultdict[bytes, list[int]] = defaultdict(list)
        for index, message in enumerate(messages):
            groups[message.translate(_NOUGHTS)].append(index)
        table: dict[str, int] = {}
        found: list[_Part] = []
        for shape, indices in groups.items():
            if len(indices) < self._few:
                continue
            block = b"".join([messages[index] for index in indices])
            chars = np.frombuffer(block, np.uint8).reshape(len(indices), len(shape))
            for rows, form in self._parted(shape, chars):
                part = chars if len(rows) == len(indices) else chars[rows]
                found.append(_Part(np.array(indices)[rows], table.setdefault(form.contract, len(table)), part, form))
        return self._weighed(tuple(table), found, len(messages)) if found else None

    def _parted(self, shape: bytes, chars: NDArray[np.uint8]) -> Iterator[tuple[IntArray, Form]]:
        """Part messages of one shape by form, which are many only if contracts differ in a digit of their names."""
        if len(self._forms) >= _MAX_SHAPES:
            self._forms = {}
        known = self._forms.setdefault(shape, [])
        left = np.arange(len(chars))
        for attempt in range(_MAX_FORMS):
            if not len(left):
                return
            form = known[attempt] if attempt < len(known) else form_of(chars[left[0]].tobytes(), self._plain)
            if form is None:  # the first is none: the others may be all the same
                left = left[1:]
                continue
            if attempt >= len(known):
                known.append(form)
            fits = form.fits(chars if len(left) == len(chars) else chars[left])
            if fits.any():
                yield left[fits], form
            left = left[~fits]

    def _weighed(self, contracts: tuple[str, ...], found: list[_Part], count: int) -> Alike:
        """Return the columns of what was found, in the order of the messages."""
        fits = np.zeros(count, bool)
        contract, size, side = (np.zeros(count, np.int64) for _ in range(3))
        price = np.zeros(count)
        stamps = np.zeros((count, STAMP_WIDTH), np.uint8)
        for rows, index, chars, form in found:
            fits[rows] = True
            contract[rows] = index
            price[rows] = weigh(chars[:, form.price.at] - _ZERO, form.price.weights) / form.divisor
            size[rows] = weigh(chars[:, form.size.at] - _ZERO, form.size.weights)
            side[rows] = chars[:, form.side] - _ZERO
            stamps[rows, : form.stamp.stop - form.stamp.start] = chars[:, form.stamp]
        message = np.flatnonzero(fits)
        ts_ns, bad = self._stamps.block(stamps[message])
        if bad:
            fits[message[bad]] = False
            message, ts_ns = np.delete(message, bad), np.delete(ts_ns, bad)
        rest = np.flatnonzero(~fits).tolist()
        return Alike(contracts, message, contract[message], ts_ns, price[message], size[message], side[message], rest)
