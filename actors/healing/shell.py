"""The healing actor: looks at what the bars wait for, asks history, and hands its answers to the sequencer.

It is told nothing: what is missing is part of the state that the finest reduction has committed, so a crash on either
side, or of the whole process, forgets no gap. What it says enters the one order of the log like everything else that
decides something. Its requests stay within the documented budget of `retrieveBars` (see `RestClient`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import msgspec

from tickloom.actors.bars.repairs import MINUTE_NS, Repairs
from tickloom.actors.connection.errors import (
    AuthenticationRefused,
    GatewayError,
    RequestRefused,
    SessionRefused,
)
from tickloom.actors.connection.rest import Patience, RestClient
from tickloom.actors.healing.core import Healer, Pace, Question
from tickloom.actors.sequencer import Sequencer
from tickloom.actors.token.messages import CurrentToken, FreshToken
from tickloom.config.secrets import Secret
from tickloom.messages.control import Healed, Unhealed
from tickloom.messages.market import Instrument
from tickloom.messages.projectx import BarUnit
from tickloom.messages.reports import Report
from tickloom.supervision import NOTHING, ActorContext, AsyncActor, Exit, Ref

LOOK_S: Final = 0.5
"""Time between two looks at what is missing."""

_log = logging.getLogger("tickloom.healing")


class Missing(msgspec.Struct, frozen=True):
    """What the bars wait for, by contract, and what is needed to understand the answers."""

    repairs: Mapping[str, Repairs]
    instruments: Mapping[str, Instrument]


class HealingActor(AsyncActor):
    """Heals.

    Args:
        missing: gives what the folds have committed now.
        sequencer: where answers go.
        token: the token actor.
        statistics: told how many pieces were asked for, healed, and given up; None: nobody is.
        pace: how patient to be.
        live: ask for live data; practice accounts have none.
        chance: spreads pauses.
        api_url, open_session: how to reach the gateway.
        patience: how a single request is repeated.
    """

    def __init__(
        self,
        context: ActorContext,
        *,
        missing: Callable[[], Missing],
        sequencer: Sequencer,
        token: Ref,
        statistics: Ref | None,
        pace: Pace,
        live: bool,
        chance: Callable[[], float],
        api_url: str,
        open_session: Callable[[], aiohttp.ClientSession],
        patience: Patience | None = None,
    ) -> None:
        super().__init__(context)
        kept = context.recall()
        source = f"retrieveBars, live={str(live).lower()}"
        self._healer: Healer = Healer(pace, source, chance) if kept is NOTHING else kept
        self._missing = missing
        self._sequencer = sequencer
        self._token = token
        self._statistics = statistics
        self._live = live
        self._api_url = api_url
        self._open_session = open_session
        self._patience = patience
        self._http: aiohttp.ClientSession | None = None
        self._reported: dict[str, int] = {}
        self._refused: Secret | None = None

    # --- hooks ------------------------------------------------------------

    async def on_start(self) -> None:  # type: ignore[override]  # pykka's hook of this name is not async
        """Begin to look."""
        self.context.commit(self._healer)
        self._http = self._open_session()
        self.spawn(self._run(RestClient(self._api_url, self._http, patience=self._patience)), "healing")

    async def on_control(self, message: Any) -> Any:
        """Answer any ask with the counters."""
        return dict(self._healer.counters)

    async def on_exit(self, reason: Exit) -> None:
        """Close the HTTP session."""
        if self._http is not None:
            await self._http.close()

    # --- the work ------------------------------------------------------------

    async def _run(self, rest: RestClient) -> None:
        clock = self.context.clock
        while True:
            missing = self._missing()
            for lost in self._healer.see(missing.repairs, clock.wall_ns()):
                await self._put(lost)
            question = self._healer.next(clock.wall_ns())
            if question is not None:
                for record in await self._ask(rest, question, missing.instruments):
                    await self._put(record)
            self._report()
            if question is None:
                await self.sleep(LOOK_S)

    async def _ask(
        self, rest: RestClient, question: Question, instruments: Mapping[str, Instrument]
    ) -> list[Healed | Unhealed]:
        """Put one question to the gateway; return what there is to say for it."""
        healer, clock = self._healer, self.context.clock
        instrument = instruments.get(question.contract)
        if instrument is None:
            return healer.refused("the contract's instrument is not known", clock.wall_ns())
        try:
            token = await self._current()
        except Exception as error:  # noqa: BLE001 - the token actor's trouble, told by itself; we ask again
            return healer.failed(f"there is no token: {error}", clock.wall_ns())
        try:
            bars = await rest.retrieve_bars(
                token,
                question.contract,
                question.from_ns,
                question.to_ns - question.width_ns,
                unit=BarUnit.MINUTE if question.width_ns == MINUTE_NS else BarUnit.SECOND,
                live=self._live,
            )
        except (AuthenticationRefused, SessionRefused) as error:
            self._refused = token
            return healer.failed(str(error), clock.wall_ns(), error.retry_after)
        except RequestRefused as error:
            return healer.refused(str(error), clock.wall_ns())
        except GatewayError as error:
            return healer.failed(str(error), clock.wall_ns(), error.retry_after)
        return healer.answered(bars, instrument, clock.wall_ns())

    async def _current(self) -> Secret:
        refused, self._refused = self._refused, None
        question = CurrentToken() if refused is None else FreshToken(refused, "history refused it")
        token: Secret = await self._token.ask_async(question)
        return token

    async def _put(self, record: Healed | Unhealed) -> None:
        if isinstance(record, Unhealed):
            _log.warning(
                "%s from %d to %d ns stays flagged as a gap: %s",
                record.contract,
                record.from_ns,
                record.to_ns,
                record.reason,
            )
        await self._sequencer.put_async(record)

    def _report(self) -> None:
        counters = self._healer.counters
        if self._statistics is not None and counters != self._reported:
            self._reported = dict(counters)
            # the counters outlive incarnations with the place: one epoch
            self._statistics.offer(Report(self.path, 0, self._reported))
