from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime

import pytest
import trustme

from tickloom.actors.connection.address import checked, is_loopback, tls_context
from tickloom.actors.connection.dial import HubSettings
from tickloom.actors.connection.errors import CertificateRefused, ConnectionLost, InsecureAddress
from tickloom.actors.connection.rest import Patience, RestClient
from tickloom.actors.connection.transport import HubConnection
from tickloom.config.secrets import Secret


@pytest.mark.parametrize(
    "url",
    [
        "https://rtc.topstepx.com/hubs/market",
        "wss://rtc.topstepx.com/hubs/market",
        "http://127.0.0.1:5000/hubs/market",
        "ws://127.8.9.1/hubs/market",
        "http://[::1]:5000/hubs",
        "http://localhost:8080/hubs",
        "http://gateway.localhost/hubs",
    ],
)
def test_tls_anywhere_and_plain_text_to_this_machine_are_allowed(url):
    assert checked(url, "the hub").host


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://rtc.topstepx.com/hubs/market", "plain http.*use https"),
        ("ws://10.0.0.1/hubs", "plain ws.*use wss"),
        ("http://127.0.0.1.example.com/", "plain http"),
        ("http://0.0.0.0/", "plain http"),
        ("http://localhost.example/", "plain http"),
        ("https://user:secret@host/", "user name or password"),
        ("https://host/?access_token=secret", "query or fragment"),
        ("https://host/#secret", "query or fragment"),
        ("ftp://host/", "full URL"),
        ("host/hubs", "full URL"),
        ("", "full URL"),
        ("https://", "full URL"),
        ("https://host:99999/", "not a URL"),
    ],
)
def test_an_address_a_token_must_not_go_to_is_refused_in_a_sentence_without_secrets(url, words):
    with pytest.raises(InsecureAddress, match=words) as caught:
        checked(url, "the hub")
    assert "secret" not in str(caught.value)
    assert "the hub" in str(caught.value)


def test_loopback_is_told_by_name_not_by_asking_around():
    assert is_loopback("LOCALHOST.")
    assert not is_loopback("localhost.evil.example")
    assert not is_loopback("127.0.0.1.nip.io")


def test_a_ca_file_that_is_none_is_named(tmp_path):
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("nonsense")
    for path in (nonsense, tmp_path / "missing.pem"):
        with pytest.raises(InsecureAddress, match=str(path)):
            tls_context(path)


def test_certificates_are_verified_and_a_ca_of_one_s_own_is_added_to_the_system_s():
    context = tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_authorities_are_read_once_and_again_when_the_file_has_changed(tmp_path):
    path = tmp_path / "ca.pem"
    trustme.CA(organization_name="the first").cert_pem.write_to_path(path)
    first = tls_context(path)
    assert tls_context(path) is first
    assert tls_context() is tls_context() is not first
    trustme.CA(organization_name="the one that replaced it").cert_pem.write_to_path(path)
    second = tls_context(path)

    def trusts(context: ssl.SSLContext, name: str) -> bool:
        return name in str(context.get_ca_certs())

    assert (trusts(first, "the first"), trusts(first, "replaced it")) == (True, False)
    assert (trusts(second, "the first"), trusts(second, "replaced it")) == (False, True)


# ------------------------------------------------------------------------------------------ TLS, for real


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


def server(ca: trustme.CA, name: str, **more) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name, **more).configure_cert(context)
    return context


async def quiet(caller):
    await caller.shake()
    await caller.leave()


def test_a_certificate_of_a_known_ca_for_the_right_host_is_taken(net, ca, tmp_path):
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")

    async def test():
        meeting = net.meeting(quiet, tls=server(ca, "localhost"), ca=tmp_path / "ca.pem", host="localhost")
        async with meeting as (peer, session), net.running(peer, session) as client:
            assert peer.url.startswith("https://localhost")
            assert client.connection.is_open
            peer.callers[0].cut()
            with pytest.raises(ConnectionLost):
                await client.task

    asyncio.run(test())


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("wrong host", "not valid for 'localhost'"),
        ("expired", "expired"),
        ("unknown ca", "unable to get local issuer certificate"),
    ],
)
def test_a_certificate_not_to_be_trusted_is_refused_before_anything_is_sent(net, ca, tmp_path, case, words):
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    issuer = trustme.CA() if case == "unknown ca" else ca
    more = {"not_after": datetime(2020, 1, 1, tzinfo=UTC)} if case == "expired" else {}
    tls = server(issuer, "elsewhere.example" if case == "wrong host" else "localhost", **more)

    async def test():
        async with net.meeting(quiet, tls=tls, ca=tmp_path / "ca.pem", host="localhost") as (peer, session):
            # the server's side of the failed handshakes
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            hub = HubSettings(url=f"{peer.url}/hubs/market")
            for settings in (hub, HubSettings(url=hub.url, negotiate=True)):
                with pytest.raises(CertificateRefused, match=words) as caught:
                    await HubConnection(settings, Secret(net.canary), session).open()
                assert caught.value.__context__ is None
            rest = RestClient(peer.url, session, patience=Patience(attempts=1))
            with pytest.raises(CertificateRefused, match=words):
                await rest.login("user", Secret(net.canary))
            assert peer.requests == []

    asyncio.run(test())
