from datetime import UTC, datetime

import pytest

MNQ, CLE = "CON.F.US.MNQ.Z25", "CON.F.US.CLE.F26"
START = 1_763_829_000


def iso(second):
    return datetime.fromtimestamp(second, UTC).isoformat()


def bars_body(**changes):
    return {
        "contractId": MNQ,
        "live": False,
        "startTime": iso(START - 3600),
        "endTime": iso(START + 3600),
        "unit": 1,
        "unitNumber": 5,
        "limit": 20_000,
        "includePartialBar": False,
        **changes,
    }


async def answer(response):
    assert response.status == 200
    return await response.json()


def test_a_wrong_key_is_a_business_failure_with_its_code(play):
    async def scenario(gateway):
        for body in ({"userName": "demo", "apiKey": "wrong"}, {"userName": "wrong", "apiKey": "demo-key"}):
            refused = await answer(await gateway.post("/api/Auth/loginKey", body))
            assert (refused["success"], refused["errorCode"], refused["token"]) == (False, 3, None)

    play(scenario)


@pytest.mark.parametrize("code", [3, 7, 9, 10])
def test_every_documented_login_failure_can_be_had(play, code):
    async def scenario(gateway):
        gateway.chaos(login_error=code)
        body = {"userName": "demo", "apiKey": "demo-key"}
        refused = await answer(await gateway.post("/api/Auth/loginKey", body))
        assert (refused["success"], refused["errorCode"]) == (False, code)
        assert refused["errorMessage"]

    play(scenario)


def test_validate_gives_a_new_token_and_the_old_one_stays_good(play):
    async def scenario(gateway):
        token = await gateway.login()
        renewed = await answer(await gateway.post("/api/Auth/validate", token=token))
        assert renewed["success"]
        assert renewed["newToken"] not in (token, None)
        for each in (token, renewed["newToken"]):
            assert (await gateway.post("/api/Auth/validate", token=each)).status == 200
        gateway.chaos(validate_error=2)
        refused = await answer(await gateway.post("/api/Auth/validate", token=token))
        assert (refused["success"], refused["errorCode"], refused["newToken"]) == (False, 2, None)

    play(scenario)


def test_all_but_login_and_ping_want_a_good_token(play):
    async def scenario(gateway):
        token = await gateway.login()
        paths = [
            *("/api/Auth/validate", "/api/Account/search", "/api/Contract/search", "/api/Contract/searchById"),
            *("/api/Contract/available", "/api/History/retrieveBars"),
        ]
        for path in paths:
            for bad in (None, "x", token[:-3] + "AAA"):
                response = await gateway.post(path, {}, token=bad)
                assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        async with gateway.http.get(gateway.server.url + "/api/Status/ping") as response:
            assert (response.status, await response.text()) == (200, "pong")

    play(scenario)


def test_a_token_that_has_run_out_or_was_revoked_is_refused(play):
    async def scenario(gateway):
        token = await gateway.login()
        assert (await gateway.post("/api/Auth/validate", token=token)).status == 200
        await gateway.pass_time(31)
        assert (await gateway.post("/api/Auth/validate", token=token)).status == 401
        token = await gateway.login()
        gateway.chaos(revoke_tokens=True)
        assert (await gateway.post("/api/Auth/validate", token=token)).status == 401

    play(scenario, token_ttl_s=30)


def test_contracts_are_found_by_text_and_by_id(play):
    async def scenario(gateway):
        token = await gateway.login()

        async def ask(path, body):
            return await answer(await gateway.post(path, body, token))

        (found,) = (await ask("/api/Contract/search", {"searchText": "nasdaq", "live": False}))["contracts"]
        assert found == {
            "id": MNQ,
            "name": "MNQZ5",
            "description": "Micro E-mini Nasdaq-100: December 2025",
            "tickSize": 0.25,
            "tickValue": 0.5,
            "activeContract": True,
            "symbolId": "F.US.MNQ",
        }
        assert (await ask("/api/Contract/searchById", {"contractId": MNQ}))["contract"] == found
        missing = await ask("/api/Contract/searchById", {"contractId": "X"})
        assert (missing["success"], missing["errorCode"], missing["contract"]) == (False, 1, None)
        assert len((await ask("/api/Contract/available", {"live": False}))["contracts"]) == 4
        assert (await ask("/api/Contract/search", {"searchText": "", "live": True}))["contracts"] == []
        assert [a["id"] for a in (await ask("/api/Account/search", {"onlyActiveAccounts": True}))["accounts"]] == [
            1001,
            1002,
        ]

    play(scenario)


