from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tickloom.messages.signalr import (
    PING,
    TRANSITIONS,
    Asked,
    Close,
    Completion,
    HandshakeAccepted,
    HandshakeRefused,
    Limits,
    LocalProtocolError,
    Payload,
    Resumed,
    ResumeFailed,
    SignalRProtocol,
    State,
    Step,
    StreamItem,
    TimedOut,
)

RS = b"\x1e"
TRADE = b'{"type":1,"target":"GatewayTrade","arguments":["C",[]]}' + RS


def message(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + RS


def opened(*, stateful: bool = False, limits: Limits | None = None) -> SignalRProtocol:
    engine = SignalRProtocol(limits, stateful=stateful)
    engine.start(0.0)
    assert engine.receive(b"{}" + RS, 0.0) == [HandshakeAccepted()]
    return engine


def payloads(events) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Payload))


# ------------------------------------------------------------------------------------------ the handshake


def test_the_handshake_asks_for_json_version_1_and_for_version_2_when_stateful():
    assert SignalRProtocol().start(0.0) == b'{"protocol":"json","version":1}\x1e'
    assert SignalRProtocol(stateful=True).start(0.0) == b'{"protocol":"json","version":2}\x1e'


def test_messages_glued_to_the_handshake_reply_are_not_lost():
    engine = SignalRProtocol()
    engine.start(0.0)
    assert engine.receive(b"{}" + RS + TRADE + TRADE, 0.0) == [HandshakeAccepted(), Payload(TRADE + TRADE)]


def test_a_refused_handshake_closes_the_session_with_the_server_s_words():
    engine = SignalRProtocol()
    engine.start(0.0)
    assert engine.receive(message(error="no such protocol"), 0.0) == [HandshakeRefused("no such protocol")]
    assert engine.state is State.CLOSED


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"error":5}'])
def test_a_reply_that_is_no_handshake_is_a_refusal_and_no_exception(reply):
    engine = SignalRProtocol()
    engine.start(0.0)
    [event] = engine.receive(reply + RS, 0.0)
    assert isinstance(event, HandshakeRefused)
    assert len(event.error) < 500


def test_a_handshake_without_an_answer_times_out_after_fifteen_seconds():
    engine = SignalRProtocol()
    engine.start(100.0)
    assert engine.next_deadline() == 115.0
    assert engine.on_time(114.9) == (b"", [])
    assert engine.on_time(115.0) == (b"", [TimedOut(15.0, State.HANDSHAKE)])
    assert engine.state is State.CLOSED


# ------------------------------------------------------------------------------------------ framing

whole = st.sampled_from(
    [
        TRADE,
        message(type=6),
        message(type=3, invocationId="77", result=None),
        message(type=1, headers={"a": "b"}, target="GatewayQuote", arguments=["C", {"lastPrice": 1}]),
        message(type=99, what="is this"),
        b'{"target":"GatewayTrade","arguments":["C",[]],"type":1}' + RS,
        b"no json" + RS,
        b"\xff\xfe" + RS,
        RS,
    ]
)


@given(st.lists(whole, min_size=1, max_size=30), st.data())
def test_however_the_stream_is_cut_the_same_bytes_are_handed_on_in_whole_messages(messages, data):
    stream = b"".join(messages)
    engine = opened()
    handed = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        handed += engine.receive(stream[at : at + size], 0.0)
        at += size
    assert payloads(handed) == stream
    assert all(event.data.endswith(RS) for event in handed if isinstance(event, Payload))
    assert engine.counts["received"] == len(messages)
    assert engine.counts["pings"] == messages.count(message(type=6))
    assert engine.counts.get("bad.json", 0) == sum(m in (b"no json" + RS, b"\xff\xfe" + RS, RS) for m in messages)
    assert engine.counts.get("bad.unknown_type", 0) == messages.count(message(type=99, what="is this"))
    assert engine.state is State.OPEN


@given(st.lists(st.binary(max_size=80), max_size=20))
@example([b"[" * 100_000 + RS])
@example([b'{"type":1e400}' + RS, b'{"type":true}' + RS, b'{"type":' + b"9" * 400 + b"}" + RS])
def test_garbage_never_raises_and_never_ends_an_open_session(chunks):
    engine = opened()
    events = [event for chunk in chunks for event in engine.receive(chunk, 1.0)]
    stream = b"".join(chunks)
    if not any(isinstance(event, Close) for event in events):
        assert payloads(events) == stream[: stream.rfind(RS) + 1]
        assert engine.receive(RS + TRADE, 1.0)[-1].data.endswith(TRADE)


