from __future__ import annotations

import asyncio
import json
import random

import pytest
from aiohttp import web

from tickloom.actors.connection import refusals
from tickloom.actors.connection.errors import (
    AuthenticationRefused,
    CredentialsRefused,
    GatewayUnreachable,
    InsecureAddress,
    RequestRefused,
    SessionRefused,
)
from tickloom.actors.connection.rest import Patience, RestClient
from tickloom.config.secrets import Secret
from tickloom.messages.projectx import BarUnit, HistoryBar

TOKEN = Secret("a-token")


class Desk:
    """Answers REST requests with what is laid out, and remembers them. Time is a number the client's sleeps add to."""

    def __init__(self, peer, session, **patience) -> None:
        self.laid_out: list = []
        self.bodies: list[dict] = []
        self.headers: list = []
        self.now = 0.0
        self.naps: list[float] = []
        for path in refusals.REFUSALS:
            peer.answers[path] = self._answer
        self.rest = RestClient(
            peer.url,
            session,
            patience=Patience(**patience),
            sleep=self._sleep,
            monotonic=lambda: self.now,
            rng=random.Random(1),
        )

    async def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.bodies.append(json.loads(body) if body else None)
        self.headers.append(request.headers)
        answer = self.laid_out.pop(0)
        if isinstance(answer, int):
            return web.Response(status=answer)
        if isinstance(answer, tuple):
            return web.Response(status=answer[0], headers=answer[1])
        return web.json_response(answer)


def with_desk(net, test, **patience) -> Desk:
    kept = []

    async def run():
        async with net.meeting() as (peer, session):
            desk = Desk(peer, session, **patience)
            kept.append(desk)
            await test(desk)

    asyncio.run(run())
    return kept[0]


def test_a_log_in_sends_name_and_key_and_gives_a_token_that_shows_nothing(net):
    async def test(desk):
        desk.laid_out = [{"token": "eyJ.abc.def", "success": True, "errorCode": 0, "errorMessage": None}]
        token = await desk.rest.login("me", Secret("my-key"))
        assert token.reveal() == "eyJ.abc.def"
        assert "abc" not in repr(token)

    desk = with_desk(net, test)
    assert desk.bodies == [{"userName": "me", "apiKey": "my-key"}]
    assert "Authorization" not in desk.headers[0]


def test_a_renewal_sends_the_token_in_the_header_and_gives_a_new_one(net):
    async def test(desk):
        desk.laid_out = [{"newToken": "new", "success": True, "errorCode": 0}]
        assert (await desk.rest.validate(TOKEN)).reveal() == "new"

    desk = with_desk(net, test)
    assert desk.headers[0]["Authorization"] == "Bearer a-token"


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [(endpoint, code) for endpoint, codes in refusals.REFUSALS.items() for code in codes],
)
def test_every_documented_error_code_is_a_sentence_that_says_what_to_do(net, endpoint, code):
    kind, _ = refusals.REFUSALS[endpoint][code]

    async def test(desk):
        desk.laid_out = [{"success": False, "errorCode": code, "errorMessage": "their words"}] * 9
        calls = {
            refusals.LOGIN: lambda: desk.rest.login("me", Secret("key")),
            refusals.VALIDATE: lambda: desk.rest.validate(TOKEN),
            refusals.SEARCH_BY_ID: lambda: desk.rest.contract(TOKEN, "CON.X"),
            refusals.BARS: lambda: desk.rest.retrieve_bars(TOKEN, "CON.X", 0, 1, unit=BarUnit.MINUTE),
        }
        with pytest.raises(kind) as caught:
            await calls[endpoint]()
        assert str(code) in str(caught.value)
        assert "their words" in str(caught.value)
        if endpoint in (refusals.SEARCH_BY_ID, refusals.BARS):
            assert "CON.X" in str(caught.value)

    desk = with_desk(net, test)
    assert len(desk.bodies) == 1  # a refusal is not repeated


def test_the_codes_of_the_swagger_are_all_there():
    assert set(refusals.REFUSALS[refusals.LOGIN]) == set(range(1, 11))
    assert set(refusals.REFUSALS[refusals.VALIDATE]) == set(range(1, 5))
    assert set(refusals.REFUSALS[refusals.BARS]) == set(range(1, 5))
    for code in (1, 2, 3, 4, 5, 6, 7, 9, 10):
        assert issubclass(refusals.REFUSALS[refusals.LOGIN][code][0], CredentialsRefused)
    for code in (1, 2, 3):
        assert refusals.REFUSALS[refusals.VALIDATE][code][0] is SessionRefused


def test_a_code_nobody_documented_is_a_refusal_all_the_same(net):
    async def test(desk):
        desk.laid_out = [{"success": False, "errorCode": 77, "errorMessage": None}]
        with pytest.raises(RequestRefused, match="error code 77, which it does not document"):
            await desk.rest.search_contracts(TOKEN, "NQ", live=False)

    with_desk(net, test)


def test_contracts_and_bars_are_asked_for_in_the_wire_s_words(net):
    contract = {"id": "CON.X", "tickSize": 0.25, "tickValue": 5, "symbolId": "F.X"}

    async def test(desk):
        desk.laid_out = [
            {"contracts": [contract], "success": True},
            {"contract": contract, "success": True},
            {"bars": [{"t": "1970-01-01T00:00:00+00:00", "o": 1, "h": 2, "l": 0.5, "c": 1, "v": 9}], "success": True},
        ]
        [found] = await desk.rest.search_contracts(TOKEN, "NQ", live=True)
        assert (found.id, found.tick_size) == ("CON.X", 0.25)
        assert await desk.rest.contract(TOKEN, "CON.X") == found
        bars = await desk.rest.retrieve_bars(TOKEN, "CON.X", 0, 1_500_000_000, unit=BarUnit.SECOND, number=5, limit=7)
        assert bars == [HistoryBar("1970-01-01T00:00:00+00:00", 1.0, 2.0, 0.5, 1.0, 9)]

    desk = with_desk(net, test)
    assert desk.bodies == [
        {"searchText": "NQ", "live": True},
        {"contractId": "CON.X"},
        {
            "contractId": "CON.X", "live": False, "startTime": "1970-01-01T00:00:00Z",
            "endTime": "1970-01-01T00:00:01.5Z", "unit": 1, "unitNumber": 5, "limit": 7, "includePartialBar": False,
        },
    ]  # fmt: skip


