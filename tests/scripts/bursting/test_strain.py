"""The watch over an event loop, and the hook that makes actors slow."""

from __future__ import annotations

import asyncio
import time

import pytest

from tickloom.scripts.bursting.strain import EVERY_S, Heartbeat, Strain
from tickloom.wiring import MARKET


def test_a_loop_that_is_held_up_by_work_of_ours_is_noticed() -> None:
    heartbeat = Heartbeat()

    async def hold_up() -> None:
        Strain({}, heartbeat).pass_point(MARKET, "start")
        await asyncio.sleep(3 * EVERY_S)
        began = time.process_time()
        while time.process_time() - began < 0.08:
            pass
        await asyncio.sleep(3 * EVERY_S)

    asyncio.run(hold_up())
    assert heartbeat.beats >= 2
    assert 0.07 <= heartbeat.own_s <= heartbeat.worst_s


def test_a_loop_that_waits_for_the_machine_is_not_held_up_by_us() -> None:
    heartbeat = Heartbeat()

    async def wait() -> None:
        heartbeat.begin()
        await asyncio.sleep(3 * EVERY_S)
        time.sleep(0.08)  # noqa: ASYNC251 - stands for a machine that gives its cores to others
        await asyncio.sleep(3 * EVERY_S)

    asyncio.run(wait())
    assert heartbeat.worst_s >= 0.07
    assert heartbeat.own_s < 0.05


def test_only_those_named_are_slow_and_only_before_they_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    strain = Strain({"/slow": 0.5}, Heartbeat())
    for path in ("/slow", "/quick"):
        for point in ("before_fold", "after_fold", "on_emit"):
            strain.pass_point(path, point, 0, 1)
    assert slept == [0.5]
