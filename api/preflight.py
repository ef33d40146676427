"""What is made sure of before anything is started or written: the account, the contracts, the folders.

A session that cannot work says so here, in one sentence, with no thread, folder or file left behind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import msgspec

from tickloom.actors.connection.address import open_session
from tickloom.actors.connection.errors import RequestRefused
from tickloom.actors.connection.rest import Patience, RestClient
from tickloom.config.calendars import calendar_name
from tickloom.config.credentials import Credentials
from tickloom.config.secrets import Secret
from tickloom.config.settings import Settings
from tickloom.errors import UsageError
from tickloom.messages.market import Instrument
from tickloom.messages.projectx import ContractModel
from tickloom.supervision import keepable

ANY_PROCESSOR = -1
"""What the setting says of a session that runs wherever there is time."""

FIRST_PATIENCE = Patience(attempts=3, base=0.5, cap=2.0, whole=15.0)
"""A person is waiting: what does not answer within a few seconds is said to be unreachable."""


class Cleared(msgspec.Struct, frozen=True):
    """What was found: the token, the instruments by contract, and how far the gateway's clock is from ours (theirs
    minus ours, from and to, in ns).
    """

    token: Secret
    instruments: dict[str, Instrument]
    clock: tuple[int, int] | None = None


async def clear(settings: Settings, credentials: Credentials, contracts: Sequence[str]) -> Cleared:
    """Log in and look the contracts up.

    Raises:
        CredentialsRefused: the gateway refuses the account.
        GatewayUnreachable: it does not answer.
        UsageError: a contract does not exist; the sentence names it and those that come near.
    """
    async with open_session(settings.gateway.ca_file or None) as http:
        longest = settings.gateway.request_timeout_s
        patience = msgspec.structs.replace(FIRST_PATIENCE, timeout=longest, whole=longest)
        rest = RestClient(settings.gateway.api_url, http, patience=patience)
        token = await rest.login(credentials.username, credentials.api_key)
        instruments = {name: await find(rest, token, settings, name) for name in dict.fromkeys(contracts)}
    return Cleared(token, instruments, rest.skew.bounds)


async def find(rest: RestClient, token: Secret, settings: Settings, contract: str) -> Instrument:
    """Look one contract up.

    Raises:
        UsageError: there is no such contract.
        GatewayError: the gateway does not answer.
    """
    try:
        model = await rest.contract(token, contract)
    except RequestRefused:
        # `CON.F.US.MNQ.Z25`: the product is the last part but one, and what a person most likely got right
        parts = contract.split(".")
        text = parts[-2] if len(parts) > 2 else contract
        near = [each.id for each in await rest.search_contracts(token, text, live=settings.gateway.live)]
        known = f"the gateway has {', '.join(near[:5])}" if near else f"a search for {text!r} finds nothing either"
        raise UsageError(f"contract {contract} is unknown to the gateway: {known}") from None
    return instrument_of(settings, model)


def instrument_of(settings: Settings, model: ContractModel) -> Instrument:
    """Return the instrument of a contract as the gateway lists it, with what the settings override."""
    override = settings.instrument_for(model.id)
    exact = override.tick or Fraction(Decimal(repr(model.tick_size))).as_integer_ratio()
    numerator, denominator = exact
    # prices have decimals: a denominator of 10 or 100 keeps "0.1" and "0.01" what they are
    return Instrument(
        contract=model.id,
        numerator=numerator,
        denominator=denominator,
        symbol=model.symbol_id,
        name=model.name,
        description=model.description,
        tick_value=model.tick_value,
        calendar=override.calendar or calendar_name(model.id),
    )


def check_processor(settings: Settings) -> int | None:
    """Return the processor that the session is to keep to; None: any.

    Raises:
        UsageError: this process may not run on it, or the system keeps threads to none.
    """
    wanted, there = settings.supervision.processor, keepable()
    if wanted == ANY_PROCESSOR:
        return None
    if wanted not in there:
        known = ", ".join(map(str, sorted(there)))
        why = f"this process may run on {known}" if there else "threads are kept to a processor under Linux only"
        raise UsageError(f"supervision.processor is {wanted}: {why}; -1 is any")
    return wanted


def check_folders(folders: Mapping[str, Path | None]) -> None:
    """Make sure that each folder can be written, without leaving one behind.

    Args:
        folders: folder by what it is for; None is not wanted.

    Raises:
        UsageError: one cannot be written.
    """
    for purpose, folder in folders.items():
        if folder is None:
            continue
        place = folder
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise UsageError(f"{purpose} folder {folder}: {place} is a file; name a folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise UsageError(f"{purpose} folder {folder}: no permission to write in {place}; name another")
        if place != folder:
            _try_folder(purpose, folder, place)


def _try_folder(purpose: str, folder: Path, place: Path) -> None:
    """Make the first folder that is missing and take it away again: some places refuse without saying so before."""
    missing = place / folder.relative_to(place).parts[0]
    try:
        missing.mkdir()
        missing.rmdir()
    except FileExistsError:
        return  # somebody else was faster, and has shown that it can be done
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise UsageError(f"{purpose} folder {folder}: no folder can be made in {place} ({why}); name another") from None
