import pytest

from tickloom.scripts.gateway.contracts import CATALOGUE, DEFAULT_CONTRACTS, UnknownContractError, choose


def test_a_misspelt_contract_is_refused_and_the_nearest_is_named():
    with pytest.raises(UnknownContractError, match=r"CON\.F\.US\.MNQ\.Z25"):
        choose(["CON.F.US.MNQ.Z26"])


def test_naming_no_contract_is_refused():
    with pytest.raises(UnknownContractError, match="no contract was named"):
        choose([])


def test_a_contract_named_twice_is_served_once_and_the_order_is_kept():
    assert [spec.id for spec in choose([*reversed(DEFAULT_CONTRACTS), DEFAULT_CONTRACTS[0]])] == list(
        reversed(DEFAULT_CONTRACTS)
    )


@pytest.mark.parametrize("spec", CATALOGUE.values(), ids=str)
def test_prices_are_the_floats_their_decimals_would_give(spec):
    for ticks in range(spec.base - 300, spec.base + 300):
        price = spec.price(ticks)
        assert spec.ticks(price) == ticks
        assert price == float(f"{price:.10f}")


def test_two_expiries_share_a_symbol_id_as_in_the_real_world():
    symbols = [spec.symbol_id for spec in CATALOGUE.values()]
    assert symbols.count("F.US.MES") == 2
    assert len(CATALOGUE) == len({spec.name for spec in CATALOGUE.values()})