def test_a_contract_that_is_not_in_the_answer_is_refused_by_name(net):
    async def test(desk):
        desk.laid_out = [{"contract": None, "success": True}]
        with pytest.raises(RequestRefused, match=r"CON\.X"):
            await desk.rest.contract(TOKEN, "CON.X")

    with_desk(net, test)


def test_failures_that_time_may_heal_are_repeated_with_growing_waits(net):
    async def test(desk):
        desk.laid_out = [500, 502, 429, {"token": "t", "success": True}]
        await desk.rest.login("me", Secret("key"))

    desk = with_desk(net, test, attempts=4)
    assert len(desk.bodies) == 4
    for nap, full in zip(desk.naps, (0.5, 1.0, 2.0), strict=True):
        assert full / 2 <= nap <= full


def test_retry_after_is_honoured_up_to_a_limit(net):
    async def heals(desk):
        desk.laid_out = [(429, {"Retry-After": "33"}), (503, {"Retry-After": "2"}), {"token": "t", "success": True}]
        await desk.rest.login("me", Secret("key"))

    desk = with_desk(net, heals)
    assert desk.naps == [33.0, 2.0]

    async def too_long(desk):
        desk.laid_out = [(429, {"Retry-After": "3600"})]
        with pytest.raises(GatewayUnreachable, match="too many requests") as caught:
            await desk.rest.login("me", Secret("key"))
        assert caught.value.retry_after == 3600.0

    assert with_desk(net, too_long).naps == []


def test_attempts_are_bounded_and_the_last_error_is_told(net):
    async def test(desk):
        desk.laid_out = [500, 500, 503]
        with pytest.raises(GatewayUnreachable, match="HTTP 503"):
            await desk.rest.login("me", Secret("key"))

    assert len(with_desk(net, test, attempts=3).bodies) == 3


@pytest.mark.parametrize("answer", [401, 403])
def test_a_refused_token_is_not_tried_again(net, answer):
    async def test(desk):
        desk.laid_out = [answer]
        with pytest.raises(AuthenticationRefused):
            await desk.rest.validate(TOKEN)

    assert len(with_desk(net, test).bodies) == 1


def test_requests_keep_within_the_documented_budgets(net):
    async def test(desk):
        desk.laid_out = [{"bars": [], "success": True}] * 51
        for _ in range(51):
            await desk.rest.retrieve_bars(TOKEN, "CON.X", 0, 1, unit=BarUnit.MINUTE)
        assert desk.naps == [30.0]
        desk.laid_out = [{"contracts": [], "success": True}] * 201
        for _ in range(201):
            await desk.rest.search_contracts(TOKEN, "", live=False)
        assert desk.naps == [30.0, 60.0]

    with_desk(net, test)


def test_the_gateway_s_clock_is_measured_on_the_way(net):
    async def test(desk):
        assert desk.rest.skew.offset_ns is None
        desk.laid_out = [(500, {"Date": "Thu, 01 Jan 2015 00:00:00 GMT"})]
        with pytest.raises(GatewayUnreachable):
            await desk.rest.login("me", Secret("key"))
        assert desk.rest.skew.offset_ns < -(10**17)

    with_desk(net, test, attempts=1)


def test_a_redirect_is_not_followed_with_the_key(net):
    async def test(desk):
        desk.laid_out = [(307, {"Location": "/api/Auth/validate"})]
        with pytest.raises(GatewayUnreachable, match="HTTP 307"):
            await desk.rest.login("me", Secret("key"))

    assert len(with_desk(net, test, attempts=1).bodies) == 1


@pytest.mark.parametrize(("path", "missing"), [("login", "token"), ("validate", "newToken")])
def test_a_success_without_a_token_is_none(net, path, missing):
    async def test(desk):
        desk.laid_out = [{"success": True, missing: None}]
        with pytest.raises(GatewayUnreachable, match=r"no token|no new one"):
            await (desk.rest.login("me", Secret("k")) if path == "login" else desk.rest.validate(TOKEN))

    with_desk(net, test, attempts=1)


def test_the_api_is_not_spoken_to_in_plain_text_beyond_this_machine():
    with pytest.raises(InsecureAddress, match="plain http"):
        RestClient("http://api.example/", None)


def test_a_gateway_that_takes_connections_and_never_answers_is_given_up_in_bounded_time(net):
    async def test():
        async with net.meeting() as (peer, http):

            async def never(request):
                await asyncio.Event().wait()

            peer.answers["/api/Auth/loginKey"] = never
            rest = RestClient(peer.url, http, patience=Patience(attempts=100, base=0.01, timeout=0.1, whole=0.35))
            with pytest.raises(GatewayUnreachable, match=r"has not answered within 0\.35 s.*gateway\.api_url") as found:
                await rest.login("tester", Secret(net.canary))
            assert len(peer.requests) >= 2, "within that time it is tried again"
            assert found.value.__context__ is None or net.canary not in repr(found.value.__context__)

    asyncio.run(test())
