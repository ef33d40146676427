"""The faults, each on real sockets."""

import asyncio

import aiohttp
import pytest

from tickloom.scripts.gateway.switches import parse_chaos

MNQ = "CON.F.US.MNQ.Z25"


async def subscribed(gateway, contract=MNQ):
    client = await gateway.hub()
    await client.invoke("SubscribeContractTrades", contract)
    return client


def test_an_abort_ends_with_a_close_message_that_invites_only_if_told_so(play):
    async def scenario(gateway):
        client = await subscribed(gateway)
        gateway.chaos(abort=True)
        assert await client.ended() == 1000
        assert client.goodbyes() == [{"type": 7}]
        client = await subscribed(gateway)
        gateway.chaos(abort=True, close_allow_reconnect=True)
        assert await client.ended() == 1000
        assert client.goodbyes() == [{"type": 7, "allowReconnect": True}]

    play(scenario)


@pytest.mark.parametrize("how", ["tcp", "reset"])
def test_a_link_can_be_cut_without_a_word(play, how):
    async def scenario(gateway):
        client = await subscribed(gateway)
        gateway.chaos(abort=how)
        assert await client.ended() == 1006
        assert client.goodbyes() == []

    play(scenario)


def test_one_hub_can_be_spared(play):
    async def scenario(gateway):
        user, market = await gateway.hub("user"), await gateway.hub("market")
        gateway.chaos(abort=True, hub="user")
        await user.ended()
        assert "error" in await market.invoke("NoSuchMethod")

    play(scenario)


def test_connections_can_be_given_an_age_to_die_at(play):
    async def scenario(gateway):
        gateway.chaos(kill_after_s=5)
        client = await subscribed(gateway)
        await gateway.pass_time(4.9)
        await client.invoke("NoSuchMethod")
        await gateway.pass_time(0.2)
        await client.ended()
        assert client.goodbyes() == [{"type": 7}]
        assert gateway.engine.counters["ended_kill_after"] == 1

    play(scenario)


def test_a_token_that_runs_out_ends_its_connections_if_told_so(play):
    async def scenario(gateway):
        client = await subscribed(gateway)
        await gateway.pass_time(31)
        assert "error" in await client.invoke("NoSuchMethod"), "without the switch it outlives its token"
        gateway.chaos(close_on_expiration=True)
        fresh = await subscribed(gateway)
        await gateway.pass_time(1)
        assert await client.ended() == 1000
        assert client.goodbyes() == [{"type": 7, "allowReconnect": True}]
        await fresh.invoke("NoSuchMethod")
        await gateway.pass_time(31)
        await fresh.ended()
        assert gateway.engine.counters["ended_token_expired"] == 2

    play(scenario, token_ttl_s=30)


def test_the_life_of_new_tokens_can_be_changed(play):
    async def scenario(gateway):
        gateway.chaos(token_ttl_s=5)
        token = await gateway.login()
        await gateway.pass_time(7)
        assert (await gateway.post("/api/Auth/validate", token=token)).status == 401

    play(scenario)


def test_a_mute_link_passes_nothing_either_way_and_then_everything(play, wire_form):
    async def scenario(gateway):
        client = await subscribed(gateway)
        await gateway.pass_time(1)
        await client.invoke("NoSuchMethod")
        gateway.chaos(mute=20)
        before = len(client.messages)
        await client.socket.ping(b"anyone?")
        await client.socket.send_str('{"type":1,"invocationId":"m","target":"NoSuchMethod","arguments":[]}\x1e')
        await gateway.pass_time(19, steps=190)
        assert (await gateway.get("/healthz"))["ok"], "the rest of the gateway answers"
        assert len(client.messages) == before
        assert client.socket._reader._buffer == type(client.socket._reader._buffer)(), "not a byte, pings included"
        await gateway.pass_time(1.1)
        await client.until(lambda: any(m.get("invocationId") == "m" for m in client.messages if m))
        sent = await gateway.delivered(client)
        assert len(sent["ranges"]) == 1
        assert client.trades() == [wire_form(tick) for tick in await gateway.truth(*sent["ranges"][0])]

    play(scenario, rate=100.0)


