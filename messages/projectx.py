"""What the ProjectX gateway says and is told: the payloads of its REST endpoints and of its hubs' events.

Names follow the wire in snake case (`tick_size` is `tickSize`). What the gateway may leave out has a default; fields we
do not know are ignored. Answers that carry a token are not here: this vocabulary holds no secret.

Sources: gateway.docs.projectx.com and its swagger; where observed traffic differs from them both are taken. Stamps stay
text, as `tickloom.messages.stamps` reads them, since microseconds are not enough.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Int64: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

# ------------------------------------------------------------------------------------------ REST


class LoginRequest(msgspec.Struct, frozen=True, rename="camel"):
    """`/api/Auth/loginKey`, without the key: that one is added on the line that sends it."""

    user_name: str


class ContractSearch(msgspec.Struct, frozen=True, rename="camel"):
    """`/api/Contract/search`: at most 20 contracts whose name or description holds the text."""

    search_text: str
    live: bool


class ContractById(msgspec.Struct, frozen=True, rename="camel"):
    """`/api/Contract/searchById`."""

    contract_id: str


class BarUnit(IntEnum):
    """The unit of `retrieveBars`."""

    SECOND = 1
    MINUTE = 2
    HOUR = 3
    DAY = 4
    WEEK = 5
    MONTH = 6


MAX_BARS = 20_000
"""How many bars one `retrieveBars` gives at most."""


class BarsRequest(msgspec.Struct, frozen=True, rename="camel"):
    """`/api/History/retrieveBars`; every field is required. Times are stamps; practice accounts need `live` False."""

    contract_id: str
    live: bool
    start_time: str
    end_time: str
    unit: int
    unit_number: int
    limit: int
    include_partial_bar: bool


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """What every answer says. `error_code` means something else at each endpoint; 0 is success."""

    success: bool = False
    error_code: int = 0
    error_message: str | None = None


class ContractModel(msgspec.Struct, frozen=True, rename="camel"):
    """A contract as the gateway lists it. `tick_value` is what one tick is worth, in dollars."""

    id: str
    tick_size: float
    tick_value: float
    name: str = ""
    description: str = ""
    active_contract: bool = False
    symbol_id: str = ""


class ContractsAnswer(Answer, frozen=True, rename="camel"):
    """The answer of `search`."""

    contracts: list[ContractModel] | None = None


class ContractAnswer(Answer, frozen=True, rename="camel"):
    """The answer of `searchById`."""

    contract: ContractModel | None = None


class HistoryBar(msgspec.Struct, frozen=True, gc=False):
    """A bar of `retrieveBars`: open time (a stamp), open, high, low, close, volume."""

    t: str
    o: float
    h: float
    l: float  # noqa: E741 - the wire's name
    c: float
    v: int


class BarsAnswer(Answer, frozen=True, rename="camel"):
    """The answer of `retrieveBars`, newest first."""

    bars: list[HistoryBar] | None = None


# ------------------------------------------------------------------------------------------ market hub

TRADE = "GatewayTrade"
QUOTE = "GatewayQuote"
DEPTH = "GatewayDepth"
LOGOUT = "GatewayLogout"
"""Undocumented: another session has taken over. Both hubs send it, with or without arguments."""

MARKET_STREAMS = {"trades": "ContractTrades", "quotes": "ContractQuotes", "depth": "ContractMarketDepth"}
"""What can be subscribed on the market hub: our word, and what follows `Subscribe` or `Unsubscribe`."""


class WirePrint(msgspec.Struct, frozen=True, gc=False):
    """A print of `GatewayTrade`, as strictly as a print must be: anything else is looked at one by one.

    `type` is the aggressor, 0 buy and 1 sell; `symbolId` is not read, because two expiries share one.
    """

    price: float
    timestamp: str
    type: Literal[0, 1]
    volume: Int64


class WireQuote(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """`GatewayQuote`: a missing or null field is unchanged."""

    timestamp: str | None = None
    last_updated: str | None = None
    last_price: float | None = None
    best_bid: float | None = None
    best_ask: float | None = None
    change: float | None = None
    change_percent: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: int | float | None = None


class WireLevel(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """An entry of `GatewayDepth`."""

    timestamp: str
    type: int
    price: float = 0.0
    volume: int | float = 0
    current_volume: int | float = 0


# ------------------------------------------------------------------------------------------ user hub


class UserAccount(msgspec.Struct, frozen=True, rename="camel"):
    """`GatewayUserAccount`."""

    id: int
    name: str = ""
    balance: float = 0.0
    can_trade: bool = False
    is_visible: bool = False
    simulated: bool = False


class UserPosition(msgspec.Struct, frozen=True, rename="camel"):
    """`GatewayUserPosition`. `type` 1 is long, 2 short."""

    id: int
    account_id: int
    contract_id: str
    creation_timestamp: str = ""
    type: int = 0
    size: int = 0
    average_price: float = 0.0


class UserOrder(msgspec.Struct, frozen=True, rename="camel"):
    """`GatewayUserOrder`. `side` 0 is buy, 1 sell."""

    id: int
    account_id: int
    contract_id: str
    symbol_id: str | None = None
    creation_timestamp: str = ""
    update_timestamp: str | None = None
    status: int = 0
    type: int = 0
    side: int = 0
    size: int = 0
    limit_price: float | None = None
    stop_price: float | None = None
    fill_volume: int = 0
    filled_price: float | None = None
    custom_tag: str | None = None


class UserTrade(msgspec.Struct, frozen=True, rename="camel"):
    """`GatewayUserTrade`. `profit_and_loss` is None for a trade that only opened a position."""

    id: int
    account_id: int
    contract_id: str
    creation_timestamp: str = ""
    price: float = 0.0
    profit_and_loss: float | None = None
    fees: float = 0.0
    side: int = 0
    size: int = 0
    voided: bool = False
    order_id: int = 0


UserEvent: TypeAlias = UserAccount | UserPosition | UserOrder | UserTrade

ACCOUNT = "GatewayUserAccount"

USER_EVENTS: dict[str, type[UserEvent]] = {
    ACCOUNT: UserAccount,
    "GatewayUserPosition": UserPosition,
    "GatewayUserOrder": UserOrder,
    "GatewayUserTrade": UserTrade,
}
"""What the user hub sends, by target."""

USER_STREAMS = {"orders": "Orders", "positions": "Positions", "trades": "Trades"}
"""What can be subscribed for an account: our word, and what follows `Subscribe` or `Unsubscribe`. `SubscribeAccounts`
takes no account."""

_user_decoders = {target: msgspec.json.Decoder(kind) for target, kind in USER_EVENTS.items()}


def user_event(target: str, payload: bytes) -> UserEvent:
    """Read a user-hub event from its JSON (wrapper taken off, as in `Frames.events`). A null is a field left out.

    Raises:
        KeyError: `target` is no user-hub event.
        msgspec.ValidationError: the payload does not fit it.
    """
    decoder = _user_decoders[target]
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError:
        fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
        given = {name: value for name, value in fields.items() if bytes(value) != b"null"}
        if len(given) == len(fields):
            raise
    return decoder.decode(msgspec.json.encode(given))
