"""Numbers out of names: everything random in the emulator is a pure function of a seed and an index.

Nothing here keeps state. A value depends on its arguments alone, so a tick can be computed again at any time, in any
order, and by another process.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_UNIT: Final = 1.0 / (1 << 32)


def digest(*parts: str | int) -> int:
    """Return 64 well-mixed bits of `parts`; `digest("a", 1)` and `digest("a1")` differ."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def fractions(seed: int, index: int) -> tuple[float, float, float, float]:
    """Return four independent numbers in [0, 1) that belong to `index` under `seed`."""
    raw = blake2b(b"%d:%d" % (seed, index), digest_size=16).digest()
    return (
        int.from_bytes(raw[0:4], "little") * _UNIT,
        int.from_bytes(raw[4:8], "little") * _UNIT,
        int.from_bytes(raw[8:12], "little") * _UNIT,
        int.from_bytes(raw[12:16], "little") * _UNIT,
    )
