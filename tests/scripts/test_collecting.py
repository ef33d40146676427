"""The cyclic collector once everything is up."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tickloom.scripts.collecting import THRESHOLDS, settle


@pytest.fixture
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("as_before")
def test_what_is_there_is_set_aside_and_what_comes_is_still_collected() -> None:
    gc.collect()  # what other tests left is not there any more
    there = len(gc.get_objects())
    settle()
    assert gc.get_freeze_count() > there * 0.9
    assert len(gc.get_objects()) < there * 0.1
    assert gc.get_threshold() == THRESHOLDS
    ring: list[object] = []
    ring.append(ring)
    del ring
    assert gc.collect() > 0
