from __future__ import annotations

import msgspec
import pytest

from tickloom.messages.accounts import AccountEvent, account_events
from tickloom.messages.control import Beat, Connected, Disconnected
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.projectx import UserAccount, UserOrder, user_event

ORDER = b'{"id":5,"accountId":1002,"contractId":"CON.A","fillVolume":null}'
ACCOUNT = b'{"id":1001,"name":"PRACTICE","balance":50000}'


def test_a_frame_s_events_are_typed_and_numbered_by_their_frame():
    frames = Frames(
        "user/1",
        [10, 20, 30],
        [0, 0, 0],
        None,
        events=((0, "GatewayUserAccount", ACCOUNT), (2, "GatewayUserOrder", ORDER), (2, "GatewayLogout", b"[]")),
    )
    assert account_events(Numbered(100, frames)) == (
        AccountEvent(100, 10, UserAccount(1001, "PRACTICE", 50_000.0)),
        AccountEvent(102, 30, UserOrder(5, 1002, "CON.A")),
    )


def test_the_ups_and_downs_of_the_user_hub_s_link_are_told_and_those_of_the_market_hub_are_not():
    up, down = (
        Connected(recv_ns=1, hub="user", connection=1),
        Disconnected(recv_ns=2, hub="user", connection=1, cause="the cable was cut"),
    )
    assert account_events(Numbered(7, up)) == (AccountEvent(7, 1, up),)
    assert account_events(Numbered(8, down)) == (AccountEvent(8, 2, down),)
    assert account_events(Numbered(9, Connected(recv_ns=1, hub="market", connection=1))) == ()
    assert account_events(Numbered(9, Beat(recv_ns=1))) == ()


def test_an_event_says_whose_it_is():
    assert AccountEvent(1, 1, UserAccount(1001)).account == 1001
    assert AccountEvent(1, 1, UserOrder(5, 1002, "A")).account == 1002
    assert AccountEvent(1, 1, Connected(recv_ns=1, hub="user", connection=1)).account is None


@pytest.mark.parametrize("body", [b'{"id":null,"accountId":1,"contractId":"A"}', b'{"id":"5"}', b"{}"])
def test_a_null_is_a_field_left_out_and_what_must_be_there_must(body):
    assert user_event("GatewayUserOrder", ORDER).fill_volume == 0
    with pytest.raises(msgspec.ValidationError):
        user_event("GatewayUserOrder", body)
