"""The user hub's events: a story told over and over, event n of which is a pure function of n.

A lap: an order is placed and filled, its trade and position follow, a stop order is placed and cancelled, the exit is
filled, its trade and the flat position follow, and the account has its new balance. Laps alternate between the
accounts; every other lap comes wrapped as `{"action":1,"data":{…}}`, as the real hub's events sometimes do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tickloom.scripts.gateway.contracts import ContractSpec
from tickloom.scripts.gateway.frames import stamp
from tickloom.scripts.gateway.mixing import digest

ACCOUNTS: Final = (1001, 1002)
BALANCE: Final = 50_000.0
LAP: Final = 10
_OPEN, _FILLED, _CANCELLED = 1, 2, 3
_MARKET, _STOP = 2, 4
_BUY, _SELL = 0, 1
_FEES: Final = 0.37


class UserEvent(NamedTuple):
    """Event number `n`: whom it is for and what is sent."""

    n: int
    target: str
    account: int
    payload: dict[str, Any]


def account_payload(account: int, balance: float = BALANCE) -> dict[str, Any]:
    """Return an account as REST and the hub show it."""
    return {
        "id": account,
        "name": f"PRACTICE-{account}",
        "balance": balance,
        "canTrade": True,
        "isVisible": True,
        "simulated": True,
    }


def wrapped(data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` as the hub sometimes wraps it."""
    return {"action": 1, "data": data}


class UserStream:
    """The events of all accounts; event n falls due at `start_ns + n * step_ns`."""

    def __init__(self, specs: Sequence[ContractSpec], start_ns: int, step_ns: int) -> None:
        self._specs = specs
        self._start_ns = start_ns
        self._step_ns = step_ns

    def due(self, now_ns: int) -> int:
        """Return the number of the last event that is due (-1: none)."""
        return (now_ns - self._start_ns) // self._step_ns - 1

    def at(self, n: int) -> UserEvent:
        """Compute event `n`."""
        lap, step = divmod(n, LAP)
        account = ACCOUNTS[lap % len(ACCOUNTS)]
        target, data = self._tell(n, lap, step, account)
        return UserEvent(n, target, account, data if lap % 2 == 0 else wrapped(data))

    def _tell(self, n: int, lap: int, step: int, account: int) -> tuple[str, dict[str, Any]]:
        spec = self._specs[lap % len(self._specs)]
        swing = digest(lap, spec.id, "trip")
        entry, way = spec.base + swing % 41 - 20, (swing >> 8) % 25 - 12
        buy, sell = spec.price(entry), spec.price(entry + way)
        profit = round(way * spec.tick_value, 2)
        order, trade = 700_000 + lap * 3, 900_000 + lap * 2
        common = {"accountId": account, "contractId": spec.id}
        at = stamp(self._start_ns + (n + 1) * self._step_ns, zulu=n % 2 == 0)

        def an_order(number: int, status: int, kind: int, side: int, filled: float | None = None) -> dict[str, Any]:
            return {
                "id": number,
                **common,
                "symbolId": spec.symbol_id,
                "creationTimestamp": at,
                "updateTimestamp": at,
                "status": status,
                "type": kind,
                "side": side,
                "size": 1,
                "limitPrice": None,
                "stopPrice": spec.price(entry - 20) if kind == _STOP else None,
                "fillVolume": 0 if filled is None else 1,
                "filledPrice": filled,
                "customTag": None,
            }

        def a_trade(number: int, price: float, gain: float | None, side: int, of: int) -> dict[str, Any]:
            return {
                "id": number,
                **common,
                "creationTimestamp": at,
                "price": price,
                "profitAndLoss": gain,
                "fees": _FEES,
                "side": side,
                "size": 1,
                "voided": False,
                "orderId": of,
            }

        def a_position(kind: int, size: int) -> dict[str, Any]:
            return {
                "id": 500_000 + lap,
                **common,
                "creationTimestamp": at,
                "type": kind,
                "size": size,
                "averagePrice": buy,
            }

        story: tuple[tuple[str, Any], ...] = (
            ("GatewayUserOrder", lambda: an_order(order, _OPEN, _MARKET, _BUY)),
            ("GatewayUserOrder", lambda: an_order(order, _FILLED, _MARKET, _BUY, buy)),
            ("GatewayUserTrade", lambda: a_trade(trade, buy, None, _BUY, order)),
            ("GatewayUserPosition", lambda: a_position(1, 1)),
            ("GatewayUserOrder", lambda: an_order(order + 1, _OPEN, _STOP, _SELL)),
            ("GatewayUserOrder", lambda: an_order(order + 1, _CANCELLED, _STOP, _SELL)),
            ("GatewayUserOrder", lambda: an_order(order + 2, _FILLED, _MARKET, _SELL, sell)),
            ("GatewayUserTrade", lambda: a_trade(trade + 1, sell, profit, _SELL, order + 2)),
            ("GatewayUserPosition", lambda: a_position(0, 0)),
            ("GatewayUserAccount", lambda: account_payload(account, BALANCE + profit)),
        )
        target, tell = story[step]
        return target, tell()
