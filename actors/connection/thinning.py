"""What of a batch of frames can give way under pressure: quotes merge to each contract's latest, depth is left out.

Pure. Trades never give way here, and neither does the log: the raw frames are recorded as they came, so what is merged
or left out of the decoded part can be had back by decoding them again. What gave way is counted.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tickloom.messages.intake import Frames
from tickloom.messages.market import Quote

_SPARSE = tuple(name for name in Quote.__struct_fields__ if name not in ("contract", "ts_ns"))


class Thin(msgspec.Struct, frozen=True):
    """Tell a hub what gives way from now on."""

    quotes: bool = False
    depth: bool = False


def thinned(frames: Frames, thin: Thin) -> tuple[Frames, int, int]:
    """Return frames with what gives way left out, how many quotes merged into others, how many depth updates went."""
    quotes, depth = frames.quotes, frames.depth
    if thin.quotes and len(quotes) > 1:
        latest: dict[str, tuple[int, Quote]] = {}
        for frame, quote in quotes:
            before = latest.pop(quote.contract, None)  # so that the latest comes last
            latest[quote.contract] = (frame, quote if before is None else merged(before[1], quote))
        quotes = tuple(latest.values())
    if thin.depth:
        depth = ()
    gone = len(frames.quotes) - len(quotes), len(frames.depth) - len(depth)
    if gone == (0, 0):
        return frames, 0, 0
    return msgspec.structs.replace(frames, quotes=quotes, depth=depth), *gone


def merged(older: Quote, newer: Quote) -> Quote:
    """Return the quote that says what both say: the newer one, with what it does not mention as in the older."""
    fields: dict[str, Any] = {
        name: getattr(older, name) if getattr(newer, name) is None else getattr(newer, name) for name in _SPARSE
    }
    return Quote(newer.contract, max(older.ts_ns, newer.ts_ns), **fields)
