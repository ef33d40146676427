"""How often a subscriber is shown an open bar: at most once in the time it asked for, and then as it is at last. Pure.

Between two showings only the newest state of each bar is kept. What is kept is shown when its time has come, whether
or not another print does; what closed meanwhile has nothing more to show.
"""

from __future__ import annotations

from tickloom.actors.bars.blocks import place
from tickloom.messages.bars import Bar


class Pace:
    """The pace of one subscription's updates. Bounded by the bars that are open.

    Args:
        every_ns: the least time between two updates of one contract and timeframe, above 0.
    """

    def __init__(self, every_ns: int) -> None:
        if every_ns <= 0:
            raise ValueError(f"the time between updates must be above 0, not {every_ns} ns")
        self.every_ns = every_ns
        self._shown: dict[tuple[str, str], int] = {}
        self._held: dict[tuple[str, str], dict[int, Bar]] = {}

    def admit(self, bar: Bar, now_ns: int) -> bool:
        """Return whether this update is to be shown now; otherwise it is kept, in place of the one before."""
        pair = (bar.contract, bar.timeframe)
        shown = self._shown.get(pair)
        if shown is None or now_ns - shown >= self.every_ns or now_ns == shown:
            self._shown[pair] = now_ns
            self._forget(pair, place(bar))
            return True
        self._held.setdefault(pair, {})[place(bar)] = bar
        return False

    def close(self, bar: Bar) -> None:
        """Drop what is kept of a bar that has closed."""
        self._forget((bar.contract, bar.timeframe), place(bar))

    def end(self, timeframe: str) -> None:
        """Drop what is known of a timeframe that was removed."""
        for pair in [pair for pair in self._shown if pair[1] == timeframe]:
            del self._shown[pair]
            self._held.pop(pair, None)

    def due(self, now_ns: int) -> list[Bar]:
        """Return the updates whose time has come, oldest bar first; they count as shown now."""
        bars: list[Bar] = []
        for pair in [pair for pair in self._held if now_ns - self._shown[pair] >= self.every_ns]:
            self._shown[pair] = now_ns
            held = self._held.pop(pair)
            bars += [held[at] for at in sorted(held)]
        return bars

    def next_due(self) -> int | None:
        """Return when `due` will have something; None: not until another update is kept."""
        return min((self._shown[pair] + self.every_ns for pair in self._held), default=None)

    def _forget(self, pair: tuple[str, str], at: int) -> None:
        held = self._held.get(pair)
        if held is not None:
            held.pop(at, None)
            if not held:
                del self._held[pair]
