"""The routes, asked over real sockets: of a live session on a gateway, and of views made up for the rarer cases."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tickloom.actors.http.stream import CHART_S, EVENTS
from tickloom.messages.reports import Health
from tickloom.supervision import ActorView, Quarantine
from tickloom.supervision.testing import ManualClock

MNQ = "CON.F.US.MNQ.Z25"
LOCKED = ("/", "/api/session", "/api/health", "/api/statistics", "/api/tree", "/api/bars", "/api/events", "/api/stream")
OPEN = ("/livez", "/readyz", "/metrics", "/static/style.css", "/favicon.ico")


# --- a live session --------------------------------------------------------------------------------------------------


def test_the_machines_endpoints_say_that_a_live_session_is_well(live: Any) -> None:
    client = live[1].without_pass()
    for path in ("/livez", "/readyz"):
        answer = client.get(path)
        assert (answer.status, answer.text) == (200, "ok\n"), path


def test_the_api_says_what_the_session_says(live: Any) -> None:
    session, client = live
    about = client.get("/api/session").json
    assert [each["contract"] for each in about["contracts"]] == list(session.contracts)
    assert about["timeframes"] == list(session.timeframes)
    health = client.get("/api/health").json
    assert health["links"] == {"market": "up"}
    assert health["token_seconds"] > 1000
    assert client.get("/api/statistics").json["ticks"] <= session.statistics().ticks
    paths = {view.path for view in session.tree().walk()}
    found = set()
    todo = [client.get("/api/tree").json]
    while todo:
        actor = todo.pop()
        found.add(actor["path"])
        todo += actor["children"]
    assert found == paths
    kinds = {event["kind"] for event in client.get("/api/events").json}
    assert "Started" in kinds


def test_bars_of_the_api_are_those_of_the_session(live: Any) -> None:
    session, client = live
    stream = client.stream(f"contract={MNQ}&timeframe=1s")
    stream.until("bars", lambda data: any(data["bars"]["closed"]))
    stream.close()
    chart = client.get(f"/api/bars?contract={MNQ}&timeframe=1sec&open=0").json
    bars = chart["bars"]
    assert (chart["contract"], chart["timeframe"], chart["reset"]) == (MNQ, "1s", True)
    assert bars["open_time"], "there are closed bars"
    table = session.table(MNQ, "1s")
    rows = dict(
        zip(
            table["open_time"].cast("int64").to_pylist(),
            table.drop(["open_time", "close_time"]).to_pylist(),
            strict=True,
        )
    )
    for index, start in enumerate(bars["open_time"]):
        row = rows[start]
        if row["revision"] == bars["revision"][index]:
            for name in (
                "open",
                "high",
                "low",
                "close",
                "volume",
                "trades",
                "vwap",
                "buy_volume",
                "sell_volume",
                "flags",
            ):
                assert bars[name][index] == row[name], (start, name)


def test_last_bounds_the_bars(live: Any) -> None:
    client = live[1]
    assert len(client.get(f"/api/bars?contract={MNQ}&timeframe=1s&last=1").json["bars"]["open_time"]) == 1
    for last in ("0", "-1", "x", "5001", "1e3", "99999999999999999999", ""):
        answer = client.get(f"/api/bars?contract={MNQ}&timeframe=1s&last={last}")
        assert answer.status == 400, last
        assert "1 to 5000" in answer.json["error"]


def test_what_is_not_there_is_named_with_what_is(live: Any) -> None:
    client = live[1]
    for query, status, words in (
        ("contract=NOPE&timeframe=1s", 404, MNQ),
        ("timeframe=1s", 404, "none given"),
        (f"contract={MNQ}&timeframe=7parsecs", 400, "timeframe"),
        (f"contract={MNQ}&timeframe=1h", 404, "1s, 5s, 1m"),
    ):
        answer = client.get(f"/api/bars?{query}")
        assert (answer.status, words in answer.json["error"]) == (status, True), answer.text
    assert client.get("/api/tree?path=/nobody").status == 404
    assert client.get("/api/tree?path=/feed/market").json["kind"] == "HubActor"
    assert client.get("/nothing").status == 404
    assert client.get("/static/nothing.js").status == 404
    assert client.get("/static/../shell.py").status == 404
    assert client.get("/static/index.html").status == 404, "the page is served at / alone, behind the pass"


def test_nothing_can_be_changed(live: Any) -> None:
    client = live[1]
    for path in (*LOCKED, *OPEN):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = client.get(path, method)
            assert answer.status == 405, (method, path)
            assert answer.headers["allow"].startswith("GET")


def test_metrics_of_a_live_session_are_read_by_prometheus_parser(live: Any) -> None:
    session, client = live
    answer = client.without_pass().get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    (ticks,) = families["tickloom_ticks"].samples
    assert 0 < ticks.value <= session.statistics().ticks
    up = {sample.labels["actor"]: sample.value for sample in families["tickloom_actor_up"].samples}
    assert up == {view.path: 1.0 for view in session.tree().walk()}
    assert "process_cpu_seconds" in families


def test_a_page_is_sent_a_few_updates_a_second_and_no_more(live: Any) -> None:
    stream = live[1].stream(f"contract={MNQ}&timeframe=1s")
    first = stream.until("board")
    charts, last = 0, first
    for _ in range(2):
        while True:
            name, data = stream.next()
            if name == "board":
                last = data
                break
            charts += name == "bars"
    stream.close()
    seconds = (last["now_ns"] - first["now_ns"]) / 1e9
    assert charts > 0, "candles move"
    assert charts <= seconds / CHART_S + 1
    assert last["statistics"]["ticks"] - first["statistics"]["ticks"] > 10 * charts, "the feed is far ahead of the page"


# --- who may see -----------------------------------------------------------------------------------------------------


def test_without_a_pass_there_is_nothing_to_see(live: Any) -> None:
    stranger = live[1].without_pass()
    for path in LOCKED:
        answer = stranger.get(path)
        assert answer.status == 401, path
        assert MNQ not in answer.text
    for path in OPEN:
        assert stranger.get(path).status == 200, path


def test_a_wrong_pass_is_none(live: Any) -> None:
    stranger = live[1].without_pass()
    for headers in ({"Authorization": "Bearer wrong"}, {"Cookie": f"tickloom-{stranger.port}=wrong"}):
        assert stranger.get("/api/health", **headers).status == 401
    assert stranger.get("/?token=wrong").status == 401


@pytest.mark.parametrize("path", [*LOCKED, *OPEN])
def test_foreign_hosts_origins_and_sites_are_refused_everywhere_even_with_the_pass(live: Any, path: str) -> None:
    client = live[1]
    port = client.port
    for headers in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": f"127.0.0.1:{port + 1}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{port + 1}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        answer = client.get(path, **headers)
        assert answer.status == 403, (path, headers)
        assert MNQ not in answer.text


def test_a_link_from_elsewhere_leads_to_the_page_and_to_nothing_else(live: Any) -> None:
    stranger = live[1].without_pass()
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert stranger.get("/", Sec_Fetch_Dest="document", **link).status == 401
    assert stranger.get("/", Sec_Fetch_Dest="iframe", **link).status == 403
    assert stranger.get("/metrics", Sec_Fetch_Dest="document", **link).status == 403


def test_the_own_names_and_origin_are_answered(live: Any) -> None:
    client = live[1]
    for name in ("127.0.0.1", "localhost", "[::1]"):
        host = f"{name}:{client.port}"
        assert client.get("/api/health", Host=host, Origin=f"http://{host}").status == 200, name


def test_the_printed_address_gives_the_cookie_once_and_leads_to_the_clean_page(live: Any) -> None:
    _, client = live
    stranger = client.without_pass()
    answer = stranger.get(f"/?token={client.token}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "Path=/", "SameSite=Strict"} == set(attributes)
    assert client.token not in cookie
    stranger.cookie = cookie
    page = stranger.get("/")
    assert page.status == 200
    assert b"<title>Tickloom</title>" in page.body
    assert "set-cookie" not in page.headers
    assert stranger.get("/api/health").status == 200


def test_whoever_has_the_cookie_may_come_with_an_old_address(live: Any) -> None:
    _, client = live
    visitor = client.without_pass()
    visitor.cookie = visitor.get(f"/?token={client.token}").headers["set-cookie"].partition(";")[0]
    answer = visitor.get("/?token=of-the-session-before")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert "set-cookie" not in answer.headers


def test_every_answer_carries_the_protective_headers(live: Any) -> None:
    client = live[1]
    for path in ("/", "/api/health", "/metrics", "/static/js/app.js", "/nothing", "/api/tree?path=/nobody"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy
        assert not re.search(r"https?:|\*", policy), "nothing comes from elsewhere"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "aiohttp" not in headers["server"]
        assert headers["cache-control"] in ("no-store", "no-cache")
        assert "access-control-allow-origin" not in headers


def test_no_token_of_the_gateway_appears_anywhere(live: Any) -> None:
    client = live[1]
    for path in ("/", "/metrics", *(path for path in LOCKED if path not in ("/", "/api/stream"))):
        text = client.get(path).text
        assert "eyJ" not in text, path
        assert client.token not in text, path
    stream = client.stream(f"contract={MNQ}&timeframe=1s")
    told = json.dumps([stream.next() for _ in range(6)])
    stream.close()
    assert "eyJ" not in told
    assert client.token not in told


def test_a_file_that_is_known_is_not_sent_again(live: Any) -> None:
    client = live[1]
    first = client.get("/static/js/app.js")
    again = client.get("/static/js/app.js", If_None_Match=first.headers["etag"])
    assert (first.status, again.status, again.body) == (200, 304, b"")


# --- rarer cases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("health", "status", "words"),
    [
        (Health("healthy", links={"market": "up"}), 200, "ok"),
        (Health("degraded", ("MNQ arrives 3.1 s late",), links={"market": "up"}), 200, "ok"),
        (Health("degraded", ("market hub is down",), links={"market": "down"}), 503, "market hub is down"),
        (Health("unhealthy", ("the log is not being written: disk full",), links={"market": "up"}), 503, "disk full"),
        (Health("healthy"), 503, "no hub has been connected yet"),
    ],
)
def test_ready_means_the_feed_is_up_and_nothing_is_broken(
    world: Any, serve: Any, health: Health, status: int, words: str
) -> None:
    world.health = health
    answer = serve(world.views())[0].get("/readyz")
    assert answer.status == status
    assert words in answer.text


def test_a_tree_that_does_not_run_is_not_alive(world: Any, serve: Any) -> None:
    client, _ = serve(world.views())
    world.tree = lambda: ActorView("/", "supervisor", "stopping", 1, 0, None, None, None, alive=False)
    assert (client.get("/livez").status, client.get("/livez").text) == (503, "the tree is stopping\n")


def test_a_view_that_fails_is_a_failure_told_and_the_page_lives_on(world: Any, serve: Any) -> None:
    client, tree = serve(world.views())
    world.tree = lambda: 1 // 0
    answer = client.get("/api/tree")
    assert answer.status == 500
    assert "Division" not in answer.text, "what went wrong is for the tree, not for whoever asked"
    failure = tree.snapshot().find("/http").last_failure
    assert (failure.phase, type(failure.cause)) == ("request", ZeroDivisionError)
    assert client.get("/api/health").status == 200
    assert tree.snapshot().find("/http").restarts == 0


def test_pages_are_bounded(world: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickloom.actors.http.server.STREAMS", 2)
    client, _ = serve(world.views())
    streams = [client.stream() for _ in range(2)]
    for stream in streams:
        stream.until("board")
    refused = client.get("/api/stream")
    assert (refused.status, "2 pages" in refused.json["error"]) == (503, True)
    for stream in streams:
        stream.close()


def test_a_page_that_reads_no_more_is_given_up(world: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickloom.actors.http.server.SEND_S", 0.2)
    clock = ManualClock()
    client, _ = serve(world.views(), clock=clock)
    stream = client.stream()
    stream.until("board")

    def open_pages() -> float:
        families = {each.name: each for each in text_string_to_metric_families(client.get("/metrics").text)}
        return families["tickloom_http_streams"].samples[0].value

    assert open_pages() == 1
    for look in range(10_000):
        # more than the system's buffers between the two hold
        world.events = [Quarantine(path="/a", at_ns=look, epoch=1, count=1, cause="x" * 400) for _ in range(EVENTS)]
        clock.advance(CHART_S)
        if open_pages() == 0:
            break
    assert open_pages() == 0
    stream.close()


def test_the_licence_of_the_chart_library_is_shipped_with_it(world: Any, serve: Any) -> None:
    client, _ = serve(world.views())
    for name, words in (("NOTICE.txt", "TradingView"), ("LICENSE.txt", "Apache License")):
        answer = client.without_pass().get(f"/static/vendor/lightweight-charts/{name}")
        assert answer.status == 200
        assert words in answer.text
    assert (Path(__file__).parents[3] / "actors/http/static/vendor/lightweight-charts/lightweight-charts.js").exists()
