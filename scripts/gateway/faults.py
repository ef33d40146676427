"""The faults in force over time: standing switches, windows that end, and failures still to come.

A pure state: it is told the time and asked; what has to be done to sockets and tokens comes out as actions, which the
server carries out.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from tickloom.scripts.gateway.stamps import SECOND_NS
from tickloom.scripts.gateway.switches import ChaosRequest, Hub, Switches, apply_standing


class Abort(msgspec.Struct, frozen=True):
    """End all connections (of one hub): `hub` with a close message, `tcp` without one, `reset` by a TCP reset."""

    how: str
    hub: Hub | None


class Mute(msgspec.Struct, frozen=True):
    """From now on not a byte passes on the connections (of one hub)."""

    hub: Hub | None


class Unmute(msgspec.Struct, frozen=True):
    """The mute is over; with `drop` nothing that was held is released and the links are reset."""

    drop: bool


class Burst(msgspec.Struct, frozen=True):
    """Extra ticks, at once."""

    count: int
    contract: str | None


class Rate(msgspec.Struct, frozen=True):
    """Another pace, of one contract or of all together."""

    rate: float
    contract: str | None


class Logout(msgspec.Struct, frozen=True):
    """Send `GatewayLogout` with these arguments."""

    arguments: tuple[Any, ...]
    hub: Hub | None


class Revoke(msgspec.Struct, frozen=True):
    """No token issued so far is valid any more."""


Action: TypeAlias = Abort | Mute | Unmute | Burst | Rate | Logout | Revoke


def _until(now_ns: int, seconds: float) -> int:
    return now_ns + round(seconds * SECOND_NS)


class Faults:
    """What is broken at the moment."""

    def __init__(self, plain: Switches) -> None:
        self._plain = plain
        self.switches = plain
        self.refuse_until = 0
        self.stall_until = 0
        self.mute_until = 0
        self.mute_hub: Hub | None = None

    def apply(self, request: ChaosRequest, now_ns: int) -> list[Action]:
        """Take a request: settings first, then its actions, which are returned in the order to be done."""
        actions: list[Action] = []
        if request.reset:
            self.switches = self._plain
            self.refuse_until = self.stall_until = 0
            actions += self._end_mute()
        self.switches = apply_standing(self.switches, request)
        if request.refuse_upgrade is not None:
            self.refuse_until = _until(now_ns, request.refuse_upgrade)
        if request.stall is not None:
            self.stall_until = _until(now_ns, request.stall)
        if request.revoke_tokens:
            actions.append(Revoke())
        if isinstance(request.tick_rate, dict):
            actions += [Rate(rate, contract) for contract, rate in request.tick_rate.items()]
        elif request.tick_rate is not None:
            actions.append(Rate(request.tick_rate, request.contract))
        if request.burst:
            actions.append(Burst(request.burst, request.contract))
        logout = request.gateway_logout
        if logout is not False:
            arguments = logout if isinstance(logout, list) else [logout] if isinstance(logout, str) else []
            actions.append(Logout(tuple(arguments), request.hub))
        if request.mute is not None:
            actions += self._end_mute()
            if request.mute > 0:
                self.mute_until, self.mute_hub = _until(now_ns, request.mute), request.hub
                actions.append(Mute(request.hub))
        if request.abort is not False:
            actions.append(Abort("hub" if request.abort is True else request.abort, request.hub))
        return actions

    def _end_mute(self) -> list[Action]:
        if not self.mute_until:
            return []
        self.mute_until = 0
        return [Unmute(self.switches.mute_mode == "blackhole")]

    def poll(self, now_ns: int) -> list[Action]:
        """Return what the passing of time asks for."""
        return self._end_mute() if self.mute_until and now_ns >= self.mute_until else []

    def take(self, name: str) -> bool:
        """Take one off a count of failures still to come; True if there was one."""
        left = getattr(self.switches, name)
        if left > 0:
            self.switches = msgspec.structs.replace(self.switches, **{name: left - 1})
        return bool(left > 0)

    def stalled(self, now_ns: int) -> bool:
        """Whether market data is being held back."""
        return now_ns < self.stall_until

    def refusing(self, now_ns: int) -> bool:
        """Whether requests for a hub are being refused."""
        return now_ns < self.refuse_until

    def muted(self, hub: str, now_ns: int) -> bool:
        """Whether a connection made now, of this hub, is mute from the start."""
        return self.switches.mute_new and now_ns < self.mute_until and self.mute_hub in (None, hub)

    def state(self, now_ns: int) -> dict[str, object]:
        """Return the switches and how long the windows last still, as `GET /chaos` shows them."""

        def left(until: int) -> float:
            return max(0, until - now_ns) / SECOND_NS

        return {
            **msgspec.to_builtins(self.switches),
            "mute_left_s": left(self.mute_until),
            "stall_left_s": left(self.stall_until),
            "refuse_upgrade_left_s": left(self.refuse_until),
        }
