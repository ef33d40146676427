"""What `tickloom top` shows: everything that matters first, trouble always, never more than the terminal holds."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from tickloom.actors.http.charts import Columns
from tickloom.actors.http.forms import ActorForm, ContractForm, SessionForm, actor_form
from tickloom.messages.market import NS
from tickloom.messages.reports import Health, Latency, Statistics
from tickloom.scripts.attaching import Look
from tickloom.scripts.overview import chosen, line, overview, report, restarts, walk
from tickloom.supervision import ActorView

PLAIN = actor_form(ActorView("/", "worker", "running", 1, 0, None, None, None), {}, whole=False)


def actor(path: str, *children: ActorForm, **fields: object) -> ActorForm:
    usual: dict[str, object] = {
        "kind": "supervisor" if children else "worker", "alive": True, "breaker": "closed", "high_water": 9,
        "capacity": 0 if children else 1024, "rate": 111.0,
    }  # fmt: skip
    name = path.rpartition("/")[2] or path
    return msgspec.structs.replace(PLAIN, path=path, name=name, children=list(children), **(usual | fields))


TREE = actor(
    "/",
    actor("/recorder"),
    actor("/bars", *(actor(f"/bars/{n}s", p99_ms=n / 10) for n in range(1, 13))),
    actor("/http", restarts=2, breaker="open", alive=False, state="breaker open"),
)


def look(contracts: int = 1, **fields: object) -> Look:
    names = [f"CON.F.US.MNQ.{n}" for n in range(contracts)]
    bars = Columns(
        *([[n * 60 * NS for n in range(3)]] * 2), *([[24_471.25, 24_471.0, 24_480.5]] * 4), *([[1_234] * 3] * 2),
        [None] * 3, *([[0] * 3] * 3), ["", "", "gap"], [True, True, False], [0] * 3,
    )  # fmt: skip
    forms = [ContractForm(name, "MNQ", name[-5:], "", 0.25, 2) for name in names]
    usual: dict[str, object] = {
        "place": "127.0.0.1:8787",
        "session": SessionForm("1", "0.1.0", 12 * 3_600 * NS, forms, ["1s", "1m"]),
        "health": Health("degraded", ("market hub is down",), links={"market": "down"}, token_seconds=3_725.0),
        "statistics": Statistics(seconds=61.0, ticks=1_234_567, rejected={"jump": 3, "late": 7}),
        "tree": TREE,
        "timeframe": "1m",
        "bars": dict.fromkeys(names, bars),
    }
    return Look(**(usual | fields))  # type: ignore[arg-type]


def shown(what: Look, width: int = 100, height: int = 40, note: str = "") -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, height=height).print(overview(what, width, height, note))
    return file.getvalue().splitlines()


def test_health_throughput_rejects_bars_and_actors_are_all_there() -> None:
    text = "\n".join(shown(look()))
    for words in (
        "127.0.0.1:8787", "up 0:01:01", "degraded", "market hub down", "market hub is down", "token 1:02:05",
        "1,234,567 ticks", "rejected 10   late 7   jump 3", "MNQ.0", "00:02:00*", "24,480.50", "    12s",
        "breaker open",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize("height", [12, 15, 24, 40, 60])
@pytest.mark.parametrize("contracts", [1, 4, 24])
def test_it_never_holds_more_than_the_terminal_does(height: int, contracts: int) -> None:
    for width in (60, 80, 200):
        lines = shown(look(contracts), width, height, "no answer for 3 s")
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


def test_where_there_is_no_room_for_all_actors_those_in_trouble_stay() -> None:
    kept, left_out = chosen(TREE, 4)
    assert [each.path for each in kept] == ["/", "/recorder", "/http"]
    assert left_out == len(list(walk(TREE))) - 3
    assert chosen(TREE, 100) == (list(walk(TREE)), 0)
    assert any("more actors" in text for text in shown(look(), height=20))


def test_nothing_in_a_text_can_move_the_cursor() -> None:
    hostile = look(health=Health("unhealthy", ("\x1b[2J\x1b]0;mine\x07gone\nline",)))
    text = "\n".join(shown(hostile)) + line(hostile)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "gone line" in text


def test_a_line_has_the_same_in_short() -> None:
    assert line(look(statistics=Statistics(seconds=61.0, ticks=5, latency=Latency(trades=5, p99_ms=3.14159)))) == (
        "12:01:01  degraded  5 ticks  0/s  p99 3.14 ms  rejected 0  restarts 2  breaker /http open  market hub is down"
    )


def test_the_report_has_the_last_bars_in_the_apis_own_words() -> None:
    told = msgspec.to_builtins(report(look()))
    assert told["bars"]["CON.F.US.MNQ.0"]["close"] == 24_480.5
    assert told["bars"]["CON.F.US.MNQ.0"]["flags"] == "gap"
    assert (told["health"]["status"], told["tree"]["path"], restarts(TREE)) == ("degraded", "/", 2)
    empty = Columns(*([[]] * 15))
    assert report(look(bars={"X": empty}))["bars"] == {"X": None}
