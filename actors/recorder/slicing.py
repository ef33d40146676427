"""Parts of an item of frames. Pure."""

from __future__ import annotations

import numpy as np

from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Malformed, Prints, as_int64


def slice_frames(numbered: Numbered, start: int, stop: int | None) -> Numbered | None:
    """Return frames `[start, stop)` of an item of frames, or None when that is none of them."""
    item = numbered.item
    assert isinstance(item, Frames), "only frames can be parted"
    stop = len(item) if stop is None else min(stop, len(item))
    if start >= stop:
        return None
    prints = item.prints
    if prints is not None:
        frame = as_int64(prints.frame)
        low, high = np.searchsorted(frame, [start, stop]).tolist()
        prints = Prints(
            contracts=prints.contracts,
            contract=prints.contract[low:high],
            ts_ns=prints.ts_ns[low:high],
            price=prints.price[low:high],
            size=prints.size[low:high],
            side=prints.side[low:high],
            frame=frame[low:high] - start,
            first_tick=prints.first_tick + low,
        )
    part = Frames(
        source=item.source,
        recv_ns=item.recv_ns[start:stop],
        mono_ns=item.mono_ns[start:stop],
        payloads=None if item.payloads is None else item.payloads[start:stop],
        prints=prints,
        quotes=tuple((at - start, quote) for at, quote in item.quotes if start <= at < stop),
        depth=tuple((at - start, depth) for at, depth in item.depth if start <= at < stop),
        malformed=tuple(
            Malformed(bad.frame - start, bad.reason, bad.detail, bad.prints)
            for bad in item.malformed
            if start <= bad.frame < stop
        ),
        events=tuple((at - start, target, data) for at, target, data in item.events if start <= at < stop),
    )
    return Numbered(numbered.seq + start, part)


def slices(numbered: Numbered, size: int) -> list[Numbered]:
    """Return an item of frames in parts of `size` frames."""
    count = len(numbered.item) if isinstance(numbered.item, Frames) else 0
    parts = (slice_frames(numbered, start, start + size) for start in range(0, count, size))
    return [part for part in parts if part is not None]
