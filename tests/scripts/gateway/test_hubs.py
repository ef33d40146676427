import asyncio

import aiohttp
import pytest

RS = "\x1e"
MNQ = "CON.F.US.MNQ.Z25"
HANDSHAKE = '{"protocol":"json","version":1}' + RS


async def status_of(gateway, path, **options):
    try:
        async with gateway.http.ws_connect(gateway.server.url + path, **options):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


def test_a_connection_is_made_with_the_header_alone(play):
    async def scenario(gateway):
        token = await gateway.login()
        good = {"Authorization": f"Bearer {token}"}
        for hub in ("market", "user"):
            path = f"/hubs/{hub}"
            assert await status_of(gateway, path, headers=good) == 101
            assert await status_of(gateway, path) == 401
            assert await status_of(gateway, path, headers={"Authorization": "Bearer x.y.z"}) == 401
            assert await status_of(gateway, path, params={"access_token": token}) == 401
            negotiate = f"{path}/negotiate?negotiateVersion=1"
            assert (await gateway.post(negotiate, token=token)).status == 200
            assert (await gateway.post(negotiate)).status == 401
            assert (await gateway.post(f"{negotiate}&access_token={token}")).status == 401
        assert gateway.engine.counters["refused_query_token"] == 4

    play(scenario)


def test_a_token_in_the_query_is_taken_where_that_is_allowed(play):
    async def scenario(gateway):
        token = await gateway.login()
        assert await status_of(gateway, "/hubs/market", params={"access_token": token}) == 101
        assert await status_of(gateway, "/hubs/market", params={"access_token": token + "x"}) == 401
        assert gateway.engine.counters["token_in_query"] == 1

    play(scenario, allow_query=True)


def test_negotiation_gives_a_secret_token_that_is_good_once(play):
    async def scenario(gateway):
        token = await gateway.login()
        answer = await (await gateway.post("/hubs/market/negotiate?negotiateVersion=1", token=token)).json()
        assert set(answer) == {"negotiateVersion", "connectionId", "connectionToken", "availableTransports"}
        assert answer["availableTransports"][0]["transport"] == "WebSockets"
        assert answer["connectionId"] != answer["connectionToken"]
        good = {"Authorization": f"Bearer {token}"}
        by_id = f"/hubs/market?id={answer['connectionId']}"
        by_token = f"/hubs/market?id={answer['connectionToken']}"
        assert await status_of(gateway, by_id, headers=good) == 404
        assert await status_of(gateway, f"/hubs/user?id={answer['connectionToken']}", headers=good) == 404
        client = await gateway.hub(token=token, query=by_token.removeprefix("/hubs/market"))
        assert [c["connection"] for c in await gateway.get("/truth/connections")] == [answer["connectionId"]]
        assert await status_of(gateway, by_token, headers=good) == 409
        await client.socket.close()
        assert await status_of(gateway, by_token, headers=good) == 404

    play(scenario)


def test_an_older_client_that_knows_no_connection_token_uses_its_id(play):
    async def scenario(gateway):
        token = await gateway.login()
        answer = await (await gateway.post("/hubs/market/negotiate", token=token)).json()
        assert "connectionToken" not in answer
        await gateway.hub(token=token, query=f"?id={answer['connectionId']}")

    play(scenario)


def test_a_negotiated_token_is_forgotten_after_a_minute(play):
    async def scenario(gateway):
        token = await gateway.login()
        answer = await (await gateway.post("/hubs/market/negotiate?negotiateVersion=1", token=token)).json()
        gateway.clock.now_ns += 61 * 10**9
        good = {"Authorization": f"Bearer {token}"}
        assert await status_of(gateway, f"/hubs/market?id={answer['connectionToken']}", headers=good) == 404

    play(scenario)


@pytest.mark.parametrize(
    ("method", "query", "status"), [("GET", "", 400), ("GET", "?id=x", 404), ("POST", "", 400), ("POST", "?id=x", 404)]
)
def test_only_websockets_are_served(play, method, query, status):
    async def scenario(gateway):
        headers = {"Authorization": f"Bearer {await gateway.login()}"}
        url = f"{gateway.server.url}/hubs/market{query}"
        async with gateway.http.request(method, url, headers=headers) as response:
            assert response.status == status

    play(scenario)


