"""A place in the tree: what outlives the incarnations of a worker. Mailbox, memory, counters, last failure, breaker.

A place is made when the specification is loaded, so its ref resolves before anything runs. The supervising thread
begins and ends lives here; the actor's thread commits; anybody may look. What an actor commits is one reference,
replaced whole under the mailbox's lock together with the batch it came from: there is no moment at which a reader
or a successor could see half of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tickloom.supervision.breaker import Breaker
from tickloom.supervision.clocks import NS
from tickloom.supervision.errors import Fenced
from tickloom.supervision.events import Failure
from tickloom.supervision.exits import Exit
from tickloom.supervision.life import Life
from tickloom.supervision.mailbox import Mailbox

if TYPE_CHECKING:
    from tickloom.supervision.services import Services
    from tickloom.supervision.spec import ChildSpec

NOTHING: Any = type("_Nothing", (), {"__repr__": lambda self: "NOTHING", "__bool__": lambda self: False})()
"""What `recall` returns where nothing was ever committed."""


@dataclass(slots=True)
class Memory:
    """What was committed last: the state, the outputs that go with it, and how many of them were emitted."""

    state: Any = NOTHING
    outputs: Sequence[Any] = ()
    emitted: int = 0


_STILL_NS = NS // 100
"""Within this time of the last one, messages are counted without letting the mean fade."""


class Meter:
    """Messages a second, as an exponentially fading mean over about `tau` seconds. Written by one thread."""

    __slots__ = ("_at_ns", "_tau_ns", "_weight")

    def __init__(self, tau: float = 5.0) -> None:
        self._tau_ns = tau * NS
        self._weight = 0.0
        self._at_ns = 0

    def add(self, count: int, now_ns: int) -> None:
        """Count messages handled at `now_ns`. Within ten milliseconds nothing has faded."""
        if 0 <= now_ns - self._at_ns < _STILL_NS:
            self._weight += count
            return
        self._weight = self._weight * math.exp(min(self._at_ns - now_ns, 0) / self._tau_ns) + count
        self._at_ns = now_ns

    def rate(self, now_ns: int) -> float:
        """Return the rate as of `now_ns`, per second."""
        return self._weight * math.exp(min(self._at_ns - now_ns, 0) / self._tau_ns) / self._tau_ns * NS


class Place:
    """The place of one worker."""

    def __init__(self, path: str, spec: ChildSpec, services: Services) -> None:
        self.path = path
        self.spec = spec
        self.max_batch = spec.max_batch
        self.services = services
        self.mailbox = Mailbox(spec.mailbox, path=path, clock=services.clock, lost=self.lost)
        self.epoch = 0
        self.life: Life | None = None
        self.closed = False
        self.memory = Memory()
        self.breaker = Breaker.CLOSED
        self.wants_success = False
        self.kind = ""
        self.last_failure: Failure | None = None
        self.last_exit: tuple[int, Exit] | None = None
        self.handled = 0
        self.batches = 0
        self.emitted = 0
        self.quarantined = 0
        self.failures = 0
        self.busy_ns = 0
        self.slowest_ns = 0
        self.meter = Meter()
        self.holder: Callable[[], Mapping[str, int]] = dict
        """What the incarnation that began last holds of the machine; asked after its end, too: then it is a leak."""

    # --- the supervising thread ---

    def begin(self, epoch: int) -> Life:
        """Begin a life; from now on only it takes from the mailbox and commits."""
        if self.closed:
            self.closed = False
            self.mailbox.reopen()
        self.epoch = epoch
        # asked for from the first message on: the supervising thread's word might come after the probe was handled
        self.wants_success = self.spec.breaker is not None and self.failures > 0
        self.life = life = Life(self.path, epoch, self.mailbox)
        self.mailbox.fence(epoch, life)
        left = self.memory
        # a copy: one that was given up and goes on in the middle of an output writes into what nobody looks at any more
        self.memory = Memory(left.state, left.outputs, left.emitted)
        return life

    def end(self, epoch: int, exit_: Exit) -> None:
        """The present life is over."""
        self.mailbox.fence(0)
        self.life = None
        self.last_exit = (epoch, exit_)

    def close(self, reason: str) -> None:
        """Close for good, or until the child is started by hand: what is left becomes dead letters."""
        self.closed = True
        self.mailbox.close(reason)
        with self.mailbox.lock:
            memory = self.memory
            left = list(memory.outputs[memory.emitted :])
            self.memory = Memory(memory.state)
        for output in left:
            self.lost(output, self.path, f"not emitted: {reason}")

    # --- the actor's thread ---

    def commit(self, epoch: int, state: Any, outputs: Sequence[Any] = ()) -> Memory:
        """Replace the memory and settle the batch in hand, in one step.

        Raises:
            Fenced: another incarnation owns the place; nothing was changed.
        """
        memory = Memory(state, outputs)
        mailbox = self.mailbox
        with mailbox.lock:
            if mailbox.owner != epoch:
                raise Fenced(f"{self.path} (epoch {epoch}) was fenced: its commit is refused")
            self.memory = memory
            mailbox.settle_locked()
        return memory

    @property
    def emitted_all(self) -> bool:
        """Whether no committed output waits to be let go."""
        memory = self.memory
        return memory.emitted >= len(memory.outputs)

    def keep(self, epoch: int, state: Any) -> None:
        """Replace the state alone; the batch in hand stays in hand.

        Raises:
            Fenced: another incarnation owns the place; nothing was changed.
        """
        with self.mailbox.lock:
            if self.mailbox.owner != epoch:
                raise Fenced(f"{self.path} (epoch {epoch}) was fenced: its commit is refused")
            old = self.memory
            self.memory = Memory(state, old.outputs, old.emitted)

    def done(self, count: int, began_ns: int, now_ns: int) -> None:
        """Count a handled batch."""
        self.handled += count
        self.batches += 1
        took = now_ns - began_ns
        self.busy_ns += took
        if took > self.slowest_ns:
            self.slowest_ns = took
        self.meter.add(count, now_ns)

    # --- anybody ---

    def lost(self, message: Any, sender: str, reason: str) -> None:
        """Write down a message that reaches nobody."""
        self.services.dead_letter(message, sender, self.path, reason)
