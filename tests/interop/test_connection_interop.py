"""The connection against a real ASP.NET Core 9 server: what its truth endpoint says it sent is what we have.

Not for every day: `scripts/interop-test`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tickloom.actors.connection.address import open_session
from tickloom.actors.connection.carrier import Timing
from tickloom.actors.connection.decode import Decoder
from tickloom.actors.connection.dial import HubSettings
from tickloom.actors.connection.errors import AuthenticationRefused, CredentialsRefused
from tickloom.actors.connection.reconnect import Policy
from tickloom.actors.connection.rest import RestClient
from tickloom.actors.connection.session import HubSession
from tickloom.actors.connection.transport import HubConnection
from tickloom.config.secrets import Secret
from tickloom.messages.control import Connected, Disconnected, Gap
from tickloom.messages.intake import Frames
from tickloom.messages.market import Instrument, as_list
from tickloom.messages.projectx import BarUnit
from tickloom.messages.stamps import parse_stamp

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

RUN = Path(__file__).parents[2].parent / "shared" / "interop" / "run.sh"

MNQ, EP, CLE = (
    Instrument("CON.F.US.MNQ.Z25", 1, 4),
    Instrument("CON.F.US.EP.Z25", 1, 4),
    Instrument("CON.F.US.CLE.F26", 1, 100),
)
NS = 1_000_000_000
UNREADABLE = {"missing_field", "null_element", "null_field", "huge_integer", "string_price"}
UNREADABLE |= {"null_batch", "object_batch"}
ABSURD = {"negative_price", "zero_price", "off_tick", "zero_volume", "negative_volume", "huge_number"}


class Aspnet:
    """A real ASP.NET Core SignalR gateway in a process of its own: its log, its truth, its faults."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict] = []
        self.url = ""
        self._more = asyncio.Event()

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.events.append(json.loads(line))
            self._more.set()

    async def event(self, name: str, **fields: object) -> dict:
        """The first event of that name and those fields, past or still to come."""
        while True:
            for event in self.events:
                if event["ev"] == name and all(event.get(key) == value for key, value in fields.items()):
                    return event
            self._more.clear()
            await self._more.wait()

    async def get(self, path: str, **query: object) -> list:
        async with (
            aiohttp.ClientSession() as http,
            http.get(self.url + path, params={key: str(value) for key, value in query.items()}) as response,
        ):
            assert response.status == 200, (path, response.status)
            text = await response.text()
        return (
            [json.loads(line) for line in text.splitlines()] if "ndjson" in response.content_type else json.loads(text)
        )

    async def chaos(self, **switches: object) -> None:
        async with aiohttp.ClientSession() as http, http.post(self.url + "/chaos", json=switches) as response:
            assert response.status == 200, await response.text()

    async def truth(self, contract: str, first: int, last: int) -> dict[int, dict]:
        """The ticks of an index range, by their stamp in ns."""
        ticks = await self.get("/truth", contract=contract, **{"from": first, "to": last})
        return {tick["t_ns"]: tick for tick in ticks}

    async def sent(self, contract: str) -> list[dict]:
        """What each connection was sent of a contract, oldest connection first."""
        return [each["sent"] for each in await self.get("/truth/sent", contract=contract)]


@pytest.fixture
def aspnet():
    """Starts the gateway with settings: `async with aspnet(TICK_RATE=200) as g`. It lies beside the repository."""
    if not RUN.exists():
        pytest.fail(f"{RUN} is not there: the interop gateway lies in shared/interop beside the repository")

    @contextlib.asynccontextmanager
    async def start(**settings: object):
        arguments = [f"{key}={value}" for key, value in settings.items()]
        process = await asyncio.create_subprocess_exec(
            str(RUN), "0", *arguments, stdout=asyncio.subprocess.PIPE, limit=1 << 24
        )
        running = Aspnet(process)
        reader = asyncio.create_task(running.read())
        try:
            async with asyncio.timeout(90):
                running.url = (await running.event("listening"))["url"]
                yield running
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
            await reader

    return start


class Live:
    """A session on the real hub with what it emitted, and the REST client beside it."""

    def __init__(self, gateway, http, **settings) -> None:
        self.gateway = gateway
        self.rest = RestClient(gateway.url, http)
        self.items: list = []
        self.links: list = []
        self.count = 0
        self.settings = HubSettings(url=f"{gateway.url}/hubs/market", **settings)
        self.session = HubSession(
            "market", lambda token: HubConnection(self.settings, token, http), Decoder(), self._emit,
            new_token=self._new_token, on_link=self.links.append, policy=Policy(base=0.1, attempts_per_window=100),
            timing=Timing(align=3.0), lateness_ns=NS // 10,
        )  # fmt: skip
        self._changed = asyncio.Event()

    def _emit(self, item) -> None:
        self.items.append(item)
        if isinstance(item, Frames) and item.prints is not None:
            self.count += len(item.prints)
        self._changed.set()

    async def login(self) -> Secret:
        return await self.rest.login("tester", Secret("test-key"))

    async def _new_token(self, why: str) -> Secret:
        return await self.login()

    async def until(self, condition) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def more(self, number: int) -> None:
        """Wait for that many prints more."""
        goal = self.count + number
        await self.until(lambda: self.count >= goal)

    def of(self, kind) -> list:
        return [item for item in self.items if isinstance(item, kind)]

    def prints(self, contract: str) -> list[tuple[int, float, int, int]]:
        """(stamp, price, size, side) of a contract, in order of arrival."""
        rows = []
        for frames in self.of(Frames):
            if frames.prints is not None:
                p = frames.prints
                columns = zip(*map(as_list, (p.contract, p.ts_ns, p.price, p.size, p.side)), strict=True)
                rows += [tuple(row) for c, *row in columns if p.contracts[c] == contract]
        return rows

    def malformed(self) -> Counter:
        return Counter(bad.reason for frames in self.of(Frames) for bad in frames.malformed)


