"""What comes over a real socket, against the truth the gateway tells of itself."""

import itertools
import re

import pytest

MNQ, EP, CLE = "CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26"
SYMBOLS = {MNQ: "F.US.MNQ", EP: "F.US.EP", CLE: "F.US.CLE"}


async def equals_truth(gateway, client, wire_form, contract=MNQ):
    """The trades received are the ticks of one unbroken range, exactly; returns how many."""
    sent = await gateway.delivered(client, contract)
    assert len(sent["ranges"]) == 1
    assert sent["runs"] == sent["ranges"]
    ticks = await gateway.truth(*sent["ranges"][0], contract)
    assert client.trades(contract) == [wire_form(tick, SYMBOLS[contract]) for tick in ticks]
    return len(ticks)


LAYOUTS = [
    {},
    {"batch_max": 1},
    {"batch_max": 20},
    {"batch_max": 500, "frame_max": 0, "coalesce_ms": 50.0},
    {"frame_max": 7},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_tick_sent_is_received_in_order_and_equals_the_truth(play, wire_form, layout):
    async def scenario(gateway):
        client = await gateway.hub()
        await gateway.pass_time(1)
        for contract in SYMBOLS:
            assert "error" not in await client.invoke("SubscribeContractTrades", contract)
        await gateway.pass_time(5, steps=500)
        counts = [await equals_truth(gateway, client, wire_form, contract) for contract in SYMBOLS]
        assert sum(counts) > 3000
        stamps = [trade["timestamp"] for trade in client.trades()]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}(Z|\+00:00)", stamp) for stamp in stamps)
        assert {stamp[27] for stamp in stamps} == {"Z", "+"}
        assert [stamp[:27] for stamp in stamps] == sorted(stamp[:27] for stamp in stamps)

    play(scenario, rate=1000.0, **layout)


def test_prints_of_a_sweep_come_in_one_array_unless_told_otherwise(play):
    async def scenario(gateway):
        client = await gateway.hub()
        await client.invoke("SubscribeContractTrades", MNQ)
        await gateway.pass_time(2, steps=100)
        await gateway.delivered(client)
        sizes = [len(batch) for _, batch in client.of("GatewayTrade")]
        assert {1, 2, 3} <= set(sizes)
        for _, batch in client.of("GatewayTrade"):
            assert len({trade["timestamp"][:27] for trade in batch}) == 1
            assert len({trade["type"] for trade in batch}) == 1

    play(scenario, rate=1000.0)


def test_coalescing_gathers_messages_in_few_frames(play, wire_form):
    async def scenario(gateway):
        client = await gateway.hub()
        await client.invoke("SubscribeContractTrades", MNQ)
        await gateway.pass_time(2, steps=2000)
        assert await equals_truth(gateway, client, wire_form) > 400
        assert len([frame for frame in client.frames if "GatewayTrade" in frame]) <= 21
        assert all(frame.endswith("\x1e") for frame in client.frames)

    play(scenario, rate=1000.0, coalesce_ms=100.0, frame_max=0)


def test_a_backlog_larger_than_one_piece_arrives_whole(play, wire_form):
    async def scenario(gateway):
        client = await gateway.hub()
        await client.invoke("SubscribeContractTrades", MNQ)
        gateway.chaos(burst=20_000, contract=MNQ)
        await gateway.pass_time(0.01, steps=1)
        assert await equals_truth(gateway, client, wire_form) >= 20_000

    play(scenario, rate=10.0)


