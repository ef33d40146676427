"""The digest of final bars: equal bars give equal digests, however they were computed.

Each (timeframe, contract) has a chain. Its bars, in the order in which they became final (that of open time, within a
session), are rows of 13 little-endian int64; every `LINK_ROWS` rows make a link, the SHA-256 of the link before and
those rows. What does not fill a link yet is kept as it is. So a chain can be fed a bar at a time or a million, is a
small value that can be saved, and does not depend on how it was fed. The digest of a session is the SHA-256 over its
chains, sorted by (timeframe, contract); a chain without bars counts for nothing.

`CONFLATED` is left out: it tells how busy the machine was, not what the market did. So is the number of a bar by
activity: it is that of its row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from struct import Struct

import msgspec
import numpy as np

from tickloom.actors.bars.blocks import FIELDS
from tickloom.messages.bars import Bar, BarColumns, BarFlag

LINK_ROWS = 128
"""Rows a link."""

ROW = Struct("<13q")
"""open_time close_time open high low close volume trades notional buy sell revision flags"""

_LINK_BYTES = LINK_ROWS * ROW.size
_KEPT_FLAGS = ~int(BarFlag.CONFLATED)


class Chain(msgspec.Struct, frozen=True, gc=False):
    """The bars of one (timeframe, contract) so far: the last link, the rows since then, and how many in all."""

    link: bytes = bytes(32)
    rest: bytes = b""
    rows: int = 0

    def extend(self, rows: bytes | memoryview) -> Chain:
        """Return the chain with further rows, packed by `pack` or `pack_columns`."""
        count = self.rows + len(rows) // ROW.size
        missing = _LINK_BYTES - len(self.rest)
        if len(rows) < missing:
            return Chain(self.link, self.rest + rows, count)
        view = memoryview(rows)
        link = _link(self.link, self.rest + view[:missing])
        while len(view) - missing >= _LINK_BYTES:
            link = _link(link, view[missing : missing + _LINK_BYTES])
            missing += _LINK_BYTES
        return Chain(link, bytes(view[missing:]), count)

    def digest(self) -> bytes:
        """Return the SHA-256 that stands for all rows."""
        return hashlib.sha256(self.link + self.rest + self.rows.to_bytes(8, "little")).digest()


def _link(before: bytes, rows: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(before)
    digest.update(rows)
    return digest.digest()


def pack(bar: Bar) -> bytes:
    """Return a bar as a row."""
    return ROW.pack(
        bar.open_time,
        bar.close_time,
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        bar.trades,
        bar.notional,
        bar.buy,
        bar.sell,
        bar.revision,
        bar.flags & _KEPT_FLAGS,
    )


def pack_columns(bars: BarColumns) -> memoryview:
    """Return bars as rows."""
    rows = np.empty((len(bars), len(FIELDS)), dtype="<i8")
    for index, field in enumerate(FIELDS):
        rows[:, index] = getattr(bars, field)
    rows[:, -1] &= _KEPT_FLAGS
    return rows.data.cast("B")


def combine_digests(digests: Mapping[tuple[str, str], bytes]) -> str:
    """Return the digest over the chains of many (timeframe, contract), in hex. Shards of a session combine to the
    whole's."""
    whole = hashlib.sha256()
    for (timeframe, contract), digest in sorted(digests.items()):
        for part in (timeframe.encode(), contract.encode(), digest):
            whole.update(len(part).to_bytes(4, "little"))
            whole.update(part)
    return whole.hexdigest()
