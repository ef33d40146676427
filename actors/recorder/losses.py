"""What could not be written, added up until a `Gap` in the log can say so. A pure ledger; its size is bounded.

The gap records take sequence numbers of the frames that were lost: the numbers are free, and the records stand where
the frames would. A gap whose contract is "" speaks of every contract; one whose stretch is empty, of frames that held
no print and so of no bar.
"""

from __future__ import annotations

from collections.abc import Sequence

from tickloom.messages.control import Beat, Gap
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import as_int64

_MAX_SEQS = 256
_MAX_RECORDS = 1024
_MAX_NS = 2**63 - 1


class Losses:
    """Frames that were let go, and the control records that were not.

    Attributes:
        frames: how many frames are lost and not yet in a gap.
        prints: how many prints were in them.
        dropped: control records, other than beats, that had to be let go too.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.prints = 0
        self.dropped = 0
        self._stretches: dict[str, tuple[int, int]] = {}
        self._seqs: list[int] = []
        self._kept: list[Numbered] = []
        self._recv_ns = 0

    def __bool__(self) -> bool:
        return bool(self.frames or self._kept)

    def take(self, items: Sequence[Numbered]) -> None:
        """Give items up: frames and beats are lost, other control records are kept as long as there are few."""
        for numbered in items:
            item = numbered.item
            if isinstance(item, Frames):
                self._lose(numbered.seq, item)
            elif not isinstance(item, Beat):
                if len(self._kept) < _MAX_RECORDS:
                    self._kept.append(numbered)
                else:
                    self.dropped += 1

    def _lose(self, seq: int, item: Frames) -> None:
        count = len(item)
        self.frames += count
        self._seqs += range(seq, seq + min(count, _MAX_SEQS - len(self._seqs)))
        self._recv_ns = max(self._recv_ns, min(int(max(item.recv_ns)), _MAX_NS))
        if item.prints is None or not len(item.prints):
            return
        self.prints += len(item.prints)
        try:
            codes, stamps = as_int64(item.prints.contract), as_int64(item.prints.ts_ns)
            by_contract = {name: stamps[codes == code] for code, name in enumerate(item.prints.contracts)}
        except (OverflowError, ValueError, IndexError):  # an item that is lost because its columns are at odds
            by_contract = {}
        for name, own in by_contract.items():
            if len(own):
                low, high = self._stretches.get(name, (int(own[0]), int(own[0])))
                self._stretches[name] = (min(low, int(own.min())), max(high, int(own.max()) + 1))

    def records(self, cause: str) -> list[Numbered]:
        """Return the kept control records and the gaps, in the order of their sequence numbers."""
        gaps: list[Numbered] = []
        if self.frames:
            words = f"the log could not be written ({cause}): {self.frames} frames with {self.prints} prints lost"
            stretches = list(self._stretches.items()) or [("", (self._recv_ns, self._recv_ns))]
            if len(stretches) > len(self._seqs):
                low = min(a for _, (a, _) in stretches)
                stretches = [("", (low, max(b for _, (_, b) in stretches)))]
            gaps = [
                Numbered(seq, Gap(recv_ns=self._recv_ns, contract=name, from_ns=low, to_ns=high, cause=words))
                for seq, (name, (low, high)) in zip(self._seqs, stretches, strict=False)
            ]
        return sorted([*self._kept, *gaps], key=lambda numbered: numbered.seq)
