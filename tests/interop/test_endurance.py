"""The long run against the real gateway, in a short form. The whole of it is `scripts/interop-soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickloom.scripts.endurance.aspnet import RUN
from tickloom.scripts.endurance.plan import Faults
from tickloom.scripts.endurance.run import run

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


@pytest.mark.parametrize("stateful", [False, True], ids=["plain", "stateful"])
def test_a_minute_in_which_everything_goes_wrong_leaves_every_tick_bar_and_event_accounted_for(
    tmp_path: Path, stateful: bool
) -> None:
    if not RUN.exists():
        pytest.fail(f"{RUN} is not there: the interop gateway lies in shared/interop beside the repository")
    # everything is held inside: ticks, gaps, bars, account events, renewals, replay
    faults = Faults(aborts=3, half_open=1, refused=2, logins=1, stalls=1)
    report = run(70.0, tmp_path, rate=500, faults=faults, seed=2, stateful=stateful)
    assert report.ticks > 50_000
    assert report.renewals["market"] >= 3
    assert report.gaps >= 3
