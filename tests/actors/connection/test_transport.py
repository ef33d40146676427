from __future__ import annotations

import asyncio
import itertools
import json

import aiohttp
import pytest

from tickloom.actors.connection.dial import HubSettings
from tickloom.actors.connection.errors import (
    ConnectionLost,
    GatewayUnreachable,
    InvocationFailed,
    SubscriptionRefused,
)
from tickloom.actors.connection.transport import HubConnection
from tickloom.config.secrets import Secret
from tickloom.messages.signalr import Limits, LocalProtocolError

RS = b"\x1e"
TRADE = b'{"type":1,"target":"GatewayTrade","arguments":["C",[]]}' + RS


def connect(peer, session, **settings) -> HubConnection:
    return HubConnection(
        HubSettings(url=f"{peer.url}/hubs/market", close_timeout=0.5, **settings), Secret("t"), session
    )


# ------------------------------------------------------------------------------------------ opening


def test_the_token_travels_in_the_header_and_nowhere_else(net):
    async def script(caller):
        assert await caller.shake() == {"protocol": "json", "version": 1}
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            assert client.connection.is_open
            [request] = peer.requests
            assert request.headers["Authorization"] == f"Bearer {net.canary}"
            assert net.canary not in str(request.url)
            assert dict(request.query) == {}

    asyncio.run(test())


def test_the_token_travels_in_the_query_by_explicit_choice_alone(net):
    async def script(caller):
        await caller.shake()
        await caller.leave()

    async def test():
        async with (
            net.meeting(script) as (peer, session),
            net.running(peer, session, auth_transport="query"),
        ):
            [request] = peer.requests
            assert dict(request.query) == {"access_token": net.canary}
            assert "Authorization" not in request.headers

    asyncio.run(test())


def test_messages_that_share_the_handshake_s_frame_are_delivered(net):
    async def script(caller):
        await caller.shake(TRADE * 3)
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            await client.until(lambda: client.data == TRADE * 3)

    asyncio.run(test())


@pytest.mark.parametrize("reply", [b'{"error":"only messagepack here"}' + RS, b"<html>" + RS])
def test_a_refused_handshake_is_an_error_that_says_why(net, reply):
    async def script(caller):
        await caller.receive()
        await caller.send(reply)
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session):
            with pytest.raises(GatewayUnreachable, match=r"refused the handshake: (only messagepack|the reply)"):
                await connect(peer, session).open()

    asyncio.run(test())


def test_a_handshake_without_a_reply_is_given_up(net):
    async def test():
        async with net.meeting(lambda caller: caller.leave()) as (peer, session):
            with pytest.raises(GatewayUnreachable, match="did not answer the handshake"):
                await connect(peer, session, limits=Limits(handshake_timeout=0.05)).open()

    asyncio.run(test())


def test_a_connection_closed_during_the_handshake_is_an_error(net):
    async def script(caller):
        await caller.socket.close()

    async def test():
        async with net.meeting(script) as (peer, session):
            with pytest.raises(GatewayUnreachable, match="during the handshake"):
                await connect(peer, session).open()

    asyncio.run(test())


def test_a_connection_is_opened_and_run_once(net):
    async def script(caller):
        await caller.shake()
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            with pytest.raises(LocalProtocolError, match="opened once"):
                await client.connection.open()
            await asyncio.sleep(0)
            with pytest.raises(LocalProtocolError, match="run a connection once"):
                await client.connection.run(client.take)

    asyncio.run(test())


# ------------------------------------------------------------------------------------------ receiving


def test_frames_that_have_already_come_are_handed_over_as_one_batch(net):
    async def script(caller):
        await caller.shake()
        # one write, many frames: they are all there when the client wakes
        caller.request.transport.pause_reading()
        await asyncio.gather(*(caller.send(TRADE) for _ in range(300)))
        caller.request.transport.resume_reading()
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            await client.until(lambda: client.data.count(RS) == 300)
            assert len(client.batches) < 100
            for payloads, walls, monos in client.batches:
                assert len(payloads) == len(walls) == len(monos)

    asyncio.run(test())


