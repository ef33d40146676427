from __future__ import annotations

from collections import Counter

import pytest

from tickloom.scripts.endurance.plan import MODES, QUIET_S, Faults, schedule


@pytest.mark.parametrize("seconds", [80.0, 600.0, 3600.0])
def test_every_fault_is_in_the_schedule_in_time_and_all_ways_of_delivering_take_turns(seconds):
    faults = Faults(aborts=20, half_open=5, refused=4, logins=3, stalls=2)
    steps = schedule(seconds, faults, seed=7)
    counts = Counter(step.what for step in steps)
    assert counts == {"abort": 20, "half_open": 5, "refused": 4, "login": 3, "stall": 2, "mode": 2 * len(MODES)}
    assert faults.total == sum(counts.values()) - counts["mode"]
    assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)
    troubles = [step.at_s for step in steps if step.what != "mode"]
    assert troubles[0] >= QUIET_S
    assert troubles[-1] <= seconds - 4 * QUIET_S, "time to be well again"
    assert [step.switches for step in steps if step.what == "mode"][: len(MODES)] == [dict(mode) for mode in MODES]


def test_links_are_ended_in_every_way_and_half_open_ones_are_found_in_both():
    steps = schedule(600.0, Faults(), seed=1)
    assert {step.switches["abort"] for step in steps if step.what == "abort"} == {True, "tcp", "reset"}
    assert {step.switches["mute_new"] for step in steps if step.what == "half_open"} == {True, False}
    assert {"abort" in step.switches for step in steps if step.what == "refused"} == {True, False}


def test_the_order_follows_from_the_seed():
    one, again, other = (schedule(600.0, Faults(), seed) for seed in (1, 1, 2))
    assert one == again
    assert [step.what for step in one] != [step.what for step in other]