def test_bars_come_newest_first_and_are_those_of_the_ticks(play):
    async def scenario(gateway):
        token = await gateway.login()
        await gateway.pass_time(33, steps=330)
        for contract in (MNQ, CLE):
            body = bars_body(contractId=contract, startTime=iso(START - 60))
            bars = (await answer(await gateway.post("/api/History/retrieveBars", body, token)))["bars"]
            assert [bar["t"] for bar in bars] == [iso(START - 60 + 5 * k) for k in range(18)][::-1]
            ticks = await gateway.get("/truth", contract=contract, **{"from": -(10**6), "to": 10**9})
            for bar in bars:
                opens = datetime.fromisoformat(bar["t"]).timestamp() * 1e9
                mine = [tick for tick in ticks if opens <= tick["t_ns"] < opens + 5e9]
                prices = [tick["price"] for tick in mine]
                assert (bar["o"], bar["h"], bar["l"], bar["c"]) == (prices[0], max(prices), min(prices), prices[-1])
                assert bar["v"] == sum(tick["volume"] for tick in mine)

    play(scenario, history_s=600)


def test_an_unfinished_bar_comes_only_when_asked_for(play):
    async def scenario(gateway):
        token = await gateway.login()
        await gateway.pass_time(3)
        whole = await answer(await gateway.post("/api/History/retrieveBars", bars_body(unit=2), token))
        both = await answer(
            await gateway.post("/api/History/retrieveBars", bars_body(unit=2, includePartialBar=True), token)
        )
        assert both["bars"][1:] == whole["bars"]
        assert both["bars"][0]["v"] > 0

    play(scenario, history_s=3600)


def test_the_limit_keeps_the_newest(play):
    async def scenario(gateway):
        token = await gateway.login()
        await gateway.pass_time(1)
        every = (await answer(await gateway.post("/api/History/retrieveBars", bars_body(), token)))["bars"]
        some = (await answer(await gateway.post("/api/History/retrieveBars", bars_body(limit=7), token)))["bars"]
        assert some == every[:7]

    play(scenario, history_s=600)


@pytest.mark.parametrize(
    ("change", "code"),
    [({"contractId": "X"}, 1), ({"unit": 7}, 2), ({"unitNumber": 0}, 3), ({"limit": 20_001}, 4), ({"limit": 0}, 4)],
)
def test_bars_that_cannot_be_had_are_a_business_failure(play, change, code):
    async def scenario(gateway):
        token = await gateway.login()
        refused = await answer(await gateway.post("/api/History/retrieveBars", bars_body(**change), token))
        assert (refused["success"], refused["errorCode"], refused["bars"]) == (False, code, None)

    play(scenario)


def test_a_practice_account_has_no_live_data(play):
    async def scenario(gateway):
        token = await gateway.login()
        await gateway.pass_time(10)
        live = await answer(await gateway.post("/api/History/retrieveBars", bars_body(live=True), token))
        assert (live["success"], live["bars"]) == (True, [])

    play(scenario)


@pytest.mark.parametrize(
    "body",
    [
        {},
        bars_body(startTime="noon"),
        bars_body(limit="many"),
        {name: value for name, value in bars_body().items() if name != "live"},
    ],
)
def test_a_body_that_is_not_what_the_endpoint_wants_is_a_bad_request(play, body):
    async def scenario(gateway):
        response = await gateway.post("/api/History/retrieveBars", body, await gateway.login())
        assert response.status == 400
        assert (await response.json(content_type=None))["status"] == 400

    play(scenario)


def test_the_rate_limits_are_those_documented_and_say_when_to_come_back(play):
    async def scenario(gateway):
        token = await gateway.login()
        statuses = [(await gateway.post("/api/History/retrieveBars", bars_body(), token)).status for _ in range(51)]
        assert statuses == [200] * 50 + [429]
        gateway.clock.now_ns += 12 * 10**9
        refused = await gateway.post("/api/History/retrieveBars", bars_body(), token)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "18")
        statuses = [(await gateway.post("/api/Account/search", {}, token)).status for _ in range(201)]
        assert statuses == [200] * 200 + [429]
        gateway.clock.now_ns += 18 * 10**9
        assert (await gateway.post("/api/History/retrieveBars", bars_body(), token)).status == 200

    play(scenario)


def test_log_ins_and_bars_can_be_made_to_fail(play):
    async def scenario(gateway):
        gateway.chaos(login_fail=2, login_fail_status=429, retry_after_s=7, history_fail=1)
        for _ in range(2):
            refused = await gateway.post("/api/Auth/loginKey", {"userName": "demo", "apiKey": "demo-key"})
            assert (refused.status, refused.headers["Retry-After"]) == (429, "7")
        token = await gateway.login()
        assert (await gateway.post("/api/History/retrieveBars", bars_body(), token)).status == 500
        assert (await gateway.post("/api/History/retrieveBars", bars_body(), token)).status == 200

    play(scenario)


def test_history_may_lag_and_may_be_refused(play):
    async def scenario(gateway):
        token = await gateway.login()
        await gateway.pass_time(30)
        path = "/api/History/retrieveBars"
        prompt = (await answer(await gateway.post(path, bars_body(), token)))["bars"]
        gateway.chaos(history_lag_s=20)
        late = (await answer(await gateway.post(path, bars_body(), token)))["bars"]
        assert late == prompt[20 // 5 :]
        assert late
        gateway.chaos(history_error=4)
        refused = await answer(await gateway.post(path, bars_body(), token))
        assert (refused["success"], refused["errorCode"], refused["bars"]) == (False, 4, None)

    play(scenario)