def test_a_batch_is_bounded(net):
    async def script(caller):
        await caller.shake()
        await asyncio.gather(*(caller.send(TRADE) for _ in range(100)))
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session, batch=7) as client:
            await client.until(lambda: client.data.count(RS) == 100)
            assert max(len(payloads) for payloads, _, _ in client.batches) <= 7

    asyncio.run(test())


def test_frames_are_stamped_by_the_clocks_handed_in(net):
    async def script(caller):
        await caller.shake()
        await caller.send(TRADE)
        await caller.leave()

    async def test():
        wall, mono = itertools.count(10**18), itertools.count(5 * 10**9)
        async with (
            net.meeting(script) as (peer, session),
            net.running(peer, session, wall_ns=lambda: next(wall), mono_ns=lambda: next(mono)) as client,
        ):
            await client.until(lambda: bool(client.batches))
            _, [recv], [stamp] = client.batches[0]
            assert 10**18 <= recv < 10**18 + 1000
            assert 5 * 10**9 <= stamp < 5 * 10**9 + 1000

    asyncio.run(test())


def test_messages_split_over_frames_text_or_binary_arrive_whole(net):
    async def script(caller):
        await caller.shake()
        await caller.send(TRADE[:20])
        await caller.socket.send_bytes(TRADE[20:] + TRADE[:5])
        await caller.send(TRADE[5:])
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            await client.until(lambda: client.data == TRADE + TRADE)
            assert [payload for batch in client.batches for payload in batch[0]] == [TRADE, TRADE]

    asyncio.run(test())


def test_garbage_is_handed_on_counted_and_does_not_end_the_connection(net):
    junk = [b"no json" + RS, RS * 5, b"[" * 50_000 + RS, b'{"type":"x"}' + RS, b'{"type":88}' + RS]

    async def script(caller):
        await caller.shake()
        for piece in junk:
            await caller.socket.send_bytes(piece)
        await caller.socket.send_bytes(b"\xff\xfe" + RS)
        await caller.send(TRADE)
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            await client.until(lambda: client.data.endswith(TRADE))
            assert client.data == b"".join(junk) + b"\xff\xfe" + RS + TRADE
            counts = client.connection.counts
            assert (counts["bad.json"], counts["bad.schema"], counts["bad.unknown_type"]) == (7, 2, 1)
            assert client.connection.is_open

    asyncio.run(test())


def test_a_frame_beyond_the_limit_ends_the_connection_with_a_reason(net):
    async def script(caller):
        await caller.shake()
        await caller.socket.send_bytes(b"x" * 5000)
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session, max_frame=4096) as client:
            with pytest.raises(ConnectionLost, match="larger than 4096 bytes"):
                await client.task

    asyncio.run(test())


def test_an_error_of_the_receiver_ends_the_run_with_that_error(net):
    async def script(caller):
        await caller.shake()
        await caller.send(TRADE)
        await caller.leave()

    def broken(*_):
        raise ZeroDivisionError("a defect of the receiver")

    async def test():
        async with net.meeting(script) as (peer, session):
            connection = connect(peer, session)
            await connection.open()
            with pytest.raises(ZeroDivisionError):
                await connection.run(broken)
            await connection.close()

    asyncio.run(test())


def test_while_reading_is_stopped_nothing_is_delivered_and_silence_is_not_held_against_the_gateway(net):
    stopped, pinged = asyncio.Event(), asyncio.Event()

    async def script(caller):
        await caller.shake()
        await stopped.wait()
        await caller.send(TRADE)
        for _ in range(12):  # twelve keepalives of 20 ms: more than twice the server timeout
            await caller.receive(6)
        pinged.set()
        await caller.leave()

    async def test():
        limits = Limits(server_timeout=0.1, keepalive=0.02)
        async with net.meeting(script) as (peer, session), net.running(peer, session, limits=limits) as client:
            client.connection.reading(False)
            stopped.set()
            await pinged.wait()
            assert client.data == b""
            assert client.connection.is_open
            client.connection.reading(True)
            await client.until(lambda: client.data == TRADE)

    asyncio.run(test())


