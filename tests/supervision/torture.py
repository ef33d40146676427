"""Hundreds of actors with real threads, random kills, producers that block: nobody may be stuck at the end.

The short form is a test (`test_torture.py`). The long one is run by hand:

    python tests/supervision/torture.py --seconds 60 --actors 300
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections import Counter
from random import Random

from tickloom.supervision import (
    Actor,
    AsyncActor,
    Backoff,
    BreakerSpec,
    ChildSpec,
    Exited,
    Failure,
    FoldActor,
    MailboxSpec,
    Policy,
    SupervisionError,
    SupervisorSpec,
    Tree,
    halve,
)

QUICK = Backoff(base=0.001, cap=0.05)


class Crash:
    """A message that crashes whoever handles it."""

    def __init__(self, error):
        self.error = error


def handle(message):
    if isinstance(message, Crash):
        raise message.error
    return message


class Forwarder(Actor):
    """Passes what it gets on to two others, which may be full, dead, or waiting for this one."""

    def __init__(self, context, targets):
        super().__init__(context)
        self.targets = [context.ref(target) for target in targets]

    def on_batch(self, messages):
        for message in messages:
            handle(message)
            if isinstance(message, int) and message > 0:
                for target in self.targets:
                    target.put(message - 1)

    def on_control(self, message):
        return handle(message)


class Summer(FoldActor):
    """Adds up numbers; anything else is quarantined."""

    class Adding:
        def initial(self):
            return 0

        def step(self, state, messages):
            return state + sum(messages), ()

        split = staticmethod(halve)

    def __init__(self, context):
        super().__init__(context, self.Adding())

    def query(self, state, message):
        return handle(message)


class Looper(AsyncActor):
    """A loop with a task of its own, that forwards without blocking and asks others."""

    def __init__(self, context, targets):
        super().__init__(context)
        self.targets = [context.ref(target) for target in targets]

    async def on_start(self):
        self.spawn(self.tick(), "tick")

    async def tick(self):
        while True:
            await asyncio.sleep(0.01)

    async def on_batch(self, messages):
        for message in messages:
            handle(message)
            if isinstance(message, int) and message > 0:
                for target in self.targets:
                    await target.put_async(message - 1)

    async def on_control(self, message):
        return handle(message)


def build(actors, rng):
    """A tree of `actors` actors in groups of ten, with every strategy, policy and kind, some in crews."""
    paths = [f"/g{n // 10}/a{n % 10}" for n in range(actors)]
    groups = []
    for g in range(actors // 10):
        children = []
        for n in range(10):
            targets = rng.sample(paths, 2)
            kind = rng.choice(("forward", "forward", "sum", "loop"))
            start = {
                "forward": lambda context, to=targets: Forwarder(context, to),
                "loop": lambda context, to=targets: Looper(context, to),
                "sum": Summer,
            }[kind]
            policy = rng.choice((Policy.BLOCK, Policy.BLOCK, Policy.DROP_OLDEST, Policy.CONFLATE))
            conflate = (lambda older, newer: max(older, newer)) if policy is Policy.CONFLATE else None
            breaker = None
            if rng.random() < 0.3:
                breaker = BreakerSpec(3, reset_timeout=0.05, max_reset_timeout=0.2, probe_time=0.05)
            children.append(
                ChildSpec(
                    f"a{n}",
                    start,
                    backoff=QUICK,
                    breaker=breaker,
                    mailbox=MailboxSpec(rng.choice((1, 4, 32)), policy, conflate=conflate),
                    max_batch=8,
                    poison_after=2,
                    crew="" if kind == "loop" else rng.choice(("", "", f"of g{g}", "of all")),
                )
            )
        strategy = rng.choice(("one_for_one", "one_for_one", "one_for_all", "rest_for_one"))
        groups.append(ChildSpec(f"g{g}", SupervisorSpec(tuple(children), strategy, intensity=10**9), backoff=QUICK))
    return SupervisorSpec(tuple(groups), intensity=10**9), paths


def torture(seconds, actors, seed=0, producers=12, askers=8):
    """Torture a tree; returns what was counted, and raises AssertionError for what must not be."""
    rng = Random(seed)
    before = set(threading.enumerate())
    spec, paths = build(actors, rng)
    tree = Tree(spec, name="torture", rng=Random(seed))
    exits, defects, over = Counter(), [], threading.Event()
    tally = Counter()
    lock = threading.Lock()

    def hear(event):
        if isinstance(event, Exited):
            exits[event.path, event.epoch] += 1
        elif isinstance(event, Failure) and event.phase == "supervisor":
            defects.append(event.traceback_text)

    subscription = tree.subscribe(hear)
    subscription._backlog = 0  # hear everything, however late
    tree.start()
    refs = {path: tree.ref(path) for path in paths}

    def count(**figures):
        with lock:
            tally.update(figures)

    def produce(number):
        mine = Random((seed, number).__hash__())
        while not over.is_set():
            ref = refs[mine.choice(paths)]
            put = ref.put(mine.randrange(4)) if mine.random() < 0.7 else ref.offer(mine.randrange(4))
            count(puts=1, accepted=int(put))

    def ask(number):
        mine = Random((seed, number, "ask").__hash__())
        while not over.is_set():
            count(asked=1)
            try:
                refs[mine.choice(paths)].ask("question", timeout=0.5)
                count(replied=1)
            except SupervisionError as error:
                count(**{type(error).__name__: 1})
            except (ValueError, SystemExit) as error:
                count(**{type(error).__name__: 1})

    async def ask_many():
        mine = Random(seed + 1)

        async def one():
            while not over.is_set():
                count(asked=1)
                try:
                    await refs[mine.choice(paths)].ask_async("question", timeout=0.5)
                    count(replied=1)
                except (SupervisionError, ValueError) as error:
                    count(**{type(error).__name__: 1})

        await asyncio.gather(*(one() for _ in range(4)))

    def kill():
        mine = Random(seed + 2)
        while not over.wait(0.002):
            path = mine.choice(paths)
            dice = mine.random()
            error = mine.choice((ValueError("killed"), SystemExit(), KeyboardInterrupt()))
            if dice < 0.5:
                refs[path].tell(Crash(error))
            elif dice < 0.8:
                refs[path].offer(Crash(ValueError("poisoned")))
            elif dice < 0.9:
                try:
                    tree.terminate_child(path, mine.choice(("now", "drain")), timeout=1)
                    tree.restart_child(path)
                    count(restarted_by_hand=1)
                except SupervisionError as refused:
                    count(**{f"refused_{type(refused).__name__}": 1})
            else:
                tree.snapshot()
            count(kills=1)

    threads = [threading.Thread(target=produce, args=(n,), name=f"producer {n}") for n in range(producers)]
    threads += [threading.Thread(target=ask, args=(n,), name=f"asker {n}") for n in range(askers)]
    threads += [threading.Thread(target=lambda: asyncio.run(ask_many()), name="loop of askers")]
    threads += [threading.Thread(target=kill, name="killer")]
    for thread in threads:
        thread.daemon = True
        thread.start()
    time.sleep(seconds)
    over.set()
    report = tree.stop("now", 20)
    for thread in threads:
        thread.join(10)
    stuck = [thread.name for thread in threads if thread.is_alive()]
    assert not stuck, f"stuck: {stuck}"
    assert report.clean, f"overran: {report.overruns}; threads left: {report.threads}"
    resolved = sum(n for name, n in tally.items() if name[0].isupper()) + tally["replied"]
    assert resolved == tally["asked"], tally
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert not left, f"threads left: {left}"
    views = [view for view in tree.snapshot().walk() if view.counters is not None]
    assert len(views) == actors
    unbalanced = [view.path for view in views if not view.counters.balanced]
    assert not unbalanced, unbalanced
    assert not [life for life, n in exits.items() if n != 1], "an exit was told twice"
    missing = [(v.path, e) for v in views for e in range(1, v.epoch + 1) if (v.path, e) not in exits]
    assert not missing, f"exits never told: {missing[:10]}"
    assert not defects, defects[0]
    incarnations = sum(view.epoch for view in views)
    return {**tally, "incarnations": incarnations, "dead_letters": len(tree.dead_letters)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--actors", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(torture(given.seconds, given.actors, given.seed), indent=2))
