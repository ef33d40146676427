"""What a running tree looks like from outside, without stopping anything: an immutable view a child, nested alike.

A view is read from counters while the actors run. Each mailbox's account is consistent in itself; figures of different
actors may be some microseconds apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tickloom.supervision.clocks import NS
from tickloom.supervision.events import Failure
from tickloom.supervision.exits import Exit
from tickloom.supervision.lifecycle import LIVE, Child
from tickloom.supervision.policy import Counters

if TYPE_CHECKING:
    from tickloom.supervision.registry import Node
    from tickloom.supervision.services import Services
    from tickloom.supervision.warden import Warden


@dataclass(frozen=True)
class ActorView:
    """One place. Supervisors have `children`; workers have `counters`.

    `state` is a word of `lifecycle.Phase` (for the root, of `lifecycle.Stage`). `rate` is messages handled a second,
    a mean over about five seconds; `busy` seconds spent in handlers, `slowest` the longest batch (s). `dead_letters`
    counts by reason what did not reach this actor. `thread` is (name, ident) of the thread while it lives. `holds` is
    what it holds of the machine, by kind (`threads`, `tasks`, `sockets`, `files`, …; `children` of a supervisor): all 0
    once it has ended. It is empty in a tree that does not account for it.
    """

    path: str
    kind: str
    state: str
    epoch: int
    restarts: int
    breaker: str | None
    last_failure: Failure | None
    last_exit: Exit | None
    failures: int = 0
    depth: int = 0
    high_water: int = 0
    capacity: int = 0
    counters: Counters | None = None
    handled: int = 0
    batches: int = 0
    emitted: int = 0
    quarantined: int = 0
    rate: float = 0.0
    busy: float = 0.0
    slowest: float = 0.0
    unemitted: int = 0
    dead_letters: dict[str, int] | None = None
    alive: bool = False
    thread: tuple[str, int] | None = None
    holds: dict[str, int] = field(default_factory=dict)
    children: tuple[ActorView, ...] = ()

    def walk(self) -> Iterator[ActorView]:
        """Yield this view and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, path: str) -> ActorView:
        """Return the view at `path`.

        Raises:
            LookupError: there is none.
        """
        wanted = "/" + path.strip("/")
        for view in self.walk():
            if view.path == wanted:
                return view
        raise LookupError(f"there is nothing at {wanted}")


def look(warden: Warden, services: Services) -> ActorView:
    """Return the view of a whole tree."""
    return _supervisor(warden, services, warden.root, None)


def _supervisor(warden: Warden, services: Services, node: Node, child: Child | None) -> ActorView:
    found = (_child(warden, services, f"{node.path.rstrip('/')}/{one.spec.id}", one) for one in node.state.children)
    views = tuple(view for view in found if view is not None)
    breaker = child.breaker.state.value if child is not None and child.breaker is not None else None
    return ActorView(
        path=node.path,
        kind="supervisor",
        state=child.phase.value if child is not None else node.state.stage.value,
        epoch=node.epoch,
        restarts=max(node.epoch - 1, 0),
        breaker=breaker,
        last_failure=None,
        last_exit=node.last_exit[1] if node.last_exit is not None else None,
        alive=child.phase in LIVE if child is not None else node.alive,
        holds={"children": sum(view.alive for view in views)} if services.accounting else {},
        children=views,
    )


def _child(warden: Warden, services: Services, path: str, child: Child) -> ActorView | None:
    node = warden.nodes.get(path)
    if node is not None:
        return _supervisor(warden, services, node, child)
    place = services.places.get(path)
    if place is None:
        return None
    counters = place.mailbox.counters()
    memory = place.memory
    life = place.life
    thread = life.thread if life is not None else None
    return ActorView(
        path=path,
        kind=place.kind,
        state=child.phase.value,
        epoch=place.epoch,
        restarts=max(place.epoch - 1, 0),
        breaker=place.breaker.value if place.spec.breaker is not None else None,
        last_failure=place.last_failure,
        last_exit=place.last_exit[1] if place.last_exit is not None else None,
        failures=place.failures,
        depth=counters.depth,
        high_water=counters.high_water,
        capacity=counters.capacity,
        counters=counters,
        handled=place.handled,
        batches=place.batches,
        emitted=place.emitted,
        quarantined=place.quarantined,
        rate=place.meter.rate(services.clock.monotonic_ns()),
        busy=place.busy_ns / NS,
        slowest=place.slowest_ns / NS,
        unemitted=max(len(memory.outputs) - memory.emitted, 0),
        dead_letters=services.dead_letters.counts_for(path),
        alive=life is not None,
        thread=(thread.name, thread.ident or 0) if thread is not None else None,
        holds={"threads": int(thread is not None and thread.is_alive()), **place.holder()}
        if services.accounting
        else {},
    )