# ------------------------------------------------------------------------------------------ invoking


def test_subscriptions_are_invocations_that_wait_for_their_answers(net):
    asked = []

    async def script(caller):
        await caller.shake()
        asked.extend([await caller.answer() for _ in range(6)])
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            await client.connection.subscribe("CON.X", ("trades", "quotes", "depth"))
            await client.connection.unsubscribe("CON.X")
            await client.connection.subscribe_accounts()
            await client.connection.subscribe_account(7, ("orders",))

    asyncio.run(test())
    assert [(each["target"], each["arguments"]) for each in asked] == [
        ("SubscribeContractTrades", ["CON.X"]),
        ("SubscribeContractQuotes", ["CON.X"]),
        ("SubscribeContractMarketDepth", ["CON.X"]),
        ("UnsubscribeContractTrades", ["CON.X"]),
        ("SubscribeAccounts", []),
        ("SubscribeOrders", [7]),
    ]


def test_a_refused_subscription_is_an_error_with_the_contract_s_name(net):
    async def script(caller):
        await caller.shake()
        await caller.answer(error="unknown contract")
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            with pytest.raises(SubscriptionRefused, match=r"trades of CON\.X: unknown contract") as caught:
                await client.connection.subscribe("CON.X")
            assert (caught.value.contract, caught.value.stream) == ("CON.X", "trades")
            assert client.connection.is_open

    asyncio.run(test())


def test_a_refused_account_is_named_by_its_end_alone(net):
    async def script(caller):
        await caller.shake()
        await caller.answer(error="HubException: account 7654321 is not yours")
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            with pytest.raises(SubscriptionRefused) as refused:
                await client.connection.subscribe_account(7654321)
            assert "account …21" in str(refused.value)
            assert "7654321" not in str(refused.value) + repr(refused.value)

    asyncio.run(test())


def test_answers_in_another_order_find_their_callers(net):
    async def script(caller):
        await caller.shake()
        first, second = await caller.receive(1), await caller.receive(1)
        for each in (second, first):
            await caller.send(net.message(type=3, invocationId=each["invocationId"], result=each["target"]))
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            results = await asyncio.gather(client.connection.invoke("One"), client.connection.invoke("Two"))
            assert [json.loads(result) for result in results] == ["One", "Two"]

    asyncio.run(test())


def test_what_came_before_an_answer_is_delivered_before_its_caller_goes_on(net):
    async def script(caller):
        await caller.shake()
        invocation = await caller.receive(1)
        done = net.message(type=3, invocationId=invocation["invocationId"], result=None)
        await caller.send(TRADE)
        await caller.send(TRADE + done + TRADE)
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            await client.connection.unsubscribe("CON.X")
            assert client.data.count(TRADE) >= 2

    asyncio.run(test())


def test_an_invocation_without_an_answer_is_given_up(net):
    async def script(caller):
        await caller.shake()
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session, invoke_timeout=0.05) as client:
            with pytest.raises(InvocationFailed, match=r"did not answer Nothing in 0\.05 s"):
                await client.connection.invoke("Nothing")

    asyncio.run(test())


def test_a_lost_connection_fails_what_waits_for_an_answer_and_later_calls_at_once(net):
    async def script(caller):
        await caller.shake()
        await caller.receive(1)
        caller.cut()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            with pytest.raises(ConnectionLost, match="Wait has no answer"):
                await client.connection.invoke("Wait")
            with pytest.raises(ConnectionLost):
                await client.task
            with pytest.raises(ConnectionLost, match="is not open; Later was not sent"):
                await client.connection.invoke("Later")

    asyncio.run(test())


def test_a_question_of_the_gateway_is_answered_with_an_error(net):
    answers = asyncio.Queue()

    async def script(caller):
        await caller.shake()
        await caller.send(b'{"type":1,"invocationId":"q1","target":"Feel","arguments":[]}' + RS)
        await answers.put(await caller.receive(3))
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session):
            answer = await answers.get()
            assert answer["invocationId"] == "q1"
            assert "Feel" in answer["error"]

    asyncio.run(test())


# ------------------------------------------------------------------------------------------ ending


