"""Health says the worst at once, the better only after a while, and why."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tickloom.actors.health.fold import HealthFold, HealthState, Limits
from tickloom.messages.control import Beat
from tickloom.messages.market import NS
from tickloom.messages.reports import (
    ActorState,
    FeedState,
    Health,
    HealthInput,
    LinkState,
    RecorderState,
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
