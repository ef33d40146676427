"""The checkpoint actor: when it writes, what it waits for, and what becomes of it when the disk refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tickloom.actors.bars.fold import TimeframeState
from tickloom.actors.bars.reduce import ReduceState
from tickloom.actors.checkpoint import shell
from tickloom.actors.checkpoint.files import Checkpoint, checkpoints_in, read
from tickloom.actors.checkpoint.shell import TICK, CheckpointActor, Written
from tickloom.actors.checkpoint.states import States
from tickloom.actors.validation.fold import ValidationState
from tickloom.supervision import Actor, ChildSpec, SupervisorSpec, Tree
from tickloom.supervision.testing import ManualClock


def states(seq: int, behind: int = 0) -> States:
    return States(ValidationState(seq=seq), ReduceState(seq=seq), {"1m": TimeframeState(seq=seq - behind)})


class Desk:
    """A checkpoint actor whose clock stands still, what it is shown, and a recorder with `synced` on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = states(5)
        self.synced: int | None = 5
        desk = self

        class Recorder(Actor):
            def on_control(self, message: Any) -> Any:
                return desk.synced

        def start(context: Any) -> CheckpointActor:
            seal = lambda cut: Checkpoint(7, "f", cut)  # noqa: E731
            return CheckpointActor(context, folder, lambda: desk.now, context.ref("/recorder"), seal, 10.0)

        children = (ChildSpec(id="recorder", start=Recorder), ChildSpec(id="checkpoint", start=start))
        self.tree = Tree(SupervisorSpec(children=children), clock=ManualClock())

    def account(self) -> Written:
        found: Written = self.tree.ref("/checkpoint").ask(Written)
        return found

    def tick(self, times: int) -> None:
        """Tell the actor as often as its timer would: once a second, and a look each while a cut is being found."""
        for _ in range(times):
            self.tree.ref("/checkpoint").ask(TICK)

    def seqs(self) -> list[int]:
        return [read(path).states.validation.seq for path in checkpoints_in(self.folder)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    with made.tree:
        made.account()
        yield made


def test_a_checkpoint_is_written_when_it_is_time_and_not_before(desk: Desk) -> None:
    desk.tick(9)
    assert desk.seqs() == []
    desk.tick(1)
    assert desk.seqs() == [5]
    assert desk.account() == Written(1, 0, 5)


def test_a_segment_that_ends_is_an_occasion_too(desk: Desk) -> None:
    (desk.folder / "00000001.arrows").touch()
    desk.tick(2)
    assert desk.seqs() == [], "the first segment is no end of one"
    (desk.folder / "00000002.arrows").touch()
    desk.tick(1)
    assert desk.seqs() == [5]


def test_a_timeframe_that_is_behind_is_waited_for(desk: Desk) -> None:
    desk.now = states(5, behind=1)
    desk.tick(11)
    assert desk.seqs() == []
    desk.now = states(9)
    desk.synced = 9
    desk.tick(1)
    [path] = checkpoints_in(desk.folder)
    assert read(path).states.seqs == (5, 5, 9)


def test_a_checkpoint_is_never_ahead_of_the_log_on_the_disk(desk: Desk) -> None:
    desk.synced = 4
    desk.tick(10)
    assert desk.seqs() == []
    assert desk.account() == Written(0, 1, 0)
    desk.synced = 5
    desk.tick(10)
    assert desk.account() == Written(1, 1, 5)


def test_an_actor_that_never_catches_up_costs_an_occasion_and_the_next_one_is_taken(desk: Desk) -> None:
    desk.now = states(5, behind=1)
    desk.tick(9 + shell.LOOKS)
    assert desk.account().missed == 1
    desk.now = states(5)
    desk.tick(10)
    assert desk.seqs() == [5]


def test_a_disk_that_refuses_is_said_and_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    write: Callable[..., Any] = shell.write
    monkeypatch.setattr(shell, "write", full)
    desk.tick(10)
    assert "No space left on device; the next is tried in time" in caplog.text
    monkeypatch.setattr(shell, "write", write)
    desk.tick(10)
    assert desk.account() == Written(1, 1, 5)


def test_an_incarnation_that_follows_a_crash_goes_on_counting(desk: Desk) -> None:
    desk.tick(10)
    desk.tree.terminate_child("/checkpoint")
    desk.tree.restart_child("/checkpoint")
    assert desk.account() == Written(1, 0, 5)
    desk.tick(10)
    assert desk.account() == Written(2, 0, 5)
