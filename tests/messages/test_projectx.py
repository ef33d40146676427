from __future__ import annotations

import msgspec
import pytest

from tickloom.messages.projectx import (
    BarsAnswer,
    BarsRequest,
    BarUnit,
    ContractModel,
    ContractsAnswer,
    HistoryBar,
    UserAccount,
    UserOrder,
    UserPosition,
    UserTrade,
    user_event,
)


def test_answers_are_read_by_the_wire_s_names_and_unknown_fields_are_ignored():
    wire = (
        b'{"contracts":[{"id":"CON.F.US.ENQ.U25","name":"NQU5","description":"E-mini NASDAQ-100: September 2025",'
        b'"tickSize":0.25,"tickValue":5,"activeContract":true,"symbolId":"F.US.ENQ","newField":1}],'
        b'"success":true,"errorCode":0,"errorMessage":null}'
    )
    answer = msgspec.json.decode(wire, type=ContractsAnswer)
    assert answer.success
    assert answer.contracts == [
        ContractModel(
            "CON.F.US.ENQ.U25", 0.25, 5.0, "NQU5", "E-mini NASDAQ-100: September 2025", active_contract=True,
            symbol_id="F.US.ENQ",
        )
    ]  # fmt: skip


def test_a_refusal_has_no_data_and_says_why():
    answer = msgspec.json.decode(
        b'{"bars":null,"success":false,"errorCode":4,"errorMessage":"Invalid limit."}', type=BarsAnswer
    )
    assert (answer.bars, answer.success, answer.error_code, answer.error_message) == (None, False, 4, "Invalid limit.")


def test_bars_are_read_and_asked_for_by_the_wire_s_names():
    answer = msgspec.json.decode(
        b'{"bars":[{"t":"2025-01-02T00:00:00+00:00","o":1,"h":2.5,"l":0.5,"c":2,"v":7}],"success":true}',
        type=BarsAnswer,
    )
    assert answer.bars == [HistoryBar("2025-01-02T00:00:00+00:00", 1.0, 2.5, 0.5, 2.0, 7)]
    request = BarsRequest("C", False, "a", "b", int(BarUnit.MINUTE), 5, 100, True)
    assert msgspec.json.decode(msgspec.json.encode(request)) == {
        "contractId": "C",
        "live": False,
        "startTime": "a",
        "endTime": "b",
        "unit": 2,
        "unitNumber": 5,
        "limit": 100,
        "includePartialBar": True,
    }


@pytest.mark.parametrize(
    ("target", "wire", "event"),
    [
        (
            "GatewayUserAccount",
            b'{"id":123,"name":"Main","balance":10000.5,"canTrade":true,"isVisible":true,"simulated":false}',
            UserAccount(123, "Main", 10000.5, can_trade=True, is_visible=True, simulated=False),
        ),
        (
            "GatewayUserPosition",
            b'{"id":456,"accountId":123,"contractId":"C","creationTimestamp":"2024-07-21T13:45:00Z","type":1,"size":2,'
            b'"averagePrice":2100.25}',
            UserPosition(456, 123, "C", "2024-07-21T13:45:00Z", 1, 2, 2100.25),
        ),
        (
            "GatewayUserOrder",
            b'{"id":789,"accountId":123,"contractId":"C","status":1,"type":1,"side":0,"size":1,"limitPrice":2100.5,'
            b'"stopPrice":null,"customTag":"mine"}',
            UserOrder(789, 123, "C", status=1, type=1, size=1, limit_price=2100.5, custom_tag="mine"),
        ),
        (
            "GatewayUserTrade",
            b'{"id":1,"accountId":123,"contractId":"C","price":2100.75,"profitAndLoss":null,"fees":2.5,"side":1,"size":1,'
            b'"voided":false,"orderId":789}',
            UserTrade(1, 123, "C", price=2100.75, fees=2.5, side=1, size=1, order_id=789),
        ),
    ],
)
def test_user_events_become_typed_messages(target, wire, event):
    assert user_event(target, wire) == event


def test_a_user_event_that_does_not_fit_is_refused():
    with pytest.raises(msgspec.ValidationError):
        user_event("GatewayUserTrade", b'{"id":"one"}')
    with pytest.raises(KeyError):
        user_event("GatewayMystery", b"{}")
