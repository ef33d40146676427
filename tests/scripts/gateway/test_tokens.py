import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.scripts.gateway.tokens import Account, TokenOffice, TokenRefusedError, fingerprint

NOW = 1_763_829_000_123_456_789
SECOND = 10**9


def claims_of(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def test_a_token_is_a_jwt_with_a_real_end():
    token = TokenOffice(b"s").issue("demo", 60, NOW)
    assert len(token.split(".")) == 3
    said = claims_of(token)
    assert said["exp"] == NOW // SECOND + 61, "rounded up to a whole second"
    assert said["iat"] == NOW // SECOND
    assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["alg"] == "HS256"


def test_a_token_is_good_until_its_end_and_no_longer():
    office = TokenOffice(b"s")
    token = office.issue("demo", 60, NOW)
    claims = office.check(token, NOW)
    assert (claims.user, claims.fingerprint) == ("demo", fingerprint(token))
    office.check(token, claims.expires_ns - 1)
    with pytest.raises(TokenRefusedError, match=r"^expired$"):
        office.check(token, claims.expires_ns)


def test_a_new_token_leaves_the_old_ones_valid_and_revoking_ends_them_all():
    office = TokenOffice(b"s")
    tokens = [office.issue("demo", 60, NOW) for _ in range(3)]
    assert len({office.check(token, NOW).number for token in tokens}) == 3
    office.revoke_all()
    for token in tokens:
        with pytest.raises(TokenRefusedError, match=r"^revoked$"):
            office.check(token, NOW)
    office.check(office.issue("demo", 60, NOW), NOW)


def test_a_token_of_another_office_is_refused():
    with pytest.raises(TokenRefusedError, match=r"^bad_signature$"):
        TokenOffice(b"s").check(TokenOffice(b"t").issue("demo", 60, NOW), NOW)


@given(st.integers(0, 200), st.characters())
def test_a_token_with_anything_changed_is_refused(at, character):
    office = TokenOffice(b"s")
    token = office.issue("demo", 60, NOW)
    at %= len(token)
    forged = token[:at] + character + token[at + 1 :]
    if forged != token:
        with pytest.raises(TokenRefusedError):
            office.check(forged, NOW)


@given(st.text())
def test_garbage_is_refused_by_name(text):
    with pytest.raises(TokenRefusedError, match=r"^(malformed|bad_signature)$"):
        TokenOffice(b"s").check(text, NOW)


def test_the_account_admits_its_user_and_key_alone_and_keeps_no_key():
    account = Account.of("demo", "canary-key")
    assert account.admits("demo", "canary-key")
    assert not account.admits("demo", "canary-kez")
    assert not account.admits("dema", "canary-key")
    assert "canary" not in repr(account)
    assert b"canary" not in account.key_digest


def test_the_account_comes_from_the_environment_else_it_is_the_demo_one():
    assert Account.from_environment({}).admits("demo", "demo-key")
    assert Account.from_environment({"GATEWAY_USER": "u", "GATEWAY_KEY": "k"}).admits("u", "k")