def test_a_frame_of_nothing_but_events_is_handed_on_as_it_came():
    engine = opened()
    glued = TRADE * 150
    [event] = engine.receive(glued, 0.0)
    assert event.data is glued
    assert engine.counts["received"] == 150


def test_a_message_without_an_end_is_given_up_at_the_limit_and_the_next_one_is_read():
    engine = opened(limits=Limits(message=1000))
    for _ in range(50):
        assert engine.receive(b"x" * 100, 0.0) == []
    assert engine.receive(b"x" * 10 + RS + TRADE, 0.0) == [Payload(TRADE)]
    assert engine.counts["bad.oversized"] >= 1
    assert engine.state is State.OPEN


def test_what_is_held_back_for_an_unfinished_message_is_bounded_by_the_limit():
    engine = opened(limits=Limits(message=1000))
    for _ in range(500):
        engine.receive(b"x" * 999, 0.0)
        assert len(engine._rest) <= 1000


# ------------------------------------------------------------------------------------------ invocations


def test_a_completion_is_matched_with_its_invocation():
    engine = opened()
    first, data = engine.invoke("SubscribeContractTrades", ["C"], 0.0)
    assert json.loads(data[:-1]) == {
        "type": 1,
        "invocationId": first,
        "target": "SubscribeContractTrades",
        "arguments": ["C"],
    }
    second, _ = engine.invoke("Add", [1, 2], 0.0)
    events = engine.receive(
        message(type=3, invocationId=second, result={"a": [1, None]})
        + message(type=3, invocationId=first, result=None),
        0.0,
    )
    assert [event for event in events if isinstance(event, Completion)] == [
        Completion(second, "Add", (1, 2), None, b'{"a":[1,null]}'),
        Completion(first, "SubscribeContractTrades", ("C",), None, None),
    ]
    assert engine.pending == ()


def test_a_completion_with_an_error_carries_it_and_a_result_beside_it_is_ignored():
    engine = opened()
    invocation, _ = engine.invoke("Add", [], 0.0)
    events = engine.receive(message(type=3, invocationId=invocation, result=5, error="it failed"), 0.0)
    assert events[-1] == Completion(invocation, "Add", (), "it failed", None)


def test_a_completion_of_nothing_asked_is_counted_and_ignored():
    engine = opened()
    invocation, _ = engine.invoke("Add", [], 0.0)
    done = message(type=3, invocationId=invocation)
    assert isinstance(engine.receive(done, 0.0)[-1], Completion)
    assert engine.receive(done, 0.0) == [Payload(done)]
    engine.receive(message(type=3), 0.0)
    assert engine.counts["bad.unmatched"] == 2


def test_stream_items_belong_to_an_open_stream_invocation():
    engine = opened()
    stream, data = engine.stream("Count", [3], 0.0)
    assert json.loads(data[:-1])["type"] == 4
    assert engine.receive(message(type=2, invocationId=stream, item=[1]), 0.0)[-1] == StreamItem(stream, b"[1]")
    engine.receive(message(type=2, invocationId="other", item=1), 0.0)
    assert engine.counts["bad.unmatched"] == 1


def test_an_event_wants_no_answer_and_a_question_gets_one():
    engine = opened()
    assert engine.receive(TRADE, 0.0) == [Payload(TRADE)]
    asked = b'{"type":1,"invocationId":"s1","target":"GetMood","arguments":[]}' + RS
    assert engine.receive(asked, 0.0) == [Payload(asked), Asked("s1", "GetMood")]
    answer = json.loads(engine.complete("s1", 0.0, error="no such method")[:-1])
    assert answer == {"type": 3, "invocationId": "s1", "error": "no such method"}


def test_invocations_without_an_answer_are_bounded():
    engine = opened(limits=Limits(pending=3))
    for _ in range(3):
        engine.invoke("Add", [], 0.0)
    with pytest.raises(LocalProtocolError, match="no answer yet"):
        engine.invoke("Add", [], 0.0)
    assert len(engine.pending) == 3


def test_sending_and_cancelling_are_written_as_the_protocol_says():
    engine = opened()
    assert json.loads(engine.send("Go", [1], 0.0)[:-1]) == {"type": 1, "target": "Go", "arguments": [1]}
    assert json.loads(engine.cancel("5", 0.0)[:-1]) == {"type": 5, "invocationId": "5"}


# ------------------------------------------------------------------------------------------ closing


