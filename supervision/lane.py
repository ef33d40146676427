"""The data lane: a bounded queue, its four policies, its account. No lock, thread or wake-up: `mailbox` has those.

At capacity the policy decides. A producer that waits for room leaves its message in `waiting`, and whoever makes room
moves it in: first come, first served, with no wake-up to lose and nothing to retry.

Under a breaker that is not closed, a lane can hold a few messages back for the probe, let only so many be taken, and
remember the first message that went missing, with its exact position among those that did not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from tickloom.supervision.envelopes import Batch, CatchUp, Waiting
from tickloom.supervision.policy import MailboxSpec, Policy, Tally

Lost = tuple[Any, str, str]
"""(message, sender, reason) of a message that will reach nobody."""


class Lane:
    """The data lane of one mailbox. Not thread-safe.

    `data` and `senders` run in parallel. `barred` says why nothing is let in ("": it is). `permits` is how many
    messages may still be taken (None: any number). `lost` gathers what is to become dead letters.
    """

    def __init__(self, spec: MailboxSpec) -> None:
        self.spec = spec
        self.capacity = spec.capacity
        self.max_bytes = spec.max_bytes
        self.bytes = 0  # what is queued weighs; 0 without a bound in bytes
        self._sizes: deque[int] = deque()
        self._weigh = spec.weigh if spec.max_bytes is not None else None
        self.data: deque[Any] = deque()
        self.senders: deque[str] = deque()
        self.waiting: deque[Waiting] = deque()
        self.inflight: Batch | None = None
        self.barred = ""
        self.permits: int | None = None
        self.tally = Tally()
        self.lost: list[Lost] = []
        self._held: int | None = None  # while a breaker refuses: how many messages may queue, as its probe
        self._missing = False  # while a breaker is not closed: remember the first message lost
        self.gap: tuple[int, Any] | None = None  # the first message missed, after the number of the next one taken

    # --- in ---

    def accept(self, message: Any, sender: str) -> bool:
        """Append a message if that is all there is to it: no bound is reached, nobody waits, and nothing is refused."""
        if len(self.data) >= self.capacity or self.waiting or self.barred or self._held is not None:
            return False
        if self.max_bytes is not None and self.bytes >= self.max_bytes:
            return False
        self.append(message, sender)
        return True

    def append(self, message: Any, sender: str) -> None:
        """Append a message, there being room."""
        self.data.append(message)
        self.senders.append(sender)
        self.tally.put += 1
        weigh = self._weigh
        if weigh is not None:
            size = weigh(message)
            self._sizes.append(size)
            self.bytes += size

    @property
    def full(self) -> bool:
        """Whether a bound is reached."""
        return len(self.data) >= self.capacity or (self.max_bytes is not None and self.bytes >= self.max_bytes)

    @property
    def half_full(self) -> bool:
        """Whether half of a bound is reached."""
        return 2 * len(self.data) >= self.capacity or (self.max_bytes is not None and 2 * self.bytes >= self.max_bytes)

    def admit(self, message: Any, sender: str, waiting: Callable[[], Waiting] | None) -> str | Waiting:
        """Decide on one message: "in", "lost", "no room" (the caller keeps it), or what now waits for room."""
        tally, data = self.tally, self.data
        reason = self.barred
        if not reason and self._held is not None and len(data) >= self._held:
            reason = "breaker open"
        if reason:
            self._refuse(message, sender, reason)
            return "lost"
        if not self.full and not self.waiting:
            self.append(message, sender)
            return "in"
        tally.high_water = max(tally.high_water, len(data))
        policy = self.spec.policy
        if policy is Policy.DROP_NEWEST:
            tally.put += 1
            tally.dropped_newest += 1
            self._lose(message, sender, "mailbox full", at=tally.taken + len(data))
            return "lost"
        if policy is Policy.DROP_OLDEST:
            while self.full:
                self._drop_oldest()
            self.append(message, sender)
            return "in"
        if policy is Policy.CONFLATE and data and not self.waiting and self._conflate(message, sender):
            return "in"
        if waiting is None:
            tally.declined += 1
            return "no room"
        entry = waiting()
        self.waiting.append(entry)
        return entry

    def let_in(self) -> list[Waiting]:
        """Move waiting messages in as far as there is room; return those whose producers are to be woken."""
        woken = []
        while self.waiting and not self.full:
            entry = self.waiting.popleft()
            entry.outcome = "in"
            self.append(entry.message, entry.sender)
            woken.append(entry)
        return woken

    def decide(self, entry: Waiting, outcome: str) -> bool:
        """Decide on a waiting message: "off" gives it back, any other word loses it. False when it was decided."""
        if entry.outcome is not None:
            return False
        entry.outcome = outcome
        self.waiting.remove(entry)
        if outcome == "off":
            self.tally.declined += 1
        else:
            self._refuse(entry.message, entry.sender, outcome)
        return True

    def refuse_waiting(self, reason: str) -> list[Waiting]:
        """Refuse all waiting messages; return those whose producers are to be woken."""
        woken = list(self.waiting)
        for entry in woken:
            self.decide(entry, reason)
        return woken

    # --- out ---

    def next_batch(self, limit: int) -> Batch | None:
        """Return the batch in hand; without one, take at most `limit` messages and have them in hand."""
        if self.inflight is None and self.permits is None and self.gap is None and len(self.data) == 1:
            tally = self.tally  # the most usual of all
            self.inflight = batch = Batch([self.data.popleft()], [self.senders.popleft()], tally.taken)
            tally.taken += 1
            if not tally.high_water:
                tally.high_water = 1
            if self._weigh is not None:
                self._sizes.clear()
                self.bytes = 0
            return batch
        if self.inflight is not None and not self.inflight.messages:
            self.inflight = None  # all of it was advanced past before the crash: nothing comes again
        if self.inflight is not None:
            if self.permits is not None:
                self.permits = 0  # the batch that failed is the probe
            return self.inflight
        tally, data = self.tally, self.data
        depth = len(data)
        if not depth:
            return None
        if depth > tally.high_water:
            tally.high_water = depth
        count = limit if limit < depth else depth
        if self.gap is not None:
            count = min(count, self.gap[0] - tally.taken)
        if self.permits is not None:
            count = min(count, self.permits)
            self.permits -= count
        if count <= 0:
            return None
        if count == depth:
            messages, senders = list(data), list(self.senders)
            self._empty()
        else:
            messages = [data.popleft() for _ in range(count)]
            senders = [self.senders.popleft() for _ in range(count)]
            if self._weigh is not None:
                self.bytes -= sum(self._sizes.popleft() for _ in range(count))
        self.inflight = batch = Batch(messages, senders, tally.taken)
        tally.taken += count
        return batch

    def catch_up(self) -> CatchUp | None:
        """Return what went missing while the breaker was not closed, when its place in the order has come.

        It comes again until `caught_up`, and no message after it is taken before. A half-open child hears it only when
        it stands in the way of the probe; more may go missing until the breaker closes.
        """
        gap = self.gap
        if gap is None or self.inflight is not None or gap[0] > self.tally.taken:
            return None
        if self._missing and not (self.data and self.permits):
            return None
        return CatchUp(gap[1])

    def caught_up(self) -> None:
        """The actor has heard what it missed."""
        self.gap = None

    def discard(self, reason: str) -> None:
        """Lose everything queued, and the batch in hand."""
        batch, self.inflight = self.inflight, None
        if batch is not None:
            self.lost.extend((m, s, reason) for m, s in zip(batch.messages, batch.senders, strict=True))
        self.tally.discarded += len(self.data)
        self.lost.extend((m, s, reason) for m, s in zip(self.data, self.senders, strict=True))
        self._empty()
        self.gap = None

    # --- the breaker ---

    def hold_back(self, held: int | None) -> None:
        """The breaker opened: nothing is taken, losses are remembered; `held` (None: all) messages may queue."""
        self.permits = 0
        self._missing = True
        self._held = held
        batch = self.inflight
        if batch is not None and not batch.attempts:  # handed over, but its actor crashed before it looked at it
            self.inflight = None
            self.data.extendleft(reversed(batch.messages))
            self.senders.extendleft(reversed(batch.senders))
            if self._weigh is not None:
                sizes = list(map(self._weigh, batch.messages))
                self._sizes.extendleft(reversed(sizes))
                self.bytes += sum(sizes)
            self.tally.taken -= len(batch.messages)

    def release(self) -> None:
        """The breaker closed."""
        self.permits = self._held = None
        self._missing = False

    # --- inside ---

    def _empty(self) -> None:
        self.data.clear()
        self.senders.clear()
        self._sizes.clear()
        self.bytes = 0

    def _reweigh(self, index: int) -> None:
        """A merged message stands where another stood."""
        if self._weigh is not None:
            size = self._weigh(self.data[index])
            self.bytes += size - self._sizes[index]
            self._sizes[index] = size

    def _refuse(self, message: Any, sender: str, reason: str) -> None:
        self.tally.put += 1
        self.tally.refused += 1
        self._lose(message, sender, reason, at=self.tally.taken + len(self.data))

    def _drop_oldest(self) -> None:
        taken = self.tally.taken
        self.tally.dropped_oldest += 1
        if self.gap is not None:
            self.gap = (max(self.gap[0] - 1, taken), self.gap[1])
        if self._weigh is not None:
            self.bytes -= self._sizes.popleft()
        self._lose(self.data.popleft(), self.senders.popleft(), "mailbox full", at=taken)

    def _lose(self, message: Any, sender: str, reason: str, at: int) -> None:
        self.lost.append((message, sender, reason))
        if self._missing and self.gap is None:
            self.gap = (at, message)

    def _conflate(self, message: Any, sender: str) -> bool:
        """Merge the message into the newest queued one, or make room by merging the two newest that will."""
        data, senders = self.data, self.senders
        merged = self._merge(data[-1], message)
        if merged is not None:
            data[-1], senders[-1] = merged, sender
            self._reweigh(-1)
            self.tally.put += 1
            self.tally.conflated += 1
            return True
        for i in range(len(data) - 1, 0, -1):
            merged = self._merge(data[i - 1], data[i])
            if merged is not None:
                data[i - 1], senders[i - 1] = merged, senders[i]
                del data[i]
                del senders[i]
                if self._weigh is not None:
                    self.bytes -= self._sizes[i]
                    del self._sizes[i]
                    self._reweigh(i - 1)
                self.tally.conflated += 1
                self.append(message, sender)
                return True
        return False

    def _merge(self, older: Any, newer: Any) -> Any | None:
        assert self.spec.conflate is not None
        try:
            return self.spec.conflate(older, newer)
        except Exception:  # noqa: BLE001 - a fold that fails merges nothing: counted, and no message is lost by it
            self.tally.conflate_errors += 1
            return None
