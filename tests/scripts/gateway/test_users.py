from collections import Counter

from tickloom.scripts.gateway.contracts import choose
from tickloom.scripts.gateway.users import ACCOUNTS, LAP, UserStream

S = 10**9
STREAM = UserStream(choose(["CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25"]), 1_763_829_000 * S, S)


def data(event):
    return event.payload["data"] if set(event.payload) == {"action", "data"} else event.payload


def test_an_event_falls_due_at_its_time_and_depends_on_its_number_alone():
    assert STREAM.due(1_763_829_000 * S) == -1
    assert STREAM.due(1_763_829_001 * S) == 0
    assert STREAM.due(1_763_829_060 * S) == 59
    assert STREAM.at(57) == STREAM.at(57)


def test_a_lap_tells_a_round_trip_in_order():
    laps = [[STREAM.at(lap * LAP + step) for step in range(LAP)] for lap in range(4)]
    for lap in laps:
        assert Counter(event.target for event in lap) == {
            "GatewayUserOrder": 5,
            "GatewayUserTrade": 2,
            "GatewayUserPosition": 2,
            "GatewayUserAccount": 1,
        }
        orders = [data(event) for event in lap if event.target == "GatewayUserOrder"]
        trades = [data(event) for event in lap if event.target == "GatewayUserTrade"]
        assert [order["status"] for order in orders] == [1, 2, 1, 3, 2]
        assert [trade["orderId"] for trade in trades] == [orders[1]["id"], orders[4]["id"]]
        assert [trade["price"] for trade in trades] == [orders[1]["filledPrice"], orders[4]["filledPrice"]]
        account = data(lap[-1])
        assert account["balance"] == 50_000 + trades[1]["profitAndLoss"]
        assert account["id"] == lap[0].account
    assert {lap[0].account for lap in laps} == set(ACCOUNTS)


def test_every_other_lap_comes_wrapped():
    wrapped = [set(STREAM.at(lap * LAP).payload) == {"action", "data"} for lap in range(4)]
    assert wrapped == [False, True, False, True]


def test_ids_are_unique():
    orders = Counter(data(event)["id"] for event in map(STREAM.at, range(500)) if event.target == "GatewayUserOrder")
    assert set(orders.values()) <= {1, 2}, "an order is told of when placed and when done, under one id"
