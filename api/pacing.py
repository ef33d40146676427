"""The pace of a replay: each item when it is due, by its receipt and a speed.

Frames are due by absolute time from the first of them, so that waiting too long once delays nothing after it. Runs of
frames are parted where time passed between them. Records are waited for as well, but not long: a log that was imported
closes its last day with a beat, and nobody wants to sit through the night for it. Time is passed in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from tickloom.actors.recorder.slicing import slice_frames, slices
from tickloom.errors import UsageError
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, as_int64

STEP_S: Final = 0.05
"""Frames that are due within this come together."""

RECORD_S: Final = 1.0
"""Longest a record is waited for."""

ASK_S: Final = 0.1
"""How often we ask whether to go on."""

FASTEST: Final = 1e9
"""Largest speed there is a pace for: at that a year takes 32 ms. Faster is without any, which is infinite."""

CHUNK: Final = 1024
"""Frames looked at together, at most."""


def hold_speed(speed: float) -> float:
    """Return a speed that there is a pace for, or that is infinite.

    Raises:
        UsageError: it is neither.
    """
    if speed == math.inf or 0 < speed <= FASTEST:
        return speed
    raise UsageError(f"there is no speed {speed:g}: it is above 0 and at most {FASTEST:g}, or infinite (max)")


def paced(
    items: Iterable[Numbered],
    speed: float,
    cancelled: Callable[[], bool],
    *,
    anew: Callable[[], bool] = lambda: False,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Numbered]:
    """Yield the items when they are due.

    Args:
        items: of a log, in order.
        speed: a factor on the time between receipts, that `hold_speed` takes; not infinite.
        cancelled: asked while waiting; True ends the wait, and what is left comes without any.
        anew: asked before frames; True: they are due at once, and what follows is reckoned from them.
        monotonic, sleep: time (s).
    """
    epoch: tuple[int, float] | None = None

    def wait(until: float) -> None:
        while (left := until - monotonic()) > 0 and not cancelled():
            sleep(min(left, ASK_S))

    for numbered in items:
        for part in _parts(numbered, max(round(STEP_S * NS * speed), 1)):
            item = part.item
            if isinstance(item, Frames):
                received = int(item.recv_ns[0])
                if epoch is None or anew():
                    epoch = (received, monotonic())
                wait(epoch[1] + (received - epoch[0]) / NS / speed)
            elif epoch is not None:
                wait(min(epoch[1] + (item.recv_ns - epoch[0]) / NS / speed, monotonic() + RECORD_S))
            yield part


def _parts(numbered: Numbered, step_ns: int) -> Iterator[Numbered]:
    """Part an item of frames where its receipts go from one step of time to another."""
    if not isinstance(numbered.item, Frames):
        yield numbered
        return
    for chunk in slices(numbered, CHUNK):
        assert isinstance(chunk.item, Frames)
        steps = as_int64(chunk.item.recv_ns) // step_ns
        edges = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(steps)]
        for start, stop in pairwise(edges):
            part = slice_frames(chunk, start, stop)
            if part is not None:
                yield part
