import asyncio

import pytest

from tickloom.scripts.gateway.connection import HELD, HIGH, HubConnection
from tickloom.scripts.gateway.protocol import HubSession, MethodTable, Timing
from tickloom.scripts.gateway.tokens import Claims

S = 10**9


class Transport:
    """A transport whose peer takes as much as the test lets it."""

    def __init__(self):
        self.written, self.waiting, self.closing, self.calls = b"", 0, False, []

    def write(self, data):
        self.written += data
        self.waiting += len(data)

    def get_write_buffer_size(self):
        return self.waiting

    def is_closing(self):
        return self.closing

    def close(self):
        self.calls.append("close")

    def abort(self):
        self.calls.append("abort")

    def get_extra_info(self, name, default=None):
        return default


@pytest.fixture
def link():
    async def make():
        transport = Transport()
        session = HubSession(MethodTable({}), Timing(), 0)
        list(session.receive(b'{"protocol":"json","version":1}\x1e', 0))
        connection = HubConnection("c", "market", Claims("demo", 1, 10**18, "f"), session, transport, 0, 10 * S)
        connection.flush(0)
        transport.written, transport.waiting = b"", 0
        return connection, transport

    return asyncio.run(make())


def test_what_gathered_is_written_at_once_frames_before_the_session(link):
    connection, transport = link
    connection.session.send(b"said\x1e")
    connection.add(b"frame")
    connection.flush(1)
    assert transport.written == b"frame\x81\x05said\x1e"
    connection.flush(2)
    assert transport.written == b"frame\x81\x05said\x1e"


def test_sending_postpones_the_ping(link):
    connection, transport = link
    connection.add(b"x")
    connection.flush(14 * S)
    connection.session.poll(20 * S)
    connection.flush(20 * S)
    assert transport.written == b"x"


def test_a_client_that_takes_nothing_is_cut_after_ten_seconds(link):
    connection, transport = link
    transport.waiting = HIGH
    assert [connection.room(second * S) for second in range(10)] == [False] * 10
    assert connection.ending is None
    assert not connection.room(10 * S)
    assert connection.ending == ("reset", "slow_client")


def test_a_slow_client_that_takes_something_is_not_cut_and_gets_room_again(link):
    connection, transport = link
    for second in range(30):
        transport.waiting = 2 * HIGH - second * 1000
        assert not connection.room(second * S)
    transport.waiting = HIGH - 1
    assert connection.room(31 * S)
    transport.waiting = HIGH
    assert not connection.room(40 * S)
    assert connection.ending is None


def test_a_mute_holds_everything_and_releases_it_in_order(link):
    connection, transport = link
    connection.mute()
    for data in (b"a", b"b"):
        connection.add(data)
        connection.flush(1)
    assert transport.written == b""
    connection.unmute(drop=False)
    assert transport.written == b"ab"
    connection.add(b"c")
    connection.flush(2)
    assert transport.written == b"abc"


def test_a_mute_holds_no_more_than_a_send_buffer(link):
    connection, transport = link
    connection.mute()
    assert connection.room(1)
    connection.add(b"x" * HELD)
    connection.flush(1)
    assert not connection.room(2)
    connection.unmute(drop=False)
    assert len(transport.written) == HELD


def test_the_server_giving_up_during_a_mute_is_heard_after_it_as_a_bare_end(link):
    connection, transport = link
    connection.mute()
    connection.add(b"x" * HELD)
    connection.flush(0)
    connection.room(0)
    connection.room(10 * S)
    assert connection.ending.reason == "slow_client"
    assert transport.calls == []
    connection.unmute(drop=False)
    assert connection.ending == ("tcp", "slow_client")
    assert len(transport.written) == HELD


def test_a_blackhole_releases_nothing_and_ends_in_a_reset(link):
    connection, transport = link
    connection.mute()
    connection.add(b"lost")
    connection.flush(1)
    connection.unmute(drop=True)
    assert transport.written == b""
    assert connection.ending == ("reset", "blackhole")


def test_the_first_reason_to_end_counts(link):
    connection, _ = link
    connection.end("close", "first")
    connection.end("reset", "second")
    assert connection.ending == ("close", "first")
    assert connection.ended.is_set()


@pytest.mark.parametrize(("how", "call"), [("tcp", "close"), ("reset", "abort")])
def test_a_cut_closes_in_order_or_at_once(link, how, call):
    connection, transport = link
    connection.cut(how)
    assert transport.calls == [call]


def test_nothing_is_written_to_a_transport_that_is_closing(link):
    connection, transport = link
    transport.closing = True
    connection.add(b"x")
    connection.flush(1)
    assert transport.written == b""
    assert not connection.room(1)
