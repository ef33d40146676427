"""What actors hold of the machine is counted by owner, and is nothing once they have ended."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from tickloom.supervision import Actor, AsyncActor, ChildSpec, SupervisorSpec, Tree

PATIENCE = 10.0


class Opener(Actor):
    def on_start(self):
        self.files = [Path(os.devnull).open("rb")]  # noqa: SIM115 - held

    def holds(self):
        return {"files": sum(not each.closed for each in self.files)}

    def on_control(self, message):
        self.files.append(Path(os.devnull).open("rb"))  # noqa: SIM115 - held

    def on_exit(self, reason):
        for each in self.files:
            each.close()


class Tasks(AsyncActor):
    async def on_start(self):
        self.begun = threading.Event()
        for _ in range(3):
            self.spawn(asyncio.Event().wait())

    async def on_control(self, message):
        return None


SPEC = SupervisorSpec(children=(ChildSpec("opener", Opener), ChildSpec("tasks", Tasks)))


def holds(tree):
    return {view.path: view.holds for view in tree.snapshot().walk()}


def test_threads_tasks_and_what_an_actor_names_are_counted_by_owner():
    with Tree(SPEC) as tree:
        assert holds(tree) == {
            "/": {"children": 2},
            "/opener": {"threads": 1, "files": 1},
            "/tasks": {"threads": 1, "tasks": 4},
        }
        tree.ref("/opener").ask("another")
        assert holds(tree)["/opener"] == {"threads": 1, "files": 2}


def test_everything_is_zero_after_the_stop():
    tree = Tree(SPEC)
    tree.start()
    tree.stop()
    assert {count for held in holds(tree).values() for count in held.values()} == {0}


def test_a_leak_is_seen_after_the_end_of_who_leaked():
    class Leaky(Opener):
        def on_exit(self, reason):
            return None

    tree = Tree(SupervisorSpec(children=(ChildSpec("leaky", Leaky),)))
    tree.start()
    held = tree.ref("/leaky")._place.holder.__self__
    tree.stop()
    assert holds(tree)["/leaky"] == {"threads": 0, "files": 1}
    for each in held.files:
        each.close()


def test_a_tree_that_does_not_account_counts_nothing():
    with Tree(SPEC, accounting=False) as tree:
        assert {path: held for path, held in holds(tree).items() if held} == {}
