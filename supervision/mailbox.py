"""The mailbox: a control lane, a data lane, one lock, and every wake-up.

Rules of this file. A mailbox belongs to a place in the tree, not to an incarnation: it outlives restarts, and only
the incarnation whose epoch is `owner` may take from it. One lock guards everything; no foreign code runs under it
but the `conflate` function, which must be quick and pure. Dead letters and wake-ups happen after it was released.

The control lane is never refused for capacity, and is always handed over before data. The data lane is `lane`.

Nothing here can hang. A wait for room that would close a circle of waiting actors is refused at once; a wait of an
actor that must stop is broken off; closing a mailbox ends every wait at it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tickloom.supervision.circles import may_wait
from tickloom.supervision.clocks import Clock, SystemClock, Waiter
from tickloom.supervision.envelopes import Answer, Batch, CatchUp, Control, Status, Waiting
from tickloom.supervision.errors import ActorDead, BreakerOpen, Interrupted
from tickloom.supervision.lane import Lane
from tickloom.supervision.life import Life, current_life, wait
from tickloom.supervision.policy import Counters, MailboxSpec

WORK, IDLE, DRAINED, FENCED = Status.WORK, Status.IDLE, Status.DRAINED, Status.FENCED

Wake = Callable[[], object]


def _ignore(message: Any, sender: str, reason: str) -> None:
    return None


class Mailbox:
    """A bounded mailbox with a control lane. Any thread may put; one owner at a time takes.

    `lost(message, sender, reason)` is called, outside the lock, for every message that will reach nobody.
    """

    def __init__(
        self,
        spec: MailboxSpec | None = None,
        *,
        path: str = "",
        clock: Clock | None = None,
        lost: Callable[[Any, str, str], None] = _ignore,
    ) -> None:
        self.spec = spec or MailboxSpec()
        self.path = path or "the mailbox"
        self.lock = threading.Lock()
        self.owner = 0
        self.owner_life: Life | None = None
        self._clock: Clock = clock or SystemClock()
        self._on_lost = lost
        self._lane = Lane(self.spec)
        self._data = self._lane.data
        self._senders = self._lane.senders
        self._tally = self._lane.tally
        self._control: deque[Control] = deque()
        self._sleeper: Wake | None = None
        self._dozer: Wake | None = None  # as the sleeper, but data does not wake it before the lane is half full
        self._closed = ""  # why nothing at all is let in, for good
        self._draining = False
        self._refusing = False  # the breaker is open, and its spec says refuse
        self._asks: int | None = None  # how many asks a breaker that is not closed lets through

    # --- producers, any thread ---

    def put(self, message: Any, sender: str = "", timeout: float | None = None) -> bool:
        """Put on the data lane, waiting for room when the policy says so. False: refused or dropped, a dead letter.

        `timeout` (seconds) bounds the wait; None means the spec's `block_timeout`.

        Raises:
            Interrupted: the wait was broken off because the calling actor must stop now. The message was not put.
        """
        lane = self._lane
        with self.lock:
            accepted = lane.accept(message, sender)
            if accepted:
                wake = self._rouse_for_data()
            else:
                made: list[Waiter] = []  # one, if it has to wait

                def waiting() -> Waiting:
                    made.append(Waiter())
                    return Waiting(message, sender, made[0].wake)

                verdict = lane.admit(message, sender, waiting)
                wake = self._rouse() if verdict == "in" else None
        if accepted:
            if wake is not None:
                wake()
            return True
        self._after(wake)
        if isinstance(verdict, str):
            return verdict == "in"
        return self._wait_for_room(verdict, made[0], self.spec.block_timeout if timeout is None else timeout)

    def offer(self, message: Any, sender: str = "") -> bool:
        """Put on the data lane without waiting. False when there is no room (the caller keeps it) or it was refused."""
        lane = self._lane
        with self.lock:
            accepted = lane.accept(message, sender)
            verdict = "in" if accepted else lane.admit(message, sender, None)
            wake = self._rouse_for_data() if verdict == "in" else None
        if accepted:
            if wake is not None:
                wake()
            return True
        self._after(wake)
        return verdict == "in"

    async def put_async(self, message: Any, sender: str = "") -> bool:
        """Put on the data lane, waiting for room without blocking the running event loop. False: a dead letter.

        Cancelling the wait takes the message back, unless it had got in already.
        """
        loop = asyncio.get_running_loop()
        room: asyncio.Future[None] = loop.create_future()

        def resolve() -> None:
            if not room.done():
                room.set_result(None)

        def wake_loop() -> None:
            try:
                loop.call_soon_threadsafe(resolve)
            except RuntimeError:  # the loop was closed: nobody waits any more
                return

        with self.lock:
            verdict = self._lane.admit(message, sender, lambda: Waiting(message, sender, wake_loop))
            wake = self._rouse() if verdict == "in" else None
        self._after(wake)
        if isinstance(verdict, str):
            return verdict == "in"
        life = current_life()
        holds_up_actor = life is not None and asyncio.current_task() is life.main_task
        try:
            if life is not None and holds_up_actor:
                self._refuse_circle(life, verdict)
            await room
        finally:
            self._decide(verdict, "off")  # of no effect, unless the wait was cancelled
            if life is not None and holds_up_actor:
                life.blocked_on = None
        return verdict.outcome == "in"

    def put_control(self, message: Any, sender: str = "", answer: Answer | None = None) -> bool:
        """Put on the control lane: never refused for capacity. False when closed; then `answer` has failed already."""
        error: Exception | None = None
        wake = None
        with self.lock:
            self._tally.control_put += 1
            if self._closed:
                error = ActorDead(f"{self.path} is dead: {self._closed}")
            elif answer is not None and self._asks is not None:
                if self._asks > 0:
                    self._asks -= 1
                else:
                    error = BreakerOpen(f"the breaker of {self.path} is open: it was not asked")
            elif answer is None and self._refusing:
                error = BreakerOpen(f"the breaker of {self.path} is open: it was not told")
            if error is None:
                self._control.append(Control(message, sender, answer))
                wake = self._rouse()
            else:
                self._tally.control_lost += 1
                if answer is None:
                    self._lane.lost.append((message, sender, self._closed or "breaker open"))
        self._after(wake)
        if error is not None and answer is not None:
            answer.fail(error)
        return error is None

    # --- the consumer ---

    def poll(self, owner: int, limit: int, sleeper: Wake) -> tuple[Status, Sequence[Control], Batch | None]:
        """Hand over all control messages and at most `limit` data messages, without waiting.

        The batch stays the mailbox's until `settle`; a batch that was never settled is handed over again, first. When
        there is nothing, `sleeper` will be called, once, by whoever brings something.
        """
        lane = self._lane
        with self.lock:
            if self.owner != owner:
                return FENCED, (), None
            self._dozer = None
            control: Sequence[Control] = ()
            if self._control:
                control = list(self._control)
                self._control.clear()
                self._tally.control_taken += len(control)
                self._tally.control_high_water = max(self._tally.control_high_water, len(control))
            missed = lane.catch_up() if lane.gap is not None and not self._closed else None
            if missed is not None:
                control = [*control, Control(missed, "")]
                self._tally.control_put += 1
                self._tally.control_taken += 1
            batch = lane.next_batch(limit) if self._data or lane.inflight is not None else None
            woken = lane.let_in() if lane.waiting else ()
            if not control and batch is None:
                if self._draining and not self._data:
                    return DRAINED, (), None
                self._sleeper = sleeper
                return IDLE, (), None
        for waiting in woken:
            waiting.wake()
        return WORK, control, batch

    def rest(self, owner: int, sleeper: Wake, doze: bool = False) -> bool:
        """Have `sleeper` called by whoever brings something, if there is nothing just now; False: poll for it.

        To `doze` is to be called for control, but for data only once the lane is half full: the owner wakes by itself
        before long.
        """
        lane = self._lane
        with self.lock:
            if self._control or self._data or self._draining or self._closed or self.owner != owner:
                return False
            if lane.inflight is not None or lane.gap is not None or lane.waiting:
                return False
            if doze:
                self._dozer = sleeper
            else:
                self._sleeper = sleeper
            return True

    def stay_awake(self) -> bool:
        """Take back that somebody is to be woken; False when that was done already."""
        with self.lock:
            return self._rouse() is not None

    def settle(self, owner: int) -> bool:
        """The batch in hand is done with. False when `owner` was fenced: then it was not done, as far as we know."""
        with self.lock:
            if self.owner != owner:
                return False
            self._lane.inflight = None
            return True

    def settle_locked(self) -> None:
        """Settle, for a caller that holds `lock` and has checked `owner`."""
        self._lane.inflight = None

    def caught_up(self, owner: int) -> None:
        """The owner has dealt with the `CatchUp` it was handed."""
        with self.lock:
            if self.owner == owner:
                self._lane.caught_up()

    def advance(self, owner: int, count: int) -> None:
        """The first `count` messages of the batch in hand are done with, and will not be handed over again."""
        with self.lock:
            batch = self._lane.inflight
            if self.owner == owner and batch is not None:
                self._lane.inflight = Batch(batch.messages[count:], batch.senders[count:], batch.first + count)

    def give_back(self, control: Sequence[Control]) -> None:
        """Put control messages that were handed over, but not looked at, back at the front of their lane."""
        kept = [item for item in control if type(item.message) is not CatchUp]  # that comes again by itself
        with self.lock:
            closed = self._closed
            self._tally.control_put -= len(control) - len(kept)
            self._tally.control_taken -= len(control) - len(kept)
            control = kept
            if not closed:
                self._control.extendleft(reversed(control))
                self._tally.control_taken -= len(control)
        if closed:
            for item in control:
                if item.answer is not None:
                    item.answer.fail(ActorDead(f"{self.path} is dead: {closed}"))
                else:
                    self._on_lost(item.message, item.sender, closed)

    def take_batch(self, limit: int, timeout: float | None = None) -> list[Any]:
        """Take up to `limit` data messages, waiting up to `timeout` seconds for the first; [] when none came.

        For a mailbox used on its own, outside a tree: the messages are settled as they are taken, and control
        messages come first, in the same list.
        """
        waiter = Waiter()
        while True:
            status, control, batch = self.poll(self.owner, limit, waiter.wake)
            if status is Status.WORK:
                self.settle(self.owner)
                taken = [item.message for item in control]
                return taken + batch.messages if batch is not None else taken
            if status is not Status.IDLE or self._closed:
                return []
            if not self._clock.wait(waiter, timeout):
                with self.lock:
                    self._sleeper = None
                return []
            waiter.reset()

    # --- the supervising thread ---

    def bar(self, reason: str) -> None:
        """Let no more data in; who waits to put is refused. Control and what is queued are not touched."""
        with self.lock:
            woken = self._bar(reason)
        self._after(None, woken)

    def drain(self, reason: str) -> None:
        """Bar, and let the owner's polls end with DRAINED once everything queued was handed over."""
        with self.lock:
            woken = self._bar(reason)
            self._draining = True
            self._lane.permits = None
            wake = self._rouse()
        self._after(wake, woken)

    def close(self, reason: str) -> None:
        """Close for good: nothing is let in, what is queued becomes dead letters, open asks fail with `ActorDead`."""
        with self.lock:
            if self._closed:
                return
            woken = self._bar(reason)
            self._closed = self._lane.barred = reason
            self._lane.discard(reason)
            control = list(self._control)
            self._control.clear()
            self._tally.control_lost += len(control)
            self._lane.lost.extend((item.message, item.sender, reason) for item in control if item.answer is None)
            wake = self._rouse()
        self._after(wake, woken)
        for item in control:
            if item.answer is not None:
                item.answer.fail(ActorDead(f"{self.path} is dead: {reason}"))

    def reopen(self) -> None:
        """Open again, for a child that is started anew by hand."""
        with self.lock:
            self._lane.barred = self._closed = ""
            self._draining = False

    def fence(self, owner: int, life: Life | None = None) -> None:
        """From now on only the incarnation `owner` takes (0: nobody). One that sleeps here is woken to find out."""
        with self.lock:
            self.owner = owner
            self.owner_life = life
            wake = self._rouse()
        self._after(wake)

    def wake_owner(self) -> None:
        """Wake the owner if it sleeps here, to look at its orders."""
        with self.lock:
            wake = self._rouse()
        self._after(wake)

    def breaker_open(self, *, refuse: bool, probe: int) -> None:
        """The breaker opened: asks fail at once; with `refuse`, so does data beyond the `probe` kept for the test."""
        with self.lock:
            self._asks = 0
            self._refusing = refuse
            self._lane.hold_back(probe if refuse else None)
            woken = self._lane.refuse_waiting("breaker open") if refuse else []
            asks = [item for item in self._control if item.answer is not None]
            kept = [item for item in self._control if item.answer is None]
            self._tally.control_lost += len(asks)
            self._control.clear()
            self._control.extend(kept)
        self._after(None, woken)
        for item in asks:
            if item.answer is not None:
                item.answer.fail(BreakerOpen(f"the breaker of {self.path} is open: it was not asked"))

    def breaker_half_open(self, probe: int) -> None:
        """The breaker is half-open: `probe` data messages and `probe` asks are let through, until it closes."""
        with self.lock:
            self._lane.permits = self._asks = probe

    def breaker_closed(self) -> None:
        """The breaker closed: everything is let through again, after the catch-up when something was missed."""
        with self.lock:
            self._asks = None
            self._refusing = False
            self._lane.release()
            wake = self._rouse()
        self._after(wake)

    def resize(self, capacity: int, max_bytes: int | None = None) -> None:
        """Change the bound, and with `max_bytes` that in bytes, where the spec has one.

        What is queued beyond a smaller one stays; nothing is let in until it has gone down.
        """
        if capacity < 1 or (max_bytes is not None and max_bytes < 1):
            raise ValueError(f"{self.path}: capacity must be 1 or more, not {min(capacity, max_bytes or capacity)}")
        with self.lock:
            self._lane.capacity = capacity
            if max_bytes is not None and self.spec.max_bytes is not None:
                self._lane.max_bytes = max_bytes
            woken = self._lane.let_in()
            wake = self._rouse() if woken else None
        self._after(wake, woken)

    # --- anybody ---

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, waits for room, or is in the hands of the owner on the data lane."""
        with self.lock:
            lane = self._lane
            return not lane.data and not lane.waiting and lane.inflight is None

    def room(self) -> int:
        """Return how many messages a producer could put now without waiting, merging or dropping; 0 when others wait.

        One that lets nothing in keeps nobody waiting either: what is put there is a dead letter at once.
        """
        with self.lock:
            lane = self._lane
            if lane.barred:
                return lane.capacity
            return 0 if lane.waiting or lane.full else lane.capacity - len(lane.data)

    def counters(self) -> Counters:
        """Return the account, consistent in itself."""
        with self.lock:
            lane = self._lane
            return self._tally.read(
                len(self._data),
                lane.capacity,
                len(lane.waiting),
                len(self._control),
                lane.bytes,
                lane.max_bytes,
            )

    def __len__(self) -> int:
        return len(self._data)

    # --- inside ---

    def _rouse(self) -> Wake | None:
        wake = self._sleeper or self._dozer
        self._sleeper = self._dozer = None
        return wake

    def _rouse_for_data(self) -> Wake | None:
        wake = self._sleeper
        if wake is not None:
            self._sleeper = None
        elif self._dozer is not None and self._lane.half_full:
            wake, self._dozer = self._dozer, None
        return wake

    def _bar(self, reason: str) -> list[Waiting]:
        self._lane.barred = self._lane.barred or reason
        return self._lane.refuse_waiting(reason)

    def _after(self, wake: Wake | None, woken: Sequence[Waiting] = ()) -> None:
        """Run what must not run under the lock: the dead letters that have gathered, then the wake-ups."""
        if self._lane.lost:
            with self.lock:
                lost, self._lane.lost = self._lane.lost, []
            for message, sender, reason in lost:
                self._on_lost(message, sender, reason)
        if wake is not None:
            wake()
        for waiting in woken:
            waiting.wake()

    def _wait_for_room(self, waiting: Waiting, waiter: Waiter, timeout: float | None) -> bool:
        life = current_life()
        if life is None:
            try:
                in_time = self._clock.wait(waiter, timeout)
            except BaseException:  # Ctrl-C: the caller keeps the message
                self._decide(waiting, "off")
                raise
        else:
            before = life.break_off
            life.break_off = lambda: self._decide(waiting, "off")
            try:
                if life.must_leave():
                    life.interrupt()
                else:
                    self._refuse_circle(life, waiting)
                in_time = wait(self._clock, waiter, timeout)
            finally:
                life.break_off = before
                life.blocked_on = None
        if not in_time:
            self._decide(waiting, "full: timed out")
        if waiting.outcome == "off":
            raise Interrupted(f"a put into {self.path} was broken off")
        return waiting.outcome == "in"

    def _refuse_circle(self, life: Life, waiting: Waiting) -> None:
        if not may_wait(life, self, waiting):
            self._decide(waiting, "deadlock")

    def _decide(self, waiting: Waiting, outcome: str) -> bool:
        """Decide on a waiting message that is still undecided, and end the wait."""
        with self.lock:
            decided = self._lane.decide(waiting, outcome)
        if decided:
            self._after(waiting.wake)
        return decided
