"""A sink of your own: every bar into a DuckDB file, once, whatever fails.

`on_bars` writes in one transaction and replaces what it knows, so bars that come again, because a write failed or late
ticks changed them, are no second rows. Bars by ticks or volume may share their open time: their number is part of the
key, and 0 for all others. While the file cannot be written the sink's breaker is open and its bars wait;
the session does not notice.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
from emulated import arguments, session_for

import tickloom

TABLE = """create table if not exists bars (
    contract varchar, timeframe varchar, open_time timestamptz, open double, high double, low double, close double,
    volume bigint, trades bigint, revision bigint, flags varchar, number bigint,
    primary key (contract, timeframe, open_time, number))"""
ROWS = """insert or replace into bars
    select contract, ? , open_time, open, high, low, close, volume, trades, revision, flags, number from chunk"""


class DuckDBSink:
    """Writes bars of any timeframes into one table. All of it runs in the sink's own thread."""

    def __init__(self, session: tickloom.Session, path: Path) -> None:
        self._session = session
        self._path = path

    def open(self) -> None:
        """Open the file; again after each failure."""
        self._connection = duckdb.connect(str(self._path))
        self._connection.execute(TABLE)

    def close(self) -> None:
        """Close it, however it went."""
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()

    def on_bars(self, bars: Sequence[tickloom.Bar]) -> None:
        """Write what has gathered: all of it, or none. Of bars that are there twice the last word counts."""
        by_timeframe: dict[str, dict[tuple[str, int, int], tickloom.Bar]] = defaultdict(dict)
        for bar in bars:
            by_timeframe[bar.timeframe][bar.contract, bar.open_time, bar.number] = bar
        self._connection.execute("begin")
        try:
            for timeframe, last in by_timeframe.items():
                numbers = pa.array([bar.number for bar in last.values()])
                chunk = self._session.as_table(last.values()).append_column("number", numbers)
                self._connection.register("chunk", chunk)
                self._connection.execute(ROWS, [timeframe])
            self._connection.execute("commit")
        except BaseException:
            self._connection.execute("rollback")
            raise


def main() -> None:
    """Follow a contract for a while, and count what is in the file."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, default=Path("bars.duckdb"))
    given = parser.parse_args()
    with session_for(given.contract, ("1s", "5s", "1m", "1t"), live=given.live) as session:
        session.add_sink(DuckDBSink(session, given.file), name="duckdb")
        with session:
            time.sleep(given.seconds)
        for trouble in session.unwritten:
            print(trouble)
        assert session.summary is not None
        print(f"{session.summary.bars} bars, {session.summary.lost} ticks lost")
    with duckdb.connect(str(given.file), read_only=True) as connection:
        counted = connection.execute(
            "select timeframe, count(*), sum(volume) from bars group by 1 order by 1"
        ).fetchall()
    for timeframe, count, volume in counted:
        print(f"{timeframe}: {count} bars, volume {volume}")


if __name__ == "__main__":
    main()
