"""The marks of one contract: flags for stretches of time, and what becomes of them when history fills a gap. Pure."""

from __future__ import annotations

from tickloom.messages.bars import BarFlag, Mark, Patch

MAX_MARKS = 256
"""Most marks kept for a contract; beyond it the two oldest are drawn into one that spans both."""

_GAP, _HEALED = int(BarFlag.GAP), int(BarFlag.HEALED)


def put(marks: tuple[Mark, ...], mark: Mark) -> tuple[Mark, ...]:
    """Return the marks with one more, within their bound."""
    marks = (*marks, mark)
    while len(marks) > MAX_MARKS:
        a, b = marks[:2]
        span = (min(a.from_ns, b.from_ns), max(a.to_ns, b.to_ns))
        marks = (Mark(a.contract, *span, a.flag | b.flag, min(a.known, b.known)), *marks[2:])
    return marks


def without(marks: tuple[Mark, ...], patch: Patch) -> tuple[Mark, ...]:
    """Return the marks with no gap where a patch is. Marks that were drawn together stay as they are."""
    left: list[Mark] = []
    for mark in marks:
        if mark.flag != _GAP or patch.to_ns <= mark.from_ns or mark.to_ns <= patch.from_ns:
            left.append(mark)
            continue
        if mark.from_ns < patch.from_ns:
            left.append(Mark(mark.contract, mark.from_ns, patch.from_ns, _GAP, mark.known))
        if patch.to_ns < mark.to_ns:
            left.append(Mark(mark.contract, patch.to_ns, mark.to_ns, _GAP, mark.known))
    return tuple(left)


def healed(patch: Patch) -> Mark:
    """Return the mark of a patch."""
    return Mark(patch.contract, patch.from_ns, patch.to_ns, _HEALED, patch.known)
