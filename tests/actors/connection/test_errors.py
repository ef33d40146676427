from __future__ import annotations

import asyncio
import logging
import socket
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from tickloom.actors.connection.dial import HubSettings
from tickloom.actors.connection.errors import (
    AuthenticationRefused,
    GatewayError,
    GatewayUnreachable,
    place,
    retry_after,
)
from tickloom.actors.connection.rest import Patience, RestClient
from tickloom.actors.connection.transport import HubConnection
from tickloom.config.secrets import Secret


def said(error: BaseException) -> str:
    """Everything an error can be made to say: itself, what is behind it, its traceback, the locals of every frame."""
    parts, seen = [], set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        parts += [str(error), repr(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error)]
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "tests" not in Path(frame.f_code.co_filename).parts:
                parts += [f"{name}={value!r}" for name, value in frame.f_locals.items()]
        error = error.__cause__ or error.__context__
    assert len(parts) > 10
    return "\n".join(parts)


def status(code: int, **headers: str):
    async def answer(request):
        return web.Response(status=code, headers=headers, text="nothing to see")

    return answer


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (401, AuthenticationRefused, r"refused the token \(HTTP 401\)"),
        (403, AuthenticationRefused, r"refused the token \(HTTP 403\)"),
        (404, GatewayUnreachable, "does not exist.*check the configured address"),
        (429, GatewayUnreachable, "too many requests"),
        (500, GatewayUnreachable, "is failing"),
        (503, GatewayUnreachable, "is failing"),
        (200, GatewayUnreachable, "does not speak WebSocket"),
        (418, GatewayUnreachable, "answered with HTTP 418"),
    ],
)
@pytest.mark.parametrize("how", ["header", "query"])
def test_an_upgrade_that_is_refused_becomes_ours_and_says_nothing_of_the_token(net, caplog, code, kind, words, how):
    caplog.set_level(logging.DEBUG)

    async def test():
        async with net.meeting() as (peer, session):
            peer.answers["/hubs/market"] = status(code, **{"Retry-After": "7"})
            with pytest.raises(kind, match=words) as caught:
                async with net.running(peer, session, auth_transport=how):
                    pass
            assert net.canary not in said(caught.value)
            assert caught.value.__context__ is None
            assert caught.value.__cause__ is None
            assert caught.value.retry_after == (7.0 if code in (418, 429, 500, 503) else None)

    asyncio.run(test())
    assert net.canary not in caplog.text


@pytest.mark.parametrize("how", ["header", "query"])
def test_a_port_nobody_listens_at_and_a_host_nobody_knows_are_told_apart(net, how):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def test():
        async with net.meeting() as (_, session):
            for url, words in (
                (f"http://127.0.0.1:{port}/hubs/market", "cannot be reached"),
                ("https://no-such-host.invalid/hubs/market", "cannot be found"),
            ):
                settings = HubSettings(url=url, auth_transport=how)
                with pytest.raises(GatewayUnreachable, match=words) as caught:
                    await HubConnection(settings, Secret(net.canary), session).open()
                assert net.canary not in said(caught.value)
                assert url in str(caught.value)

    asyncio.run(test())


def test_a_gateway_that_takes_the_connection_and_says_nothing_is_given_up(net):
    async def test():
        hung_up = asyncio.Event()

        async def mute(reader, writer):
            await reader.read()
            writer.close()
            hung_up.set()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with net.meeting() as (_, session), server:
            settings = HubSettings(url=f"http://127.0.0.1:{port}/hubs/market", connect_timeout=0.1)
            with pytest.raises(GatewayUnreachable, match="did not answer in time") as caught:
                await HubConnection(settings, Secret(net.canary), session).open()
            assert net.canary not in said(caught.value)
            await hung_up.wait()

    asyncio.run(test())


def test_a_peer_that_speaks_something_else_is_unreachable(net):
    async def test():
        async def smtp(reader, writer):
            writer.write(b"220 mail.example ESMTP\r\n")
            await writer.drain()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(smtp, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with net.meeting() as (_, session), server:
            settings = HubSettings(url=f"http://127.0.0.1:{port}/hubs/market")
            with pytest.raises(GatewayUnreachable) as caught:
                await HubConnection(settings, Secret(net.canary), session).open()
            assert net.canary not in said(caught.value)

    asyncio.run(test())


@pytest.mark.parametrize("code", [200, 400, 401, 404, 429, 500])
def test_a_refused_log_in_and_renewal_say_nothing_of_key_and_token(net, caplog, code):
    caplog.set_level(logging.DEBUG)

    async def test():
        async with net.meeting() as (peer, session):
            for path in ("/api/Auth/loginKey", "/api/Auth/validate"):
                peer.answers[path] = status(code)
            rest = RestClient(peer.url, session, patience=Patience(attempts=1))
            with pytest.raises(GatewayError) as caught:
                await rest.login("somebody", Secret(net.canary))
            assert net.canary not in said(caught.value)
            with pytest.raises(GatewayError) as caught:
                await rest.validate(Secret(net.canary))
            assert net.canary not in said(caught.value)

    asyncio.run(test())
    assert net.canary not in caplog.text


def test_a_token_in_an_answer_that_is_none_is_not_quoted(net):
    async def test():
        async with net.meeting() as (peer, session):
            for body in (f'{{"token":"{net.canary}","success":"yes"}}', f'{{"token":["{net.canary}"]}}', net.canary):

                async def answer(request, body=body):
                    return web.Response(text=body, content_type="application/json")

                peer.answers["/api/Auth/loginKey"] = answer
                rest = RestClient(peer.url, session, patience=Patience(attempts=1))
                with pytest.raises(GatewayUnreachable, match="an answer that is none") as caught:
                    await rest.login("somebody", Secret("key"))
                assert net.canary not in str(caught.value)
                assert caught.value.__context__ is None

    asyncio.run(test())


def test_nothing_on_the_way_shows_the_token_in_its_repr(net):
    async def script(caller):
        await caller.shake()
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            seen, todo = set(), [client.connection, session]
            while todo and len(seen) < 5000:
                each = todo.pop()
                if id(each) in seen or type(each).__module__.startswith(("asyncio", "_asyncio")):
                    continue
                seen.add(id(each))
                if type(each).__module__.startswith("tickloom"):
                    assert net.canary not in repr(each)
                    assert net.canary not in str(each)
                    names = [n for n in dir(each) if not n.startswith("__") and not callable(getattr(each, n, None))]
                    if not isinstance(each, Secret):
                        todo += [getattr(each, name, None) for name in names]
            assert len(seen) > 20

    asyncio.run(test())


def test_an_address_in_a_message_has_no_query_and_no_user():
    assert place("https://user:pw@host:1/hub?access_token=x#y") == "https://host:1/hub"
    assert place("") == "the configured address"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("Wed, 01 Jan 2025 00:00:30 GMT", 30.0),
        ("Wed, 01 Jan 2025 00:00:30 -0000", 30.0),
        ("Tue, 31 Dec 2024 00:00:00 GMT", 0.0),
        ("-5", None),
        ("1e9", None),
        ("99999999999999", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert retry_after(text, datetime(2025, 1, 1, tzinfo=UTC)) == seconds
