"""Death watch: exactly one notice for each death, also to those who come late.

`watch` may be called from any thread; the rest happens in the supervising thread, so that a watch is either there when
a death is told, or finds the dead already dead: never both, never neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tickloom.supervision.bus import EventBus, Subscriber, Subscription
from tickloom.supervision.events import Died
from tickloom.supervision.exits import Exit, ExitKind
from tickloom.supervision.registry import Registry

NEVER = (0, Exit(ExitKind.NORMAL, detail="nothing ever ran here"))


@dataclass(eq=False)
class Watch:
    """A death watch. `cancel` may be called from anywhere."""

    path: str
    subscription: Subscription
    _watches: DeathWatch = field(repr=False)

    def cancel(self) -> None:
        """Hear nothing more."""
        self.subscription.cancel()
        self._watches.cancel(self)


class DeathWatch:
    """The watches of one tree. `post` has work done by the supervising thread, or says that there is none any more."""

    def __init__(self, registry: Registry, bus: EventBus, post: Callable[[Callable[[], object]], bool]) -> None:
        self._registry = registry
        self._bus = bus
        self._post = post
        self._watches: dict[str, list[Watch]] = {}

    def watch(self, path: str, subscriber: Subscriber) -> Watch:
        """Begin a death watch; tells at once when nothing is alive there. From any thread."""
        watch = Watch(path, self._bus.subscribe(subscriber, bounded=False, listed=False), self)
        if not self._post(partial(self._begin, watch)):
            self._tell_last(watch)
        return watch

    def cancel(self, watch: Watch) -> None:
        """Forget a watch. From any thread."""
        self._post(partial(self._forget, watch))

    def died(self, path: str, epoch: int, exit_: Exit) -> None:
        """Tell those who watch. In the supervising thread."""
        for watch in self._watches.get(path, ()):
            self._bus.send(watch.subscription, Died(path, epoch, exit_))

    def _begin(self, watch: Watch) -> None:
        self._watches.setdefault(watch.path, []).append(watch)
        node, place = self._registry.nodes.get(watch.path), self._registry.places.get(watch.path)
        alive = place.life is not None if place is not None else node is not None and node.alive
        if not alive:
            self._tell_last(watch)

    def _tell_last(self, watch: Watch) -> None:
        holder = self._registry.places.get(watch.path) or self._registry.nodes.get(watch.path)
        epoch, exit_ = (holder.last_exit if holder is not None else None) or NEVER
        self._bus.send(watch.subscription, Died(watch.path, epoch, exit_))

    def _forget(self, watch: Watch) -> None:
        watches = self._watches.get(watch.path, [])
        if watch in watches:
            watches.remove(watch)
        if not watches:
            self._watches.pop(watch.path, None)
