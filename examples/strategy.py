"""A strategy that reacts to closed bars: two moving averages, warmed up from a table. It prints; it trades nothing.

`decide` is a pure function of closes, so it can be tested without a market. `on_bar` runs it in this program's event
loop, once for each bar. What it raises would be told and counted, and would not end the session.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence

from emulated import arguments, session_for

import tickloom

FAST, SLOW = 2, 4


def decide(closes: Sequence[float]) -> str:
    """Return `long` or `short` as the fast average is above the slow one or not; nothing while there are too few."""
    if len(closes) < SLOW:
        return ""
    recent = list(closes)
    return "long" if sum(recent[-FAST:]) / FAST > sum(recent[-SLOW:]) / SLOW else "short"


class Strategy:
    """Keeps the closes it decides on, and says when it changes its mind."""

    def __init__(self, session: tickloom.Session, contract: str) -> None:
        self._session = session
        self._contract = contract
        self._closes: deque[float] = deque(maxlen=SLOW)
        self._last = 0
        self.position = ""

    def warm_up(self) -> None:
        """Take the closes there are: a session that goes on with a log has some from the first moment."""
        table = self._session.table(self._contract, "1s", last=SLOW)
        self._closes.extend(table["close"].to_pylist())
        if table.num_rows:
            self._last = table["open_time"].cast("int64").to_pylist()[-1]

    async def on_bar(self, bar: tickloom.Bar) -> None:
        """React to a bar that has closed. One that late ticks changed comes again, and is not another one."""
        if bar.open_time <= self._last:
            return
        self._last = bar.open_time
        self._closes.append(self._session.instruments[bar.contract].to_price(bar.close))
        wanted = decide(self._closes)
        changed = wanted != self.position
        self.position = wanted
        print(
            json.dumps({"time": bar.open_time, "close": self._closes[-1], "want": wanted, "changed": changed}),
            flush=True,
        )


async def trade(contract: str, seconds: float, *, live: bool) -> None:
    """Run for so long."""
    with session_for(contract, ("1s", "1m"), live=live) as session:
        async with session:
            strategy = Strategy(session, contract)
            strategy.warm_up()
            session.on_bar(strategy.on_bar, contract, "1s")
            await asyncio.sleep(seconds)


if __name__ == "__main__":
    given = arguments(__doc__.splitlines()[0], seconds=8).parse_args()
    asyncio.run(trade(given.contract, given.seconds, live=given.live))
