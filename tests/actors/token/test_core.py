from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.token.core import (
    DEFAULT_LIFE_NS,
    TRANSITIONS,
    Begin,
    Due,
    Failed,
    GiveUp,
    IllegalStep,
    Life,
    Login,
    Lost,
    Obtained,
    Phase,
    Policy,
    Publish,
    Refused,
    Rejected,
    Renew,
    SessionOver,
    WakeAt,
    expiry_ns,
    step,
)
from tickloom.config.secrets import Secret

NS = 1_000_000_000
NOW = 1_750_000_000 * NS
HOUR = 3600 * NS


def jwt(exp: object = None, **more: object) -> Secret:
    claims = {"sub": "me"} | ({} if exp is None else {"exp": exp}) | more
    parts = [{"alg": "HS256"}, claims]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return Secret(".".join([*coded, "c2lnbmF0dXJl"]))


def follow(*events, rand=0.0):
    """Fold (time, event) pairs into the state and the commands of each."""
    life, commands = Life(), []
    for now, event in events:
        life, given_out = step(Policy(), life, event, now, rand)
        commands.append(given_out)
    return life, commands


def test_a_token_is_obtained_published_and_renewed_well_before_it_expires():
    token, newer = jwt((NOW + 24 * HOUR) // NS), jwt((NOW + 43 * HOUR) // NS)
    due = NOW + int(24 * HOUR * 0.8)
    life, commands = follow((NOW, Begin()), (NOW, Obtained(token)), (due, Due()), (due, Obtained(newer)))
    assert commands == [
        (Login(),),
        (Publish(token, NOW + 24 * HOUR, "login"), WakeAt(due)),
        (Renew(token),),
        (Publish(newer, NOW + 43 * HOUR, "renewal"), WakeAt(due + int((NOW + 43 * HOUR - due) * 0.8))),
    ]
    assert life.phase is Phase.HELD
    assert life.token == newer


@given(st.floats(0, 1, exclude_max=True), st.integers(2, 100_000))
def test_renewal_is_spread_by_jitter_and_always_before_the_expiry(rand, seconds):
    token = jwt((NOW + seconds * NS) // NS)
    _, commands = follow((NOW, Begin()), (NOW, Obtained(token)), rand=rand)
    [wake] = [command for command in commands[1] if isinstance(command, WakeAt)]
    assert max(0.7 * seconds * NS, NS) - 1 <= wake.at_ns - NOW <= max(0.8 * seconds * NS, NS)


def test_the_gateway_s_clock_is_put_on_ours():
    token = jwt((NOW + HOUR) // NS)
    life, _ = follow((NOW, Begin()), (NOW, Obtained(token, skew_ns=10 * NS)))
    assert life.expires_ns == NOW + HOUR - 10 * NS


def test_a_token_that_does_not_say_when_it_expires_lives_a_day():
    life, _ = follow((NOW, Begin()), (NOW, Obtained(jwt())))
    assert life.expires_ns == NOW + DEFAULT_LIFE_NS


def test_a_failing_renewal_keeps_the_token_in_use_and_is_tried_ever_later_but_before_the_expiry():
    token = jwt((NOW + 1000 * NS) // NS)
    life, _ = follow((NOW, Begin()), (NOW, Obtained(token)))
    now, waits = NOW + 800 * NS, []
    while now < life.expires_ns:
        life, [renew] = step(Policy(), life, Due(), now, 0.0)
        assert renew == Renew(token)
        life, [wake] = step(Policy(), life, Failed("no answer"), now, 0.0)
        assert life.token == token
        assert wake.at_ns <= life.expires_ns
        waits.append((wake.at_ns - now) / NS)
        now = wake.at_ns
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert max(waits) <= 50
    life, commands = step(Policy(), life, Due(), now, 0.0)
    assert commands == (Lost("the token has expired"), Login())
    assert life.token is None


def test_a_renewal_that_fails_at_the_expiry_logs_in_at_once():
    token = jwt((NOW + 100 * NS) // NS)
    life, _ = follow((NOW, Begin()), (NOW, Obtained(token)), (NOW + 99 * NS, Due()))
    life, commands = step(Policy(), life, Failed("no answer"), NOW + 101 * NS, 0.0)
    assert [type(command) for command in commands] == [Lost, Login]
    assert life.phase is Phase.LOGGING_IN


def test_a_renewal_the_gateway_refuses_becomes_a_log_in_and_the_old_token_stays_in_use():
    token = jwt((NOW + HOUR) // NS)
    life, commands = follow(
        (NOW, Begin()), (NOW, Obtained(token)), (NOW + HOUR // 2, Due()), (NOW + HOUR // 2, SessionOver())
    )
    assert commands[-1] == (Login(),)
    assert life.token == token


def test_refused_credentials_are_final():
    life, commands = follow((NOW, Begin()), (NOW, Refused(3, "check the key")))
    assert commands[-1] == (GiveUp(3, "check the key"),)
    for event in (Due(), Rejected(jwt())):
        assert step(Policy(), life, event, NOW, 0.0) == (life, ())
    assert life.token is None


def test_a_failing_log_in_is_repeated_with_backoff_and_heeds_retry_after():
    events = [(NOW, Begin())]
    for _ in range(12):
        events += [(NOW, Failed("HTTP 500")), (NOW, Due())]
    _, commands = follow(*events)
    waits = [(c.at_ns - NOW) / NS for given_out in commands for c in given_out if isinstance(c, WakeAt)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    _, commands = follow((NOW, Begin()), (NOW, Failed("HTTP 429", retry_after=77.0)))
    assert commands[-1] == (Lost("HTTP 429"), WakeAt(NOW + 77 * NS))


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_no_number_of_failures_overflows_and_jitter_stays_in_its_range(failures, rand):
    life = Life(phase=Phase.LOGGING_IN, failures=failures)
    _, (_, wake) = step(Policy(), life, Failed("x"), NOW, rand)
    full = min(300.0, 2.0 ** min(failures, 40)) * NS
    assert full / 2 - NS <= wake.at_ns - NOW <= full


def test_a_token_a_hub_refused_is_thrown_away_unless_it_is_old_news():
    old, token = jwt((NOW + HOUR) // NS), jwt((NOW + 2 * HOUR) // NS)
    life, _ = follow((NOW, Begin()), (NOW, Obtained(token)))
    assert step(Policy(), life, Rejected(old), NOW, 0.0) == (life, ())
    after, commands = step(Policy(), life, Rejected(token), NOW, 0.0)
    assert [type(command) for command in commands] == [Lost, Login]
    assert after.token is None


@pytest.mark.parametrize(
    ("outcome", "phase", "commands"),
    [
        (Obtained(jwt((NOW + 3 * HOUR) // NS)), Phase.HELD, [Publish, WakeAt]),
        (SessionOver(), Phase.LOGGING_IN, [Login]),
        (Failed("HTTP 503"), Phase.LOGGING_IN, [Lost, Login]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_token_a_hub_refuses_while_it_is_being_renewed_is_not_handed_out_again(outcome, phase, commands):
    """The gateway voided all tokens as one was being renewed: given the same one again, a hub gave up for good."""
    token = jwt((NOW + HOUR) // NS)
    life, _ = follow((NOW, Begin()), (NOW, Obtained(token)), (NOW + HOUR // 2, Due()))
    life, told = step(Policy(), life, Rejected(token), NOW + HOUR // 2, 0.0)
    assert (life.phase, life.token) == (Phase.RENEWING, None)
    assert [type(command) for command in told] == [Lost]
    life, given = step(Policy(), life, outcome, NOW + HOUR // 2, 0.0)
    assert life.phase is phase
    assert life.token != token
    assert [type(command) for command in given] == commands


tokens = st.sampled_from([jwt((NOW + HOUR) // NS + n) for n in range(3)])
happenings = st.lists(
    st.one_of(
        tokens.map(Obtained), tokens.map(Rejected), st.just(SessionOver()), st.just(Failed("no")), st.just(Due())
    ),
    max_size=30,
)


@given(happenings)
def test_a_token_that_was_refused_is_held_no_more_until_it_is_given_anew(happenings):
    life, _ = step(Policy(), Life(), Begin(), NOW, 0.0)
    refused: list[Secret] = []
    for event in happenings:
        if type(event) not in TRANSITIONS[life.phase]:
            continue
        if isinstance(event, Obtained):
            refused = [token for token in refused if token != event.token]
        elif isinstance(event, Rejected):
            refused.append(event.token)
        life, _ = step(Policy(), life, event, NOW, 0.0)
        assert life.token is None or life.token not in refused


def test_an_alarm_of_the_past_wakes_nobody():
    for phase in (Phase.LOGGING_IN, Phase.RENEWING):
        life = Life(phase=phase, token=jwt(), expires_ns=NOW + HOUR)
        assert step(Policy(), life, Due(), NOW, 0.0) == (life, ())


def test_a_token_born_expired_is_renewed_at_a_walking_pace():
    _, commands = follow((NOW, Begin()), (NOW, Obtained(jwt((NOW - HOUR) // NS))))
    assert commands[-1][1] == WakeAt(NOW + NS)


EVENTS = [Begin(), Obtained(jwt()), Refused(3, "no"), SessionOver(), Failed("no"), Rejected(jwt()), Due()]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("phase", Phase)
def test_every_step_goes_where_the_table_says_or_is_refused(phase, event):
    life = Life(phase=phase, token=jwt(), expires_ns=NOW + HOUR)
    allowed = TRANSITIONS[phase].get(type(event))
    if allowed is None:
        with pytest.raises(IllegalStep, match=phase.name):
            step(Policy(), life, event, NOW, 0.5)
    else:
        assert step(Policy(), life, event, NOW, 0.5)[0].phase in allowed


def test_no_state_event_or_command_shows_the_token():
    token = jwt((NOW + HOUR) // NS)
    hidden = token.reveal().split(".")[1]
    life, commands = follow((NOW, Begin()), (NOW, Obtained(token)), (NOW + HOUR // 2, Due()))
    for each in (life, *commands, Obtained(token), Rejected(token)):
        assert hidden not in repr(each)
        assert hidden not in str(each)


# ------------------------------------------------------------------------------------------ reading the expiry


@given(st.integers(1, 2**33 - 1))
def test_the_expiry_of_a_json_web_token_is_read(exp):
    assert expiry_ns(jwt(exp)) == exp * NS
    assert expiry_ns(jwt(exp, nonce="ü?>", deep={"a": [1]})) == exp * NS


@pytest.mark.parametrize("exp", ["soon", 0, -5, 2**40, True, [1], 1e300, {"a": 1}])
def test_an_expiry_that_is_none_is_none(exp):
    assert expiry_ns(jwt(exp)) is None


@given(st.text(min_size=1))
def test_anything_may_be_a_token_without_an_expiry(text):
    expiry = expiry_ns(Secret(text))
    assert expiry is None or isinstance(expiry, int)


@pytest.mark.parametrize(
    "text", ["a.b", "a.b.c.d", "..", "a.!!.c", "a." + "A" * 5 + ".c", "é.é.é", "a.bnVsbA.c", "a.W10.c"]
)
def test_what_is_no_json_web_token_has_no_expiry(text):
    assert expiry_ns(Secret(text)) is None
