"""What a run leaves behind, read into arrays: the log's prints, gaps and links, and the gateway's truth."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from tickloom.actors.recorder.reader import LogReader
from tickloom.messages.control import Connected, Disconnected, Gap
from tickloom.messages.intake import Frames
from tickloom.messages.market import as_float64, as_int64
from tickloom.scripts.endurance.judge import Held, IntArray, Runs, Truth

PLANNED = "replaced by"
"""How the cause of a link's end begins when we replaced it ourselves."""

OURS = (PLANNED, "the session was closed")


class Logged(msgspec.Struct):
    """What the log holds. `links` are the ends and beginnings of connections, in order; `events` those of accounts."""

    held: dict[str, Held]
    gaps: list[Gap]
    links: list[Connected | Disconnected]
    events: list[tuple[int, str, bytes]]
    malformed: Counter[str]

    def ended(self, hub: str, *, planned: bool) -> list[Disconnected]:
        """Return the ends of a hub's links: those that we replaced, or those that happened to us."""
        ends = [each for each in self.links if isinstance(each, Disconnected) and each.hub == hub]
        if planned:
            return [each for each in ends if each.cause.startswith(PLANNED)]
        return [each for each in ends if not each.cause.startswith(OURS)]


def read_log(log: Path) -> Logged:
    """Read a log to its end."""
    columns: dict[str, list[tuple[Any, Any, Any, Any]]] = defaultdict(list)
    found = Logged({}, [], [], [], Counter())
    with LogReader(log) as reader:
        for numbered in reader.items(max_rows=65_536):
            item = numbered.item
            if isinstance(item, Gap):
                found.gaps.append(item)
            elif isinstance(item, Connected | Disconnected):
                found.links.append(item)
            elif isinstance(item, Frames):
                found.events += [(int(item.recv_ns[frame]), target, data) for frame, target, data in item.events]
                found.malformed.update(bad.reason for bad in item.malformed)
                if item.prints is not None:
                    p = item.prints
                    which, ts, price = as_int64(p.contract), as_int64(p.ts_ns), as_float64(p.price)
                    size, side = as_int64(p.size), as_int64(p.side)
                    for index in np.unique(which).tolist():
                        rows = which == index
                        columns[p.contracts[index]].append((ts[rows], price[rows], size[rows], side[rows]))
    for contract, pieces in columns.items():
        found.held[contract] = Held(*(np.concatenate(each) for each in zip(*pieces, strict=True)))
    return found


class Ticks(Protocol):
    """Whoever knows the ticks of a contract."""

    def ticks(self, contract: str, first: int, last: int) -> Sequence[Any]:
        """Return ticks `first` to `last`, both included, with `t_ns`, `price`, `volume`, `type`."""


def read_truth(source: Ticks, contract: str, sent: Iterable[Runs], piece: int = 100_000) -> Truth:
    """Return the ticks from the first delivered to the last, in arrays from the start: as objects they are too many."""
    edges = [index for runs in sent for run in runs for index in run]
    first, last = min(edges), max(edges)
    parts: list[tuple[IntArray, Any, IntArray, IntArray]] = []
    for start in range(first, last + 1, piece):
        ticks = source.ticks(contract, start, min(start + piece - 1, last))
        parts.append(
            (
                np.array([tick.t_ns for tick in ticks], dtype=np.int64),
                np.array([tick.price for tick in ticks], dtype=np.float64),
                np.array([tick.volume for tick in ticks], dtype=np.int64),
                np.array([tick.type for tick in ticks], dtype=np.int64),
            )
        )
    return Truth(first, *(np.concatenate(column) for column in zip(*parts, strict=True)))
