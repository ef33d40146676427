"""ISO 8601 stamps to int64 nanoseconds since the Unix epoch, UTC, and back. Exact: integers only, no `datetime`.

`datetime` has microseconds, so a library that goes through it rounds the seventh digit of the gateway's stamps and can
push 23:59:59.9999999 into the next day. Here a stamp is `YYYY-MM-DDTHH:MM:SS`, then up to nine fractional digits
after a point, then `Z` or `±hh:mm` (RFC 3339 without its lower-case letters). Everything else is None, and None alone:
no zone is guessed, no leap second invented, and years outside 1678 to 2261 do not fit the 64 bits.

Three ways to the same answer, which a property test compares: `parse_stamp` for one, `StampParser.one` for one among
many of the same second, `StampParser.many` for a batch, as numpy columns when it is large.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickloom.messages.market import NS, FloatArray, IntArray

FIRST_YEAR = 1678
LAST_YEAR = 2261

_STAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)"
    r"(?:\.(\d{1,9}))?(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_SCALE: tuple[int, ...] = tuple(10 ** (9 - digits) for digits in range(10))
_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400 * NS


def _day(year: int, month: int, day: int) -> int | None:
    """Return the days since the epoch, or None if there is no such day within the range."""
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        return date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None


def parse_stamp(text: str) -> int | None:
    """Return the stamp in ns UTC, or None if `text` is not one."""
    match = _STAMP.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, zone_hour, zone_minute = match.groups()
    days = _day(int(year), int(month), int(day))
    if days is None:
        return None
    ns = days * _DAY + ((int(hour) * 60 + int(minute)) * 60 + int(second)) * NS
    if fraction:
        ns += int(fraction) * _SCALE[len(fraction)]
    if sign:
        offset = (int(zone_hour) * 60 + int(zone_minute)) * 60 * NS
        ns = ns - offset if sign == "+" else ns + offset
    return ns


def format_stamp(ns: int) -> str:
    """Return `ns` as `YYYY-MM-DDTHH:MM:SS[.fffffffff]Z` with no more fractional digits than needed.

    Raises:
        ValueError: `ns` is outside the years a stamp can have.
    """
    days, rest = divmod(ns, _DAY)
    try:
        day = date.fromordinal(days + _EPOCH)
    except (ValueError, OverflowError):
        day = date.min
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"{ns} ns since the epoch is outside the years {FIRST_YEAR} to {LAST_YEAR}")
    seconds, fraction = divmod(rest, NS)
    text = f"{day}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:09}".rstrip("0") + "Z" if fraction else text + "Z"


# ------------------------------------------------------------------------------------------ many at once

STAMP_WIDTH = 36
"""Columns of a block of stamps: the longest has 35 characters; one more shows what is too long."""

_SMALL = 48  # below this many stamps a loop beats the fixed cost of the numpy calls
_REMEMBERED = 1024
_FORMS = 4  # how many minutes or layouts a batch may mix before the general way is the faster one

_SEPARATORS = np.array([4, 7, 10, 13, 16])
_MARKS = np.frombuffer(b"--T::", dtype=np.uint8)
_DIGITS = np.array([0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18])
_DATE_TIME = np.zeros((14, 4))  # columns: yyyymmdd, hour, minute, second; float64, exact below 2**53
_DATE_TIME[:8, 0] = [1e7, 1e6, 1e5, 1e4, 1e3, 1e2, 1e1, 1]
_DATE_TIME[8:10, 1] = _DATE_TIME[10:12, 2] = _DATE_TIME[12:14, 3] = [10, 1]
_FRACTION = np.array([10.0**power for power in range(8, -1, -1)])
_ZERO, _POINT, _ZULU, _PLUS, _MINUS, _COLON = (np.uint8(ord(mark)) for mark in "0.Z+-:")
_TAIL = np.arange(7)
_MINUTE = 60 * NS


def weigh(digits: NDArray[np.uint8], weights: FloatArray) -> FloatArray:
    """Return the sum of the columns times their weights, a row each.

    Not by a matrix product: for large batches that starts a thread for each core, which go on spinning afterwards.
    """
    total: FloatArray = np.einsum("ij,j->i", digits.astype(np.float64), weights)
    return total


class _Form(NamedTuple):
    """What the stamps of one minute that are written alike have in common.

    A row is of this form if `row - low <= span` in every byte: literal bytes have a span of 0, digits one of 9. The
    differences at its digits (`at`), times `weights`, are its nanoseconds after `base`.
    """

    low: NDArray[np.uint8]
    span: NDArray[np.uint8]
    at: IntArray
    weights: FloatArray
    base: int


class StampParser:
    """Parses the stamps of a stream, remembering the forms it has seen. Bounded; not for two threads at once.

    Most stamps of a market are of the same second as the one before, many are equal to it: that memory is what makes
    it fast. It never changes an answer.
    """

    def __init__(self) -> None:
        self._last: str | None = None
        self._last_ns = 0
        self._seconds: dict[str, int] = {}
        self._forms: dict[str, _Form] = {}
        self._days: dict[int, int | None] = {}

    def one(self, text: str) -> int | None:
        """Return the stamp in ns UTC, or None if `text` is not one."""
        if text == self._last:
            return self._last_ns
        if text[-1:] == "Z":
            fraction = text[20:-1]
        elif text[-6:] == "+00:00":
            fraction = text[20:-6]
        else:
            fraction = ""
        base = self._seconds.get(text[:20])  # up to and including the point
        if base is not None and fraction.isdigit() and fraction.isascii() and len(fraction) <= 9:
            ns = base + int(fraction) * _SCALE[len(fraction)]
        else:
            parsed = parse_stamp(text)
            if parsed is None:
                return None
            ns = parsed
            if fraction:
                if len(self._seconds) >= _REMEMBERED:
                    self._seconds.clear()
                self._seconds[text[:20]] = ns - ns % NS
        self._last, self._last_ns = text, ns
        return ns

    def many(self, texts: Sequence[str]) -> tuple[list[int] | IntArray, list[int]]:
        """Return the stamps in ns UTC, and the indices, rising, of those that are none (their value is 0).

        A list for a few, an int64 array for many.
        """
        if len(texts) < _SMALL:
            return self._loop(texts)
        try:
            block = np.array(texts, dtype=f"S{STAMP_WIDTH}")
        except UnicodeEncodeError:  # something that is not ASCII: find out which
            return self._loop(texts)
        chars = block.view(np.uint8).reshape(len(texts), STAMP_WIDTH)
        if int(np.count_nonzero(chars)) != sum(map(len, texts)):  # one was cut, or holds a NUL
            return self._loop(texts)
        return self.block(chars)

    def _loop(self, texts: Sequence[str]) -> tuple[list[int], list[int]]:
        values = []
        bad = []
        for index, text in enumerate(texts):
            ns = self.one(text)
            if ns is None:
                bad.append(index)
                ns = 0
            values.append(ns)
        return values, bad

    def block(self, chars: NDArray[np.uint8]) -> tuple[IntArray, list[int]]:
        """Return the same as `many` for stamps that are rows of `STAMP_WIDTH` ASCII characters, filled up with NUL.

        Form by form: the first row left gives the form, and all rows of it are parsed at once.
        """
        values = np.zeros(len(chars), dtype=np.int64)
        bad: list[int] = []
        left: IntArray | None = None  # the rows not yet parsed; None: all
        for _ in range(_FORMS):
            first = 0 if left is None else int(left[0])
            form = self._form(chars[first].tobytes().rstrip(b"\0").decode("ascii"))
            if form is None:
                bad.append(first)
                left = np.arange(1, len(chars)) if left is None else left[1:]
            else:
                rows = chars if left is None else chars[left]
                digits = rows[:, : len(form.low)] - form.low  # wraps below `low`
                fit = digits <= form.span
                ns = weigh(digits[:, form.at], form.weights)
                within = ns < _MINUTE  # a 61st second is none
                if left is None and fit.all() and within.all():
                    return ns.astype(np.int64) + form.base, bad
                fits = fit.all(axis=1) & within
                which = np.flatnonzero(fits) if left is None else left[fits]
                values[which] = ns[fits].astype(np.int64) + form.base
                left = np.flatnonzero(~fits) if left is None else left[~fits]
            if not len(left):
                return values, sorted(bad)
        assert left is not None
        values[left], wrong = self._any_form(chars[left])
        return values, sorted([*bad, *left[wrong].tolist()])

    def _form(self, text: str) -> _Form | None:
        """Return the form of a stamp, or None if it is not one."""
        zone = "Z" if text[-1:] == "Z" else text[-6:]
        places = max(len(text) - 20 - len(zone), 0)
        key = f"{text[:17]}{places}{zone}"
        form = self._forms.get(key)
        if form is not None:
            return form
        ns = parse_stamp(text)
        if ns is None:
            return None
        second = int(text[17:19])
        base = (ns // NS - second) * NS
        low = np.zeros(len(text) + 1, dtype=np.uint8)  # one byte more: the end must be the end
        low[:-1] = np.frombuffer(text.encode(), dtype=np.uint8)
        span = np.zeros(len(low), dtype=np.uint8)
        at = np.array([17, 18, *range(20, 20 + places)])
        low[at], span[at] = _ZERO, 9
        weights = np.array([10.0 * NS, 1.0 * NS, *_FRACTION[:places]])
        if len(self._forms) >= _REMEMBERED:
            self._forms.clear()
        form = self._forms[key] = _Form(low, span, at, weights, base)
        return form

    def _any_form(self, chars: NDArray[np.uint8]) -> tuple[IntArray, list[int]]:
        rows = len(chars)
        digits = chars - _ZERO  # wraps: what is no digit is above 9
        good = (chars[:, _SEPARATORS] == _MARKS).all(axis=1)
        fields = digits[:, _DIGITS]
        good &= (fields <= 9).all(axis=1)
        parts = np.einsum("ij,jk->ik", fields.astype(np.float64), _DATE_TIME)
        ymd, hour, minute, second = (parts[:, column] for column in range(4))
        good &= (hour < 24) & (minute < 60) & (second < 60)

        point = chars[:, 19] == _POINT
        run = np.logical_and.accumulate(digits[:, 20:30] <= 9, axis=1)
        places = run.sum(axis=1)
        good &= ~point | ((places >= 1) & (places <= 9))
        fraction = np.einsum("ij,j->i", np.where(run[:, :9], digits[:, 20:29], 0).astype(np.float64), _FRACTION)
        end = np.where(point, 20 + places, 19)
        good &= end <= STAMP_WIDTH - 7
        end = np.minimum(end, STAMP_WIDTH - 7)
        first = int(end[0])
        if (end == first).all():
            tail, marks = digits[:, first : first + 7], chars[:, first : first + 7]
        else:
            at = end[:, None] + _TAIL
            tail, marks = np.take_along_axis(digits, at, axis=1), np.take_along_axis(chars, at, axis=1)

        ns = (hour * 3600 + minute * 60 + second).astype(np.int64) * NS
        ns += np.where(point, fraction, 0).astype(np.int64)
        zulu = (marks[:, 0] == _ZULU) & (marks[:, 1] == 0)
        if not zulu.all():
            ns -= self._offset(tail, marks, zulu, good)

        dates = ymd.astype(np.int64)
        if rows and (dates == dates[0]).all():
            days = self._days_of(int(dates[0]))
            if days is None:
                good[:] = False
            else:
                ns += days * _DAY
        else:
            unique, which = np.unique(np.where(good, dates, 19700101), return_inverse=True)
            known = [self._days_of(int(day)) for day in unique]
            good &= np.array([day is not None for day in known])[which]
            ns += np.array([day or 0 for day in known], dtype=np.int64)[which] * _DAY
        if good.all():
            return ns, []
        ns[~good] = 0
        return ns, np.flatnonzero(~good).tolist()

    @staticmethod
    def _offset(
        tail: NDArray[np.uint8], marks: NDArray[np.uint8], zulu: NDArray[np.bool_], good: NDArray[np.bool_]
    ) -> IntArray:
        """Return the offset of each row's zone in ns (0 for Z); rows whose zone is no zone lose their `good`."""
        signed = (marks[:, 0] == _PLUS) | (marks[:, 0] == _MINUS)
        form = signed & (marks[:, 3] == _COLON) & (marks[:, 6] == 0) & (tail[:, [1, 2, 4, 5]] <= 9).all(axis=1)
        wide = tail.astype(np.int64)
        hours, minutes = wide[:, 1] * 10 + wide[:, 2], wide[:, 4] * 10 + wide[:, 5]
        good &= zulu | (form & (hours < 24) & (minutes < 60))
        offset = (hours * 60 + minutes) * (60 * NS)
        return np.where(zulu, 0, np.where(marks[:, 0] == _MINUS, -offset, offset))

    def _days_of(self, ymd: int) -> int | None:
        try:
            return self._days[ymd]
        except KeyError:
            if len(self._days) >= _REMEMBERED:
                self._days.clear()
            days = self._days[ymd] = _day(ymd // 10_000, ymd // 100 % 100, ymd % 100)
            return days
