"""A figure says how many times better it is, whichever way it is to be read, and nothing where there is no peer."""

from __future__ import annotations

import pytest

from tickloom.scripts.benching.figures import Figure, Machine, machine


@pytest.mark.parametrize(
    ("ours", "theirs", "more", "times"),
    [(6.0, 3.0, True, 2.0), (6.0, 3.0, False, 0.5), (6.0, None, True, None), (0.0, 3.0, False, None)],
)
def test_a_ratio_above_one_is_better(ours: float, theirs: float | None, more: bool, times: float | None) -> None:
    assert Figure(name="x", unit="ms", ours=ours, theirs=theirs, more_is_better=more).times == times


def test_a_machine_that_does_other_work_says_so() -> None:
    assert Machine("3.13", "Linux", 2, 0.6, {}).busy
    assert not Machine("3.13", "Linux", 2, 0.4, {}).busy
    assert not Machine("3.13", "Linux", 2, None, {}).busy


def test_packages_that_are_not_installed_are_left_out() -> None:
    here = machine(("pykka", "no-such-package"))
    assert list(here.versions) == ["pykka"]
    assert here.cores >= 1
