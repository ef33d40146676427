"""What enters the pipeline: frames with their decoded content, and control records. One order, one numbering.

`Frames` is a run of frames from one connection. In the log it is `len(frames)` rows or more; in replay it is read
back as the same struct, with `payloads` None when only decoded columns were read. Every frame and every control
record takes one log sequence number; `Numbered.seq` is the first of its item's.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from tickloom.messages.control import AnyControl
from tickloom.messages.market import Depth, Ints, Malformed, Prints, Quote, Trades


class Frames(msgspec.Struct, frozen=True, gc=False):
    """A run of frames received on one connection, in order, decoded as far as they could be.

    `recv_ns` and `mono_ns` have one value a frame. `source` is the connection (`market/1`, `user/1`, `import`).
    `quotes` and `depth` pair a frame index with the update; `events` are user-hub events as (frame, target, JSON).
    """

    source: str
    recv_ns: Ints
    mono_ns: Ints
    payloads: list[bytes] | None
    prints: Prints | None = None
    quotes: tuple[tuple[int, Quote], ...] = ()
    depth: tuple[tuple[int, Depth], ...] = ()
    malformed: tuple[Malformed, ...] = ()
    events: tuple[tuple[int, str, bytes], ...] = ()

    def __len__(self) -> int:
        return len(self.recv_ns)


Intake: TypeAlias = Frames | AnyControl


class Numbered(msgspec.Struct, frozen=True, gc=False):
    """An intake item with the log sequence number of its first row."""

    seq: int
    item: Intake

    @property
    def last_seq(self) -> int:
        """The sequence number of the item's last frame (its only one for a control record)."""
        return self.seq + (max(len(self.item), 1) - 1 if isinstance(self.item, Frames) else 0)


def received(numbered: Numbered, frame: int) -> int:
    """Return when a frame of an item was received (ns UTC); for a record, when it was made."""
    item = numbered.item
    return int(item.recv_ns[frame]) if isinstance(item, Frames) else item.recv_ns


class Validated(msgspec.Struct, frozen=True, gc=False):
    """What validation passes on, in log order: trades, and the control records that bars depend on.

    `seq` is the log sequence number of the last record folded in; `mono_ns` and `weight` are for latency only: the
    oldest receipt and the number of trades within.
    """

    seq: int
    items: tuple[Trades | AnyControl, ...]
    mono_ns: int = 0
    weight: int = 0