@pytest.mark.parametrize(
    ("goodbye", "words", "invited"),
    [
        (b'{"type":7}', "closed the connection$", False),
        (b'{"type":7,"allowReconnect":true}', "closed the connection$", True),
        (b'{"type":7,"error":"too slow"}', "closed the connection: too slow", False),
    ],
)
def test_a_close_of_the_gateway_says_whether_to_come_back(net, goodbye, words, invited):
    async def script(caller):
        await caller.shake()
        await caller.send(TRADE + goodbye + RS)
        await caller.leave()

    async def test():
        async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
            with pytest.raises(ConnectionLost, match=words) as caught:
                await client.task
            assert caught.value.invited is invited
            assert client.data.startswith(TRADE)

    asyncio.run(test())


def test_a_broken_connection_and_a_bare_close_code_are_told_apart(net):
    async def breaks(caller):
        await caller.shake()
        caller.cut()

    async def closes(caller):
        await caller.shake()
        await caller.socket.close(code=1011)

    async def test():
        for script, words in ((breaks, "broke off without a close"), (closes, "closed with code 1011")):
            async with net.meeting(script) as (peer, session), net.running(peer, session) as client:
                with pytest.raises(ConnectionLost, match=words) as caught:
                    await client.task
                assert not caught.value.invited

    asyncio.run(test())


def test_closing_tells_the_gateway_and_ends_the_run_quietly(net):
    said = []

    async def script(caller):
        await caller.shake()
        await caller.leave()
        said.extend(caller.heard)

    async def test():
        async with net.meeting(script) as (peer, session):
            async with net.running(peer, session) as client:
                await client.connection.close()
                await client.task
                await client.connection.close()
            assert not client.connection.is_open

    asyncio.run(test())
    assert {"type": 7} in said


def test_closing_a_connection_that_was_never_opened_is_nothing():
    async def test():
        connection = HubConnection(HubSettings(url="https://gateway.invalid/hubs/market"), None, None)
        await connection.close()
        with pytest.raises(LocalProtocolError):
            await connection.open()

    asyncio.run(test())


def test_cancelling_the_run_leaves_no_task_and_no_socket(net):
    gone = asyncio.Event()

    async def script(caller):
        await caller.shake()
        await caller.leave()
        gone.set()

    async def test():
        async with net.meeting(script) as (peer, session):
            connection = connect(peer, session)
            await connection.open()
            task = asyncio.create_task(connection.run(lambda *_: None))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await gone.wait()
            left = [each.get_coro().__qualname__ for each in asyncio.all_tasks()]
            assert not any(name.startswith("HubConnection") for name in left)

    asyncio.run(test())


# ------------------------------------------------------------------------------------------ keeping time


def test_an_idle_connection_sends_pings(net):
    pinged = asyncio.Queue()

    async def script(caller):
        await caller.shake()
        for _ in range(2):
            await pinged.put(await caller.receive(6))
        await caller.leave()

    async def test():
        async with (
            net.meeting(script) as (peer, session),
            net.running(peer, session, limits=Limits(keepalive=0.02)),
        ):
            assert [await pinged.get() for _ in range(2)] == [{"type": 6}] * 2

    asyncio.run(test())


def test_a_silent_gateway_is_given_up_and_its_pings_keep_it(net):
    async def script(caller):
        await caller.shake()
        for _ in range(8):  # 160 ms: longer than it may be silent
            await caller.receive(6)
            await caller.send(b'{"type":6}' + RS)
        await caller.leave()

    async def test():
        limits = Limits(server_timeout=0.1, keepalive=0.02)
        async with (
            net.meeting(script) as (peer, session),
            net.running(peer, session, ping_interval=0, limits=limits) as client,
        ):
            with pytest.raises(ConnectionLost, match=r"is dead: nothing came for 0\.1 s"):
                await client.task
            assert client.connection.counts["pings"] == 8

    asyncio.run(test())


