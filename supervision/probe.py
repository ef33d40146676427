"""A probe: stands where a ref or an actor is expected, keeps what it is sent, and lets a test wait for it.

Part of the testing kit. Waiting is in real time and with a limit; there is no sleeping and no polling.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tickloom.supervision.actor import UNHANDLED, Actor
from tickloom.supervision.context import ActorContext
from tickloom.supervision.exits import Exit


class Probe:
    """Records messages, whichever way they come: as a ref, as the actor `probe.actor`, or as a subscriber.

    `reply(message)` gives the answers to asks.
    """

    def __init__(self, path: str = "probe", reply: Callable[[Any], Any] = lambda message: None) -> None:
        self.path = path
        self._reply = reply
        self._changed = threading.Condition()
        self._messages: list[Any] = []
        self._senders: list[str] = []
        self.lives = 0
        self.exits: list[Exit] = []

    # --- as a ref ---

    def put(self, message: Any, *, sender: str = "", timeout: float | None = None) -> bool:
        """Record; there is always room."""
        self._record(message, sender)
        return True

    def offer(self, message: Any, *, sender: str = "") -> bool:
        """Record; there is always room."""
        return self.put(message, sender=sender)

    async def put_async(self, message: Any, *, sender: str = "") -> bool:
        """Record; there is always room."""
        return self.put(message, sender=sender)

    def tell(self, message: Any, *, sender: str = "") -> None:
        """Record."""
        self._record(message, sender)

    def ask(self, message: Any, timeout: float = 5.0) -> Any:
        """Record and reply."""
        self._record(message, "")
        return self._reply(message)

    async def ask_async(self, message: Any, timeout: float = 5.0) -> Any:  # noqa: ASYNC109 - a ref's signature
        """Record and reply."""
        return self.ask(message)

    # --- as an actor: ChildSpec("probe", probe.actor) ---

    def actor(self, context: ActorContext) -> Actor:
        """Return an actor that records into this probe; give this method as a child's `start`."""
        self.lives += 1
        return _ProbeActor(context, self)

    # --- looking ---

    @property
    def messages(self) -> list[Any]:
        """What has come so far."""
        with self._changed:
            return list(self._messages)

    @property
    def senders(self) -> list[str]:
        """Who sent each of the messages."""
        with self._changed:
            return list(self._senders)

    def wait_for(self, what: int | type | Callable[[Any], bool], timeout: float = 10.0) -> Any:
        """Wait for that many messages, for one of that type, or for one of which `what` holds, and return it (or all).

        Raises:
            AssertionError: it has not come within `timeout` seconds; the sentence says what has.
        """
        until = time.monotonic() + timeout
        with self._changed:
            while True:
                found, result = self._find(what)
                if found:
                    return result
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    last = ", ".join(repr(message)[:200] for message in self._messages[-10:])
                    raise AssertionError(f"{self.path}: waited {timeout:g} s for {what!r}; the last to come: {last}")

    def clear(self) -> None:
        """Forget what has come."""
        with self._changed:
            self._messages.clear()
            self._senders.clear()

    def _find(self, what: int | type | Callable[[Any], bool]) -> tuple[bool, Any]:
        if isinstance(what, int):
            return len(self._messages) >= what, list(self._messages)
        for message in self._messages:
            if isinstance(message, what) if isinstance(what, type) else what(message):
                return True, message
        return False, None

    def _record(self, message: Any, sender: str) -> None:
        with self._changed:
            self._messages.append(message)
            self._senders.append(sender)
            self._changed.notify_all()


class _ProbeActor(Actor):
    """Records all it gets."""

    def __init__(self, context: ActorContext, probe: Probe) -> None:
        super().__init__(context)
        self._probe = probe

    def on_batch(self, messages: list[Any]) -> None:
        for message, sender in zip(messages, self.senders, strict=True):
            self._probe.put(message, sender=sender)

    def on_control(self, message: Any) -> Any:
        self._probe.tell(message, sender=self.sender)
        reply = self._probe._reply(message)
        return UNHANDLED if reply is UNHANDLED else reply

    def on_exit(self, reason: Exit) -> None:
        self._probe.exits.append(reason)
