from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from tickloom.actors.connection.errors import AuthenticationRefused, GatewayUnreachable, InsecureAddress

SOCKETS = [{"transport": "LongPolling"}, {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]


def answering(body, status=200, **headers):
    async def answer(request):
        return web.json_response(body, status=status, headers=headers)

    return answer


async def quiet(caller):
    await caller.shake()
    await caller.leave()


def test_the_connection_token_is_used_and_the_access_token_stays_in_the_header(net):
    async def test():
        async with net.meeting(quiet) as (peer, session):
            peer.answers["/hubs/market/negotiate"] = answering(
                {
                    "connectionToken": "ct 1/2",
                    "connectionId": "ci",
                    "negotiateVersion": 1,
                    "availableTransports": SOCKETS,
                }
            )
            async with net.running(peer, session, negotiate=True):
                asked, upgrade = peer.requests
                assert (asked.method, dict(asked.query)) == ("POST", {"negotiateVersion": "1"})
                assert dict(upgrade.query) == {"id": "ct 1/2"}
                assert {r.headers["Authorization"] for r in peer.requests} == {f"Bearer {net.canary}"}

    asyncio.run(test())


def test_a_server_of_version_0_gives_a_connection_id(net):
    async def test():
        async with net.meeting(quiet) as (peer, session):
            peer.answers["/hubs/market/negotiate"] = answering({"connectionId": "ci", "availableTransports": SOCKETS})
            async with net.running(peer, session, negotiate=True):
                assert dict(peer.requests[-1].query) == {"id": "ci"}

    asyncio.run(test())


def test_a_redirect_is_followed_with_its_own_token(net):
    async def test():
        async with net.meeting(quiet) as (peer, session):
            peer.answers["/hubs/market/negotiate"] = answering(
                {"url": f"{peer.url}/else?asrs=1", "accessToken": "second"}
            )
            peer.answers["/else/negotiate"] = answering({"connectionToken": "ct", "availableTransports": SOCKETS})
            async with net.running(peer, session, negotiate=True):
                _, second, upgrade = peer.requests
                assert dict(second.query) == {"asrs": "1", "negotiateVersion": "1"}
                assert (upgrade.path, dict(upgrade.query)) == ("/else", {"asrs": "1", "id": "ct"})
                assert {r.headers["Authorization"] for r in (second, upgrade)} == {"Bearer second"}

    asyncio.run(test())


def test_redirects_in_a_circle_end(net):
    async def test():
        async with net.meeting() as (peer, session):
            peer.answers["/hubs/market/negotiate"] = answering({"url": f"{peer.url}/hubs/market"})
            with pytest.raises(GatewayUnreachable, match="redirected to more than 8 times"):
                async with net.running(peer, session, negotiate=True):
                    pass
            assert len(peer.requests) == 9

    asyncio.run(test())


def test_a_redirect_to_plain_text_elsewhere_is_refused_before_the_token_goes_there(net):
    async def test():
        async with net.meeting() as (peer, session):
            peer.answers["/hubs/market/negotiate"] = answering({"url": "http://gateway.example/hub"})
            with pytest.raises(InsecureAddress, match=r"redirects to at gateway\.example is plain http"):
                async with net.running(peer, session, negotiate=True):
                    pass

    asyncio.run(test())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "not today"}, "refused to negotiate: not today"),
        ({"connectionToken": "ct", "availableTransports": [{"transport": "LongPolling"}]}, "offers no WebSockets"),
        ({"availableTransports": SOCKETS}, "without a connection token"),
        ([1, 2], "no negotiation"),
        ({"connectionToken": 5}, "no negotiation"),
    ],
)
def test_an_answer_that_does_not_help_is_an_error(net, body, words):
    async def test():
        async with net.meeting() as (peer, session):
            peer.answers["/hubs/market/negotiate"] = answering(body)
            with pytest.raises(GatewayUnreachable, match=words):
                async with net.running(peer, session, negotiate=True):
                    pass

    asyncio.run(test())


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, AuthenticationRefused, "refused the token"),
        (404, GatewayUnreachable, "does not exist"),
        (503, GatewayUnreachable, "is failing"),
        (302, GatewayUnreachable, "answered with HTTP 302"),
    ],
)
def test_a_status_that_is_no_success_is_an_error_of_ours(net, status, kind, words):
    async def test():
        async with net.meeting() as (peer, session):
            peer.answers["/hubs/market/negotiate"] = answering({}, status, Location="http://gateway.example/")
            with pytest.raises(kind, match=words):
                async with net.running(peer, session, negotiate=True):
                    pass

    asyncio.run(test())


def test_a_stateful_session_is_asked_for_in_the_negotiation(net):
    async def test():
        async with net.meeting(quiet) as (peer, session):
            peer.answers["/hubs/market/negotiate"] = answering({"connectionToken": "ct"})
            async with net.running(peer, session, stateful=True):  # which this server does not offer
                assert peer.requests[0].query["useStatefulReconnect"] == "true"
                assert peer.callers[0].heard == [{"protocol": "json", "version": 1}]

    asyncio.run(test())
