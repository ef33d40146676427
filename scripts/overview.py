"""What `tickloom top` shows: a session at a glance. Looks in, rich or text out; knows no socket, terminal or clock.

The most important comes first, and what does not fit gives way from below: health and its reasons, throughput, the
last bars, then the actors. Of the actors those in trouble stay when there is not room for all. Texts come from another
process and are shown without control characters: nothing in them can move the cursor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tickloom.actors.http.charts import Columns
from tickloom.actors.http.forms import ActorForm, ContractForm
from tickloom.messages.market import NS
from tickloom.scripts.attaching import Look
from tickloom.scripts.view import STATUS_STYLE, clock, spark

BARS: Final = 24
"""Bars of each contract that are wanted: the last one, and closes for a line."""

_REASONS: Final = 3
_LEAST_ACTORS: Final = 5
"""Lines for which a table of actors is worth it: blank, header, and a few."""
_BREAKER_STYLE: Final = {"closed": "dim", "half-open": "yellow", "open": "bold red"}
_STATE_STYLE: Final = {
    "running": "", "idle": "dim", "parked": "dim", "done": "dim", "down": "bold red", "breaker open": "bold red",
}  # fmt: skip
"""States of supervision that are not to be looked at at once, or more than any other."""


def overview(look: Look, width: int, height: int, note: str = "") -> RenderableType:
    """Return the whole view.

    Args:
        look: what to show.
        width, height: of the terminal.
        note: what else to say, as that the session has not answered for a while.
    """
    parts: list[RenderableType] = [_heading(look, note), Text(), *_health(look), _throughput(look), _rejects(look)]
    room = height - len(parts) - 1
    contracts = look.session.contracts
    # half of what is left, at most, for bars: header and blank included
    shown = min(len(contracts), max(room // 2 - 3, 1))
    parts += [Text(), _bars(look, contracts[:shown], width)]
    room -= shown + 2
    if shown < len(contracts):
        parts.append(Text(f"… {len(contracts) - shown} more contracts", style="dim"))
        room -= 1
    if room >= _LEAST_ACTORS:
        parts += [Text(), *_actors(look.tree, room - 2)]
    return Group(*parts)


def line(look: Look) -> str:
    """Return the session in one line: for a file, a pipe, or a terminal without room."""
    statistics = look.statistics
    words = [
        clock_of(look),
        look.health.status,
        f"{statistics.ticks:,} ticks",
        f"{statistics.ticks_per_second:,.0f}/s",
    ]
    if statistics.latency.trades:
        words.append(f"p99 {statistics.latency.p99_ms:.2f} ms")
    words += [f"rejected {sum(statistics.rejected.values()):,}", f"restarts {restarts(look.tree):,}"]
    words += [f"breaker {each.path} {each.breaker}" for each in walk(look.tree) if each.breaker not in (None, "closed")]
    if look.health.reasons:
        words.append(plain("; ".join(look.health.reasons)))
    return "  ".join(words)


def report(look: Look) -> dict[str, Any]:
    """Return the look for `--json`: the API's own shapes, with the last bar of each contract."""
    return {
        "address": look.place,
        "session": look.session,
        "health": look.health,
        "statistics": look.statistics,
        "timeframe": look.timeframe,
        "bars": {contract: _last(columns) for contract, columns in look.bars.items()},
        "tree": look.tree,
    }


def walk(actor: ActorForm) -> Iterator[ActorForm]:
    """Yield an actor and all below it, as the tree stands."""
    yield actor
    for child in actor.children:
        yield from walk(child)


def restarts(tree: ActorForm) -> int:
    """Return how often any actor was restarted."""
    return sum(actor.restarts for actor in walk(tree))


def troubled(actor: ActorForm) -> bool:
    """Whether an actor is something to look at: not up, restarted, with an open breaker, or behind."""
    full = actor.capacity > 0 and actor.depth * 2 > actor.capacity
    return not actor.alive or actor.restarts > 0 or actor.breaker not in (None, "closed") or full


def chosen(tree: ActorForm, room: int) -> tuple[list[ActorForm], int]:
    """Return the actors that fit into so many lines, as the tree stands, and how many were left out."""
    everybody = list(walk(tree))
    if len(everybody) <= room:
        return everybody, 0
    kept = max(room - 1, 1)
    ranked = sorted(range(len(everybody)), key=lambda place: (not troubled(everybody[place]), place))[:kept]
    return [everybody[place] for place in sorted(ranked)], len(everybody) - kept


def plain(text: str) -> str:
    """Return a text without control characters and line ends."""
    return "".join(each if each.isprintable() else " " for each in text)


def clock_of(look: Look) -> str:
    """Return when it was looked, as the session's own time goes: its beginning and how long it has run."""
    return clock(look.session.started_ns + round(look.statistics.seconds * NS))


def _heading(look: Look, note: str) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("tickloom top", style="bold magenta")
    text.append(f"   {look.place}", style="bold")
    text.append(f"   up {_span(look.statistics.seconds)}   tickloom {plain(look.session.version)}", style="dim")
    if note:
        text.append(f"   {note}", style="bold yellow")
    return text


