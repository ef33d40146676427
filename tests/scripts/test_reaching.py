"""The way to the gateway, step by step, against the emulator: with and without TLS, and with something wrong."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from tickloom.config.credentials import Credentials
from tickloom.config.secrets import Secret
from tickloom.config.sections import GatewaySettings
from tickloom.messages.market import NS
from tickloom.scripts.findings import Finding
from tickloom.scripts.gateway.server import GatewayServer
from tickloom.scripts.gateway.settings import GatewaySettings as Emulated
from tickloom.scripts.reaching import reach

GOOD = Credentials("demo", Secret("demo-key"), "the test")
WRONG = Credentials("demo", Secret("canary-key-4711"), "the test")
HERE = Emulated(contracts=("CON.F.US.EP.Z25",))


def settings_for(gateway: GatewayServer, **changes: Any) -> GatewaySettings:
    addresses = {
        "api_url": gateway.url,
        "market_hub_url": gateway.market_hub_url,
        "user_hub_url": gateway.user_hub_url,
    }
    return GatewaySettings(**(addresses | changes))


def look(
    credentials: Credentials | None = GOOD, tls: ssl.SSLContext | None = None, emulated: Emulated = HERE, **changes: Any
) -> list[Finding]:
    async def work() -> list[Finding]:
        async with GatewayServer(emulated, tls=tls) as gateway:
            return [each async for each in reach(settings_for(gateway, **changes), credentials)]

    return asyncio.run(work())


def test_a_gateway_that_is_right_is_ok_at_every_step() -> None:
    found = look(accounts=(1,))
    assert [each.name for each in found] == [
        "name", "connection", "ping", "clock", "log-in", "market hub", "user hub",
    ]  # fmt: skip
    assert {each.status for each in found} == {"ok"}
    login = next(each for each in found if each.name == "log-in")
    assert login.found == "the credentials are good; the token lives 24 h"


def test_without_credentials_nobody_logs_in() -> None:
    assert [each.name for each in look(credentials=None)] == ["name", "connection", "ping", "clock"]


def test_credentials_that_are_refused_end_it_with_3() -> None:
    found = look(WRONG)
    assert (found[-1].name, found[-1].status, found[-1].code) == ("log-in", "failure", 3)
    assert "canary" not in repr(found)


def test_a_gateway_that_is_not_there_ends_it_with_4() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    found = look(api_url=address)
    failures = [each for each in found if each.status == "failure"]
    assert [(each.name, each.code) for each in failures] == [("connection", 4)]
    assert "Connection refused" in failures[0].found
    assert not any(each.name in ("ping", "log-in") for each in found)


def test_a_hub_that_is_not_there_is_told_apart_from_the_rest() -> None:
    async def work() -> list[Finding]:
        async with GatewayServer(HERE) as gateway:
            changed = settings_for(gateway, market_hub_url=gateway.url + "/hubs/nowhere")
            return [each async for each in reach(changed, GOOD)]

    found = asyncio.run(work())
    assert [each.name for each in found if each.status == "failure"] == ["market hub"]
    assert "does not exist (HTTP 404)" in found[-1].found


def test_a_name_that_is_not_known_is_said_once() -> None:
    found = look(api_url="https://gateway.invalid", market_hub_url="https://gateway.invalid/hubs/market")
    assert [(each.name, each.status, each.code) for each in found] == [("name", "failure", 4)]


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    ca = trustme.CA()
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(file)
    return ca, file


def serving(ca: trustme.CA, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", **options).configure_cert(context)
    return context


def test_a_certificate_is_verified_and_its_end_is_told(authority: tuple[trustme.CA, Path]) -> None:
    ca, file = authority
    found = look(tls=serving(ca), ca_file=str(file))
    assert {each.status for each in found} == {"ok"}
    tls = next(each for each in found if each.name == "tls")
    assert "TLSv1.3, certificate good until " in tls.found


def test_a_certificate_that_nobody_vouches_for_is_a_failure(authority: tuple[trustme.CA, Path]) -> None:
    found = look(tls=serving(authority[0]))
    assert (found[-1].name, found[-1].status, found[-1].code) == ("tls", "failure", 4)
    assert "is not trusted" in found[-1].found


def test_a_certificate_that_ends_soon_is_a_warning(authority: tuple[trustme.CA, Path]) -> None:
    ca, file = authority
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=3, hours=1)
    found = look(tls=serving(ca, not_after=soon), ca_file=str(file))
    tls = next(each for each in found if each.name == "tls")
    assert (tls.status, tls.advice) == (
        "warning", "it ends in 3 days: whoever runs the gateway should renew it",
    )  # fmt: skip


def test_authorities_that_cannot_be_read_are_a_failure_of_usage(
    authority: tuple[trustme.CA, Path], tmp_path: Path
) -> None:
    found = look(tls=serving(authority[0]), ca_file=str(tmp_path / "none.pem"))
    assert (found[-1].name, found[-1].status, found[-1].code) == ("tls", "failure", 2)


@pytest.mark.parametrize(("seconds", "words"), [(3600, "ahead of"), (-90, "behind")])
def test_a_clock_that_is_off_is_a_warning(seconds: int, words: str) -> None:
    async def work() -> list[Finding]:
        async with GatewayServer(HERE) as gateway:
            ours = reach(settings_for(gateway), None, lambda: time.time_ns() + seconds * NS)
            return [each async for each in ours]

    clock = next(each for each in asyncio.run(work()) if each.name == "clock")
    assert clock.status == "warning"
    told = re.fullmatch(rf"this clock is ([\d.]+) s {words} the gateway's", clock.found)
    assert told is not None
    assert float(told[1]) == pytest.approx(abs(seconds), abs=1.0)