@pytest.mark.parametrize(
    ("wire", "event"),
    [
        (b'{"type":7}', Close(None, False)),
        (b'{"type":7,"allowReconnect":true}', Close(None, True)),
        (b'{"type":7,"error":"Connection closed with an error."}', Close("Connection closed with an error.", False)),
    ],
)
def test_a_close_ends_the_session_and_says_whether_to_come_back(wire, event):
    engine = opened()
    assert engine.receive(TRADE + wire + RS, 0.0) == [Payload(TRADE + wire + RS), event]
    assert engine.state is State.CLOSED
    assert engine.close() == b""


def test_what_follows_a_close_is_counted_and_dropped():
    engine = opened()
    close = message(type=7)
    events = engine.receive(close + TRADE + TRADE, 0.0)
    assert payloads(events) == close
    engine.receive(TRADE, 0.0)
    assert engine.counts["bad.after_close"] == 3


def test_our_own_close_is_a_message_once():
    engine = opened()
    assert engine.close() == b'{"type":7}' + RS
    assert engine.close() == b""
    assert engine.next_deadline() == float("inf")


# ------------------------------------------------------------------------------------------ time


def test_a_ping_goes_out_after_fifteen_idle_seconds_and_not_if_something_was_sent():
    engine = opened()
    assert engine.next_deadline() == 15.0
    assert engine.on_time(14.9) == (b"", [])
    assert engine.on_time(15.0) == (PING, [])
    engine.receive(TRADE, 20.0)
    engine.send("Go", [], 25.0)
    assert engine.on_time(30.0) == (b"", [])
    engine.receive(TRADE, 39.0)
    assert engine.next_deadline() == 40.0
    assert engine.on_time(40.0) == (PING, [])


def test_a_server_silent_for_thirty_seconds_is_given_up():
    engine = opened()
    engine.receive(message(type=6), 10.0)
    assert engine.on_time(39.0)[1] == []
    assert engine.on_time(40.0) == (b"", [TimedOut(30.0, State.OPEN)])
    assert engine.state is State.CLOSED


def test_silence_while_we_did_not_listen_is_forgiven():
    engine = opened()
    engine.excuse(29.0)
    assert engine.on_time(31.0)[1] == []
    assert engine.on_time(59.0)[1] == [TimedOut(30.0, State.OPEN)]


# ------------------------------------------------------------------------------------------ stateful reconnect


def numbered(number: int) -> bytes:
    return message(type=1, target="Event", arguments=[number])


def test_received_messages_are_acknowledged_once_a_second():
    engine = opened(stateful=True)
    engine.receive(numbered(1) + message(type=6) + numbered(2), 0.5)
    assert engine.next_deadline() == 1.0
    data, _ = engine.on_time(1.0)
    assert data == b'{"type":8,"sequenceId":2}' + RS
    engine.receive(numbered(3), 1.5)
    assert engine.on_time(1.9) == (b"", [])
    assert engine.on_time(2.0)[0] == b'{"type":8,"sequenceId":3}' + RS


def test_much_that_was_received_is_acknowledged_at_once_and_the_clock_starts_anew():
    """A server keeps what is not acknowledged, and with its 100,000 bytes full it sends nothing more."""
    engine = opened(stateful=True, limits=Limits(acknowledge_bytes=2 * len(numbered(1))))
    engine.receive(numbered(1), 0.1)
    assert engine.acknowledge(0.1) == b""
    engine.receive(numbered(2), 0.5)
    assert engine.acknowledge(0.5) == b'{"type":8,"sequenceId":2}' + RS
    assert engine.acknowledge(0.5) == b"", "all of it was said"
    engine.receive(numbered(3), 0.6)
    assert engine.on_time(1.4)[0] == b""
    assert engine.on_time(1.5)[0] == b'{"type":8,"sequenceId":3}' + RS


def test_a_session_that_is_not_stateful_acknowledges_nothing():
    engine = opened(limits=Limits(acknowledge_bytes=1))
    engine.receive(numbered(1), 5.0)
    assert engine.acknowledge(5.0) == b""


def test_after_a_cut_repeated_messages_are_dropped_and_new_ones_are_not():
    engine = opened(stateful=True)
    engine.receive(b"".join(map(numbered, range(1, 6))), 0.0)
    engine.receive(numbered(6)[:20], 0.0)  # cut in the middle of a message
    engine.lose()
    assert engine.resume(1.0) == b'{"type":9,"sequenceId":1}' + RS
    events = engine.receive(numbered(1), 1.0)  # before the sequence: ignored
    assert events == []
    replay = b"".join(map(numbered, range(4, 9)))
    events = engine.receive(message(type=9, sequenceId=4) + replay + message(type=6), 1.0)
    assert events[0] == Resumed(2)
    assert payloads(events) == numbered(6) + numbered(7) + numbered(8) + message(type=6)
    assert engine.counts["bad.repeated"] == 2
    assert engine.receive(numbered(9), 1.0) == [Payload(numbered(9))]


