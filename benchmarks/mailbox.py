"""Our mailbox and actors against `queue.Queue(1024)` under pykka: one hop and a chain of three, paced and flat out.

    python benchmarks/mailbox.py [--messages 20000] [--rate 1000] [--paced 2000] [--repeat 3]

Both sides run in the same process, turn and turn about, best of `--repeat`; one line of JSON a figure, and the ratios.
A message carries the monotonic clock at its sending; the last actor of the chain takes the difference. So `p50`,
`p99` and `max` are microseconds from the sender's `put` to the last handler, hops included.

- `paced`: a message every 1/rate seconds, from a sender that sleeps in between. What is measured is wake-ups.
- `flat_out`: as fast as the bounded mailboxes take them; `per_message` is wall time over messages, and latency is that
  of a full queue.
- `handover`: in one thread, no waiting: put one message, take it, settle it; and the same for batches of 1,000.

The incumbent is pykka as its users bound it: `actor_inbox` set to `queue.Queue(1024)` after `__init__` and a new ActorRef,
`tell` from hop to hop. It handles one message at a time; ours hands over what has gathered.
"""

from __future__ import annotations

import argparse
import json
import platform
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pykka

from tickloom.supervision import Actor, ActorContext, ChildSpec, Mailbox, MailboxSpec, SupervisorSpec, Tree

CAPACITY = 1024
now = time.perf_counter_ns


class Sink:
    """Where the last actor of a chain puts its delays; `full` is set at the last message."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.delays: list[int] = []
        self.full = threading.Event()

    def add(self, stamp: int) -> None:
        self.delays.append(now() - stamp)
        if len(self.delays) == self.count:
            self.full.set()


class Hop(Actor):
    """Passes messages on; the last of a chain takes their delay."""

    def __init__(self, context: ActorContext, ahead: str, sink: Sink) -> None:
        super().__init__(context)
        self.ahead = context.ref(ahead) if ahead else None
        self.sink = sink

    def on_batch(self, messages: list[Any]) -> None:
        """Pass on or measure."""
        if self.ahead is None:
            for stamp in messages:
                self.sink.add(stamp)
        else:
            for stamp in messages:
                self.ahead.put(stamp)


class PykkaHop(pykka.ThreadingActor):
    """The same under pykka, with a bounded inbox."""

    use_daemon_thread = True

    def __init__(self, ahead: Any, sink: Sink) -> None:
        super().__init__()
        self.actor_inbox = queue.Queue(CAPACITY)  # type: ignore[assignment]
        self._actor_ref = pykka.ActorRef(self)
        self.ahead = ahead
        self.sink = sink

    def on_receive(self, message: int) -> None:
        """Pass on or measure."""
        if self.ahead is None:
            self.sink.add(message)
        else:
            self.ahead.tell(message)


Chain = Callable[[int, Sink], tuple[Callable[[int], object], Callable[[], object]]]
"""Makes a chain of so many hops: returns how to send into it, and how to end it."""


def ours(hops: int, sink: Sink) -> tuple[Callable[[int], object], Callable[[], object]]:
    """A chain of this package's actors, downstream first."""

    def hop(name: str, ahead: str) -> ChildSpec:
        return ChildSpec(name, lambda context: Hop(context, ahead, sink), mailbox=MailboxSpec(CAPACITY))

    names = [f"hop{n}" for n in range(hops)]
    children = tuple(hop(name, f"/{names[n - 1]}" if n else "") for n, name in enumerate(names))
    tree = Tree(SupervisorSpec(children), name="bench")
    tree.start()
    return tree.ref(names[-1]).put, tree.stop


def incumbent(hops: int, sink: Sink) -> tuple[Callable[[int], object], Callable[[], object]]:
    """A chain of pykka actors with `queue.Queue(1024)`."""
    refs: list[Any] = []
    for _ in range(hops):
        refs.append(PykkaHop.start(refs[-1] if refs else None, sink))

    def end() -> None:
        for ref in reversed(refs):
            ref.stop()

    return refs[-1].tell, end


def run(chain: Chain, hops: int, count: int, rate: float) -> dict[str, float]:
    """Send `count` messages, `rate` a second (0: flat out), and return the figures in microseconds."""
    sink = Sink(count)
    send, end = chain(hops, sink)
    began = now()
    if rate:
        step = 1e9 / rate
        for n in range(count):
            ahead = began + n * step - now()
            if ahead > 0:
                time.sleep(ahead / 1e9)
            send(now())
    else:
        for _ in range(count):
            send(now())
    if not sink.full.wait(120):
        raise RuntimeError(f"{chain.__name__}: {len(sink.delays)} of {count} messages came through")
    took = now() - began
    end()
    delays = sorted(sink.delays)
    return {
        "p50": delays[count // 2] / 1e3,
        "p99": delays[count * 99 // 100] / 1e3,
        "max": delays[-1] / 1e3,
        "per_message": took / count / 1e3,
    }


def handover(count: int, batch: int) -> tuple[float, float]:
    """Microseconds to put `batch` messages, take them and be done with them: ours, and queue.Queue's."""
    box, inbox = Mailbox(MailboxSpec(CAPACITY)), queue.Queue[int](CAPACITY)
    began = now()
    for _ in range(count):
        for n in range(batch):
            box.put(n)
        box.poll(0, batch, _nothing)
        box.settle(0)
    middle = now()
    for _ in range(count):
        for n in range(batch):
            inbox.put(n)
        for _ in range(batch):
            inbox.get()
    return (middle - began) / count / 1e3, (now() - middle) / count / 1e3


def _nothing() -> None:
    return None


def best(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the least of each figure."""
    return {name: round(min(one[name] for one in runs), 2) for name in runs[0]}


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000, help="flat out")
    parser.add_argument("--paced", type=int, default=2_000, help="paced")
    parser.add_argument("--rate", type=float, default=1_000.0)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    print(json.dumps({"python": platform.python_version(), "machine": platform.machine(), "capacity": CAPACITY}))
    for batch, count in ((1, 20_000), (1_000, 50)):
        mine, theirs = map(min, zip(*(handover(count, batch) for _ in range(given.repeat)), strict=True))
        figures = {"ours": round(mine, 2), "queue": round(theirs, 2), "ratio": round(mine / theirs, 2)}
        print(json.dumps({"handover": batch, **figures}))
    for pace, count, rate in (("paced", given.paced, given.rate), ("flat_out", given.messages, 0.0)):
        for hops in (1, 3):
            sides: dict[str, list[dict[str, float]]] = {"ours": [], "pykka": []}
            for _ in range(given.repeat):
                sides["ours"].append(run(ours, hops, count, rate))
                sides["pykka"].append(run(incumbent, hops, count, rate))
            mine, theirs = best(sides["ours"]), best(sides["pykka"])
            ratio = {name: round(mine[name] / theirs[name], 2) for name in mine}
            print(json.dumps({"pace": pace, "hops": hops, "ours": mine, "pykka": theirs, "ratio": ratio}))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