def test_websocket_pings_measure_the_round_trip_and_are_answered(net):
    ponged = asyncio.Queue()

    async def script(caller):
        await caller.shake()
        await caller.socket.ping(b"hello")
        while True:
            frame = await caller.socket.receive()
            if frame.type is aiohttp.WSMsgType.PING:
                await caller.socket.pong(frame.data)
                await caller.send(TRADE)
            elif frame.type is aiohttp.WSMsgType.PONG:
                await ponged.put(bytes(frame.data))
            else:
                return

    async def test():
        async with (
            net.meeting(script) as (peer, session),
            net.running(peer, session, ping_interval=0.02) as client,
        ):
            assert await ponged.get() == b"hello"
            await client.until(lambda: client.data.count(RS) >= 2)
            assert 0 < client.connection.round_trip < 5

    asyncio.run(test())


def test_a_half_open_link_is_found_by_its_unanswered_ping(net):
    async def script(caller):
        await caller.shake()
        caller.mute = True
        await caller.leave()

    async def test():
        async with (
            net.meeting(script) as (peer, session),
            net.running(peer, session, ping_interval=0.02, ping_patience=0.05) as client,
        ):
            with pytest.raises(ConnectionLost, match=r"is dead: a ping was not answered within 0\.05 s"):
                await client.task

    asyncio.run(test())


# ------------------------------------------------------------------------------------------ stateful reconnect


def numbered(number: int) -> bytes:
    return b'{"type":1,"target":"Event","arguments":[%d]}' % number + RS


def negotiated(**more):
    async def answer(request):
        body = {"connectionToken": "conn-token", "availableTransports": [{"transport": "WebSockets"}], **more}
        return aiohttp.web.json_response(body)

    return answer


def test_a_cut_stateful_session_goes_on_without_losing_or_repeating_a_message(net):
    async def first(caller):
        assert (await caller.shake())["version"] == 2
        await caller.send(b"".join(map(numbered, range(1, 6))))
        assert await caller.receive(8) == {"type": 8, "sequenceId": 5}
        caller.cut()

    async def refuses(caller):
        caller.cut()

    async def second(caller):
        assert await caller.receive() == {"type": 9, "sequenceId": 1}
        await caller.send(net.message(type=9, sequenceId=4) + b"".join(map(numbered, range(4, 10))))
        await caller.leave()

    async def test():
        async with net.meeting(first, refuses, second) as (peer, session):
            peer.answers["/hubs/market/negotiate"] = negotiated(useStatefulReconnect=True)
            limits = Limits(acknowledge=0.01)
            async with net.running(peer, session, stateful=True, limits=limits) as client:
                await client.until(lambda: client.data == b"".join(map(numbered, range(1, 10))))
                assert client.connection.is_open
            assert [request.query.get("id") for request in peer.requests[1:]] == ["conn-token"] * 3
            assert all(request.headers["Authorization"] == f"Bearer {net.canary}" for request in peer.requests)

    asyncio.run(test())


def test_a_session_that_cannot_be_resumed_is_lost(net):
    async def first(caller):
        await caller.shake()
        caller.cut()

    async def second(caller):
        await caller.receive()
        await caller.send(net.message(type=9, sequenceId=40))
        await caller.leave()

    async def test():
        async with net.meeting(first, second) as (peer, session):
            peer.answers["/hubs/market/negotiate"] = negotiated(useStatefulReconnect=True)
            async with net.running(peer, session, stateful=True) as client:
                with pytest.raises(ConnectionLost, match="could not be resumed"):
                    await client.task

    asyncio.run(test())


def test_a_session_the_gateway_has_forgotten_is_given_up_at_once(net):
    async def first(caller):
        await caller.shake()

        async def forgotten(request):
            return aiohttp.web.Response(status=404, text="No Connection with that ID")

        caller.peer.answers["/hubs/market"] = forgotten
        caller.cut()

    async def test():
        async with net.meeting(first) as (peer, session):
            peer.answers["/hubs/market/negotiate"] = negotiated(useStatefulReconnect=True)
            async with net.running(peer, session, stateful=True, resume_within=3600.0) as client:
                with pytest.raises(ConnectionLost, match="does not know it any more"):
                    await client.task
            assert len(peer.requests) == 3

    asyncio.run(test())