@contextlib.asynccontextmanager
async def live(gateway, *contracts, **settings):
    http = open_session()
    try:
        story = Live(gateway, http, **settings)
        for contract in contracts:
            await story.session.subscribe(contract)
        task = asyncio.create_task(story.session.run(await story.login()))
        try:
            await story.until(lambda: story.of(Connected))
            yield story
        finally:
            await story.session.close()
            await task
    finally:
        await http.close()


def row(tick: dict) -> tuple:
    return (tick["t_ns"], tick["price"], tick["volume"], tick["type"])


@pytest.mark.parametrize("settings", [{}, {"negotiate": True}], ids=["direct", "negotiated"])
def test_every_tick_the_server_says_it_sent_is_there_in_order_bad_elements_or_not(aspnet, settings):
    async def test():
        async with aspnet(TICK_RATE=400) as g, live(g, MNQ, EP, CLE, **settings) as story:
            await story.more(600)
            await g.chaos(bad_pct=10, duplicate_pct=3, out_of_order_pct=3, drop_pct=1)
            await story.more(4000)
            await g.chaos(reset=True)
            await story.more(600)
            for contract in (MNQ, EP, CLE):
                await story.session.unsubscribe(contract.contract)
            kinds: Counter = Counter()
            for contract in (MNQ, EP, CLE):
                [sent] = await g.sent(contract.contract)
                order = [i for first, last in sent["runs"] for i in range(first, last + 1)]
                ticks = await g.get("/truth", contract=contract.contract, **{"from": min(order), "to": max(order)})
                by_index = {tick["i"]: row(tick) for tick in ticks}
                bad = Counter(each["kind"] for each in sent["bad"])
                kinds += bad
                expected = iter([by_index[i] for i in order])
                want, absurd = next(expected), 0
                for got in story.prints(contract.contract):
                    if got == want:
                        want = next(expected, None)
                    else:
                        absurd += 1
                assert want is None
                assert absurd == sum(bad[kind] for kind in ABSURD)
            assert story.malformed() == {
                "timestamp": kinds["bad_timestamp"] + kinds["future_timestamp"],
                "side": kinds["unknown_type"],
                "unknown_target": kinds["unknown_target"],
                "schema": sum(kinds[kind] for kind in UNREADABLE),
            }
            assert len(kinds) == 17
            connect = await g.event("connect")
            assert connect["tokenFrom"] == "header"
            assert not [event for event in g.events if event.get("tokenFound") == "query"]
            print(f"{story.count} prints, {sum(kinds.values())} bad elements of {len(kinds)} kinds")

    asyncio.run(test())


def test_renewals_with_tokens_that_live_seconds_lose_and_double_nothing(aspnet):
    async def test():
        async with (
            aspnet(TICK_RATE=1000, TOKEN_TTL_S=6, CLOSE_ON_EXPIRATION=1) as g,
            live(g, MNQ) as story,
        ):
            token = await story.login()
            for _ in range(12):
                await story.more(1500)
                token = await story.rest.validate(token)
                assert await story.session.renew(token, "the token was renewed")
            await story.session.unsubscribe(MNQ.contract)
            got = story.prints(MNQ.contract)
            truth: list[tuple] = []
            while not truth or max(truth) < max(got):  # a batch is noted after it was sent: the last may not be yet
                spans = [each["ranges"] for each in await g.sent(MNQ.contract)]
                first, last = spans[0][0][0], spans[-1][-1][-1]
                truth = [row(tick) for tick in (await g.truth(MNQ.contract, first, last)).values()]
            assert len(spans) == 13
            assert sorted(got) == sorted(truth)
            assert story.of(Gap) == []
            assert [each.cause.split(":")[0].split(" by")[0] for each in story.of(Disconnected)] == ["replaced"] * 12
            overlapping = sum(b - a + 1 for ranges in spans for a, b in ranges) - len(truth)
            print(f"{len(got)} prints over 13 connections, {overlapping} came twice and were passed on once")
            assert overlapping > 0

    asyncio.run(test())


