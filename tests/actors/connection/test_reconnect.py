from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.connection.reconnect import (
    TRANSITIONS,
    AskToken,
    Connect,
    GiveUp,
    Happening,
    Hold,
    IllegalStep,
    Link,
    Phase,
    Policy,
    Wait,
    decide,
)

H = Happening
EXACT = Policy(jitter=0.0, first_patience=float("inf"))


def follow(policy, steps, rand=0.0):
    """Fold (seconds since the step before, happening) into decisions."""
    link, now, decisions = Link(), 0.0, []
    for after, happening in steps:
        now += after
        link, decision = decide(policy, link, happening, now, rand)
        decisions.append(decision)
    return link, decisions


def test_an_ordinary_day_connects_holds_and_comes_back():
    link, decisions = follow(EXACT, [(0, H.START), (1, H.OPENED), (3600, H.LOST), (0.5, H.DUE), (1, H.OPENED)])
    assert decisions == [Connect(), Hold(), Wait(0.5), Connect(), Hold()]
    assert link.phase is Phase.UP


def test_delays_double_up_to_the_cap_and_a_quiet_hour_resets_them():
    steps = [(0, H.START)]
    for _ in range(9):
        steps += [(1, H.FAILED), (120, H.DUE)]
    _, decisions = follow(EXACT, steps)
    assert [d.seconds for d in decisions if isinstance(d, Wait)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    _, decisions = follow(EXACT, [*steps, (1, H.OPENED), (60, H.LOST)])
    assert decisions[-1] == Wait(0.5)
    _, decisions = follow(EXACT, [*steps, (1, H.OPENED), (59, H.LOST)])
    assert decisions[-1] == Wait(30)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_in_its_range_and_no_number_of_failures_overflows(failures, rand):
    policy = Policy(jitter=0.5, patience=float("inf"))
    link = Link(phase=Phase.CONNECTING, delays=failures, ever_up=True)
    _, decision = decide(policy, link, H.FAILED, 5.0, rand)
    full = min(30.0, 0.5 * 2.0 ** min(failures, 60))
    assert full / 2 <= decision.seconds <= full


def test_the_gateway_s_retry_after_is_waited_for():
    link, _ = decide(EXACT, Link(), H.START, 0.0, 0.0)
    _, decision = decide(EXACT, link, H.FAILED, 1.0, 0.0, retry_after=17.0)
    assert decision == Wait(17.0)


@given(st.lists(st.floats(0, 3), max_size=80), st.floats(0, 1, exclude_max=True))
def test_attempts_never_exceed_the_window_however_often_the_link_breaks(ups, rand):
    policy = Policy(base=0.0, window=60.0, attempts_per_window=5, quiet=0.0)
    link, decision = decide(policy, Link(), H.START, 0.0, rand)
    now, attempts = 0.0, [0.0]
    for up in ups:
        link, _ = decide(policy, link, H.OPENED, now, rand)
        now += up
        link, decision = decide(policy, link, H.LOST, now, rand)
        while isinstance(decision, Wait):
            now += decision.seconds
            link, decision = decide(policy, link, H.DUE, now, rand)
        assert decision == Connect()
        attempts.append(now)
    for first, sixth in zip(attempts, attempts[5:], strict=False):
        assert sixth - first >= 60.0 * (1 - 1e-9)


def test_a_burst_of_attempts_is_followed_by_short_waits_and_not_by_one_as_long_as_the_window():
    policy = Policy(base=0.0, window=60.0, attempts_per_window=12, quiet=0.0, first_patience=1e9)
    link, decision = decide(policy, Link(), H.START, 0.0, 0.0)
    now, waits = 0.0, []
    for _ in range(30):
        assert decision == Connect()
        link, decision = decide(policy, link, H.FAILED, now, 0.0)
        waited = 0.0
        while isinstance(decision, Wait):
            waited += decision.seconds
            now += decision.seconds
            link, decision = decide(policy, link, H.DUE, now, 0.0)
        waits.append(waited)
    assert waits[:5] == [0.0] * 5
    assert max(waits) <= 10.0


def test_a_refused_token_is_replaced_and_a_second_refusal_is_for_good():
    _, decisions = follow(EXACT, [(0, H.START), (1, H.REFUSED), (1, H.TOKEN), (1, H.REFUSED)])
    assert decisions == [Connect(), AskToken(), Connect(), GiveUp("authentication")]


def test_a_refusal_long_ago_does_not_count_against_a_link_that_was_up_since():
    steps = [(0, H.START), (1, H.REFUSED), (1, H.TOKEN), (1, H.OPENED), (9, H.LOST), (1, H.DUE), (1, H.REFUSED)]
    _, decisions = follow(EXACT, steps)
    assert decisions[-1] == AskToken()


def test_no_new_token_is_the_end():
    _, decisions = follow(EXACT, [(0, H.START), (1, H.REFUSED), (1, H.FAILED)])
    assert decisions[-1] == GiveUp("authentication")


def test_a_certificate_that_is_not_trusted_is_the_end_at_once():
    _, decisions = follow(EXACT, [(0, H.START), (1, H.UNTRUSTED)])
    assert decisions[-1] == GiveUp("certificate")


def test_a_gateway_never_reached_is_given_up_sooner_than_one_that_was():
    policy = Policy(jitter=0.0, first_patience=30.0, patience=300.0)
    _, decisions = follow(policy, [(0, H.START), (29, H.FAILED), (0.5, H.DUE), (1, H.FAILED)])
    assert decisions[-1] == GiveUp("unreachable")
    lost = [(0, H.START), (0, H.OPENED), (9, H.LOST), (1, H.DUE)]
    _, decisions = follow(policy, [*lost, (200, H.FAILED), (1, H.DUE), (1, H.FAILED)])
    assert isinstance(decisions[-1], Wait)
    _, decisions = follow(policy, [*lost, (300, H.FAILED)])
    assert decisions[-1] == GiveUp("unreachable")


def test_after_a_logout_the_wait_is_long_and_grows_while_the_fight_goes_on():
    steps = [(0, H.START)]
    for _ in range(6):
        steps += [(1, H.OPENED), (1, H.LOGOUT), (1000, H.DUE)]
    _, decisions = follow(EXACT, steps)
    assert [d.seconds for d in decisions if isinstance(d, Wait)] == [60, 120, 240, 480, 900, 900]
    _, decisions = follow(EXACT, [*steps, (1, H.OPENED), (3600, H.LOGOUT)])
    assert decisions[-1] == Wait(60)


def test_a_token_that_expired_under_a_link_is_asked_for_anew():
    _, decisions = follow(EXACT, [(0, H.START), (1, H.OPENED), (9, H.EXPIRED), (1, H.TOKEN)])
    assert decisions[-2:] == [AskToken(), Connect()]


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_can_be_closed(phase):
    link, decision = decide(EXACT, Link(phase=phase), H.CLOSE, 0.0, 0.0)
    assert (link.phase, decision) == (Phase.OVER, GiveUp("closed"))


@pytest.mark.parametrize("happening", Happening)
@pytest.mark.parametrize("phase", Phase)
def test_every_step_goes_where_the_table_says_or_is_refused(phase, happening):
    link = Link(phase=phase)
    allowed = TRANSITIONS[phase].get(happening)
    if allowed is None:
        with pytest.raises(IllegalStep, match=phase.name):
            decide(EXACT, link, happening, 0.0, 0.0)
    else:
        after, _ = decide(EXACT, link, happening, 0.0, 0.0)
        assert after.phase in (allowed if isinstance(allowed, tuple) else (allowed,))
