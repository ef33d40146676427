"""The C library's heaps: few of them, so that memory stays where it was.

glibc gives each thread a heap of its own, up to eight a core. A tree of actors has some twenty threads that hand
blocks to one another, and each heap keeps the holes: over two virtual days resident memory crept up by 7 %, of which
two heaps leave 2 (`docs/performance.md`). Like the switch interval this belongs to the app, so only the command line
sets it. Where there is no glibc nothing is done.
"""

from __future__ import annotations

import os
from typing import Final

HEAPS: Final = 2
"""Heaps for all threads together."""

CHOSEN: Final = "MALLOC_ARENA_MAX"
"""Set by somebody who knows better."""

_M_ARENA_MAX: Final = -8
"""From glibc's malloc.h."""


def few_heaps() -> bool:
    """Ask for few heaps; to be called before there are threads. False when nothing was done."""
    if CHOSEN in os.environ:
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library, or none that can be asked
        return False
    return bool(mallopt(_M_ARENA_MAX, HEAPS) == 1)
