"""What others script against: the names of the design's public surface, with their parameters, and all of it typed.

A line that fails here is a promise that is about to be broken: change the code back, or announce it in the changelog.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import msgspec
import pytest
import typer

import tickloom
from tickloom.scripts.commands import make_app
from tickloom.supervision import ActorView

SESSION = {
    "start": "(cancelled=…)",
    "stop": "()",
    "subscribe": "(contract)",
    "unsubscribe": "(contract)",
    "bars": "(contract='', timeframe='', *, partial=False, every=0.0, capacity=10000)",
    "table": "(contract, timeframe, last=None, *, partial=False)",
    "latest": "(contract)",
    "as_table": "(bars)",
    "statistics": "()",
    "health": "()",
    "tree": "()",
    "events": "(subscriber)",
    "recent_events": "()",
    "on_health": "(listener)",
    "add_actor": "(spec)",
    "add_sink": "(sink, contract='', timeframe='', *, partial=False, every=0.0, capacity=10000, name='')",
    "on_bar": "(callback, contract='', timeframe='', *, partial=False, every=0.0, capacity=10000, name='')",
    "deliver": "(path, contract='', timeframe='', *, partial=False, every=0.0)",
    "remove": "(path)",
    "ref": "(path)",
}
PROPERTIES = [
    "added",
    "contracts",
    "dashboard",
    "feed_lost",
    "instruments",
    "recovered",
    "restarts",
    "settings",
    "started",
    "summary",
    "synced_seq",
    "timeframes",
    "unwritten",
]
SUMMARY = "ticks rejected lost bars restarts gaps seconds ticks_per_second p50_ms p99_ms log out digest".split()  # noqa: SIM905
BAR = [
    "contract",
    "timeframe",
    "open_time",
    "close_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "trades",
    "notional",
    "buy",
    "sell",
    "revision",
    "flags",
    "final",
    "number",
]
COLUMNS = [
    "contract",
    "open_time",
    "close_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "trades",
    "vwap",
    "buy_volume",
    "sell_volume",
    "revision",
    "flags",
]
VIEW = "path state epoch restarts breaker last_failure depth high_water rate children".split()  # noqa: SIM905
COMMANDS = {
    "demo": "seconds dashboard json",
    "live": "contracts timeframes out record seconds dashboard json",
    "replay": "log speed from to timeframes out verify json",
    "import": "log contract columns timezone tick_size json",
    "log inspect": "log json",
    "log verify": "log json",
    "log recover": "log json",
    "log compact": "log json",
    "log export": "log json",
    "gateway": "port rate contracts from_log hold token_ttl chaos",
    "top": "json",
    "doctor": "json",
    "config init": "",
    "config show": "json",
    "config check": "json",
    "bench": "json",
}


def parameters(method: Any) -> str:
    """A signature without `self` and types; a default that is a function is `…`."""
    shown = []
    for each in inspect.signature(method).parameters.values():
        if each.name != "self":
            plain = each.replace(annotation=inspect.Parameter.empty)
            shown.append(plain.replace(default=inspect.Parameter.empty) if callable(each.default) else plain)
    text = str(inspect.Signature(shown))
    function = [each.name for each in inspect.signature(method).parameters.values() if inspect.isfunction(each.default)]
    for name in function:
        text = text.replace(name, f"{name}=…")
    return text


@pytest.mark.parametrize("name", SESSION)
def test_a_method_of_a_session_has_the_parameters_it_was_announced_with(name: str) -> None:
    assert parameters(getattr(tickloom.Session, name)) == SESSION[name]


def test_a_session_is_entered_either_way_and_has_its_properties() -> None:
    session = tickloom.Session()
    for name in ("__enter__", "__exit__", "__aenter__", "__aexit__"):
        assert hasattr(tickloom.Session, name)
    for name in PROPERTIES:
        assert name in vars(session) or any(name in vars(kind) for kind in tickloom.Session.__mro__), name


def test_a_replay_takes_and_has_what_was_announced() -> None:
    assert parameters(tickloom.replay).startswith("(log, *, timeframes=None")
    assert {"table", "digest"} <= set(dir(tickloom.Replay))


def test_the_keys_of_a_summary_begin_as_announced() -> None:
    assert list(tickloom.Summary.__struct_fields__[: len(SUMMARY)]) == SUMMARY


def test_a_bar_and_a_table_have_the_fields_that_were_announced() -> None:
    from tickloom.actors.bars.tables import SCHEMA

    assert list(tickloom.Bar.__struct_fields__) == BAR
    assert SCHEMA.names == COLUMNS
    assert {field.name for field in dataclasses.fields(ActorView)} >= set(VIEW)


def commands() -> dict[str, Any]:
    root = typer.main.get_command(make_app("tickloom", []))
    found: dict[str, Any] = {}
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        for sub, own in getattr(command, "commands", {"": command}).items():
            found[f"{name} {sub}".strip()] = own
    return found


def test_every_command_that_was_announced_is_there_with_its_options() -> None:
    there = commands()
    assert set(COMMANDS) <= set(there)
    missing = {}
    for name, announced in COMMANDS.items():
        options = {
            word.lstrip("-").replace("-", "_")
            for each in there[name].params
            for word in (each.name or "", (each.metavar or "").lower(), *each.opts)
        }
        lacking = [word for word in announced.split() if word not in options]
        if lacking:
            missing[name] = lacking
    assert missing == {}


def public() -> Iterator[tuple[str, Any]]:
    """Every public function and method that `import tickloom` gives, by its dotted name."""
    for name in tickloom.__all__:
        thing = getattr(tickloom, name)
        if inspect.isfunction(thing):
            yield name, thing
        if not inspect.isclass(thing) or issubclass(thing, enum.Enum):
            continue
        yield name, thing
        for kind in thing.__mro__:
            if kind.__module__.startswith("tickloom") and kind is not msgspec.Struct:
                for member, value in vars(kind).items():
                    own = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
                    if not member.startswith("_") and inspect.isfunction(own):
                        yield f"{name}.{member}", own


NAMES = dict(public())


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_says_what_it_does_and_is_typed_throughout(name: str) -> None:
    thing = NAMES[name]
    assert (thing.__doc__ or "").strip(), f"{name} has no docstring"
    if inspect.isfunction(thing):
        signature = inspect.signature(thing)
        assert signature.return_annotation is not inspect.Signature.empty, f"{name} does not say what it returns"
        bare = [
            each.name
            for each in signature.parameters.values()
            if each.name not in ("self", "cls") and each.annotation is inspect.Parameter.empty
        ]
        assert bare == [], f"{name} does not say what these are"


def test_the_package_says_that_it_is_typed() -> None:
    for package in ("tickloom", "tickloom.compat", "tickloom.messages", "tickloom.supervision"):
        assert files(package).joinpath("py.typed").is_file(), package
