"""States given before the start: an actor begins with one as if an incarnation before it had committed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tickloom.supervision import ChildSpec, FoldActor, NoSuchPlace, SupervisionError, SupervisorSpec, Tree
from tickloom.supervision.fold import halve


class Sum:
    """Adds up numbers."""

    def initial(self) -> int:
        return 0

    def step(self, state: int, messages: Sequence[Any]) -> tuple[int, Sequence[Any]]:
        return state + sum(messages), ()

    def split(self, messages: Sequence[Any]) -> Any:
        return halve(messages)


class Adder(FoldActor[int]):
    def query(self, state: int, message: Any) -> int:
        return state


def tree() -> Tree:
    child = ChildSpec(id="adder", start=lambda context: Adder(context, Sum()))
    return Tree(SupervisorSpec(children=(child,)))


def test_a_fold_goes_on_from_the_state_it_was_given() -> None:
    made = tree()
    made.seed("/adder", 40)
    assert made.recall("/adder") == 40
    with made:
        made.ref("/adder").put(2)
        assert made.settle("/adder", 5)
        assert made.ref("/adder").ask("sum") == 42


def test_a_state_can_be_given_to_nobody_who_is_not_there_or_runs_already() -> None:
    made = tree()
    with pytest.raises(NoSuchPlace):
        made.seed("/nobody", 1)
    with made:
        with pytest.raises(SupervisionError, match="before the start"):
            made.seed("/adder", 1)
        assert made.ref("/adder").ask("sum") == 0
