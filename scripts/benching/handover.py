"""A message through three actors, beside pykka's with a bounded inbox: wall time a message, flat out.

The peer is pykka as its users bound it: `actor_inbox` set to `queue.Queue(1024)`, `tell` from hop to hop. It handles
one message at a time; ours hands over what has gathered. Both refuse nothing and lose nothing.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import pykka

from tickloom.scripts.benching.figures import Figure
from tickloom.supervision import Actor, ActorContext, ChildSpec, MailboxSpec, SupervisorSpec, Tree

CAPACITY: Final = 1024
HOPS: Final = 3
PATIENCE_S: Final = 120.0


class Sink:
    """Counts what comes through; `full` is set at the last message."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.full = threading.Event()

    def take(self, count: int) -> None:
        """So many more have come. From one thread."""
        self._left -= count
        if self._left == 0:
            self.full.set()


class Hop(Actor):
    """Passes messages on; the last of a chain counts them."""

    def __init__(self, context: ActorContext, ahead: str, sink: Sink) -> None:
        super().__init__(context)
        self._ahead = context.ref(ahead) if ahead else None
        self._sink = sink

    def on_batch(self, messages: list[Any]) -> None:
        """Pass on or count."""
        if self._ahead is None:
            self._sink.take(len(messages))
            return
        for message in messages:
            self._ahead.put(message)


class PykkaHop(pykka.ThreadingActor):
    """The same under pykka."""

    use_daemon_thread = True

    def __init__(self, ahead: Any, sink: Sink) -> None:
        super().__init__()
        self.actor_inbox = queue.Queue(CAPACITY)
        self._actor_ref = pykka.ActorRef(self)
        self._ahead = ahead
        self._sink = sink

    def on_receive(self, message: int) -> None:
        """Pass on or count."""
        if self._ahead is None:
            self._sink.take(1)
        else:
            self._ahead.tell(message)


def measure(messages: int, rounds: int) -> list[Figure]:
    """Measure both sides in turns; the best of the rounds counts."""
    sides = {"ours": _ours, "pykka": _pykka}
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for name, chain in sides.items():
            best[name] = min(best[name], _flat_out(chain, messages))
    return [
        Figure(
            name=f"hand-over through {HOPS} actors",
            unit="µs a message",
            ours=best["ours"] * 1e6,
            peer="pykka, queue.Queue(1024)",
            theirs=best["pykka"] * 1e6,
            more_is_better=False,
            note=f"{messages:,} messages flat out, mailboxes of {CAPACITY}; best of {rounds}",
        )
    ]


Chain = Callable[[Sink], tuple[Callable[[int], object], Callable[[], object]]]


def _flat_out(chain: Chain, messages: int) -> float:
    sink = Sink(messages)
    send, end = chain(sink)
    began = time.perf_counter()
    for number in range(messages):
        send(number)
    through = sink.full.wait(PATIENCE_S)
    took = time.perf_counter() - began
    end()
    if not through:
        raise TimeoutError(f"not all of {messages} messages came through within {PATIENCE_S:g} s")
    return took / messages


def _ours(sink: Sink) -> tuple[Callable[[int], object], Callable[[], object]]:
    def hop(number: int) -> ChildSpec:
        ahead = f"/hop{number - 1}" if number else ""
        return ChildSpec(f"hop{number}", lambda context: Hop(context, ahead, sink), mailbox=MailboxSpec(CAPACITY))

    tree = Tree(SupervisorSpec(tuple(map(hop, range(HOPS)))), name="bench")
    tree.start()
    return tree.ref(f"hop{HOPS - 1}").put, tree.stop


def _pykka(sink: Sink) -> tuple[Callable[[int], object], Callable[[], object]]:
    refs: list[Any] = []
    for _ in range(HOPS):
        refs.append(PykkaHop.start(refs[-1] if refs else None, sink))

    def end() -> None:
        for ref in reversed(refs):
            ref.stop()

    return refs[-1].tell, end