def test_connections_that_joined_at_different_times_get_what_is_theirs(play, wire_form):
    async def scenario(gateway):
        early = await gateway.hub()
        await early.invoke("SubscribeContractTrades", MNQ)
        await gateway.pass_time(1, steps=50)
        late = await gateway.hub()
        await late.invoke("SubscribeContractTrades", MNQ)
        await gateway.pass_time(1, steps=50)
        for client in (early, late):
            await client.invoke("UnsubscribeContractTrades", MNQ)
        sent = [row["sent"] for row in await gateway.get("/truth/sent", contract=MNQ)]
        for client, row in zip((early, late), sent, strict=True):
            ticks = await gateway.truth(*row["ranges"][0])
            assert client.trades() == [wire_form(tick) for tick in ticks]
        assert sent[0]["ranges"][0][0] < sent[1]["ranges"][0][0]
        assert sent[0]["ranges"][0][1] == sent[1]["ranges"][0][1]

    play(scenario, rate=500.0)


def test_a_contract_subscribed_again_goes_on_later_and_the_record_shows_the_gap(play, wire_form):
    async def scenario(gateway):
        client = await gateway.hub()
        for _ in range(2):
            await client.invoke("SubscribeContractTrades", MNQ)
            await gateway.pass_time(1)
            sent = await gateway.delivered(client)
            await gateway.pass_time(1)
        (a, b), (c, d) = sent["ranges"]
        assert c > b + 1
        expected = await gateway.truth(a, b) + await gateway.truth(c, d)
        assert client.trades() == [wire_form(tick) for tick in expected]

    play(scenario, rate=500.0)


def test_an_unknown_contract_is_accepted_and_stays_silent(play):
    async def scenario(gateway):
        client = await gateway.hub()
        assert "error" not in await client.invoke("SubscribeContractTrades", "CON.F.US.NONE.Z99")
        assert "error" not in await client.invoke("SubscribeContractQuotes", None)
        await gateway.pass_time(1)
        assert "error" in await client.invoke("NoSuchMethod")
        assert client.of("GatewayTrade") == []

    play(scenario)


def test_an_unknown_contract_can_be_made_an_error_with_its_name(play):
    async def scenario(gateway):
        client = await gateway.hub()
        answer = await client.invoke("SubscribeContractTrades", "CON.F.US.NONE.Z99")
        assert "'CON.F.US.NONE.Z99' not found" in answer["error"]

    play(scenario, unknown_contract="error")


def test_quotes_are_whole_once_then_sparse_and_put_together_are_the_truth(play):
    async def scenario(gateway):
        await gateway.pass_time(1)
        client = await gateway.hub()
        await client.invoke("SubscribeContractQuotes", CLE)
        whole = {}
        for _ in range(20):
            await gateway.pass_time(0.5, steps=5)
            await client.invoke("NoSuchMethod")
            for _, quote in client.of("GatewayQuote"):
                whole.update(quote)
            assert whole == await gateway.get("/truth/quote", contract=CLE)
        quotes = [quote for _, quote in client.of("GatewayQuote")]
        assert len(quotes[0]) == 13
        assert len(quotes) > 50
        assert sum(len(quote) < 13 for quote in quotes) > 0.9 * len(quotes)
        await client.invoke("UnsubscribeContractQuotes", CLE)
        before = len(client.messages)
        await gateway.pass_time(1)
        await client.invoke("NoSuchMethod")
        assert len(client.messages) == before + 1

    play(scenario)


def fold(batches):
    book = {1: {}, 2: {}}
    for row in itertools.chain.from_iterable(batches):
        if row is None:
            continue
        if row["type"] == 6:
            book = {1: {}, 2: {}}
        elif row["type"] in book:
            book[row["type"]].pop(row["price"], None)
            if row["volume"]:
                book[row["type"]][row["price"]] = row["volume"]
    return book


