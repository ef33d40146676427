"""Which bucket an instant falls in: a pure function of calendar, timeframe and time.

**Stretches.** Time is cut into stretches: each sitting is one, and so is each time between two sittings. Every
instant lies in exactly one.

**Intraday.** Buckets count from the stretch's beginning in elapsed time, and the last one ends with the stretch. A
break within a sitting does not cut it. When the clock changes within a sitting, elapsed time goes on: a 25-hour day
has 25 bars of `1h`.

**Days, weeks, months.** A trading day is one bucket, from the open of its first sitting to the close of its last;
what lies between its sittings is within. Weeks (Monday to Sunday) and months hold the trading days labelled with
their dates, from the first one's open to the last one's close. `<n>d` counts trading days as the weekdays of the
calendar have them, from Monday 1970-01-05, holidays included in the count, so that a holiday list learned later
moves no bucket; `<n>w` counts weeks from there, `<n>mo` months from January 1970.

**Outside.** A trade between sittings is dropped by no one. Its intraday bucket counts from the close before it; its
`1d` bucket is the whole time between those two trading days, and likewise for weeks and months. So it is in a bar
of its own, and touches the open, high, low, close or volume of no trading day. `Sessions.is_open` tells such bars
apart.

**What fits.** An intraday timeframe fits a calendar if it divides 24 hours, or every sitting: `4h` fits a 23-hour
session (its last bar is short), `23m` fits it exactly, `7m` fits neither and is refused, since its last bar would
be short for no reason a reader could guess. One longer than the longest sitting is refused as well: `1d` is meant.

Hence: buckets partition time, an intraday bucket lies within one day bucket, a width nests in any it divides, and
all edges are whole seconds.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Callable
from itertools import groupby

import numpy as np

from tickloom.config.calendars import DAY, Calendar
from tickloom.config.sessions import FIRST_YEAR, LAST_YEAR, Session, Sessions, year_of, year_start
from tickloom.config.timeframes import Timeframe, TimeframeError, Unit
from tickloom.messages.market import IntArray

_MONDAY = dt.date(1970, 1, 5).toordinal()


def check_fit(calendar: Calendar, timeframe: Timeframe) -> None:
    """Refuse a timeframe that makes no sense in a calendar; this file's opening has the rule.

    Raises:
        TimeframeError: it names the timeframe, the calendar, the sitting, and what would fit.
    """
    if timeframe.is_activity:
        raise TimeframeError(f"timeframe '{timeframe}' counts prints, not time: it has no buckets in a calendar")
    if not timeframe.is_intraday:
        return
    width = timeframe.seconds
    longest = max(calendar.sittings, key=lambda sitting: sitting.seconds)
    if width > longest.seconds:
        raise TimeframeError(
            f"timeframe '{timeframe}' is longer than the longest sitting of calendar '{calendar.name}' "
            f"({longest}, {_length(longest.seconds)}): use '1d' for its trading days"
        )
    odd = next((sitting for sitting in calendar.sittings if sitting.seconds % width), None)
    if odd is not None and DAY % width:
        raise TimeframeError(
            f"timeframe '{timeframe}' divides neither 24 hours nor the sitting {odd} ({_length(odd.seconds)}) of "
            f"calendar '{calendar.name}': the nearest that fits is '{_nearest_fit(calendar, timeframe)}'"
        )


def _nearest_fit(calendar: Calendar, timeframe: Timeframe) -> Timeframe:
    """The nearest width that fits, in the same unit: people ask for `6m` or `8m`, not for `414s`."""
    unit = timeframe.seconds // timeframe.count
    longest = max(sitting.seconds for sitting in calendar.sittings)
    fitting = [
        width
        for width in range(unit, longest + 1, unit)
        if DAY % width == 0 or all(sitting.seconds % width == 0 for sitting in calendar.sittings)
    ]
    return Timeframe.parse(f"{min(fitting, key=lambda width: abs(width - timeframe.seconds), default=1)}s")


def _length(seconds: int) -> str:
    hours, minutes = seconds // 3600, seconds % 3600 / 60
    return f"{hours} h {minutes:g} min" if minutes else f"{hours} h"


class BucketRule:
    """The buckets of one timeframe in one calendar.

    It remembers the last bucket and the edges around it, so it belongs to one owner and is not shared between
    threads; what it returns depends on nothing but its arguments.

    Raises:
        TimeframeError: the timeframe does not fit the calendar (`check_fit`).
    """

    def __init__(self, calendar: Calendar, timeframe: Timeframe, sessions: Sessions | None = None) -> None:
        check_fit(calendar, timeframe)
        self.calendar = calendar
        self.timeframe = timeframe
        self.sessions = Sessions(calendar) if sessions is None else sessions
        self._width = timeframe.width_ns
        self._key = None if timeframe.is_intraday else _grouping(calendar, timeframe)
        self._margin = _years_across(calendar, timeframe)
        self._edges: IntArray = np.empty(0, np.int64)
        self._starts: list[int] = []
        self._span = (0, 0)
        self._last = (0, 0)

    def bucket(self, ts_ns: int) -> tuple[int, int]:
        """Return the bucket `[open, close)` (ns UTC) of the instant.

        Raises:
            ValueError: the instant lies outside the years 1690 to 2250.
        """
        last = self._last
        if last[0] <= ts_ns < last[1]:
            return last
        if not self._span[0] <= ts_ns < self._span[1]:
            self._cover(ts_ns, ts_ns)
        starts = self._starts
        place = bisect_right(starts, ts_ns)
        start, end = starts[place - 1], starts[place]
        if self._width:
            start += (ts_ns - start) // self._width * self._width
            end = min(start + self._width, end)
        self._last = (start, end)
        return self._last

    def buckets(self, ts_ns: IntArray) -> tuple[IntArray, IntArray]:
        """Return opens and closes for a column of instants, in any order; the same as `bucket` for each.

        Raises:
            ValueError: an instant lies outside the years 1690 to 2250.
        """
        if not len(ts_ns):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        low, high = int(ts_ns.min()), int(ts_ns.max())
        if not (self._span[0] <= low and high < self._span[1]):
            self._cover(low, high)
        first, last = bisect_right(self._starts, low), bisect_right(self._starts, high)
        if first == last:  # one stretch, as live batches nearly always are: no search
            start, end = self._starts[first - 1], self._starts[first]
            if not self._width:
                return np.full(len(ts_ns), start, np.int64), np.full(len(ts_ns), end, np.int64)
            opens = ts_ns - (ts_ns - start) % self._width
            return opens, np.minimum(opens + self._width, end)
        edges = self._edges[first - 1 : last + 1]
        place = np.searchsorted(edges, ts_ns, side="right")
        starts, ends = edges[place - 1], edges[place]
        if not self._width:
            return starts, ends
        opens = ts_ns - (ts_ns - starts) % self._width
        return opens, np.minimum(opens + self._width, ends)

    def _cover(self, low: int, high: int) -> None:
        """Lay out the edges for the years of `low` to `high`."""
        first, last = year_of(low), year_of(high)
        # the groups at either end may be cut off, so more is laid out than is answered for: the margin is longer
        # than any group
        before, after = max(first - self._margin, FIRST_YEAR - 12), min(last + self._margin, LAST_YEAR + 11)
        sessions = self.sessions.between(before, after)
        if self._key is None:
            pairs = [(session.open, session.close) for session in sessions]
        else:
            pairs = []
            for _, members in groupby(sessions, key=self._key):
                group = list(members)
                pairs.append((group[0].open, group[-1].close))
        edges = sorted({edge for pair in pairs for edge in pair})
        begin, end = year_start(first), year_start(last + 1)
        if not edges or edges[0] > low or edges[-1] <= high:
            raise ValueError(
                f"calendar '{self.calendar.name}' has no sittings around the year {first}: its holidays leave none"
            )
        self._starts = edges
        self._edges = np.array(edges, np.int64)
        self._span = (max(begin, edges[0]), min(end, edges[-1]))


def _years_across(calendar: Calendar, timeframe: Timeframe) -> int:
    """The years that must be laid out on either side, so that the group at hand is whole."""
    if timeframe.unit is Unit.MONTH:
        return timeframe.count // 12 + 1
    weeks = {Unit.WEEK: timeframe.count, Unit.DAY: timeframe.count // len(calendar.trading_days) + 1}
    return weeks.get(timeframe.unit, 0) // 52 + 1


def _grouping(calendar: Calendar, timeframe: Timeframe) -> Callable[[Session], int]:
    """Return the function that numbers the day, week or month group of a session's trading day."""
    count = timeframe.count
    if timeframe.unit is Unit.DAY:
        days = calendar.trading_days
        index = {day: place for place, day in enumerate(days)}

        def by_day(session: Session) -> int:
            since = session.day.toordinal() - _MONDAY
            return (since // 7 * len(days) + index[session.day.weekday()]) // count

        return by_day
    if timeframe.unit is Unit.WEEK:
        return lambda session: (session.day.toordinal() - _MONDAY) // 7 // count
    return lambda session: (session.day.year * 12 + session.day.month - 1 - 1970 * 12) // count


def rule_for(calendar: Calendar, timeframe: Timeframe | str, sessions: Sessions | None = None) -> BucketRule:
    """Return the rule for a timeframe in a calendar. Rules of one owner may share one `Sessions`.

    Raises:
        TimeframeError: no such timeframe, or it does not fit the calendar.
    """
    return BucketRule(calendar, Timeframe.parse(timeframe), sessions)
