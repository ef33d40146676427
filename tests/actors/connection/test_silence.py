from __future__ import annotations

from tickloom.actors.connection.silence import LONGEST, Silence

NS = 1_000_000_000


class World:
    """Contracts that say something when told to, a market that is open or not, and a clock that is turned by hand."""

    def __init__(self, *contracts: str, limit: float = 60.0) -> None:
        self.marks = dict.fromkeys(contracts, 0)
        self.open = True
        self.up = True
        self.now = 1000.0
        self.silence = Silence(limit, lambda contract, ns: self.open)
        self.whys: list[tuple[float, str]] = []

    def run(self, seconds: int, *talking: str) -> None:
        for _ in range(seconds):
            self.now += 1.0
            for contract in talking:
                self.marks[contract] += 1
            why = self.silence.look(self.marks, self.marks.__getitem__, int(self.now * NS), self.now, up=self.up)
            if why is not None:
                self.whys.append((self.now, why))


def test_a_contract_that_trades_asks_for_nothing_and_one_that_has_stopped_does():
    world = World("A", "B")
    world.run(600, "A", "B")
    assert world.whys == []
    world.run(59, "A")
    assert world.whys == []
    world.run(1, "A")
    [(_, why)] = world.whys
    assert why == "B has sent nothing for 60 s while its market is open"


def test_the_wait_doubles_while_a_new_connection_changes_nothing_and_starts_afresh_with_the_first_word():
    world = World("A")
    world.run(1, "A")
    world.run(20_000)
    waits = [b - a for (a, _), (b, _) in zip(world.whys, world.whys[1:], strict=False)]
    assert waits[:6] == [120.0, 240.0, 480.0, 960.0, 1920.0, LONGEST]
    assert max(waits) == LONGEST
    world.whys.clear()
    world.run(1, "A")
    world.run(60)
    assert len(world.whys) == 1


def test_a_closed_market_is_not_silent_and_its_silence_counts_from_the_opening():
    world = World("A")
    world.run(30, "A")
    world.open = False
    world.run(10_000)
    world.open = True
    world.run(59)
    assert world.whys == []
    world.run(1)
    assert len(world.whys) == 1


def test_without_a_link_nobody_can_be_heard():
    world = World("A")
    world.up = False
    world.run(1000)
    world.up = True
    world.run(59)
    assert world.whys == []
    world.run(1)
    assert len(world.whys) == 1


def test_all_contracts_together_ask_no_more_than_once_in_the_limit():
    world = World(*(f"C{n}" for n in range(20)))
    for n in range(20):  # they fall silent one after the other
        world.run(7, *(f"C{m}" for m in range(n + 1, 20)))
    world.run(200)
    assert len(world.whys) >= 2
    assert min(b - a for (a, _), (b, _) in zip(world.whys, world.whys[1:], strict=False)) >= 60.0


def test_a_limit_of_nothing_never_asks():
    world = World("A", limit=0.0)
    world.run(100_000)
    assert world.whys == []


def test_a_contract_no_longer_followed_is_forgotten():
    world = World("A", "B")
    world.run(30, "A")
    del world.marks["B"]
    world.run(100, "A")
    world.marks["B"] = 0
    world.run(59, "A")
    assert world.whys == []