def test_what_the_peer_has_not_acknowledged_is_sent_again_after_our_sequence():
    engine = opened(stateful=True)
    sent = [engine.send("Go", [n], 0.0) for n in range(4)]
    engine.receive(message(type=8, sequenceId=2), 0.0)
    engine.lose()
    assert engine.resume(1.0) == b'{"type":9,"sequenceId":3}' + RS + sent[2] + sent[3]


def test_a_sequence_beyond_what_came_means_loss_and_ends_the_session():
    engine = opened(stateful=True)
    engine.receive(numbered(1), 0.0)
    engine.lose()
    engine.resume(1.0)
    [event] = engine.receive(message(type=9, sequenceId=5), 1.0)
    assert isinstance(event, ResumeFailed)
    assert engine.state is State.CLOSED


def test_unacknowledged_messages_are_bounded():
    engine = opened(stateful=True, limits=Limits(unacknowledged=2))
    engine.send("Go", [], 0.0)
    engine.send("Go", [], 0.0)
    with pytest.raises(LocalProtocolError, match="has not acknowledged"):
        engine.send("Go", [], 0.0)


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=8))
def test_through_any_cuts_every_message_arrives_once_and_in_order(total, cuts):
    engine = opened(stateful=True)
    got: list[int] = []
    at = 1  # the number of the next message on the wire

    def deliver(upto: int, torn: bytes) -> None:
        nonlocal at
        upto = min(upto, total)
        events = engine.receive(b"".join(map(numbered, range(at, upto + 1))) + torn, 0.0)
        at = max(at, upto + 1)
        got.extend(json.loads(one)["arguments"][0] for one in payloads(events).split(RS) if one)

    for forward, unacknowledged in cuts:
        deliver(at + forward - 1, numbered(0)[:5])
        engine.lose()
        engine.resume(0.0)
        at = max(1, len(got) + 1 - unacknowledged)
        engine.receive(message(type=9, sequenceId=at), 0.0)
    deliver(total, b"")
    assert got == list(range(1, total + 1))


# ------------------------------------------------------------------------------------------ the table


def reach(state: State) -> SignalRProtocol:
    """An engine in that state."""
    engine = SignalRProtocol(stateful=True)
    if state is State.NEW:
        return engine
    engine.start(0.0)
    if state is State.HANDSHAKE:
        return engine
    engine.receive(b"{}" + RS, 0.0)
    if state in (State.CUT, State.RESUMING):
        engine.lose()
        if state is State.RESUMING:
            engine.resume(0.0)
    if state is State.CLOSED:
        engine.close()
    assert engine.state is state
    return engine


ACTIONS = {
    Step.START: lambda engine: engine.start(0.0),
    Step.LOSE: lambda engine: engine.lose(),
    Step.RESUME: lambda engine: engine.resume(0.0),
    Step.CLOSE: lambda engine: engine.close(),
}


@pytest.mark.parametrize("step", ACTIONS)
@pytest.mark.parametrize("state", State)
def test_every_step_of_the_caller_goes_where_the_table_says_or_is_refused_and_changes_nothing(state, step):
    engine = reach(state)
    if step in TRANSITIONS[state]:
        ACTIONS[step](engine)
        assert engine.state is TRANSITIONS[state][step]
    else:
        before = dict(engine.counts)
        with pytest.raises(LocalProtocolError, match=state.name):
            ACTIONS[step](engine)
        assert (engine.state, engine.counts) == (state, before)


@pytest.mark.parametrize("state", [state for state in State if state is not State.OPEN])
def test_nothing_is_sent_by_a_session_that_is_not_open(state):
    engine = reach(state)
    for action in (lambda: engine.invoke("Add", [], 0.0), lambda: engine.send("Go", [], 0.0)):
        with pytest.raises(LocalProtocolError, match=state.name):
            action()
    assert engine.state is state
    assert engine.pending == ()


def test_every_state_of_the_table_can_be_left_but_the_closed_one():
    assert set(TRANSITIONS) == set(State)
    for state, steps in TRANSITIONS.items():
        assert (set(steps.values()) == {State.CLOSED}) == (state is State.CLOSED)
