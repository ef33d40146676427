"""A witness of the machine: a process of its own that says when memory was slow for everybody, whatever we do.

    python benchmarks/witness.py [--seconds 10]

A guest of a hypervisor can lose the tables that map its memory to the host's, all at once and several times a second;
until they are made anew each page costs a fault that the guest does not see. Its processors are not taken from it
meanwhile (no steal time, no gap in a spinning loop): everything that touches much memory runs at a fraction of its
speed for some tens of milliseconds. The witness looks at one byte in each of 4,096 pages, every 4 ms, and notes how
long that took. A look is slow that took more than twice the median of all. What lies within `BEFORE_NS` before a slow
look to `AFTER_NS` after it was measured on a machine that stood still, and is told apart from the rest.

Run by itself it says how large that share of the time is here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

PAGES = 4_096
PAGE = 4_096
PAUSE_S = 0.004
BEFORE_NS = 13_000_000
AFTER_NS = 12_000_000
SLOW = 2.0

Looks = NDArray[np.int64]
"""Two columns: when a look began, by the wall clock, and how long it took (ns)."""


class Witness:
    """Looks on in a process of its own, for as long as the `with` block lasts."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.looks: Looks = np.zeros((0, 2), np.int64)

    def __enter__(self) -> Witness:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--until-told"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        said, _ = self._process.communicate("enough\n", timeout=30)
        self.looks = np.array(json.loads(said), np.int64).reshape(-1, 2)

    def calm(self, at_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some moments (ns, wall clock) did not fall into a time when memory was slow."""
        began, took = self.looks[:, 0], self.looks[:, 1]
        slow = took > SLOW * np.median(took)
        edges = np.zeros(len(at_ns), np.bool_)
        for start, length in zip(began[slow].tolist(), took[slow].tolist(), strict=True):
            edges |= (at_ns >= start - BEFORE_NS) & (at_ns < start + length + AFTER_NS)
        return ~edges


def look(pages: NDArray[np.uint8]) -> tuple[int, int]:
    """Look once."""
    wall, began = time.time_ns(), time.monotonic_ns()
    pages.sum()
    return wall, time.monotonic_ns() - began


def until_told(pages: NDArray[np.uint8]) -> None:
    """Look until there is a line to read, then say what was seen."""
    import select

    seen = []
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        seen.append(look(pages))
    print(json.dumps(seen))


def main() -> None:
    """Say how much of the time memory is slow here."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--until-told", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.until_told:
        until_told(np.ones((PAGES, PAGE), np.uint8)[:, 0])
        return
    with Witness() as witness:
        time.sleep(options.seconds)
    took = witness.looks[:, 1] / 1e3
    moments = np.arange(witness.looks[0, 0], witness.looks[-1, 0], 1_000_000)
    figures = {
        "looks": len(took),
        "us_p50_p99_max": [round(float(v), 1) for v in (*np.percentile(took, (50, 99)), took.max())],
        "share_of_time_slow": round(1 - float(witness.calm(moments).mean()), 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
