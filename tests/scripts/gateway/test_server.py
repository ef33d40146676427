import asyncio
import json
import ssl

import aiohttp
import pytest
import trustme

from tickloom.scripts.gateway.contracts import CATALOGUE, UnknownContractError, choose
from tickloom.scripts.gateway.recording import FromRecording, RecordedFrame, RecordedTick
from tickloom.scripts.gateway.server import GatewayServer
from tickloom.scripts.gateway.settings import GatewaySettings, SettingsError

MNQ = "CON.F.US.MNQ.Z25"
START = 1_763_829_000 * 10**9
S = 10**9


def test_it_starts_serves_and_leaves_no_task_behind():
    async def main():
        before = asyncio.all_tasks()
        async with GatewayServer(GatewaySettings(history_s=0)) as gateway, aiohttp.ClientSession() as http:
            assert gateway.url == f"http://127.0.0.1:{gateway.port}"
            assert gateway.market_hub_url == gateway.url + "/hubs/market"
            async with http.get(gateway.url + "/api/Status/ping") as response:
                assert response.status == 200
            body = {"userName": "demo", "apiKey": "demo-key"}
            async with http.post(gateway.url + "/api/Auth/loginKey", json=body) as response:
                token = (await response.json())["token"]
            socket = await http.ws_connect(gateway.user_hub_url, headers={"Authorization": f"Bearer {token}"})
            await socket.send_str('{"protocol":"json","version":1}\x1e')
            assert await socket.receive_str(timeout=10) == "{}\x1e"
            await gateway.stop()
            # as a host that stops: no close message and no close frame
            assert (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSED
            assert socket.close_code == 1006
            assert not gateway.engine.connections
        assert asyncio.all_tasks() == before

    asyncio.run(main())


def test_its_own_pump_lets_time_pass_and_stamps_ticks_with_the_clock():
    async def main():
        async with GatewayServer(GatewaySettings(rate=2000.0, history_s=0)) as gateway, aiohttp.ClientSession() as http:
            body = {"userName": "demo", "apiKey": "demo-key"}
            async with http.post(gateway.url + "/api/Auth/loginKey", json=body) as response:
                headers = {"Authorization": f"Bearer {(await response.json())['token']}"}
            async with http.ws_connect(gateway.market_hub_url, headers=headers) as socket:
                call = {"type": 1, "target": "SubscribeContractTrades", "arguments": [MNQ]}
                await socket.send_str('{"protocol":"json","version":1}\x1e' + json.dumps(call) + "\x1e")
                seen = 0
                while seen < 200:
                    seen += (await socket.receive_str(timeout=10)).count('"symbolId"')
        ticks = gateway.engine.market.ticks(MNQ, 0, 150)
        assert ticks.stamp == sorted(ticks.stamp)
        assert len(set(ticks.stamp)) > 50

    asyncio.run(main())


def test_two_gateways_live_side_by_side():
    async def main():
        async with (
            GatewayServer(GatewaySettings(history_s=0)) as one,
            GatewayServer(GatewaySettings(history_s=0)) as two,
        ):
            assert one.port != two.port
            token = one.engine.tokens.issue("demo", 60, 0)
            async with aiohttp.ClientSession() as http:
                headers = {"Authorization": f"Bearer {token}"}
                async with http.post(two.url + "/api/Auth/validate", headers=headers) as response:
                    assert response.status == 401, "a token of one is nothing to the other"

    asyncio.run(main())


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open():
    async def main():
        async with GatewayServer(GatewaySettings(history_s=0)) as one:
            two = GatewayServer(GatewaySettings(port=one.port, history_s=0))
            with pytest.raises(OSError, match="address already in use"):
                await two.start()
            await two.stop()

    asyncio.run(main())


def test_a_defect_in_the_pump_is_not_silent():
    async def main():
        server = GatewayServer(GatewaySettings(history_s=0))

        def fail():
            raise RuntimeError("broken on purpose")

        server.beat = fail
        await server.start()
        with pytest.raises(RuntimeError, match="on purpose"):
            await server.wait()
        with pytest.raises(RuntimeError, match="on purpose"):
            await server.stop()

    asyncio.run(main())


def test_it_can_speak_tls():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def main():
        async with GatewayServer(GatewaySettings(history_s=0), tls=context) as gateway:
            assert gateway.market_hub_url.startswith("https://127.0.0.1:")
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http:
                body = {"userName": "demo", "apiKey": "demo-key"}
                async with http.post(gateway.url + "/api/Auth/loginKey", json=body) as response:
                    headers = {"Authorization": f"Bearer {(await response.json())['token']}"}
                async with http.ws_connect(gateway.market_hub_url, headers=headers) as socket:
                    await socket.send_str('{"protocol":"json","version":1}\x1e')
                    assert await socket.receive_str(timeout=10) == "{}\x1e"

    asyncio.run(main())


def test_unknown_contracts_and_senseless_settings_are_refused():
    with pytest.raises(UnknownContractError):
        GatewayServer(GatewaySettings(contracts=("CON.F.US.XXX.Z25",)))
    for wrong, says in (({"port": 70_000}, "port"), ({"rate": -1.0}, "rate"), ({"token_ttl_s": 0.0}, "token_ttl_s")):
        with pytest.raises(SettingsError, match=f"^{says}: "):
            GatewaySettings(**wrong).validated()
    settings = GatewaySettings(rate=3.0)
    assert settings.validated() == settings


def test_settings_show_no_key():
    assert "key_digest" not in repr(GatewaySettings())


def test_a_recording_is_played_to_clients_and_equals_the_truth(play, wire_form):
    ticks = [RecordedTick(S * k // 50, MNQ, 100 + 0.25 * (k % 9), 1 + k % 3, k // 3 % 2) for k in range(400)]
    market = FromRecording(ticks, choose([MNQ]), start_ns=START, speed=2.0)

    async def scenario(gateway):
        client = await gateway.hub()
        await client.invoke("SubscribeContractTrades", MNQ)
        await client.invoke("SubscribeContractQuotes", MNQ)
        await gateway.pass_time(5, steps=100)
        assert (await gateway.get("/truth/info"))["finished"]
        sent = await gateway.delivered(client)
        assert sent["ranges"] == [[0, 399]]
        assert client.trades() == [wire_form(tick) for tick in await gateway.truth(0, 399)]
        assert [trade["price"] for trade in client.trades()] == [tick.price for tick in ticks]
        assert client.of("GatewayQuote"), "from ticks alone, quotes are made"
        bars = await gateway.get("/truth/bars", contract=MNQ, unit_seconds=60)
        assert sum(bar["v"] for bar in bars) == sum(tick.size for tick in ticks)

    play(scenario, market=market)


def test_recorded_quotes_are_passed_on_as_they_were(play):
    quote = (
        b'{"type":1,"target":"GatewayQuote","arguments":["CON.F.US.MNQ.Z25",{"symbol":"F.US.MNQ","bestBid":1.25}]}\x1e'
    )
    market = FromRecording([RecordedFrame(k * S, quote) for k in range(5)], choose([MNQ]), start_ns=START)

    async def scenario(gateway):
        client = await gateway.hub()
        await client.invoke("SubscribeContractQuotes", MNQ)
        await gateway.pass_time(6, steps=60)
        await client.invoke("NoSuchMethod")
        assert client.of("GatewayQuote") == [[MNQ, {"symbol": "F.US.MNQ", "bestBid": 1.25}]] * 5

    play(scenario, market=market)


@pytest.mark.parametrize("contract", CATALOGUE)
def test_every_contract_of_the_catalogue_can_be_served(play, contract):
    async def scenario(gateway):
        client = await gateway.hub()
        for what in ("Trades", "Quotes", "MarketDepth"):
            await client.invoke(f"SubscribeContract{what}", contract)
        await gateway.pass_time(2)
        sent = await gateway.delivered(client, contract)
        assert sent["ticks"] == len(client.trades(contract)) > 100
        assert len(client.of("GatewayQuote")) > 3
        assert len(client.of("GatewayDepth")) > 3

    play(scenario, contracts=(contract,))


def test_whoever_comes_wakes_a_gateway_that_has_slept_because_nobody_was_there(play):
    async def scenario(gateway):
        came = []
        gateway.server.engine.on_arrival = lambda: came.append(len(gateway.server.engine.connections))
        await gateway.hub()
        assert came == [1]

    play(scenario)
