"""How far a long task has come: a bar with rate and time left on a terminal, a line now and then elsewhere.

Drawn by the painter, so a terminal that is not read holds up nothing. Nothing is shown of what is over at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from tickloom.scripts import output
from tickloom.scripts.painting import Painter, terminal

REDRAW_S: Final = 0.2
LINE_S: Final = 5.0
"""Seconds between lines where there is no terminal."""

Told = Callable[[float, float], None]
"""Called with what is done and what there is to do, in the task's unit."""


class Rate(ProgressColumn):
    """How much is done a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return it in words; nothing before it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if not speed else rate(speed, self._unit), style="dim")


def rate(speed: float, unit: str) -> str:
    """Return a speed in words; `unit` is "bytes", or what is counted."""
    return f"{output.size(round(speed))}/s" if unit == "bytes" else f"{speed:,.0f} {unit}/s"


@contextmanager
def shown(what: str, unit: str, *, now: Callable[[], float] = time.monotonic) -> Iterator[Told]:
    """Show how far something has come, for as long as the block lasts.

    Args:
        what: the task in a word.
        unit: what is counted: `bytes`, `ticks`, `rows`.
        now: time in seconds.
    """
    console = terminal(sys.stderr)
    if console is None:
        yield _lines(what, unit, now)
        return
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), Rate(unit),
        TimeRemainingColumn(), auto_refresh=False, console=console, get_time=now,
    )  # fmt: skip
    task = bar.add_task(what, total=None)
    with Painter(console) as painter:
        drawn = float("-inf")

        def tell(done: float, total: float) -> None:
            nonlocal drawn
            bar.update(task, completed=done, total=total)
            if now() - drawn >= REDRAW_S or done >= total:
                drawn = now()
                painter.show(bar.get_renderable())

        yield tell


def _lines(what: str, unit: str, now: Callable[[], float]) -> Told:
    began = now()
    due = began + LINE_S

    def tell(done: float, total: float) -> None:
        nonlocal due
        at = now()
        if at < due or not 0 < done < total:
            return
        due = at + LINE_S
        speed = done / (at - began)
        left = round((total - done) / speed)
        output.progress(
            f"{what} {done / total:.0%}  {rate(speed, unit)}  {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
        )

    return tell
