"""What the tests of supervision share: trees that are stopped and counted afterwards, and actors that do as told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from tickloom.supervision import Actor, ActorContext, ChildSpec, FoldActor, Restart, SupervisorSpec, Tree, halve
from tickloom.supervision.testing import Dispatcher, FaultPlan, ManualClock, Probe


class Scripted(Actor):
    """Does what its messages say: a callable is called with the actor, anything else is noted in `log`.

    `log` is the test's own list of (path, epoch, what).
    """

    def __init__(self, context: ActorContext, log: list[Any]) -> None:
        super().__init__(context)
        self.log = log

    def note(self, what: Any) -> None:
        self.log.append((self.path, self.context.epoch, what))

    def on_start(self) -> None:
        self.note("start")

    def on_batch(self, messages: list[Any]) -> None:
        for message in messages:
            if callable(message):
                message(self)
            else:
                self.note(message)
            self.context.advance(1)

    def on_control(self, message: Any) -> Any:
        return message(self) if callable(message) else self.unhandled(message, self.sender)

    def on_exit(self, reason: Any) -> None:
        self.note("exit")


class Adding:
    """A fold that adds numbers and puts out each sum. "bad" is what it cannot add."""

    def initial(self) -> int:
        return 0

    def step(self, state: int, messages: Any) -> tuple[int, list[int]]:
        for message in messages:
            if message == "bad":
                raise ValueError("cannot add 'bad'")
            state += message
        return state, [state]

    split = staticmethod(halve)


class Adder(FoldActor[int]):
    """Runs `Adding`, emits to a probe, and answers any ask with its sum."""

    def __init__(self, context: ActorContext, out: Any) -> None:
        super().__init__(context, Adding())
        self.out = out if hasattr(out, "put") else context.ref(out)

    def emit(self, output: int) -> None:
        self.out.put(output)

    def query(self, state: int, message: Any) -> Any:
        if callable(message):
            return message(self)
        return state


def _raise(error: BaseException) -> Callable[[Any], None]:
    def act(actor: Any) -> None:
        raise error

    return act


@pytest.fixture
def kit() -> SimpleNamespace:
    """The actors above, and how to make specs of them: `kit.worker(id, **spec)` notes in `kit.log`."""
    log: list[Any] = []

    def worker(child_id: str, **spec: Any) -> ChildSpec:
        return ChildSpec(child_id, lambda context: Scripted(context, log), **spec)

    def adder(child_id: str, out: Any, **spec: Any) -> ChildSpec:
        return ChildSpec(child_id, lambda context: Adder(context, out), **spec)

    def sup(child_id: str, *children: ChildSpec, restart: Any = Restart.PERMANENT, **spec: Any) -> ChildSpec:
        return ChildSpec(child_id, SupervisorSpec(children, **spec), restart=restart)

    def notes(what: Any) -> list[str]:
        return [path for path, _, noted in log if noted == what]

    return SimpleNamespace(
        log=log,
        notes=notes,
        worker=worker,
        adder=adder,
        sup=sup,
        Scripted=Scripted,
        Adder=Adder,
        Adding=Adding,
        raises=_raise,
        crash=_raise(ValueError("told to crash")),
        leave=lambda actor: actor.exit(),
    )


@pytest.fixture
def plant() -> Iterator[Callable[..., Tree]]:
    """Make and start trees with threads; afterwards each is stopped, and no thread of it may be left."""
    trees: list[Tree] = []
    before = set(threading.enumerate())

    def make(*children: ChildSpec, start: bool = True, clock: Any = None, faults: Any = None, **spec: Any) -> Tree:
        tree = Tree(SupervisorSpec(children, **spec), name="t", clock=clock, rng=Random(0), faults=faults)
        trees.append(tree)
        if start:
            tree.start()
        return tree

    yield make
    for tree in trees:
        tree.stop("now")
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(5)
    assert not [thread.name for thread in left if thread.is_alive()]


@pytest.fixture
def stage() -> Iterator[Callable[..., tuple[Dispatcher, Tree]]]:
    """Make and start trees that run step by step: returns the dispatcher and the tree, at rest."""
    trees: list[Tree] = []

    def make(*children: ChildSpec, seed: int | None = None, faults: Any = None, **spec: Any) -> tuple[Dispatcher, Tree]:
        dispatcher = Dispatcher(seed)
        tree = dispatcher.tree(SupervisorSpec(children, **spec), faults=faults)
        trees.append(tree)
        tree.start()
        dispatcher.run()
        return dispatcher, tree

    yield make
    for tree in trees:
        tree.stop("now")


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait for what no event tells: `until(condition)` looks, and yields to other threads, for ten seconds at most."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "it has not come about within 10 s"
            time.sleep(0)

    return wait


@pytest.fixture
def probe() -> Probe:
    """A probe."""
    return Probe()


@pytest.fixture
def clock() -> ManualClock:
    """A clock moved by hand."""
    return ManualClock()


@pytest.fixture
def faults() -> FaultPlan:
    """A plan of faults."""
    return FaultPlan()


@pytest.fixture
def epochs() -> Callable[[Tree], dict[str, int]]:
    """Read which incarnation lives at each place: `epochs(tree)["/a"]`; 0 where none does."""

    def read(tree: Tree) -> dict[str, int]:
        return {view.path: view.epoch if view.alive else 0 for view in tree.snapshot().walk()}

    return read
