"""Finding a session and asking it: what a person may write, and what is said when there is no session there.

A real session in another process is looked at in `tests/end_to_end/test_top.py`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tickloom.errors import AuthenticationError, UsageError
from tickloom.scripts.attaching import Address, Gone, Remote, choose, parse
from tickloom.scripts.notes import found, noted


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A port that gives these answers, one a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)
        assert not thread.is_alive()


def look_at(port: int) -> None:
    with Remote(Address("127.0.0.1", port)) as remote:
        remote.look()


def answer(status: str, body: bytes = b"", *headers: bytes) -> bytes:
    head = [f"HTTP/1.1 {status}".encode(), b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("text", "place", "token"),
    [
        ("http://127.0.0.1:8787/?token=abc-_1", "127.0.0.1:8787", "abc-_1"),
        ("http://localhost:9/", "localhost:9", None),
        ("127.0.0.1:8787", "127.0.0.1:8787", None),
        ("8787", "127.0.0.1:8787", None),
    ],
)
def test_an_address_is_taken_as_people_write_it(text: str, place: str, token: str | None) -> None:
    address = parse(text)
    assert (address.place, address.token.reveal() if address.token else None) == (place, token)
    assert "abc" not in repr(address)


@pytest.mark.parametrize("text", ["", "0", "http://", "127.0.0.1", "http://127.0.0.1:x/", "99999", "http://[::1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no address of a session"):
        parse(text)


@pytest.mark.parametrize("text", ["http://example.com:80/?token=abc", "https://127.0.0.1:1/?token=abc", "10.0.0.1:80"])
def test_the_token_goes_to_this_machine_alone(text: str) -> None:
    with pytest.raises(UsageError, match="ssh -L") as refused:
        parse(text)
    assert "abc" not in str(refused.value)


def test_nobody_there_is_said_with_the_place() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Gone, match=f"127.0.0.1:{port}.*refused"):
        look_at(port)
    assert Gone.exit_code == 4


def test_a_server_that_is_none_of_ours_is_told_apart() -> None:
    with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as port, pytest.raises(Gone, match="nobody answers"):
        look_at(port)
    with answering(answer("200 OK", b"hello")) as port, pytest.raises(AuthenticationError, match="give the address"):
        look_at(port)


def test_a_session_of_another_version_is_said_to_be_one() -> None:
    admitted = answer("303 See Other", b"", b"Set-Cookie: tickloom=pass; Path=/")
    other = answer("200 OK", b'{"session": 1}')
    with answering(admitted, other) as port, pytest.raises(UsageError, match="in another form"):
        look_at(port)


def test_without_a_session_there_is_nothing_to_choose_and_notes_of_dead_ones_go(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with noted(f"http://127.0.0.1:{port}/?token=x", "tickloom demo", tmp_path):
        with pytest.raises(UsageError, match="no session that serves its API is known to run"):
            choose(None, tmp_path)
        assert found(tmp_path) == []


def test_of_several_sessions_one_has_to_be_named(tmp_path: Path) -> None:
    admitted = answer("303 See Other", b"", b"Set-Cookie: tickloom=pass; Path=/")
    with (
        answering(admitted) as one,
        answering(admitted, admitted) as other,
        noted(f"http://127.0.0.1:{one}/?token=x", "tickloom demo", tmp_path),
        noted(f"http://127.0.0.1:{other}/?token=y", "tickloom live", tmp_path),
    ):
        with pytest.raises(UsageError, match=rf"`tickloom top {other}` \(tickloom live\)"):
            choose(None, tmp_path)
        named = choose(str(other), tmp_path)
    assert named.token is not None
    assert (named.port, named.token.reveal()) == (other, "y")


def test_an_address_with_a_token_needs_no_note(tmp_path: Path) -> None:
    assert choose("http://127.0.0.1:1/?token=x", tmp_path).port == 1