def test_refused_requests_for_a_hub_say_when_to_come_back(play):
    async def scenario(gateway):
        token = await gateway.login()
        gateway.chaos(refuse_upgrade=5, retry_after_s=3)
        response = await gateway.post("/hubs/user/negotiate?negotiateVersion=1", token=token)
        assert (response.status, response.headers["Retry-After"]) == (503, "3")
        assert await status_of(gateway, "/hubs/market", headers={"Authorization": f"Bearer {token}"}) == 503
        gateway.chaos(refuse_status=404)
        assert await status_of(gateway, "/hubs/market") == 404
        await gateway.pass_time(5)
        await gateway.hub(token=token)

    play(scenario)


def test_handshake_and_calls_may_share_a_frame_and_the_answers_do_too(play):
    async def scenario(gateway):
        client = await gateway.hub(shake=False)
        call = '{"type":1,"invocationId":"%s","target":"SubscribeContractTrades","arguments":["X"]}' + RS
        await client.socket.send_str(HANDSHAKE + call % "a" + call % "b")
        await client.until(lambda: len(client.messages) == 3)
        assert client.messages[0] == {}
        assert [m["invocationId"] for m in client.messages[1:]] == ["a", "b"]
        assert len(client.frames) == 1

    play(scenario)


def test_frames_may_be_binary_or_split(play):
    async def scenario(gateway):
        client = await gateway.hub(shake=False)
        await client.socket.send_str(HANDSHAKE[:10])
        await client.socket.send_bytes(HANDSHAKE[10:].encode())
        await client.until(lambda: client.messages == [{}])

    play(scenario)


def test_a_websocket_ping_is_answered(play):
    async def scenario(gateway):
        headers = {"Authorization": f"Bearer {await gateway.login()}"}
        url = gateway.server.market_hub_url
        async with gateway.http.ws_connect(url, headers=headers, autoping=False) as socket:
            await socket.ping(b"echo")
            answer = await socket.receive(timeout=10)
            assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"echo")

    play(scenario)


def test_a_refused_handshake_ends_with_a_close_frame(play):
    async def scenario(gateway):
        client = await gateway.hub(shake=False)
        await client.socket.send_str('{"protocol":"messagepack","version":1}' + RS)
        assert await client.ended() == 1000
        assert client.messages == [{"error": "The protocol 'messagepack' is not supported."}]

    play(scenario)


def test_a_client_that_does_not_shake_hands_is_given_up_after_15_seconds(play):
    async def scenario(gateway):
        client = await gateway.hub(shake=False)
        await gateway.pass_time(14.9)
        await gateway.pass_time(0.2)
        assert await client.ended() == 1000
        assert client.messages == [{"error": "Handshake was canceled."}]

    play(scenario)


def test_pings_keep_an_idle_connection_alive_and_silence_ends_one_that_pinged(play):
    async def scenario(gateway):
        silent, once = await gateway.hub(), await gateway.hub()
        await once.socket.send_str('{"type":6}' + RS)
        await once.invoke("NoSuch")
        await gateway.pass_time(31, steps=31)
        assert await once.ended() == 1000
        assert once.goodbyes() == [{"type": 7, "error": "Connection closed with an error.", "allowReconnect": True}]
        await silent.until(lambda: silent.messages.count({"type": 6}) == 2)

    play(scenario, rate=0)


def test_a_client_that_says_goodbye_is_answered(play):
    async def scenario(gateway):
        client = await gateway.hub()
        await client.socket.send_str('{"type":7}' + RS)
        assert await client.ended() == 1000
        assert client.goodbyes() == [{"type": 7}]
        past = await gateway.get("/truth/connections", past=1)
        assert [c["ending"] for c in past] == ["client_close"]

    play(scenario)


def test_an_oversized_message_ends_the_connection_that_sent_it(play):
    async def scenario(gateway):
        client = await gateway.hub()
        await client.socket.send_str("x" * 40_000)
        assert await client.ended() == 1000
        assert client.goodbyes()[0]["allowReconnect"] is True

    play(scenario)


def test_a_client_that_vanishes_leaves_nothing_behind(play):
    async def scenario(gateway):
        before = len(asyncio.all_tasks())
        client = await gateway.hub()
        await client.invoke("SubscribeContractTrades", MNQ)
        client.socket._response.connection.transport.abort()
        await gateway.until(lambda: not gateway.engine.connections)
        await gateway.until(lambda: len(asyncio.all_tasks()) <= before)
        assert gateway.engine.counters["ended_client_gone"] == 1

    play(scenario)
