"""The contracts the emulator can quote, and how they are looked up.

Ids, symbol ids and tick sizes are those of the CME products; base prices are plausible, not current. A tick size is the
exact ratio `numerator / denominator`, so that 1/64 is as exact as 0.25.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec


class UnknownContractError(ValueError):
    """A contract id that the emulator does not know; the message names those that are nearest."""


class ContractSpec(msgspec.Struct, frozen=True):
    """One contract. `base` is the price (in ticks) about which the model's walk moves; `weight` is the contract's
    share of the total tick rate, relative to the other contracts served.
    """

    id: str
    name: str
    description: str
    symbol_id: str
    numerator: int
    denominator: int
    tick_value: float
    base: int
    weight: float = 1.0

    @property
    def tick_size(self) -> float:
        """The tick size in points."""
        return self.numerator / self.denominator

    def price(self, ticks: int) -> float:
        """Return the price of `ticks`, correctly rounded."""
        return ticks * self.numerator / self.denominator

    def ticks(self, price: float) -> int:
        """Return the tick nearest to `price`."""
        return round(price * self.denominator / self.numerator)

    def payload(self) -> dict[str, object]:
        """Return the contract as the REST API shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "tickSize": self.tick_size,
            "tickValue": self.tick_value,
            "activeContract": True,
            "symbolId": self.symbol_id,
        }


_CATALOGUE = (
    ContractSpec(
        "CON.F.US.MNQ.Z25", "MNQZ5", "Micro E-mini Nasdaq-100: December 2025", "F.US.MNQ", 1, 4, 0.5, 97_200, 5.0
    ),
    ContractSpec("CON.F.US.EP.Z25", "ESZ5", "E-mini S&P 500: December 2025", "F.US.EP", 1, 4, 12.5, 26_480, 4.0),
    ContractSpec("CON.F.US.CLE.F26", "CLF6", "Crude Oil: January 2026", "F.US.CLE", 1, 100, 10.0, 5_806, 2.0),
    ContractSpec("CON.F.US.GCE.Z25", "GCZ5", "Gold: December 2025", "F.US.GCE", 1, 10, 10.0, 40_795, 2.0),
    ContractSpec("CON.F.US.ENQ.Z25", "NQZ5", "E-mini Nasdaq-100: December 2025", "F.US.ENQ", 1, 4, 5.0, 97_200, 4.0),
    ContractSpec(
        "CON.F.US.MES.Z25", "MESZ5", "Micro E-mini S&P 500: December 2025", "F.US.MES", 1, 4, 1.25, 26_480, 4.0
    ),
    ContractSpec("CON.F.US.MES.H26", "MESH6", "Micro E-mini S&P 500: March 2026", "F.US.MES", 1, 4, 1.25, 26_720, 0.5),
    ContractSpec(
        "CON.F.US.RTY.Z25", "RTYZ5", "E-mini Russell 2000: December 2025", "F.US.RTY", 1, 10, 5.0, 23_700, 2.0
    ),
    ContractSpec("CON.F.US.SIE.Z25", "SIZ5", "Silver: December 2025", "F.US.SIE", 1, 200, 25.0, 9_990, 1.0),
    ContractSpec("CON.F.US.EU6.Z25", "6EZ5", "Euro FX: December 2025", "F.US.EU6", 1, 20_000, 6.25, 23_040, 1.0),
    ContractSpec("CON.F.US.TYA.Z25", "ZNZ5", "10-Year T-Note: December 2025", "F.US.TYA", 1, 64, 15.625, 7_240, 1.0),
    ContractSpec("CON.F.US.USA.Z25", "ZBZ5", "30-Year T-Bond: December 2025", "F.US.USA", 1, 32, 31.25, 3_745, 1.0),
)

CATALOGUE: dict[str, ContractSpec] = {spec.id: spec for spec in _CATALOGUE}
"""All contracts of the model, by id."""

DEFAULT_CONTRACTS: tuple[str, ...] = tuple(spec.id for spec in _CATALOGUE[:4])
"""What is served unless told otherwise."""


def choose(ids: Iterable[str]) -> tuple[ContractSpec, ...]:
    """Return the contracts named, each once, in the order given.

    Raises:
        UnknownContractError: an id is not in the catalogue, or none was given.
    """
    chosen: dict[str, ContractSpec] = {}
    for contract in ids:
        if contract not in CATALOGUE:
            near = difflib.get_close_matches(contract, CATALOGUE, n=3, cutoff=0.3) or list(CATALOGUE)
            raise UnknownContractError(f"contract {contract!r} is not in the model's catalogue; try {', '.join(near)}")
        chosen[contract] = CATALOGUE[contract]
    if not chosen:
        raise UnknownContractError(f"no contract was named; try {', '.join(DEFAULT_CONTRACTS)}")
    return tuple(chosen.values())
