"""Events and death notices on their way out. Publishing never blocks and never raises into whoever publishes.

A subscriber is a callback or anything with `tell` (a `Ref`). A ref is told at once, on its control lane. Callbacks run
in one thread of their own, started when the first one subscribes: one that is slow holds up other callbacks, never
an actor or a supervisor. What a callback has not yet seen is bounded; beyond it events are missed, and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

from tickloom.supervision.clocks import Clock
from tickloom.supervision.events import Event, SubscriberDropped
from tickloom.supervision.mailbox import Mailbox
from tickloom.supervision.policy import MailboxSpec, Policy


class Tellable(Protocol):
    """Something with a control lane."""

    def tell(self, message: Any) -> None:
        """Deliver without blocking."""
        ...


Subscriber = Callable[[Any], object] | Tellable

ROW = 3
"""A callback that raises this often in a row is dropped."""


class Subscription:
    """One subscriber. `seen`, `missed` and `failures` are exact; `cancel` may be called from anywhere, twice too."""

    def __init__(self, bus: EventBus, subscriber: Subscriber, backlog: int) -> None:
        self._bus = bus
        self._subscriber = subscriber
        self._backlog = backlog
        self._row = 0
        self.pending = 0
        self.seen = 0
        self.missed = 0
        self.failures = 0
        self.active = True
        tell = getattr(subscriber, "tell", None)
        self.is_ref = callable(tell)
        self.name = str(getattr(subscriber, "path", None) or getattr(subscriber, "__qualname__", repr(subscriber)))

    def cancel(self) -> None:
        """Hear nothing more."""
        self._bus.remove(self)

    def room(self) -> bool:
        """Whether one more item may wait for this callback (0: no bound)."""
        return not self._backlog or self.pending < self._backlog

    def deliver(self, item: Any) -> Exception | None:
        """Hand over one item; return what the callback raised."""
        if not self.active:
            return None
        try:
            if self.is_ref:
                cast(Tellable, self._subscriber).tell(item)
            else:
                cast("Callable[[Any], object]", self._subscriber)(item)
        except Exception as error:  # noqa: BLE001 - a subscriber's trouble is its own: counted, reported, dropped in the end
            self.failures += 1
            self._row += 1
            return error
        self.seen += 1
        self._row = 0
        return None

    @property
    def hopeless(self) -> bool:
        """Whether it raised `ROW` times in a row."""
        return self._row >= ROW


class EventBus:
    """The bounded history of a tree's events, and its subscribers."""

    def __init__(
        self, name: str, clock: Clock, *, history: int = 1024, backlog: int = 1024, inline: bool = False
    ) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._history: deque[Event] = deque(maxlen=history)
        self._subscriptions: list[Subscription] = []
        self._backlog = backlog
        self._inline = inline
        self._queue: Mailbox | None = None
        self._thread: threading.Thread | None = None
        self.published = 0

    def publish(self, event: Event) -> None:
        """Write the event down and pass it on."""
        with self._lock:
            self._history.append(event)
            self.published += 1
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            self.send(subscription, event)

    def send(self, subscription: Subscription, item: Any) -> None:
        """Pass one item to one subscriber: at once to a ref, by the callback thread otherwise."""
        if subscription.is_ref or self._inline:
            self._deliver(subscription, item)
            return
        with self._lock:
            if not subscription.active:
                return
            if not subscription.room():
                subscription.missed += 1
                return
            subscription.pending += 1
            if self._queue is None:
                self._queue = Mailbox(MailboxSpec(1 << 30, Policy.DROP_OLDEST), path=f"{self._name}/events")
                self._thread = threading.Thread(
                    target=self._run, args=(self._queue,), name=f"{self._name}/events", daemon=True
                )
                self._thread.start()
            queue = self._queue
        queue.offer((subscription, item))

    def subscribe(self, subscriber: Subscriber, *, bounded: bool = True, listed: bool = True) -> Subscription:
        """Add a subscriber; it hears what is published from now on. `listed=False`: only what is sent to it."""
        subscription = Subscription(self, subscriber, self._backlog if bounded else 0)
        if listed:
            with self._lock:
                self._subscriptions.append(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscriber."""
        with self._lock:
            subscription.active = False
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def history(self) -> list[Event]:
        """Return the last events, oldest first."""
        with self._lock:
            return list(self._history)

    def close(self, timeout: float) -> bool:
        """Deliver what is queued, then end the callback thread. False when it has not ended in `timeout` seconds."""
        with self._lock:
            queue, thread = self._queue, self._thread
            self._queue = self._thread = None
            self._inline = True
        if queue is not None:
            queue.drain("stopped")
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            return not thread.is_alive()
        return True

    def _run(self, queue: Mailbox) -> None:
        while batch := queue.take_batch(256):
            for subscription, item in batch:
                with self._lock:
                    subscription.pending -= 1
                self._deliver(subscription, item)

    def _deliver(self, subscription: Subscription, item: Any) -> None:
        error = subscription.deliver(item)
        if error is not None and subscription.hopeless and subscription.active:
            self.remove(subscription)
            self.publish(
                SubscriberDropped(path=subscription.name, at_ns=self._clock.wall_ns(), failures=subscription.failures)
            )