def _health(look: Look) -> list[Text]:
    health = look.health
    first = Text(health.status, style=STATUS_STYLE.get(health.status, ""), no_wrap=True)
    for hub, state in sorted(health.links.items()):
        first.append(f"   {plain(hub)} hub {plain(state)}", style="dim" if state == "up" else "yellow")
    if health.token_seconds is not None:
        first.append(f"   token {_span(health.token_seconds)}", style="dim")
    said = [Text(f"  {plain(reason)}", no_wrap=True, overflow="ellipsis") for reason in health.reasons[:_REASONS]]
    if len(health.reasons) > _REASONS:
        said.append(Text(f"  … {len(health.reasons) - _REASONS} more reasons", style="dim"))
    return [first, *said]


def _throughput(look: Look) -> Text:
    statistics = look.statistics
    text = Text(f"{statistics.ticks:,} ticks", style="bold", no_wrap=True)
    text.append(f"   {statistics.ticks_per_second:,.0f}/s", style="not bold")
    if statistics.latency.trades:
        latency = f"   p50 {statistics.latency.p50_ms:.2f} ms   p99 {statistics.latency.p99_ms:.2f} ms"
        text.append(latency, style="not bold")
    text.append(f"   restarts {restarts(look.tree):,}", style="not bold")
    return text


def _rejects(look: Look) -> Text:
    rejected = look.statistics.rejected
    if not rejected:
        return Text("nothing rejected", style="dim")
    most = sorted(rejected.items(), key=lambda each: (-each[1], each[0]))
    told = "   ".join(f"{plain(reason)} {count:,}" for reason, count in most)
    return Text(f"rejected {sum(rejected.values()):,}   {told}", style="yellow", no_wrap=True, overflow="ellipsis")


def _bars(look: Look, contracts: Sequence[ContractForm], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    table.add_column("contract", style="bold", no_wrap=True, overflow="ellipsis")
    table.add_column(look.timeframe, no_wrap=True)
    for name in ("open", "high", "low", "close", "volume", "trades") if width >= 90 else ("close", "volume"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("silent", justify="right", no_wrap=True)
    table.add_column("closes", style="cyan", no_wrap=True, overflow="crop")
    for each in contracts:
        columns = look.bars.get(each.contract)
        silent = look.health.staleness.get(each.contract)
        seconds = "·" if silent is None else f"{silent:.1f} s"
        name = plain(each.name or each.contract)
        if columns is None or not columns.open_time:
            table.add_row(name, *["·"] * (7 if width >= 90 else 3), seconds, "")
            continue
        opened, closed = columns.open[-1], columns.close[-1]
        style = "green" if closed > opened else "red" if closed < opened else ""
        prices = [f"{series[-1]:,.{each.decimals}f}" for series in (columns.open, columns.high, columns.low)]
        close = Text(f"{closed:,.{each.decimals}f}", style=style)
        volume, trades = f"{columns.volume[-1]:,}", f"{columns.trades[-1]:,}"
        cells: list[str | Text] = [*prices, close, volume, trades] if width >= 90 else [close, volume]
        flags = "*" if columns.flags[-1] not in ("", "conflated") else ""
        table.add_row(name, clock(columns.open_time[-1]) + flags, *cells, seconds, spark(columns.close, BARS))
    return table


def _actors(tree: ActorForm, room: int) -> list[RenderableType]:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    table.add_column("actor", no_wrap=True, overflow="ellipsis", min_width=12)
    table.add_column("state", no_wrap=True)
    for name in ("queue", "peak", "rate/s", "p99 ms", "restarts"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("breaker", no_wrap=True)
    shown, left_out = chosen(tree, room)
    for actor in shown:
        working = actor.capacity > 0
        depth = actor.path.count("/") if actor.path != "/" else 0
        table.add_row(
            Text("  " * depth + plain(actor.name), style="bold" if actor.children else ""),
            Text(plain(actor.state), style=_STATE_STYLE.get(actor.state, "yellow")),
            f"{actor.depth:,}" if working else "",
            f"{actor.high_water:,}" if working else "",
            f"{actor.rate:,.0f}" if working else "",
            f"{actor.p99_ms:.2f}" if actor.p99_ms is not None else "",
            Text(f"{actor.restarts:,}", style="yellow" if actor.restarts else "dim"),
            Text(actor.breaker or "", style=_BREAKER_STYLE.get(actor.breaker or "", "")),
        )
    more = [Text(f"… {left_out} more actors", style="dim")] if left_out else []
    return [table, *more]


def _last(columns: Columns) -> dict[str, Any] | None:
    if not columns.open_time:
        return None
    return {name: getattr(columns, name)[-1] for name in columns.__struct_fields__}


def _span(seconds: float) -> str:
    whole = max(int(seconds), 0)
    days, rest = divmod(whole, 86_400)
    text = f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days} d {text}" if days else text