@pytest.mark.parametrize("before", [0, 1])
def test_depth_begins_with_the_book_and_put_together_is_the_truth(play, before):
    async def scenario(gateway):
        for _ in range(before):
            other = await gateway.hub()
            await other.invoke("SubscribeContractMarketDepth", CLE)
        await gateway.pass_time(1)
        client = await gateway.hub()
        await client.invoke("SubscribeContractMarketDepth", CLE)
        await gateway.pass_time(20, steps=200)
        await client.invoke("NoSuchMethod")
        batches = [rows for contract, rows in client.of("GatewayDepth") if contract == CLE]
        assert batches[0][0]["type"] == 6
        assert len(batches[0]) > 100
        assert max(len(frame) for frame in client.frames) > 10_240
        assert any(None in rows for rows in batches)
        truth = await gateway.get("/truth/book", contract=CLE)
        assert fold(batches) == {
            kind: {level["price"]: level["volume"] for level in truth[side]}
            for kind, side in ((1, "asks"), (2, "bids"))
        }

    play(scenario)


def test_user_events_are_those_subscribed_to_some_of_them_wrapped(play):
    async def scenario(gateway):
        client = await gateway.hub("user")
        await client.invoke("SubscribeAccounts")
        for what in ("Orders", "Positions", "Trades"):
            await client.invoke(f"Subscribe{what}", 1001)
        await gateway.pass_time(40, steps=80)
        await client.invoke("NoSuchMethod")
        told = await gateway.get("/truth/user", **{"from": 0})
        expected = [
            {"type": 1, "target": event["target"], "arguments": [event["payload"]]}
            for event in told
            if event["account"] == 1001 or event["target"] == "GatewayUserAccount"
        ]
        events = [m for m in client.messages if m.get("type") == 1]
        assert [m["arguments"][0].keys() == {"action", "data"} for m in events[:2]] == [False, True]
        assert events[2:] == expected
        assert {m["target"] for m in events} == {
            f"GatewayUser{what}" for what in ("Account", "Order", "Position", "Trade")
        }
        await client.invoke("UnsubscribeOrders", 1001)
        await gateway.pass_time(20)
        await client.invoke("NoSuchMethod")
        later = client.messages[client.messages.index(events[-1]) + 1 :]
        assert not [m for m in later if m.get("target") == "GatewayUserOrder"]

    play(scenario, rate=0.0)


def test_truth_tells_who_is_connected_and_what_was_emitted(play):
    async def scenario(gateway):
        client = await gateway.hub()
        await client.invoke("SubscribeContractTrades", MNQ)
        await gateway.pass_time(12, steps=120)
        (row,) = await gateway.get("/truth/connections")
        assert (row["hub"], row["user"], row["trades"]) == ("market", "demo", [MNQ])
        last = await gateway.get("/truth/last", contract=MNQ)
        info = await gateway.get("/truth/info")
        assert last["i"] == next(c["last_i"] for c in info["contracts"] if c["id"] == MNQ)
        assert info["counters"]["connected_market"] == 1
        bars = await gateway.get("/truth/bars", contract=MNQ, unit_seconds=5)
        assert [bar["complete"] for bar in bars] == [True, True, False]
        assert bars[-1]["last_i"] == last["i"]
        assert (bars[0]["first_i"], bars[1]["first_i"]) == (0, bars[0]["last_i"] + 1)
        assert [tick["i"] for tick in await gateway.get("/truth", contract=MNQ, **{"from": 5, "to": 8})] == [5, 6, 7, 8]
        assert await gateway.get("/healthz") == {"ok": True}

    play(scenario)


def test_truth_says_what_it_was_asked_wrongly(play):
    async def scenario(gateway):
        for path, status in (
            ("/truth?contract=X", 404),
            ("/truth/last?contract=X", 404),
            (f"/truth?contract={MNQ}&to=x", 400),
        ):
            async with gateway.http.get(gateway.server.url + path) as response:
                assert response.status == status

    play(scenario)


def test_truth_and_chaos_answer_under_loopback_names_only(play):
    async def scenario(gateway):
        for host, status in (("evil.example", 403), ("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:80", 200)):
            for path in ("/truth/info", "/chaos"):
                async with gateway.http.get(gateway.server.url + path, headers={"Host": host}) as response:
                    assert response.status == status, host

    play(scenario)
