"""The conversation, sans I/O. The expected bytes were observed on the wire of an ASP.NET Core 9.0.7 server."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.scripts.gateway.protocol import HubSession, Invoked, MethodTable, Opened, State, Timing

S = 10**9
RS = "\x1e"
HANDSHAKE = '{"protocol":"json","version":1}' + RS
METHODS = MethodTable({"SubscribeContractTrades": (str,), "SubscribeOrders": (int,), "SubscribeAccounts": ()})
GONE = '{"type":7,"error":"Connection closed with an error.","allowReconnect":true}'
FAILED = "Failed to invoke 'SubscribeContractTrades' due to an error on the server."


def a_session(**options):
    return HubSession(METHODS, Timing(), 0, **options)


def opened(**options):
    session = a_session(**options)
    assert talk(session, HANDSHAKE) == ["{}"]
    return session


def talk(session, *frames, now=0):
    """Send frames, answer every call, and return the messages that come back."""
    for frame in frames:
        for event in session.receive(frame.encode(), now):
            if isinstance(event, Invoked):
                session.complete(event)
    return [part for part in session.take().decode().split(RS) if part]


def call(target, *arguments, mark="1", kind=1):
    message = {"type": kind, "invocationId": mark, "target": target, "arguments": list(arguments)}
    return json.dumps({name: value for name, value in message.items() if value is not None}) + RS


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        ('{"protocol":"json","version":0}', "{}"),
        ('{"protocol":"json","version":2}', "{}"),
        ('{"protocol":"json","version":1,"more":[]}', "{}"),
        ('{"protocol":"messagepack","version":1}', '{"error":"The protocol \'messagepack\' is not supported."}'),
        (
            '{"protocol":"json","version":9}',
            '{"error":"The server does not support version 9 of the \'json\' protocol."}',
        ),
        ("xx", '{"error":"An unexpected error occurred during connection handshake."}'),
        ("[]", '{"error":"An unexpected error occurred during connection handshake."}'),
        ('{"protocol":"json"}', '{"error":"An unexpected error occurred during connection handshake."}'),
        ('{"version":1}', '{"error":"An unexpected error occurred during connection handshake."}'),
    ],
)
def test_a_handshake_is_answered_as_the_real_server_does(sent, answer):
    session = a_session()
    assert talk(session, sent + RS) == [answer]
    assert session.state is (State.OPEN if answer == "{}" else State.ENDED)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (call("SubscribeContractTrades", "X"), '{"type":3,"invocationId":"1","result":null}'),
        (call("subscribecontracttrades", "X"), '{"type":3,"invocationId":"1","result":null}'),
        (call("SubscribeContractTrades", None), '{"type":3,"invocationId":"1","result":null}'),
        (call("SubscribeContractTrades", "X" * 31_000), '{"type":3,"invocationId":"1","result":null}'),
        (
            call("NoSuch"),
            '{"type":3,"invocationId":"1","error":"Failed to invoke \'NoSuch\' due to an error on the server.'
            ' HubException: Method does not exist."}',
        ),
        (call("SubscribeContractTrades", "X", "Y"), f'{{"type":3,"invocationId":"1","error":"{FAILED}"}}'),
        (call("SubscribeContractTrades"), f'{{"type":3,"invocationId":"1","error":"{FAILED}"}}'),
        (call("SubscribeContractTrades", 5), f'{{"type":3,"invocationId":"1","error":"{FAILED}"}}'),
        (
            call("SubscribeContractTrades", "X", kind=4),
            '{"type":3,"invocationId":"1","error":"The client attempted to invoke the non-streaming'
            " 'SubscribeContractTrades' method with a streaming invocation.\"}",
        ),
        (call("NoSuch", mark=None), None),
        (call("SubscribeContractTrades", "X", mark=None), None),
        ('{"type":6}' + RS, None),
        ('{"type":99}' + RS, None),
        ('{"type":5,"invocationId":"1"}' + RS, None),
        ('{"type":3,"invocationId":"1","result":1}' + RS, None),
        ('{"type":7}' + RS, '{"type":7}'),
        ('{"type":7,"error":"x"}' + RS, '{"type":7}'),
        ("xx" + RS, GONE),
        (RS, GONE),
        ("[]" + RS, GONE),
        ("{}" + RS, GONE),
        ('{"type":"1"}' + RS, GONE),
        ('{"type":1,"invocationId":1,"target":"SubscribeContractTrades","arguments":["X"]}' + RS, GONE),
        ('{"type":1,"invocationId":"1","target":"SubscribeContractTrades"}' + RS, GONE),
        ('{"type":1,"invocationId":"1","arguments":[]}' + RS, GONE),
        (call("SubscribeContractTrades", "X" * 40_000), GONE),
        ("X" * 40_000, GONE),
        ("[" * 30_000 + RS, GONE),
    ],
)
def test_a_message_is_answered_as_the_real_server_does(sent, answer):
    session = opened()
    assert talk(session, sent) == ([] if answer is None else [answer])
    assert session.state is (State.ENDED if answer and '"type":7' in answer else State.OPEN)


@pytest.mark.parametrize(
    ("value", "fits"),
    [(7, True), (-(2**31), True), (2**31, False), (1.0, False), (True, False), ("7", False), (None, False)],
)
def test_an_account_id_is_a_32_bit_integer_and_nothing_else(value, fits):
    (answer,) = talk(opened(), call("SubscribeOrders", value))
    assert ("error" not in answer) == fits


talks = [
    HANDSHAKE,
    call("SubscribeContractTrades", "X"),
    '{"type":6}' + RS,
    call("NoSuch", mark="2"),
    call("SubscribeAccounts", mark="3"),
]


@given(st.lists(st.integers(0, 250), max_size=12))
def test_frames_may_be_split_and_glued_in_any_way(cuts):
    text = "".join(talks)
    cuts = sorted({cut % len(text) for cut in cuts})
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert talk(a_session(), *parts) == talk(a_session(), text)


def test_answers_keep_the_order_of_the_questions():
    answers = talk(
        opened(),
        call("SubscribeContractTrades", "X", mark="1") + call("No", mark="2") + call("SubscribeAccounts", mark="3"),
    )
    assert [json.loads(answer)["invocationId"] for answer in answers] == ["1", "2", "3"]


@given(st.binary(max_size=300))
def test_garbage_never_raises(data):
    session = opened()
    list(session.receive(data + b"\x1e", 0))
    assert session.state in State


def test_after_the_end_nothing_is_taken_in_or_sent():
    session = opened()
    talk(session, "xx" + RS)
    session.send(b"late")
    session.close()
    assert talk(session, call("SubscribeAccounts")) == []
    assert session.reason == "not_json"


def test_the_handshake_may_be_glued_to_what_follows():
    session = a_session(glue_handshake=True)
    assert [type(event) for event in session.receive(HANDSHAKE.encode(), 0)] == [Opened]
    assert session.take() == b'{}\x1e{"type":6}\x1e'


def test_a_client_that_says_nothing_is_given_up_after_the_handshake_time():
    session = a_session()
    session.poll(15 * S - 1)
    assert session.state is State.HANDSHAKING
    session.poll(15 * S)
    assert session.take() == b'{"error":"Handshake was canceled."}\x1e'
    assert (session.state, session.reason) == (State.ENDED, "handshake_timeout")


def test_a_ping_goes_out_when_nothing_else_did_for_the_keepalive_time():
    session = opened()
    session.poll(15 * S - 1)
    assert session.take() == b""
    session.poll(15 * S)
    assert session.take() == b'{"type":6}\x1e'
    session.spoke(20 * S)
    session.poll(30 * S)
    assert session.take() == b""
    session.poll(35 * S)
    assert session.take() == b'{"type":6}\x1e'


def test_a_client_that_never_pings_is_never_timed_out():
    session = opened()
    session.poll(10_000 * S)
    assert session.state is State.OPEN


def test_once_a_client_has_pinged_its_silence_counts():
    session = opened()
    talk(session, '{"type":6}' + RS, now=S)
    talk(session, call("SubscribeAccounts"), now=20 * S)
    session.spoke(49 * S)
    session.poll(50 * S - 1)
    assert session.state is State.OPEN
    session.poll(50 * S)
    assert session.take().decode() == GONE + RS
    assert session.reason == "client_timeout"


def test_an_abort_says_nothing_of_reconnecting_unless_it_invites():
    plain, inviting = opened(), opened()
    plain.close()
    inviting.close(allow_reconnect=True)
    assert plain.take() == b'{"type":7}\x1e'
    assert inviting.take() == b'{"type":7,"allowReconnect":true}\x1e'


def test_a_hub_that_fails_on_connecting_does_not_invite_back():
    session = opened()
    session.reject("connect_error")
    assert session.take() == b'{"type":7,"error":"Connection closed with an error. HubException: connect_error"}\x1e'


def test_a_refused_call_is_a_completion_with_an_error():
    session = opened()
    (invoked,) = session.receive(call("SubscribeContractTrades", "X").encode(), 0)
    session.complete(invoked, "Contract 'X' not found.")
    answer = json.loads(session.take().removesuffix(b"\x1e"))
    assert answer["error"].endswith("HubException: Contract 'X' not found.")
    assert "result" not in answer
