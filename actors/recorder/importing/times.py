"""Time columns to nanoseconds: how a time may be written, and telling it from an example. Pure.

Numbers keep all their digits: they are read as decimals, never as floats. What is read is either UTC already (numbers
since 1970, texts with a zone) or a wall clock, for `zones` to convert. Years that session calendars do not hold are
refused here: nothing could be made of such ticks later.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tickloom.config.sessions import FIRST_YEAR, LAST_YEAR, year_start
from tickloom.messages.market import NS, IntArray

SCALES = {"s": 9, "ms": 6, "us": 3, "ns": 0}
"""Numbers since 1970 or, with `-of-day`, since midnight: the unit, and how many digits it lacks to nanoseconds."""

YEARS = f"years {FIRST_YEAR + 1} to {LAST_YEAR - 1}"
"""What is taken: the years that calendars hold but for the first and last, where an import's day and zone have room."""

_DAY = 86_400 * NS
_FIRST = year_start(FIRST_YEAR + 1)
_END = year_start(LAST_YEAR)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_ZONED = re.compile(r".*\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)")
_FRACTION = r"\.\d{1,9}$"
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([ T]\d\d(:\d\d(:\d\d(\.\d{1,9})?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?",
)


class Beyond(ValueError):
    """A time in years that calendars do not hold; `row` is where it stands."""

    def __init__(self, row: int) -> None:
        self.row = row
        super().__init__(f"a time is outside the {YEARS}")


class TimeFormat(msgspec.Struct, frozen=True):
    """How a time column is written.

    Attributes:
        kind: `number`, `iso`, or `pattern` (of `datetime.strptime`, a fraction of a second may follow).
        scale: for numbers, the digits that lack to nanoseconds.
        of_day: for numbers, whether they count from midnight of `date`, on the wall clock.
        zoned: for texts, whether they carry a zone.
        pattern: see `kind`.
        date: see `of_day`.
    """

    kind: str
    scale: int = 0
    of_day: bool = False
    zoned: bool = False
    pattern: str = ""
    date: date | None = None

    @property
    def is_utc(self) -> bool:
        """Whether what is read needs no conversion."""
        return self.zoned or (self.kind == "number" and not self.of_day)

    @property
    def arrow(self) -> pa.DataType:
        """The type the column is to be read as."""
        if self.kind == "number":
            return pa.decimal128(28, self.scale)
        if self.kind == "iso":
            return pa.timestamp("ns", "UTC") if self.zoned else pa.timestamp("ns")
        return pa.utf8()

    @property
    def wanted(self) -> str:
        """What a cell should be, in words."""
        return f"{self._wanted} ({YEARS})"

    @property
    def _wanted(self) -> str:
        if self.kind == "number":
            unit = next(unit for unit, scale in SCALES.items() if scale == self.scale)
            return f"a number of {unit} since {'midnight' if self.of_day else '1970'}"
        if self.kind == "iso":
            return f"a time like 2013-09-01 17:00:00.083{'+00:00' if self.zoned else ''}"
        return f"a time like {self.pattern}"


def choose_format(name: str, example: str, day: date | None) -> TimeFormat:
    """Return the format called `name`; `auto` goes by an example.

    Args:
        name: `auto`, `iso`, a unit (`s ms us ns`), a unit with `-of-day`, or a pattern with `%`.
        example: the first time in the file.
        day: the date that times of day belong to, if it is known.

    Raises:
        ValueError: there is no such format, or the example does not tell, or a date is needed and not known.
    """
    if "%" in name:
        return TimeFormat("pattern", pattern=name, zoned="%z" in name)
    if name == "auto":
        name = _guess(example, day)
    if name == "iso":
        return TimeFormat("iso", zoned=_ZONED.fullmatch(example) is not None)
    unit, _, rest = name.partition("-")
    if unit not in SCALES or rest not in ("", "of-day"):
        raise ValueError(
            f"there is no time format {name!r}: use auto, iso, s, ms, us, ns, ms-of-day or a pattern (%Y%m%d %H%M%S)"
        )
    if rest and day is None:
        raise ValueError(f"times written as {name} need a date: give --date YYYY-MM-DD")
    return TimeFormat("number", scale=SCALES[unit], of_day=bool(rest), date=day)


def _guess(example: str, day: date | None) -> str:
    if not _NUMBER.fullmatch(example):
        if _ISO.fullmatch(example):
            return "iso"
        raise ValueError(f"{example!r} is no time as 2013-09-01 17:00:00.083 or a number: give --time-format")
    unit = unit_of(example)
    if unit:
        return unit
    if day is not None:
        return "ms-of-day"
    raise ValueError(f"{example!r} may count anything: give --time-format")


def unit_of(number: str) -> str:
    """Return the unit of a number since 1970, as its digits tell it; empty: it may count anything."""
    digits = len(number.lstrip("+-").partition(".")[0])
    return next((unit for unit, low in (("ns", 18), ("us", 15), ("ms", 12), ("s", 9)) if digits >= low), "")


def to_ns(column: pa.Array, form: TimeFormat) -> IntArray:
    """Return a column read as `form.arrow`, without nulls, as nanoseconds: UTC or wall clock, see `is_utc`.

    Raises:
        Beyond: a time is outside `YEARS`.
        ValueError: a text does not follow the pattern.
    """
    if form.kind == "number":
        # A decimal's unscaled value is the time in ns, for that is what the scale was chosen for.
        halves = np.frombuffer(column.buffers()[1], np.int64)[2 * column.offset : 2 * (column.offset + len(column))]
        low, high = halves[::2].copy(), halves[1::2]
        check_years(low, high != low >> 63)
        if form.of_day:
            assert form.date is not None, "a format of the day has its date"
            low += (form.date - date(1970, 1, 1)).days * _DAY
            check_years(low)
        return low
    if form.kind == "iso":
        plain: IntArray = np.asarray(column.cast(pa.int64()))
        check_years(plain)
        return plain
    return _by_pattern(column, form)


def in_years(ns: Any) -> Any:
    """Whether a time (ns) is within `YEARS`; of an array, which."""
    return (ns >= _FIRST) & (ns < _END)


def check_years(ns: IntArray, wrapped: NDArray[np.bool_] | bool = False) -> None:
    """See that times (ns) are within `YEARS`; `wrapped` tells those that 64 bits do not hold.

    Raises:
        Beyond: one is not.
    """
    beyond = np.flatnonzero(~in_years(ns) | wrapped)
    if len(beyond):
        raise Beyond(int(beyond[0]))


def _by_pattern(column: pa.Array, form: TimeFormat) -> IntArray:
    """Parse each different second once; the fraction, which strptime does not know to nine digits, by itself."""
    split = form.pattern.endswith("%S")
    heads = (pc.replace_substring_regex(column, _FRACTION, "") if split else column).dictionary_encode()
    seconds = np.array([_second(text, form) for text in heads.dictionary.to_pylist()], np.int64)
    rows: IntArray = seconds[np.asarray(heads.indices)]
    beyond = np.flatnonzero((rows < _FIRST // NS) | (rows >= _END // NS))
    if len(beyond):
        raise Beyond(int(beyond[0]))
    whole: IntArray = rows * NS
    if not split:
        return whole
    fraction = pc.if_else(
        pc.match_substring_regex(column, _FRACTION), pc.replace_substring_regex(column, r"^.*\.", ""), ""
    )
    padded = pc.utf8_rpad(fraction, 9, "0")
    nanos: IntArray = np.asarray(padded.cast(pa.int64()))
    return whole + nanos


def _second(text: str, form: TimeFormat) -> int:
    moment = datetime.strptime(text, form.pattern)  # noqa: DTZ007 - naive is what a wall clock is
    if moment.tzinfo is not None:
        return int(moment.timestamp())
    gone = moment - datetime(1970, 1, 1)  # noqa: DTZ001
    return gone.days * 86_400 + gone.seconds


def is_valid(text: str, form: TimeFormat) -> bool:
    """Whether one cell follows the format: the slow rule, used to find the row that spoils a column."""
    try:
        column = pa.array([text], pa.utf8())
        if form.kind == "number" and not _NUMBER.fullmatch(text):
            return False
        if form.kind == "iso" and (not _ISO.fullmatch(text) or (_ZONED.fullmatch(text) is not None) != form.zoned):
            return False
        to_ns(column.cast(form.arrow), form)
    except (ValueError, pa.ArrowException):
        return False
    return True
