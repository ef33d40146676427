"""The gateway's REST endpoints: log-in, validation, contracts, history bars. The asyncio shell around tables and
budgets.

What must live here: the request, its retries, reading the answer. Retried (tenacity, exponential with jitter, never
sooner than `Retry-After`) are what time may heal: no connection, a time-out, 429, 5xx. A refusal is not. Every request
first takes its place in the documented budget of its kind. No answer is read beyond `MAX_ANSWER` bytes.

A token is a `Secret` from the moment the answer is parsed; the key is revealed on the line that builds the body.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from tickloom.actors.connection import budget, refusals
from tickloom.actors.connection.address import checked
from tickloom.actors.connection.errors import (
    GatewayError,
    GatewayUnreachable,
    refused_status,
    retry_after,
    translated,
)
from tickloom.actors.connection.skew import ClockSkew
from tickloom.config.secrets import Secret
from tickloom.messages.projectx import (
    MAX_BARS,
    Answer,
    BarsAnswer,
    BarsRequest,
    BarUnit,
    ContractAnswer,
    ContractById,
    ContractModel,
    ContractsAnswer,
    ContractSearch,
    HistoryBar,
)
from tickloom.messages.stamps import format_stamp

MAX_ANSWER = 32 * 1024 * 1024
A = TypeVar("A", bound=Answer)


class _LoginAnswer(Answer, frozen=True, rename="camel"):
    token: Secret | None = None


class _ValidateAnswer(Answer, frozen=True, rename="camel"):
    new_token: Secret | None = None


class Patience(msgspec.Struct, frozen=True):
    """How REST requests are repeated. Times in seconds.

    `timeout` bounds one attempt, `whole` a request with all its repetitions; `longest` how long `Retry-After` is waited
    for here.
    """

    attempts: int = 4
    timeout: float = 15.0
    whole: float = float("inf")
    base: float = 0.5
    cap: float = 10.0
    longest: float = 60.0


class RestClient:
    """Talks to one gateway. Bound to the loop of its HTTP session, which it does not close.

    Args:
        url: the base address, such as `https://api.topstepx.com`.
        session: see `address.open_session`.
        patience: retries and time-outs.
        sleep, monotonic, wall_ns, rng: time and chance, as parameters.
    """

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        *,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        rng: random.Random | None = None,
    ) -> None:
        self.url = checked(url, "the gateway's API")
        self.skew = ClockSkew()
        self.patience = patience or Patience()
        self._session = session
        self._sleep = sleep
        self._monotonic = monotonic
        self._wall_ns = wall_ns
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._bars = budget.Budget(*budget.BARS)
        self._other = budget.Budget(*budget.OTHER)

    # ------------------------------------------------------------------------------------------ endpoints

    async def login(self, username: str, key: Secret) -> Secret:
        """Log in with an API key; return the token.

        Raises:
            CredentialsRefused: the gateway's answer is no, and will stay no; the message says what to do.
            GatewayUnreachable, CertificateRefused: no usable answer.
        """

        def body() -> bytes:
            return msgspec.json.encode({"userName": username, "apiKey": key.reveal()})

        answer = await self._ask(refusals.LOGIN, body, None, _LoginAnswer)
        if answer.token is None:
            raise GatewayUnreachable("the gateway took the log-in but gave no token")
        return answer.token

    async def validate(self, token: Secret) -> Secret:
        """Renew a token; return the new one. The old one stays valid until it expires.

        Raises:
            SessionRefused, AuthenticationRefused: the token is no good any more; log in anew.
        """
        answer = await self._ask(refusals.VALIDATE, bytes, token, _ValidateAnswer)
        if answer.new_token is None:
            raise GatewayUnreachable("the gateway validated the token but gave no new one")
        return answer.new_token

    async def search_contracts(self, token: Secret | None, text: str, *, live: bool) -> list[ContractModel]:
        """Return at most 20 contracts whose name or description holds `text`."""
        request = msgspec.json.encode(ContractSearch(text, live))
        answer = await self._ask(refusals.SEARCH, lambda: request, token, ContractsAnswer)
        return answer.contracts or []

    async def contract(self, token: Secret | None, contract_id: str) -> ContractModel:
        """Return one contract.

        Raises:
            RequestRefused: there is no such contract; the message names it.
        """
        request = msgspec.json.encode(ContractById(contract_id))
        answer = await self._ask(refusals.SEARCH_BY_ID, lambda: request, token, ContractAnswer, contract_id)
        if answer.contract is None:
            raise refusals.refusal(refusals.SEARCH_BY_ID, 1, contract_id)
        return answer.contract

    async def retrieve_bars(
        self,
        token: Secret | None,
        contract_id: str,
        start_ns: int,
        end_ns: int,
        *,
        unit: BarUnit,
        number: int = 1,
        live: bool = False,
        limit: int = MAX_BARS,
        partial: bool = False,
    ) -> list[HistoryBar]:
        """Return bars that open within `[start_ns, end_ns]`, newest first, at most `limit` of them.

        Args:
            token: what authenticates us.
            contract_id: which contract.
            start_ns, end_ns: event time, ns UTC.
            unit, number: the bars' width.
            live: False for practice accounts.
            limit: 20,000 at most.
            partial: include the bar that is not finished.

        Raises:
            RequestRefused: the request makes no sense to the gateway; the message names the contract.
        """
        request = msgspec.json.encode(
            BarsRequest(
                contract_id, live, format_stamp(start_ns), format_stamp(end_ns), int(unit), number, limit, partial
            )
        )
        answer = await self._ask(refusals.BARS, lambda: request, token, BarsAnswer, contract_id)
        return answer.bars or []

    # ------------------------------------------------------------------------------------------ one request

    async def _ask(
        self, endpoint: str, body: Callable[[], bytes], token: Secret | None, kind: type[A], of: str = ""
    ) -> A:
        """Send a request until it is answered; return the answer of success."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.patience.attempts),
            wait=self._wait,
            retry=retry_if_exception(self._heals),
            sleep=self._sleep,
            reraise=True,
        )
        allowance = self._bars if endpoint == refusals.BARS else self._other
        answer: A | None = None
        whole = self.patience.whole
        try:
            async with asyncio.timeout(whole if whole < float("inf") else None):
                async for attempt in retrying:
                    with attempt:
                        wait = allowance.reserve(self._monotonic())
                        if wait > 0:
                            await self._sleep(wait)
                        answer = await self._once(endpoint, body, token, kind)
        except TimeoutError:
            pass
        if answer is None:
            raise GatewayUnreachable(
                f"{self.url.with_path(endpoint)} has not answered within {whole:g} s: look whether it is the gateway's "
                "address (gateway.api_url), or try again later"
            )
        if not answer.success:
            message = ": ".join(part for part in (of, answer.error_message) if part)
            raise refusals.refusal(endpoint, answer.error_code, message)
        return answer

    def _heals(self, error: BaseException) -> bool:
        """Whether time may heal it, within the time we are prepared to wait."""
        return isinstance(error, GatewayUnreachable) and (error.retry_after or 0.0) <= self.patience.longest

    def _wait(self, state: RetryCallState) -> float:
        """Half to all of an exponential delay, but no less than the gateway asked for."""
        delay = min(self.patience.cap, self.patience.base * 2.0 ** (state.attempt_number - 1))
        delay *= self._rng.uniform(0.5, 1.0)
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after if isinstance(error, GatewayError) else None
        return delay if asked is None else max(delay, asked)

    async def _once(self, endpoint: str, body: Callable[[], bytes], token: Secret | None, kind: type[A]) -> A:
        where = f"{self.url.with_path(endpoint)}"
        raw = await translated(self._post(endpoint, body, token), where)
        if isinstance(raw, GatewayError):
            raise raw
        try:
            return msgspec.json.decode(raw, type=kind, dec_hook=_to_secret)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # what it quotes may be a token
        raise GatewayUnreachable(f"{where} gave an answer that is none")

    async def _post(self, endpoint: str, body: Callable[[], bytes], token: Secret | None) -> bytes | GatewayError:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        asked = self._wall_ns()
        async with (
            asyncio.timeout(self.patience.timeout),
            self._session.post(
                self.url.with_path(endpoint),
                data=body(),
                headers=headers if token is None else headers | {"Authorization": f"Bearer {token.reveal()}"},
                allow_redirects=False,
            ) as response,
        ):
            self.skew.heard(response.headers.get("Date"), asked, self._wall_ns())
            if response.status != 200:
                wait = retry_after(response.headers.get("Retry-After"))
                return refused_status(response.status, f"{self.url.with_path(endpoint)}", wait)
            chunks = []
            size = 0
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > MAX_ANSWER:
                    return GatewayUnreachable(f"{self.url.with_path(endpoint)} gave more than {MAX_ANSWER} bytes")
                chunks.append(chunk)
            return b"".join(chunks)


def _to_secret(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str) and value:
        return Secret(value)
    raise ValueError("a token is text")
