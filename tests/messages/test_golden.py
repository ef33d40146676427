"""Golden frames of .NET 9 (recorded) and 3.1 (constructed: see golden/README.md) through the protocol engine, however cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.connection.decode import Decoder
from tickloom.messages.projectx import UserAccount, user_event
from tickloom.messages.signalr import Close, Completion, HandshakeAccepted, Payload, SignalRProtocol, State
from tickloom.messages.stamps import parse_stamp

HERE = Path(__file__).parent
NET31 = HERE / "golden" / "net31.frames"
NET9 = sorted((HERE.parent / "actors" / "connection" / "golden").glob("net9-*.frames"))


def frames(path: Path) -> list[bytes]:
    """The frames, the handshake reply first."""
    return path.read_bytes().split(b"\n")[:-1]


def heard(stream: list[bytes]) -> tuple[SignalRProtocol, list]:
    """An engine that has sent its handshake and three invocations, and what it makes of a stream."""
    engine = SignalRProtocol()
    engine.start(0.0)
    events = list(engine.receive(stream[0], 0.0))
    for target in ("SubscribeContractTrades", "SubscribeContractQuotes", "NoSuchMethod"):
        engine.invoke(target, ["CON.F.US.MNQ.Z25"], 0.0)
    for each in stream[1:]:
        events += engine.receive(each, 0.0)
    return engine, events


def test_frames_of_net_3_1_steer_the_session_as_those_of_net_9_do():
    engine, events = heard(frames(NET31))
    assert engine.state is State.CLOSED
    first, second, third = [event for event in events if isinstance(event, Completion)]
    assert (first.error, second.error) == (None, None)
    assert third.error is not None
    assert third.error.startswith("Failed to invoke 'NoSuchMethod'")
    [close] = [event for event in events if isinstance(event, Close)]
    assert (close.error, close.allow_reconnect) == ("Connection closed with an error.", False)


def test_what_net_3_1_escapes_is_read_as_it_was_meant():
    _, events = heard(frames(NET31))
    payloads = [event.data for event in events if isinstance(event, Payload)]
    found = Decoder().decode("market/1", payloads, [0] * len(payloads), [0] * len(payloads))
    assert found.malformed == ()
    assert found.prints is not None
    stamps = ("2025-11-24T14:30:00.1234567+00:00", "2025-11-24T14:30:00.1234568Z")
    assert list(found.prints.ts_ns) == [parse_stamp(stamp) for stamp in stamps]
    assert list(found.prints.price) == [21003.25, 21003.5]
    [(_, quote)] = found.quotes
    assert quote.ts_ns == parse_stamp(stamps[1])
    [(_, target, payload)] = found.events
    assert user_event(target, payload) == UserAccount(1001, "Compte d'\u00e9t\u00e9", 50_000.5, True, True, True)


@pytest.mark.parametrize("path", [NET31, *NET9], ids=lambda path: path.stem)
@given(data=st.data())
def test_golden_frames_cut_anywhere_are_the_same_bytes_in_whole_messages(path, data):
    whole = frames(path)
    stream = b"".join(whole)
    cuts = sorted(data.draw(st.lists(st.integers(1, len(stream) - 1), max_size=20)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    engine = SignalRProtocol()
    engine.start(0.0)
    events = [event for piece in pieces for event in engine.receive(piece, 0.0)]
    assert isinstance(events[0], HandshakeAccepted)
    again = heard_plain(whole)
    assert b"".join(e.data for e in events if isinstance(e, Payload)) == b"".join(
        e.data for e in again if isinstance(e, Payload)
    )
    assert [type(e) for e in events if not isinstance(e, Payload)] == [
        type(e) for e in again if not isinstance(e, Payload)
    ]


def heard_plain(stream: list[bytes]) -> list:
    """What an engine that invoked nothing makes of a stream, frame by frame."""
    engine = SignalRProtocol()
    engine.start(0.0)
    return [event for each in stream for event in engine.receive(each, 0.0)]
