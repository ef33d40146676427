"""Quotes and depth on their way to the subscribers: one computation an update, shared by all who are up to date.

A client without room is passed over and gets the whole state, not a delta, once it has room again: so sparse updates
always fit what came before them. From a recording that brings quotes and depth of its own, those are passed on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tickloom.scripts.gateway.connection import HubConnection
from tickloom.scripts.gateway.frames import invocation, invocation_raw, text_frame
from tickloom.scripts.gateway.quotes import DepthBoard, QuoteBoard
from tickloom.scripts.gateway.switches import Switches
from tickloom.scripts.gateway.ticks import Market

QUOTE, DEPTH = "GatewayQuote", "GatewayDepth"


def wanted(connection: HubConnection, target: str) -> dict[str, bool]:
    """Return which contracts' quotes, or depth, a connection wants, and for which it is up to date."""
    return connection.quotes if target == QUOTE else connection.depth


class Boards:
    """The quotes and books of all contracts of a market."""

    def __init__(self, market: Market, seed: int, now_ns: int) -> None:
        self._market = market
        self._quotes = {spec.id: QuoteBoard(spec) for spec in market.specs}
        self._depth = {spec.id: DepthBoard(spec, seed) for spec in market.specs}
        self._next = {QUOTE: now_ns, DEPTH: now_ns}
        self.passed_over = 0
        """Recorded quotes and depth that a client without room did not get."""

    def quote(self, contract: str) -> dict[str, Any]:
        """Return the whole quote as of the last one sent."""
        return self._quotes[contract].whole

    def book(self, contract: str) -> dict[str, list[dict[str, float]]]:
        """Return the book as of the last depth sent."""
        return self._depth[contract].truth()

    def begin(self, connection: HubConnection, target: str, contract: str, others: Iterable[HubConnection]) -> None:
        """Subscribe a connection: send the whole state, which the deltas to come will fit."""
        wanted(connection, target)[contract] = False
        if not self._market.synthesize:
            return
        if not any(contract in wanted(other, target) for other in others if other is not connection):
            # Nobody followed it, so it has stood still.
            self._update(target, contract)
        self._send_whole(connection, target, contract)

    def _update(self, target: str, contract: str) -> Any:
        board = self._quotes[contract] if target == QUOTE else self._depth[contract]
        return board.update(self._market.totals(contract), self._market.last(contract))

    def _send_whole(self, connection: HubConnection, target: str, contract: str) -> None:
        whole = self._quotes[contract].whole if target == QUOTE else self._depth[contract].snapshot()
        if whole:
            wanted(connection, target)[contract] = True
            connection.session.send(invocation(target, contract, whole))

    def send(
        self, connections: list[HubConnection], roomy: list[HubConnection], switches: Switches, now_ns: int
    ) -> None:
        """Send what is due to the connections that have room."""
        if not self._market.synthesize:
            self._pass_on(connections, roomy)
            return
        for target, pause_ms in ((QUOTE, switches.quote_ms), (DEPTH, switches.depth_ms)):
            if now_ns < self._next[target]:
                continue
            self._next[target] = now_ns + round(pause_ms * 1e6)
            followed = {contract for connection in connections for contract in wanted(connection, target)}
            for contract in self._quotes:
                if contract in followed:
                    delta = self._update(target, contract)
                    if delta is not None:
                        self._share(target, contract, delta, connections, roomy)

    def _share(
        self, target: str, contract: str, delta: Any, connections: list[HubConnection], roomy: list[HubConnection]
    ) -> None:
        frame = b""
        for connection in connections:
            current = wanted(connection, target).get(contract)
            if current is None:
                continue
            if connection not in roomy:
                wanted(connection, target)[contract] = False
            elif not current:
                self._send_whole(connection, target, contract)
            else:
                frame = frame or text_frame(invocation(target, contract, delta))
                connection.add(frame)

    def _pass_on(self, connections: list[HubConnection], roomy: list[HubConnection]) -> None:
        for item in self._market.passed():
            frame = text_frame(invocation_raw(item.target, item.contract, item.data))
            for connection in connections:
                if item.contract in wanted(connection, item.target):
                    if connection in roomy:
                        connection.add(frame)
                    else:
                        self.passed_over += 1
