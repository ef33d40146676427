"""The cyclic collector of a process that runs for days: what is there when it has begun is not walked through again.

A full collection walks through every container there is while all threads stand still: with what a session imports
that took 100 to 200 ms under load (`docs/performance.md`), in which no frame is read. Like the switch interval this
belongs to the app, so only the command line sets it; an app that embeds a session does well to do the same once it
is up.
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""Allocations before a young collection, young ones before a middle one, middle ones before a full one."""


def settle() -> None:
    """Collect once, set aside what is left, and collect less often. To be called once everything is up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
