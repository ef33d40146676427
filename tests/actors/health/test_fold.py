"""Health says the worst at once, the better only after a while, and why."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tickloom.actors.health.fold import SAMPLES, HealthFold, HealthState, Limits
from tickloom.messages.control import Beat
from tickloom.messages.market import NS
from tickloom.messages.reports import (
    ActorState,
    ClockState,
    FeedState,
    Health,
    HealthInput,
    LinkState,
    RecorderState,
    Report,
    Strain,
    TokenState,
)

T0 = 1_763_990_000 * NS
ES = "CON.F.US.EP.Z25"


def beat(seconds: float) -> Beat:
    return Beat(recv_ns=T0 + int(seconds * NS))


def run(
    fold: HealthFold, *messages: HealthInput | Beat, state: HealthState | None = None
) -> tuple[HealthState, list[Health]]:
    state, said = state or fold.initial(), []
    for message in messages:
        state, outputs = fold.step(state, [message])
        said += outputs
    return state, said


def fold(is_open: bool = True) -> HealthFold:
    return HealthFold(Limits(), lambda contract, ns: is_open)


@pytest.mark.parametrize(
    ("inputs", "status", "words"),
    [
        ([LinkState("market", "down", "reset by peer")], "degraded", "market hub is down: reset by peer"),
        ([LinkState("market", "lost", "gave up")], "unhealthy", "market hub is lost for good"),
        ([FeedState(((ES, T0 - 3 * NS, T0),))], "degraded", "arrives 3.0 s late"),
        ([TokenState(T0 + 60 * NS, "renewal refused")], "degraded", "token expires in 60 s: renewal refused"),
        ([TokenState(T0 - NS)], "unhealthy", "token has expired"),
        ([RecorderState(False, "disk full")], "unhealthy", "log is not being written: disk full"),
        ([ActorState("pipeline/validation", "failed", "ValueError")], "degraded", "pipeline/validation failed"),
        ([ActorState("bars/1m", "breaker_open")], "unhealthy", "breaker of bars/1m is open"),
    ],
)
def test_each_condition_has_its_severity_and_its_words(inputs: Sequence[HealthInput], status: str, words: str) -> None:
    state, said = run(fold(), beat(0), *inputs)
    assert state.status == status
    assert words in "; ".join(state.reasons)
    assert [h.status for h in said] == [status]


def test_a_quiet_contract_is_stale_only_while_its_market_is_open() -> None:
    feed = FeedState(((ES, T0, T0),))
    open_state, _ = run(fold(is_open=True), beat(0), feed, beat(31))
    closed_state, _ = run(fold(is_open=False), beat(0), feed, beat(31))
    assert open_state.status == "degraded"
    assert "has sent nothing for 31 s" in open_state.reasons[0]
    assert closed_state.status == "healthy"


def test_it_gets_better_only_after_two_quiet_seconds_so_that_it_does_not_flap() -> None:
    up, down = LinkState("market", "up"), LinkState("market", "down")
    state, said = run(fold(), beat(0), up, down, beat(1), up, beat(2), down, beat(3), up, beat(4))
    assert state.status == "degraded"
    state, more = run(fold(), beat(5.9), beat(6.1), state=state)
    assert state.status == "healthy"
    assert [h.status for h in said + more] == ["degraded", "healthy"]
    assert state.reasons == ()


def test_a_breaker_that_closes_takes_its_reason_along() -> None:
    state, _ = run(fold(), beat(0), ActorState("bars/1m", "breaker_open"), ActorState("bars/1m", "breaker_closed"))
    assert "breaker" not in "".join(fold().view(state).reasons) or state.status == "unhealthy"
    state, _ = run(fold(), beat(3), beat(6), state=state)
    assert (state.status, state.reasons) == ("healthy", ())


def test_the_first_time_the_link_comes_up_it_is_healthy_at_once() -> None:
    state, said = run(fold(), beat(0), LinkState("market", "connecting"), LinkState("market", "up"))
    assert [h.status for h in said] == ["degraded", "healthy"]
    assert state.reasons == ()


@pytest.mark.parametrize(
    ("strain", "status", "words"),
    [
        (Strain(memory=0.9, memory_words="90% of the group"), "degraded", "memory: 90% of the group is used"),
        (Strain(memory=0.97, memory_words="97% of the group"), "unhealthy", "memory: 97% of the group is used"),
        (Strain(overflowing={"/bars/1m": "3 merged"}), "degraded", "the mailbox of /bars/1m overflows: 3 merged"),
        (
            Strain(stuck={"/bars/1m": 12.4}),
            "unhealthy",
            "/bars/1m has had messages waiting and has handled none for 12 s",
        ),
        (Strain(disk_free={"log": 500 * 2**20}), "degraded", "the disk under log has 500 MiB left"),
        (Strain(disk_free={"log": 5 * 2**20}), "unhealthy", "the disk under log has 5 MiB left"),
    ],
)
def test_memory_mailboxes_stuck_actors_and_disks_are_conditions(strain: Strain, status: str, words: str) -> None:
    state, said = run(fold(), beat(0), strain)
    assert (state.status, state.reasons) == (status, (words,))
    assert [h.status for h in said] == [status]
    state, _ = run(fold(), Strain(memory=0.1), beat(1), beat(4), state=state)
    assert (state.status, state.reasons) == ("healthy", ())


def test_an_actor_whose_breaker_is_open_is_not_called_stuck_as_well() -> None:
    state, _ = run(fold(), beat(0), ActorState("/bars/1m", "breaker_open"), Strain(stuck={"/bars/1m": 60.0}))
    assert state.reasons == ("the breaker of /bars/1m is open",)


def report(received: int, **rejected: int) -> Report:
    return Report("validation", 0, {"received": received, **{f"rejected_{name}": n for name, n in rejected.items()}})


def test_too_large_a_share_of_prints_rejected_within_a_minute_is_an_alarm_that_ends() -> None:
    said: list[Health] = []
    state, more = run(fold(), beat(0), report(1000, jump=5))
    said += more
    state, more = run(fold(), beat(10), report(2000, jump=25, late=10), state=state)
    said += more
    assert state.status == "degraded"
    assert state.reasons == ("3.0% of the prints of the last 10 s were rejected, most of them as jump",)
    for second in range(11, 90):
        state, more = run(fold(), beat(second), report(2000 + second * 100, jump=25, late=10), state=state)
        said += more
        assert len(state.rejects) <= SAMPLES
    assert [h.status for h in said] == ["degraded", "healthy"]


def test_a_few_rejects_among_few_prints_are_no_alarm() -> None:
    state, _ = run(fold(), beat(0), report(10), beat(1), report(60, jump=30))
    assert state.status == "healthy"


def test_totals_that_begin_anew_are_not_taken_for_an_alarm() -> None:
    state, _ = run(fold(), beat(0), report(10_000, jump=10), beat(1), report(200, jump=150))
    assert state.status == "healthy"


def test_without_the_flag_neither_silence_nor_delay_is_judged() -> None:
    blind = HealthFold(Limits(feed=False), lambda contract, ns: True)
    state, _ = run(blind, beat(0), FeedState(((ES, T0 - 60 * NS, T0),)), beat(100))
    assert (state.status, state.reasons) == ("healthy", ())
    assert blind.view(state).staleness == {ES: 100.0}, "it is still measured"


def test_a_clock_that_is_wrong_makes_no_feed_late_and_a_late_feed_is_late_by_a_wrong_clock_too() -> None:
    ahead = ClockState(29 * NS, 31 * NS)
    punctual = FeedState((("A", 100 * NS, 130 * NS + NS // 50),))
    fold, state = HealthFold(Limits(), lambda contract, ns: True), HealthFold(Limits(), lambda c, ns: True).initial()
    state, _ = fold.step(state, [Beat(recv_ns=130 * NS), ahead, punctual])
    seen = fold.view(state)
    assert seen.reasons == ()
    assert seen.feed_delay_ms == {"A": 0.0}
    assert seen.clock_offset_ms == 30_020.0
    state, _ = fold.step(state, [FeedState((("A", 101 * NS, 134 * NS + NS // 50),)), Beat(recv_ns=134 * NS)])
    assert fold.view(state).feed_delay_ms == {"A": 3000.0}
    assert fold.view(state).reasons == ("A arrives 3.0 s late",)


def test_the_round_trip_of_each_hub_is_shown() -> None:
    fold = HealthFold(Limits(), lambda contract, ns: True)
    state, _ = fold.step(fold.initial(), [LinkState("market", "up", "", 2_500_000), LinkState("user", "up")])
    assert fold.view(state).round_trip_ms == {"market": 2.5}