def test_breaks_become_gaps_that_cover_exactly_what_was_not_delivered(aspnet):
    async def test():
        async with aspnet(TICK_RATE=500) as g, live(g, MNQ, EP) as story:
            for how in (True, "tcp", "reset", True):
                await story.more(500)
                links = len(story.of(Connected))
                await g.chaos(abort=how)
                await story.until(lambda links=links: len(story.of(Connected)) > links)
            await story.more(500)
            for contract in (MNQ, EP):
                await story.session.unsubscribe(contract.contract)
                got = Counter(story.prints(contract.contract))
                assert max(got.values()) == 1
                spans = [ranges for each in await g.sent(contract.contract) for ranges in each["ranges"]]
                truth = await g.truth(contract.contract, spans[0][0], spans[-1][1])
                gaps = [(gap.from_ns, gap.to_ns) for gap in story.of(Gap) if gap.contract == contract.contract]
                assert len(gaps) == 4
                missing = [tick for tick in truth.values() if row(tick) not in got]
                assert missing
                for tick in missing:
                    assert any(start <= tick["t_ns"] < end for start, end in gaps)
                # no wider than need be: only the prints at a gap's two edges were received
                within = [ts for ts, *_ in got for start, end in gaps if start <= ts < end]
                assert len(within) <= 2 * len(gaps)

    asyncio.run(test())


def test_a_half_open_link_is_found_within_seconds_and_replaced(aspnet):
    async def test():
        async with aspnet(TICK_RATE=200) as g, live(g, MNQ, ping_interval=0.5, ping_patience=1.0) as story:
            await story.more(200)
            assert story.session.connection.round_trip is None or story.session.connection.round_trip < 1
            await g.chaos(mute=20, mute_mode="blackhole")
            await story.until(lambda: len(story.of(Connected)) == 2)
            [gone] = story.of(Disconnected)
            assert "is dead" in gone.cause
            await story.more(100)
            assert len(story.of(Gap)) == 1

    asyncio.run(test())


def test_a_stateful_session_loses_nothing_when_the_tcp_connection_is_cut(aspnet):
    async def test():
        async with aspnet(TICK_RATE=1000, STATEFUL_RECONNECT=1) as g, live(g, MNQ, stateful=True) as story:
            for cut in range(3):
                await story.more(1000)
                await g.chaos(abort="tcp")
                await story.until(lambda cut=cut: story.session.connection.resumed > cut)
            await story.more(1000)
            await story.session.unsubscribe(MNQ.contract)
            [sent] = await g.sent(MNQ.contract)
            [[first, last]] = sent["ranges"]
            assert story.prints(MNQ.contract) == [row(t) for t in (await g.truth(MNQ.contract, first, last)).values()]
            assert len(story.of(Connected)) == 1
            assert story.of(Gap) == []

    asyncio.run(test())


def test_an_expired_token_is_replaced_after_the_server_ended_the_connection(aspnet):
    async def test():
        async with aspnet(TICK_RATE=200, TOKEN_TTL_S=2, CLOSE_ON_EXPIRATION=1) as g, live(g, MNQ) as story:
            await story.until(lambda: len(story.of(Connected)) >= 3)
            await story.more(50)
            assert (await g.event("disconnect"))["reason"] == "token_expired"
            assert len(story.of(Gap)) >= 2

    asyncio.run(test())


def test_a_logout_is_heeded_and_refused_subscriptions_are_retried(aspnet):
    async def test():
        async with aspnet(TICK_RATE=200) as g, live(g, MNQ) as story:
            await g.chaos(subscribe_error=2)
            await g.chaos(abort=True)
            await story.until(lambda: len(story.of(Connected)) == 2)
            await g.chaos(gateway_logout="another session")
            await story.until(lambda: len(story.of(Disconnected)) >= 2)
            assert "another one took over" in story.of(Disconnected)[-1].cause

    asyncio.run(test())


def test_rest_endpoints_of_a_real_server(aspnet):
    async def test():
        async with aspnet(TICK_RATE=200, RATE_LIMIT_OTHER=1000) as g, live(g, EP) as story:
            await story.more(1200)
            rest, token = story.rest, await story.login()
            with pytest.raises(CredentialsRefused, match="PROJECT_X_API_KEY"):
                await rest.login("tester", Secret("wrong"))
            with pytest.raises(AuthenticationRefused):
                await rest.validate(Secret("wrong"))
            [found] = await rest.search_contracts(token, "ES", live=False)
            assert found == await rest.contract(token, EP.contract)
            now = story.prints(EP.contract)[-1][0]
            bars = await rest.retrieve_bars(token, EP.contract, now - 60 * NS, now, unit=BarUnit.SECOND, number=5)
            truth = await g.get("/truth/bars", contract=EP.contract, unit_seconds=5, from_ns=now - 70 * NS, to_ns=now)
            by_time = {bar["t_ns"]: bar for bar in truth}
            assert len(bars) >= 10
            for bar in bars:
                same = by_time[parse_stamp(bar.t)]
                assert (bar.o, bar.h, bar.l, bar.c, bar.v) == tuple(same[key] for key in "ohlcv")
            await g.chaos(login_fail=2, login_fail_status=503, retry_after_s=1)
            await rest.login("tester", Secret("test-key"))
            assert abs(rest.skew.offset_ns) <= rest.skew.uncertainty_ns < NS

    asyncio.run(test())
