from __future__ import annotations

import msgspec

from tickloom.messages.control import Connected, Disconnected
from tickloom.scripts.endurance.accounts import SLACK_NS, downs, judge_accounts

NS = 1_000_000_000


def order(number: int) -> dict:
    return {"id": number, "accountId": 1, "contractId": "A"}


def truth(*numbers: int) -> list:
    """Events due a second each, every other one wrapped."""
    return [(n * NS, "GatewayUserOrder", {"action": 1, "data": order(n)} if n % 2 else order(n)) for n in numbers]


def events(*numbers: int) -> list:
    return [(n * NS, "GatewayUserOrder", msgspec.json.encode(order(n))) for n in numbers]


def test_events_held_once_are_right_and_each_kind_of_wrong_is_counted():
    assert judge_accounts(events(1, 2, 3), truth(1, 2, 3), []).right
    assert judge_accounts(events(1, 3), truth(1, 2, 3), []).lost == 1
    assert judge_accounts(events(1, 2, 2, 3), truth(1, 2, 3), []).doubled == 1
    assert judge_accounts(events(1, 2, 3, 9), truth(1, 2, 3), []).alien == 1


def test_what_was_due_while_the_link_was_down_may_be_missing_and_need_not_be():
    down = [(2 * NS, 3 * NS)]
    verdict = judge_accounts(events(1, 3), truth(1, 2, 3), down)
    assert (verdict.right, verdict.missed) == (True, 1)
    assert judge_accounts(events(1, 2, 3), truth(1, 2, 3), down).right


def test_the_link_is_down_from_its_loss_to_the_next_one_and_not_while_it_is_replaced():
    links = [
        Connected(recv_ns=10 * NS, hub="user", connection=1),
        Connected(recv_ns=20 * NS, hub="user", connection=2),
        Disconnected(recv_ns=21 * NS, hub="user", connection=1, cause="replaced by connection 2: …"),
        Disconnected(recv_ns=25 * NS, hub="market", connection=1, cause="the cable was cut"),
        Disconnected(recv_ns=30 * NS, hub="user", connection=2, cause="the cable was cut"),
        Connected(recv_ns=33 * NS, hub="user", connection=3),
    ]
    assert downs(links, "replaced by") == [(0, 10 * NS + SLACK_NS), (30 * NS - SLACK_NS, 33 * NS + SLACK_NS)]
