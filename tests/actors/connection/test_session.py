from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter

import pytest
from aiohttp import web

from tickloom.actors.connection.carrier import Timing
from tickloom.actors.connection.decode import Decoder
from tickloom.actors.connection.dial import HubSettings
from tickloom.actors.connection.errors import (
    AuthenticationRefused,
    CredentialsRefused,
    GatewayUnreachable,
    SubscriptionRefused,
)
from tickloom.actors.connection.reconnect import Policy
from tickloom.actors.connection.session import HubSession
from tickloom.actors.connection.silence import Silence
from tickloom.actors.connection.transport import HubConnection
from tickloom.config.secrets import Secret
from tickloom.messages.control import Connected, Disconnected, Gap, Subscribed, Unsubscribed
from tickloom.messages.intake import Frames
from tickloom.messages.market import Instrument, as_list
from tickloom.messages.stamps import format_stamp

NS = 1_000_000_000
START = 1_750_000_000 * NS
A, B = Instrument("CON.A", 1, 4), Instrument("CON.B", 1, 4)
QUICK = Policy(base=0.01, cap=0.02, first_patience=0.2, attempts_per_window=1000, logout_wait=0.02)


class Market:
    """A hub whose ticks come when a test says so. Every connection gets those of the contracts it is subscribed to."""

    def __init__(self, net) -> None:
        self.net = net
        self.count = 0
        self.desks: list[Desk] = []
        self.refuse: dict[str, str] = {}
        self.changed = asyncio.Condition()

    async def script(self, caller) -> None:
        desk = Desk(self, caller)
        await caller.shake()
        async with self.changed:
            self.desks.append(desk)
            self.changed.notify_all()
        try:
            await desk.serve()
        finally:
            desk.gone = True
            async with self.changed:
                self.changed.notify_all()

    async def until(self, condition) -> None:
        async with self.changed:
            await self.changed.wait_for(condition)

    async def tick(self, contract: str = "CON.A", number: int = 1, only: list[Desk] | None = None) -> None:
        """The market's next ticks, a tenth of a second of event time apart, to all who are subscribed."""
        prints = []
        for _ in range(number):
            self.count += 1
            stamp = format_stamp(START + self.count * NS // 10)
            prints.append({"price": self.count / 4, "timestamp": stamp, "type": 0, "volume": 1})
        for desk in self.desks if only is None else only:
            if not desk.gone and contract in desk.subscribed:
                with contextlib.suppress(ConnectionError):
                    await desk.event("GatewayTrade", contract, prints)


class Desk:
    """One connection of the market."""

    def __init__(self, market: Market, caller) -> None:
        self.market = market
        self.caller = caller
        self.subscribed: set[str] = set()
        self.calls: list[tuple] = []
        self.gone = False
        self.deaf = False  # whether it answers nothing

    async def serve(self) -> None:
        while True:
            call = await self.caller.receive(1)
            if self.deaf:
                continue
            target, arguments = call["target"], call["arguments"]
            self.calls.append((target, *arguments))
            error = self.market.refuse.get(target)
            if error is None and target.startswith("Subscribe"):
                self.subscribed.update(map(str, arguments))
            elif error is None:
                self.subscribed.difference_update(map(str, arguments))
            result = {"result": None} if error is None else {"error": error}
            await self.caller.send(self.market.net.message(type=3, invocationId=call["invocationId"], **result))
            async with self.market.changed:
                self.market.changed.notify_all()

    async def event(self, target: str, *arguments: object) -> None:
        await self.caller.send(self.market.net.message(type=1, target=target, arguments=arguments))


class Story:
    """A session under test, and everything it emitted."""

    def __init__(self) -> None:
        self.items: list = []
        self.links: list = []
        self.asked: list[str] = []
        self.tokens: list = []
        self.changed = asyncio.Event()

    def take(self, item) -> None:
        """What a session is given, so that a test can put something else in the place of `emit`."""
        self.emit(item)

    def emit(self, item) -> None:
        self.items.append(item)
        self.changed.set()

    def on_link(self, state) -> None:
        self.links.append(state)
        self.changed.set()

    async def ask_token(self, why: str):
        return await self.new_token(why)

    async def new_token(self, why: str):
        self.asked.append(why)
        token = self.tokens.pop(0)
        if isinstance(token, Exception):
            raise token
        return token

    async def until(self, condition) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    def of(self, kind) -> list:
        return [item for item in self.items if isinstance(item, kind)]

    @property
    def prices(self) -> list[float]:
        return [p for f in self.of(Frames) if f.prints is not None for p in as_list(f.prints.price)]

    @property
    def ticks(self) -> list[int]:
        return [f.prints.first_tick + i for f in self.of(Frames) if f.prints is not None for i in range(len(f.prints))]


@contextlib.asynccontextmanager
async def trading(
    net,
    connections: int,
    *contracts: Instrument,
    hub="market",
    policy=QUICK,
    align=5.0,
    lag=3.0,
    drain=1.0,
    linger=3.0,
    run=True,
    **more,
):
    """A market with room for some connections, and a running session that follows contracts."""
    story = Story()
    market = Market(net)
    async with net.meeting(*[market.script] * connections) as (peer, http):
        settings = HubSettings(url=f"{peer.url}/hubs/{hub}", close_timeout=0.5, connect_timeout=2.0)
        session = HubSession(
            hub, lambda token: HubConnection(settings, token, http), Decoder(), story.take, new_token=story.ask_token,
            on_link=story.on_link, policy=policy,
            timing=Timing(align=align, lag=lag, settle=0.1, drain=drain, linger=linger, housekeeping=0.02), **more,
        )  # fmt: skip
        for contract in contracts:
            await session.subscribe(contract)
        task = asyncio.create_task(session.run(Secret("first")))
        try:
            if run:
                await market.until(
                    lambda: market.desks and market.desks[0].subscribed >= {c.contract for c in contracts}
                )
                await story.until(lambda: story.of(Connected))
            yield market, session, story, task
        finally:
            await session.close()
            await asyncio.gather(task, return_exceptions=True)
        left = [each.get_coro().__qualname__ for each in asyncio.all_tasks()]
        ours = ("Hub", "Carrier", "Keeper", "Renewal", "Replacement")
        assert not [name for name in left if name.startswith(ours)], left


def kinds(story: Story) -> list[str]:
    return [type(item).__name__ for item in story.items]


# ------------------------------------------------------------------------------------------ following


def test_a_session_announces_what_it_subscribes_before_it_delivers(net):
    async def test():
        async with trading(net, 1, A, B) as (market, _, story, _):
            await market.tick(number=3)
            await story.until(lambda: len(story.prices) == 3)
            assert [kind for kind in kinds(story) if kind != "Frames"] == ["Subscribed", "Subscribed", "Connected"]
            first = next(item for item in story.of(Frames) if item.prints is not None)
            assert story.items.index(first) > story.items.index(story.of(Subscribed)[-1])
            assert [(each.contract, each.instrument) for each in story.of(Subscribed)] == [("CON.A", A), ("CON.B", B)]
            [connected] = story.of(Connected)
            assert (connected.hub, connected.connection) == ("market", 1)
            assert story.of(Frames)[-1].source == "market/1"
            assert [link.state for link in story.links][:2] == ["connecting", "up"]
        assert kinds(story)[-1] == "Disconnected"
        assert story.of(Disconnected)[0].cause == "the session was closed"

    asyncio.run(test())


def test_contracts_come_and_go_while_the_link_is_up(net):
    async def test():
        async with trading(net, 1, A) as (market, session, story, _):
            await session.subscribe(B, ("trades", "quotes"))
            assert market.desks[0].calls[-2:] == [
                ("SubscribeContractTrades", "CON.B"),
                ("SubscribeContractQuotes", "CON.B"),
            ]
            await market.tick("CON.B", 2)
            await session.unsubscribe("CON.B")
            assert len(story.prices) == 2  # delivered before the unsubscription was answered
            assert kinds(story)[-1] == "Unsubscribed"
            assert market.desks[0].subscribed == {"CON.A"}
            await session.unsubscribe("CON.B")

    asyncio.run(test())


def test_a_contract_refused_while_the_link_is_up_is_an_error_and_is_not_followed(net):
    async def test():
        async with trading(net, 2, A) as (market, session, story, _):
            market.refuse["SubscribeContractTrades"] = "no such contract"
            with pytest.raises(SubscriptionRefused, match=r"trades of CON\.B: no such contract"):
                await session.subscribe(B)
            assert story.of(Unsubscribed)[-1].contract == "CON.B"
            market.refuse.clear()
            market.desks[0].caller.cut()
            await story.until(lambda: len(story.of(Connected)) == 2)
            assert market.desks[1].subscribed == {"CON.A"}

    asyncio.run(test())


def test_a_contract_refused_from_the_start_ends_the_session_by_name(net):
    async def test():
        async with trading(net, 1, run=False) as (market, session, _, task):
            market.refuse["SubscribeContractTrades"] = "no such contract"
            await session.subscribe(A)
            with pytest.raises(SubscriptionRefused, match=r"CON\.A"):
                await task

    asyncio.run(test())


# ------------------------------------------------------------------------------------------ losing the link


def test_a_lost_link_comes_back_and_what_was_missed_is_a_gap_before_the_next_print(net):
    async def test():
        async with trading(net, 2, A, B) as (market, _, story, _):
            await market.tick("CON.B")
            await market.tick(number=2)  # 2 and 3
            await story.until(lambda: len(story.prices) == 3)
            market.desks[0].caller.cut()
            await market.until(lambda: market.desks[0].gone)
            await market.tick(number=4)  # 4 to 7 reach nobody
            await market.until(lambda: len(market.desks) == 2 and market.desks[1].subscribed == {"CON.A", "CON.B"})
            await market.tick()  # 8
            await story.until(lambda: len(story.prices) == 4)
            gone, back = story.of(Disconnected)[0], story.of(Connected)[1]
            assert "broke off" in gone.cause
            assert (gone.connection, back.connection) == (1, 2)
            [gap] = [gap for gap in story.of(Gap) if gap.contract == "CON.A"]
            assert (gap.from_ns, gap.to_ns) == (START + 3 * NS // 10, START + 8 * NS // 10 + 1)
            assert "broke off" in gap.cause
            order = story.items
            assert order.index(gone) < order.index(gap) < order.index(story.of(Frames)[-1])
            assert order.index(gone) < order.index(back)
            assert story.ticks == [0, 1, 2, 3]
            states = [link.state for link in story.links]
            assert "down" in states
            assert "lost" not in states, "lost is lost for good"

    asyncio.run(test())


def test_the_gap_of_a_contract_that_stays_quiet_is_closed_all_the_same(net):
    async def test():
        now = iter(range(START, START + 10**9 * NS, NS))  # every look at the clock is a second later
        async with trading(net, 2, A, wall_ns=lambda: next(now)) as (market, _, story, _):
            await market.tick()
            await story.until(lambda: story.prices)
            market.desks[0].caller.cut()
            await story.until(lambda: story.of(Gap))
            [gap] = story.of(Gap)
            assert gap.from_ns == START + NS // 10
            assert gap.to_ns > START

    asyncio.run(test())


def test_a_gateway_that_is_not_there_is_given_up_in_the_end(net):
    async def test():
        async with trading(net, 0, A, run=False) as (_, _, story, task):
            with pytest.raises(GatewayUnreachable):
                await task
            assert story.links[-1].state == "lost"
            assert sum("next attempt" in link.detail for link in story.links) >= 2

    asyncio.run(test())


def test_a_session_can_be_closed_while_it_waits_to_connect(net):
    async def test():
        patient = Policy(base=60.0, first_patience=600.0)
        async with trading(net, 0, A, run=False, policy=patient) as (_, session, story, task):
            await story.until(lambda: any("next attempt" in link.detail for link in story.links))
            await session.close()
            await task

    asyncio.run(test())


def test_an_error_of_the_receiver_ends_the_session_with_that_error(net):
    async def test():
        async with trading(net, 1, A) as (market, _, story, task):

            def broken(item):
                raise ZeroDivisionError("a defect of the receiver")

            story.emit = broken
            await market.tick()
            with pytest.raises(ZeroDivisionError):
                await task
            story.emit = lambda item: None

    asyncio.run(test())


def test_another_session_that_takes_over_is_not_fought_and_named(net):
    async def test():
        async with trading(net, 2, A) as (market, _, story, _):
            await market.desks[0].event("GatewayLogout", "another session")
            await story.until(lambda: len(story.of(Connected)) == 2)
            [gone] = story.of(Disconnected)
            assert "another one took over" in gone.cause
            assert "another session" in gone.cause
            waits = [link.detail for link in story.links if "next attempt" in link.detail]
            assert "took over" in waits[0]
            assert market.desks[0].gone

    asyncio.run(test())


# ------------------------------------------------------------------------------------------ tokens


async def unauthorized(request):
    return web.Response(status=401)


def test_a_refused_token_is_replaced(net):
    async def test():
        story, market = Story(), Market(net)
        async with net.meeting(market.script) as (peer, http):
            settings = HubSettings(url=f"{peer.url}/hubs/market")

            async def guard(request):
                peer.answers.clear()
                return await unauthorized(request)

            peer.answers["/hubs/market"] = guard
            story.tokens = [GatewayUnreachable("log-in is failing"), Secret("second")]
            session = HubSession(
                "market", lambda token: HubConnection(settings, token, http), Decoder(), story.emit,
                new_token=story.new_token, on_link=story.on_link, policy=QUICK,
            )  # fmt: skip
            task = asyncio.create_task(session.run(Secret("first")))
            await story.until(lambda: story.of(Connected))
            assert [r.headers["Authorization"] for r in peer.requests] == ["Bearer first", "Bearer second"]
            assert ["refused the token" in why for why in story.asked] == [True, True]
            await session.close()
            await task

    asyncio.run(test())


@pytest.mark.parametrize(
    ("tokens", "kind", "words"),
    [
        ([Secret("second")], AuthenticationRefused, "refused the token"),
        ([CredentialsRefused("check the key", 3)], CredentialsRefused, "check the key"),
    ],
)
def test_a_second_refusal_or_no_new_token_ends_the_session(net, tokens, kind, words):
    async def test():
        story = Story()
        async with net.meeting() as (peer, http):
            peer.answers["/hubs/market"] = unauthorized
            story.tokens = list(tokens)
            settings = HubSettings(url=f"{peer.url}/hubs/market")
            session = HubSession(
                "market", lambda token: HubConnection(settings, token, http), Decoder(), story.emit,
                new_token=story.new_token, policy=QUICK,
            )  # fmt: skip
            with pytest.raises(kind, match=words):
                await session.run(Secret("first"))

    asyncio.run(test())


# ------------------------------------------------------------------------------------------ make before break


def test_a_renewal_loses_nothing_and_doubles_nothing(net):
    async def test():
        async with trading(net, 2, A, lateness_ns=0) as (market, session, story, _):
            await market.tick(number=5)
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await market.until(lambda: len(market.desks) == 2 and market.desks[1].subscribed == {"CON.A"})
            while not renewal.done():
                await market.tick()
                await asyncio.sleep(0)
            assert await renewal is True
            last = market.count
            await market.tick(number=3)
            await story.until(lambda: len(story.prices) >= last + 3)
            assert story.prices == [n / 4 for n in range(1, market.count + 1)]
            assert story.ticks == list(range(market.count))
            assert story.of(Gap) == []
            assert [each.connection for each in story.of(Connected)] == [1, 2]
            [gone] = story.of(Disconnected)
            assert (gone.connection, gone.cause) == (1, "replaced by connection 2: the token was renewed")
            assert ("UnsubscribeContractTrades", "CON.A") in market.desks[0].calls
            overlapping = [bad for f in story.of(Frames) for bad in f.malformed]
            assert {bad.reason for bad in overlapping} <= {"overlap"}
            second = market.desks[1].caller.request
            assert second.headers["Authorization"] == "Bearer second"

    asyncio.run(test())


def test_many_renewals_one_after_the_other_lose_nothing(net):
    async def test():
        async with trading(net, 8, A, lateness_ns=0) as (market, session, story, _):
            for n in range(7):
                renewal = asyncio.create_task(session.renew(Secret(f"token {n}"), "again"))
                while not renewal.done():
                    await market.tick()
                    await asyncio.sleep(0)
                assert await renewal is True
            await market.tick()
            await story.until(lambda: len(story.prices) >= market.count)
            assert story.prices == [n / 4 for n in range(1, market.count + 1)]
            assert len(story.of(Connected)) == 8

    asyncio.run(test())


def test_a_quiet_contract_does_not_hold_up_a_renewal_for_ever(net):
    async def test():
        async with trading(net, 2, A, align=0.05) as (_, session, story, _):
            assert await session.renew(Secret("second"), "the token was renewed") is True
            assert [each.connection for each in story.of(Disconnected)] == [1]

    asyncio.run(test())


def test_a_renewal_that_fails_leaves_the_old_connection_as_it_was(net):
    async def test():
        # the next renewal need not wait: nothing is compared any more, or it would be for longer than the test lasts
        async with trading(net, 3, A, lateness_ns=0, drain=60.0, linger=60.0) as (market, session, story, _):
            market.refuse["SubscribeContractTrades"] = "not now"
            assert await session.renew(Secret("second"), "the token was renewed") is False
            await market.tick(number=2)
            await story.until(lambda: len(story.prices) == 2)
            assert story.of(Disconnected) == []
            assert any("could not be renewed" in link.detail for link in story.links)
            market.refuse.clear()
            renewal = asyncio.create_task(session.renew(Secret("third"), "the token was renewed"))
            await market.until(lambda: len(market.desks) == 3)
            while not renewal.done():
                await market.tick()
                await asyncio.sleep(0)
            assert await renewal is True

    asyncio.run(test())


def test_without_a_link_a_renewal_only_leaves_the_token_for_the_next_one(net):
    async def test():
        async with trading(net, 0, A, run=False) as (_, session, _, _):
            assert await session.renew(Secret("second"), "early") is False

    asyncio.run(test())


def test_when_the_old_connection_breaks_during_a_renewal_the_new_one_takes_over_without_a_gap(net):
    async def test():
        async with trading(net, 2, A) as (market, session, story, _):
            await market.tick(number=2)
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await market.until(lambda: len(market.desks) == 2 and market.desks[1].subscribed == {"CON.A"})
            await story.until(lambda: len(story.of(Connected)) == 2)
            await market.tick(number=2)  # to both
            await story.until(lambda: len(story.prices) == 4)
            await story.until(
                lambda: sum(bad.reason == "overlap" for f in story.of(Frames) for bad in f.malformed) == 1
            )
            market.desks[0].caller.cut()
            assert await renewal is True
            await market.tick(number=2)
            await story.until(lambda: len(story.prices) == 6)
            assert story.prices == [n / 4 for n in range(1, 7)]
            assert story.of(Gap) == []
            assert "broke off" in story.of(Disconnected)[0].cause

    asyncio.run(test())


def test_what_neither_connection_delivered_during_a_renewal_is_a_gap(net):
    async def test():
        async with trading(net, 2, A) as (market, session, story, _):
            await market.tick(number=2)
            await story.until(lambda: len(story.prices) == 2)
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await story.until(lambda: len(story.of(Connected)) == 2)
            old, new = market.desks
            await market.tick(only=[])  # 3 reaches nobody
            await market.tick(only=[new])  # 4
            await story.until(lambda: len(story.prices) == 3)
            old.caller.cut()
            assert await renewal is True
            await story.until(lambda: story.of(Gap))
            [gap] = story.of(Gap)
            assert (gap.from_ns, gap.to_ns) == (START + 2 * NS // 10, START + 4 * NS // 10 + 1)

    asyncio.run(test())


def test_an_old_connection_that_brings_nothing_any_more_is_let_go_and_what_it_held_back_is_a_gap(net):
    async def test():
        async with trading(net, 2, A, B, lag=0.05, lateness_ns=0) as (market, session, story, _):
            await market.tick(number=2)
            await story.until(lambda: len(story.prices) == 2)
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await story.until(lambda: len(story.of(Connected)) == 2)
            old, new = market.desks
            old.deaf = True
            await market.tick(only=[])  # 3 is held back on the old one, and the new one came too late for it
            while not story.of(Gap):
                await market.tick(only=[new])
                await asyncio.sleep(0.01)
            assert not renewal.done(), "it is told at once, not when the old connection is done with"
            assert await renewal is True
            [gap] = story.of(Gap)  # of A; that of B, which is quiet, is not closed yet
            assert (gap.contract, gap.from_ns, gap.to_ns) == ("CON.A", START + 2 * NS // 10, START + 4 * NS // 10 + 1)
            assert "was held up" in gap.cause
            assert [each.connection for each in story.of(Disconnected)] == [1]

    asyncio.run(test())


@pytest.mark.parametrize("how", ["held up", "cut"])
def test_the_gap_of_a_handover_is_told_before_the_print_that_follows_it(net, how):
    async def test():
        async with trading(net, 2, A, lag=0.1 if how == "held up" else 60.0, lateness_ns=0) as (
            market,
            session,
            story,
            _,
        ):
            await market.tick(number=2)
            await story.until(lambda: len(story.prices) == 2)
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await story.until(lambda: len(story.of(Connected)) == 2)
            old, new = market.desks
            await market.tick(only=[])  # 3 reaches nobody
            for _ in range(3):
                await market.tick(only=[new])
            if how == "cut":
                old.caller.cut()
            await renewal
            await story.until(lambda: len(story.prices) == 5)
            assert story.prices == [n / 4 for n in (1, 2, 4, 5, 6)]
            told = [item for item in story.items if isinstance(item, Gap) or (isinstance(item, Frames) and item.prints)]
            [at] = [n for n, item in enumerate(told) if isinstance(item, Gap)]
            assert {p for f in told[:at] for p in as_list(f.prints.price)} == {1 / 4, 2 / 4}

    asyncio.run(test())


def test_a_new_connection_that_breaks_off_again_leaves_the_old_one_as_it_was(net):
    async def test():
        async with trading(net, 2, A) as (market, session, story, _):
            await market.tick()
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await story.until(lambda: len(story.of(Connected)) == 2)
            market.desks[1].caller.cut()
            assert await renewal is False
            await market.tick(number=2, only=[market.desks[0]])
            await story.until(lambda: len(story.prices) == 3)
            assert story.of(Gap) == []

    asyncio.run(test())


def test_an_old_connection_that_does_not_answer_any_more_proves_nothing_by_its_silence(net):
    async def test():
        async with trading(net, 2, A, align=0.05) as (market, session, story, _):
            await market.tick(number=2)
            await story.until(lambda: len(story.prices) == 2)
            market.desks[0].deaf = True
            assert await session.renew(Secret("second"), "the token was renewed") is True
            await market.tick(only=[])  # 3 reaches nobody
            await market.tick()
            await story.until(lambda: len(story.prices) == 3)
            [gap] = story.of(Gap)
            assert (gap.from_ns, gap.to_ns) == (START + 2 * NS // 10, START + 4 * NS // 10 + 1)
            assert "did not answer" in gap.cause

    asyncio.run(test())


def test_after_a_link_is_lost_amid_a_renewal_the_next_renewal_waits_for_nothing(net):
    async def test():
        async with trading(net, 4, A, lateness_ns=0, align=0.05, drain=60.0) as (market, session, story, _):
            await market.tick()
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await market.until(lambda: len(market.desks) == 2 and market.desks[1].subscribed == {"CON.A"})
            market.desks[1].caller.cut()
            market.desks[0].caller.cut()
            await renewal
            await story.until(lambda: any(each.connection >= 3 for each in story.of(Connected)))
            assert await session.renew(Secret("third"), "the token was renewed") is True  # within the test's patience

    asyncio.run(test())


def test_a_renewal_that_fails_is_tried_again_until_the_link_has_the_token(net):
    async def test():
        async with trading(net, 4, A, lateness_ns=0) as (market, session, story, _):
            market.refuse["SubscribeContractTrades"] = "not now"
            moving = asyncio.create_task(session.move_over(Secret("second"), "the token was renewed"))
            await market.until(lambda: len(market.desks) == 3)  # two in vain
            market.refuse.clear()
            while not moving.done():
                await market.tick()
                await asyncio.sleep(0)
            await moving
            assert market.desks[-1].caller.request.headers["Authorization"] == "Bearer second"
            [gone] = story.of(Disconnected)
            assert gone.cause == f"replaced by connection {len(market.desks)}: the token was renewed"
            assert story.of(Gap) == []

    asyncio.run(test())


def test_a_renewal_with_a_token_that_is_refused_asks_for_another(net):
    async def test():
        async with trading(net, 2, A, lateness_ns=0) as (market, session, story, _):

            async def refuse(request):
                return web.Response(status=401)

            peer = market.desks[0].caller.peer
            peer.answers["/hubs/market"] = refuse

            async def another(why: str):
                story.asked.append(why)
                del peer.answers["/hubs/market"]
                return Secret("third")

            story.new_token = another
            moving = asyncio.create_task(session.move_over(Secret("second"), "the token was renewed"))
            while not moving.done():
                await market.tick()
                await asyncio.sleep(0)
            assert len(story.asked) == 1
            assert market.desks[-1].caller.request.headers["Authorization"] == "Bearer third"
            assert story.of(Gap) == []

    asyncio.run(test())


def test_a_token_that_comes_while_a_connection_is_being_made_is_moved_over_to_at_once(net):
    async def test():
        async with trading(net, 2, A, lateness_ns=0, align=0.05, run=False) as (market, session, story, _):
            await market.until(lambda: market.desks)  # connected with the first token, not yet subscribed
            assert session.connection is None
            await session.move_over(Secret("second"), "the token was renewed")
            await story.until(lambda: story.of(Disconnected))
            assert story.of(Disconnected)[0].cause.startswith("replaced by connection 2")
            assert market.desks[1].caller.request.headers["Authorization"] == "Bearer second"

    asyncio.run(test())


def test_starting_over_hangs_up_says_why_and_connects_with_the_other_token(net):
    async def test():
        async with trading(net, 2, A) as (market, session, story, _):
            await market.tick()
            await story.until(lambda: story.prices)
            await session.start_over(Secret("second"), "the token was renewed")
            await market.until(lambda: len(market.desks) == 2 and market.desks[1].subscribed == {"CON.A"})
            await market.tick()
            await story.until(lambda: len(story.prices) == 2)
            [gone], [gap] = story.of(Disconnected), story.of(Gap)
            assert (gone.cause, gap.cause) == ("the token was renewed", "the token was renewed")
            assert market.desks[1].caller.request.headers["Authorization"] == "Bearer second"

    asyncio.run(test())


def test_a_renewal_is_not_tried_again_once_another_token_is_to_be_used(net):
    async def test():
        async with trading(net, 3, A, lateness_ns=0) as (market, session, story, _):
            market.refuse["SubscribeContractTrades"] = "not now"
            first = asyncio.create_task(session.move_over(Secret("second"), "the token was renewed"))
            await market.until(lambda: len(market.desks) == 2)
            market.refuse.clear()
            then = asyncio.create_task(session.move_over(Secret("third"), "the token was renewed"))
            while not (first.done() and then.done()):
                await market.tick()
                await asyncio.sleep(0)
            assert market.desks[-1].caller.request.headers["Authorization"] == "Bearer third"
            assert len(market.desks) == 3

    asyncio.run(test())


def test_closing_during_a_renewal_ends_both_connections(net):
    async def test():
        async with trading(net, 2, A) as (market, session, _, task):
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await market.until(lambda: len(market.desks) == 2)
            await session.close()
            await task
            await renewal
            await market.until(lambda: all(desk.gone for desk in market.desks))

    asyncio.run(test())


# ------------------------------------------------------------------------------------------ silence


def test_a_contract_that_should_be_trading_and_is_silent_gets_a_new_connection_and_what_was_held_back_is_a_gap(net):
    async def test():
        listened = Silence(0.1, lambda contract, ns: True)
        async with trading(net, 2, A, lag=0.05, lateness_ns=0, silence=listened) as (market, session, story, _):
            await market.tick(number=2)
            await story.until(lambda: len(story.prices) == 2)
            old = market.desks[0]  # from now on it answers, and brings nothing
            await story.until(lambda: len(story.of(Connected)) == 2)
            await market.tick(only=[])
            new = market.desks[1]
            while not story.of(Disconnected):
                await market.tick(only=[new])
                await asyncio.sleep(0.01)
            [gone] = story.of(Disconnected)
            assert gone.cause.startswith("replaced by connection 2: CON.A has sent nothing for ")
            assert old.gone or ("UnsubscribeContractTrades", "CON.A") in old.calls
            [gap] = story.of(Gap)
            assert (gap.from_ns, gap.to_ns) == (START + 2 * NS // 10, START + 4 * NS // 10 + 1)
            assert new.caller.request.headers["Authorization"] == "Bearer first", "no other token is asked for"

    asyncio.run(test())


def test_a_contract_whose_market_is_closed_is_left_alone(net):
    async def test():
        looked = []

        def is_open(contract: str, ns: int) -> bool:
            looked.append(contract)
            return False

        async with trading(net, 2, A, silence=Silence(0.05, is_open)) as (market, _, story, _):
            await market.tick()
            await story.until(lambda: len(looked) > 10)
            assert len(market.desks) == 1

    asyncio.run(test())


# ------------------------------------------------------------------------------------------ the user hub


def test_the_user_hub_delivers_each_event_once_through_a_renewal(net):
    async def test():
        async with trading(net, 2, hub="user", accounts=(7,), align=0.05) as (market, session, story, _):
            await market.until(lambda: ("SubscribeTrades", 7) in market.desks[0].calls)
            assert market.desks[0].calls == [
                ("SubscribeAccounts",),
                ("SubscribeOrders", 7),
                ("SubscribePositions", 7),
                ("SubscribeTrades", 7),
            ]
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await story.until(lambda: len(story.of(Connected)) == 2)
            sent = 0
            while not renewal.done():
                sent += 1
                for desk in market.desks:
                    if not desk.gone:
                        with contextlib.suppress(ConnectionError):
                            order = {"id": sent, "accountId": 7, "contractId": "CON.A"}
                            await desk.event("GatewayUserOrder", {"action": 1, "data": order})
                await asyncio.sleep(0)
            await renewal
            await story.until(lambda: len(delivered(story)) >= sent)
            assert Counter(delivered(story)) == Counter(range(1, sent + 1))
            assert {f.source for f in story.of(Frames)} == {"user/1", "user/2"}

    asyncio.run(test())


def test_an_event_that_is_late_on_the_old_connection_of_the_user_hub_is_waited_for(net):
    async def test():
        async with trading(net, 2, hub="user", accounts=(7,), align=0.05) as (market, session, story, _):
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await story.until(lambda: len(story.of(Connected)) == 2)  # the new one is subscribed, and too late for this
            await market.desks[0].event("GatewayUserOrder", {"id": 1, "accountId": 7, "contractId": "CON.A"})
            assert await renewal is True
            assert delivered(story) == [1]

    asyncio.run(test())


def test_what_a_new_connection_says_again_of_an_account_is_not_news(net):
    async def test():
        async with trading(net, 2, hub="user", accounts=(7,), align=0.05) as (market, session, story, _):
            account = {"id": 7, "name": "PRACTICE", "balance": 50_000.0, "canTrade": True}
            await market.desks[0].event("GatewayUserAccount", account)
            await story.until(lambda: len(delivered(story)) == 1)
            renewal = asyncio.create_task(session.renew(Secret("second"), "the token was renewed"))
            await market.until(lambda: len(market.desks) == 2)
            await market.desks[1].event("GatewayUserAccount", account)
            await market.desks[1].event("GatewayUserAccount", account | {"balance": 49_000.0})
            assert await renewal is True
            assert ("UnsubscribeTrades", 7) in market.desks[0].calls
            await story.until(lambda: len(delivered(story)) == 2)
            payloads = [payload for f in story.of(Frames) for _, _, payload in f.events]
            assert [json.loads(payload)["balance"] for payload in payloads] == [50_000.0, 49_000.0]
            again = [bad.reason for f in story.of(Frames) for bad in f.malformed]
            assert again == ["overlap"]

    asyncio.run(test())


def test_market_data_on_the_user_hub_is_refused_and_numbers_no_print(net):
    async def test():
        async with trading(net, 1, hub="user", accounts=(7,)) as (market, _, story, _):
            await market.desks[0].event(
                "GatewayTrade", "CON.A", [{"price": 1, "timestamp": "", "type": 0, "volume": 1}]
            )
            await market.desks[0].event("GatewayUserOrder", {"id": 1, "accountId": 7, "contractId": None})
            await market.desks[0].event(
                "GatewayUserPosition", {"id": 2, "accountId": 7, "contractId": "A", "size": None}
            )
            await story.until(lambda: delivered(story) == [2])
            reasons = [bad.reason for f in story.of(Frames) for bad in f.malformed]
            assert reasons == ["unknown_target", "schema"]
            assert story.ticks == []

    asyncio.run(test())


def delivered(story: Story) -> list[int]:
    return [json.loads(payload)["id"] for f in story.of(Frames) for _, _, payload in f.events]