def test_a_blackhole_never_releases_anything_and_new_connections_can_be_mute_too(play):
    async def scenario(gateway):
        client = await subscribed(gateway)
        gateway.chaos(mute=5, mute_mode="blackhole", mute_new=True)
        new = await gateway.hub(shake=False)
        await new.socket.send_str('{"protocol":"json","version":1}\x1e')
        await gateway.pass_time(4)
        before = len(client.messages)
        await gateway.pass_time(1.1)
        assert await client.ended() == 1006
        assert await new.ended() == 1006
        assert len(client.messages) == before
        assert new.messages == []

    play(scenario)


def test_a_stall_holds_market_data_but_not_pings_and_then_sends_it_all(play, wire_form):
    async def scenario(gateway):
        client = await subscribed(gateway)
        gateway.chaos(stall=40)
        await gateway.pass_time(39, steps=390)
        await client.invoke("NoSuchMethod")
        assert client.trades() == []
        assert client.messages.count({"type": 6}) == 2
        await gateway.pass_time(2, steps=20)
        sent = await gateway.delivered(client)
        assert len(sent["ranges"]) == 1
        assert sent["dropped"] == []
        assert client.trades() == [wire_form(tick) for tick in await gateway.truth(*sent["ranges"][0])]
        assert sent["ticks"] > 3500

    play(scenario, rate=250.0)


def test_a_stall_that_drops_leaves_a_gap_the_record_knows(play, wire_form):
    async def scenario(gateway):
        client = await subscribed(gateway)
        await gateway.pass_time(1)
        gateway.chaos(stall=5, stall_drop=True)
        await gateway.pass_time(6, steps=60)
        sent = await gateway.delivered(client)
        (a, b), (c, d) = sent["ranges"]
        assert sent["dropped"] == [[b + 1, c - 1]]
        assert c - b > 300
        expected = await gateway.truth(a, b) + await gateway.truth(c, d)
        assert client.trades() == [wire_form(tick) for tick in expected]

    play(scenario, rate=250.0)


LAYOUTS = [{}, {"batch_max": 1}, {"batch_max": 500, "frame_max": 0, "coalesce_ms": 20.0}]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_shaped_trades_are_what_the_record_says_in_its_order(play, wire_form, layout):
    async def scenario(gateway):
        client = await subscribed(gateway)
        gateway.chaos(duplicate_pct=3, out_of_order_pct=3, drop_pct=2, bad_pct=8)
        await gateway.pass_time(10, steps=500)
        gateway.chaos(duplicate_pct=0, out_of_order_pct=0, drop_pct=0, bad_pct=0)
        await gateway.pass_time(1)
        sent = await gateway.delivered(client)
        order = [i for a, b in sent["runs"] for i in range(a, b + 1)]
        ticks = {tick["i"]: wire_form(tick) for tick in await gateway.truth(min(order), max(order))}
        expected, at, bad = [ticks[i] for i in order], 0, 0
        for element in client.trades():
            if at < len(expected) and element == expected[at]:
                at += 1
            else:
                bad += 1
        apart = ("unknown_target", "null_batch", "object_batch")
        assert at == len(expected)
        assert bad == len([row for row in sent["bad"] if row["kind"] not in apart])
        assert len({row["kind"] for row in sent["bad"]}) == 17
        assert client.of("GatewayMystery")
        assert len(order) > len(set(order))
        assert order != sorted(order)
        dropped = {i for a, b in sent["dropped"] for i in range(a, b + 1)}
        assert dropped
        assert set(order) | dropped == set(range(min(order), max(order) + 1)) | dropped

    play(scenario, rate=1000.0, **layout)


def test_faults_pick_the_same_ticks_on_every_connection(play):
    async def scenario(gateway):
        clients = [await subscribed(gateway) for _ in range(2)]
        gateway.chaos(duplicate_pct=5, drop_pct=5, bad_pct=5)
        await gateway.pass_time(5, steps=50)
        for client in clients:
            await gateway.delivered(client)
        first, second = [row["sent"] for row in await gateway.get("/truth/sent", contract=MNQ)]
        assert first == second
        assert clients[0].trades() == clients[1].trades()

    play(scenario)


def test_another_session_taking_over_is_told_to_the_hubs_chosen(play):
    async def scenario(gateway):
        market, user = await gateway.hub("market"), await gateway.hub("user")
        gateway.chaos(gateway_logout=True)
        gateway.chaos(gateway_logout="another session", hub="user")
        for client in (market, user):
            await client.invoke("NoSuchMethod")
        assert market.of("GatewayLogout") == [[]]
        assert user.of("GatewayLogout") == [[], ["another session"]]

    play(scenario)


