"""The actor: its socket, its restarts, and that it leaves nothing behind."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

import tickloom
from tickloom.actors.http.shell import PortError, listen
from tickloom.supervision import Event, Started
from tickloom.supervision.testing import FaultPlan


def test_it_listens_on_loopback_and_nowhere_else() -> None:
    bound = listen(0)
    try:
        assert bound.getsockname()[0] == "127.0.0.1"
    finally:
        bound.close()


def test_a_port_that_is_taken_is_one_sentence_that_names_it() -> None:
    with listen(0) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortError, match=f"port {port} of 127.0.0.1 is in use: choose another"):
            listen(port)


def test_a_session_whose_port_is_taken_does_not_start_and_leaves_no_thread(begin: Any) -> None:
    before = set(threading.enumerate())
    with listen(0) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortError, match=f"port {port} "):
            begin(http__port=port)
    left = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("tickloom")]
    for thread in left:
        thread.join(5)
    assert [thread.name for thread in left if thread.is_alive()] == []


def test_two_sessions_that_want_the_same_port_both_get_one_if_any_will_do(begin: Any) -> None:
    with socket.socket() as other:
        # bound and not listening yet: as good as free to whoever only asks
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        _, first = begin(http__port=port, http__port_fallback=True)
        _, second = begin(http__port=port, http__port_fallback=True)
        assert first.port == port
        assert second.port not in (0, port)
        assert (first.get("/livez").status, second.get("/livez").status) == (200, 200)


def test_a_session_has_no_dashboard_unless_it_is_asked_for(begin: Any) -> None:
    session, _ = begin(http__enabled=False)
    assert session.dashboard is None
    assert "/observers/http" not in {view.path for view in session.tree().walk()}


def test_after_a_crash_it_serves_on_the_same_port_to_the_same_cookies(begin: Any) -> None:
    faults = FaultPlan()
    session, client = begin(faults=faults)
    visitor = client.without_pass()
    visitor.cookie = visitor.get(f"/?token={client.token}").headers["set-cookie"].partition(";")[0]
    stream = client.stream("contract=CON.F.US.MNQ.Z25&timeframe=1s")
    stream.until("bars")
    back = threading.Event()

    def watch(event: Event) -> None:
        if isinstance(event, Started) and event.path == "/observers/http" and event.epoch == 2:
            back.set()

    session.events(watch)
    faults.crash("/observers/http", "on_control")
    ref = session._running().tree.ref("/observers/http")
    ref.tell("anything")
    with pytest.raises((EOFError, ConnectionError)):
        stream.rest()
    stream.close()
    assert back.wait(10), "the supervisor starts it again"
    assert str(session.dashboard).startswith(f"http://127.0.0.1:{client.port}/")
    assert visitor.get("/api/health").status == 200
    view = client.get("/api/tree?path=/observers/http").json
    assert (view["epoch"], view["restarts"]) == (2, 1)
    assert "InjectedCrash" in view["last_failure"]["traceback"]
    again = client.stream("contract=CON.F.US.MNQ.Z25&timeframe=1s")
    assert again.until("bars")["reset"] is True
    again.close()
    assert session.stop().lost == 0


def test_the_next_session_on_the_port_knows_the_page_if_it_is_given_the_key(begin: Any) -> None:
    key = tickloom.Secret("kept by the command line")
    first, client = begin(key=key)
    visitor = client.without_pass()
    visitor.cookie = visitor.get(f"/?token={client.token}").headers["set-cookie"].partition(";")[0]
    first.stop()
    with pytest.raises(ConnectionError):
        visitor.get("/livez")
    begin(key=key, http__port=client.port)[0].stop()
    second, _ = begin(key=key, http__port=client.port)
    assert visitor.get("/api/health").status == 200
    assert client.get("/api/health").status == 401, "the token was of the first start"
    second.stop()
    begin(http__port=client.port)
    assert visitor.get("/api/health").status == 401, "a session with a key of its own does not know the page"


def test_it_ends_at_once_with_pages_open_and_says_goodbye_to_nobody_in_particular(begin: Any) -> None:
    session, client = begin()
    streams = [client.stream("contract=CON.F.US.MNQ.Z25&timeframe=1s") for _ in range(3)]
    idle = client.send("/livez")
    for stream in streams:
        stream.until("board")
    summary = session.stop()
    assert summary.lost == 0
    for stream in streams:
        with pytest.raises((EOFError, ConnectionError)):
            stream.rest()
        stream.close()
    idle.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", client.port), timeout=5):
        pass


def test_what_a_page_sends_is_never_written_to_a_log(begin: Any, caplog: pytest.LogCaptureFixture) -> None:
    _, client = begin()
    with caplog.at_level("DEBUG"):
        client.without_pass().get(f"/?token={client.token}")
        client.get("/nothing?secret=thing")
    assert client.token not in caplog.text
    assert "secret=thing" not in caplog.text