def test_connecting_and_subscribing_can_be_made_to_fail(play):
    async def scenario(gateway):
        gateway.chaos(connect_error=1, subscribe_error=1)
        client = await gateway.hub()
        assert await client.ended() == 1000
        assert client.goodbyes() == [
            {"type": 7, "error": "Connection closed with an error. HubException: connect_error"}
        ]
        client = await gateway.hub()
        assert "subscribe_error" in (await client.invoke("SubscribeContractTrades", MNQ))["error"]
        assert "error" not in await client.invoke("SubscribeContractTrades", MNQ)

    play(scenario)


def test_the_rate_can_be_changed_while_it_runs(play):
    async def scenario(gateway):
        client = await subscribed(gateway)
        gateway.chaos(tick_rate={MNQ: 50})
        await gateway.pass_time(10)
        gateway.chaos(tick_rate=0)
        await gateway.pass_time(10)
        assert 480 <= (await gateway.delivered(client))["ticks"] <= 520

    play(scenario, rate=0.0, lively=False)


def test_broken_framing_comes_only_when_named_and_leaves_the_ticks_whole(play):
    async def scenario(gateway):
        client = await subscribed(gateway)
        gateway.chaos(bad_pct=20, bad_kinds=["binary_frame", "deep_json"])
        await gateway.pass_time(1)
        kinds = set()
        while len(kinds) < 2:
            message = await client.socket.receive(timeout=10)
            kinds |= {"binary"} if message.type is aiohttp.WSMsgType.BINARY else set()
            kinds |= {"deep"} if message.type is aiohttp.WSMsgType.TEXT and "[" * 5000 in message.data else set()

    play(scenario)


def test_switches_are_set_and_shown_over_http_and_nonsense_is_refused(play):
    async def scenario(gateway):
        response = await gateway.post("/chaos", {"bad_pct": 3, "stall": 7})
        assert response.status == 200
        state = await gateway.get("/chaos")
        assert (state["bad_pct"], state["stall_left_s"]) == (3, 7)
        for nonsense, says in (
            ({"bad_pt": 1}, "did you mean 'bad_pct'"),
            ({"contract": "X", "burst": 1}, "not served"),
        ):
            refused = await gateway.post("/chaos", nonsense)
            assert refused.status == 400
            assert says in (await refused.json())["error"]
        await gateway.post("/chaos", {"reset": True})
        assert (await gateway.get("/chaos"))["bad_pct"] == 0

    play(scenario)


def test_switches_of_the_settings_are_on_from_the_start(play):
    async def scenario(gateway):
        gateway.clock.now_ns += 1
        response = await gateway.post("/api/Auth/loginKey", {"userName": "demo", "apiKey": "demo-key"})
        assert response.status == 503
        assert await gateway.login()

    play(scenario, chaos=parse_chaos({"login_fail": 1, "login_fail_status": 503}))


def test_a_client_that_stops_reading_is_cut_and_the_others_are_not(play):
    async def scenario(gateway):
        stuck, good = await subscribed(gateway), await subscribed(gateway)
        served = next(iter(gateway.engine.connections.values()))
        # From here on nobody reads one of them, so the buffers on the way fill up, the system's first.
        stuck.socket._response.connection.transport.pause_reading()
        reader = asyncio.create_task(good.ended())
        while served.room(gateway.clock()):
            gateway.chaos(burst=10_000, contract=MNQ)
            await gateway.pass_time(0.01, steps=1)
        assert served._transport.get_write_buffer_size() < 4 << 20, "what waits for it is bounded"
        await gateway.pass_time(9, steps=9)
        assert served.ending is None
        await gateway.pass_time(2, steps=2)
        assert served.ending.reason == "slow_client"
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        sent = await gateway.delivered(good)
        assert len(sent["ranges"]) == 1
        assert len(good.trades()) == sent["ticks"]
        await gateway.until(lambda: gateway.engine.counters["ended_slow_client"] == 1)

    play(scenario, rate=10.0)


def test_a_client_that_falls_behind_what_is_kept_is_let_go(play):
    async def scenario(gateway):
        client = await subscribed(gateway)
        gateway.chaos(stall=30)
        await gateway.pass_time(29.9, steps=5000)
        await gateway.pass_time(1, steps=1)
        assert await client.ended() == 1006
        assert gateway.engine.counters["ended_fell_behind"] == 1

    play(scenario, rate=1000.0, truth_window=1000)
