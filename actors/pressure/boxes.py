"""What a look at one mailbox says, and what follows from two looks: overflow that begins and ends, actors that stand.

Pure. A look is cumulative counts, so nothing between two looks is missed, however short: only when it happened is known
to the pace of looking. An overflow is one episode from the first message that had no room until there has been room
for all, and the queue at most half full, for `quiet_ns`: that is its hysteresis. Its counts are differences of exact
counts, from the look before it began to the one at which it ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

Yielding: TypeAlias = Literal["merged", "dropped", "refused", "held back"]
"""What became of messages that had no room; of the last, that their senders waited."""


class Box(msgspec.Struct, frozen=True):
    """One look at a mailbox and its actor. All but depth, capacity and `waiting` are totals since the start.

    `held` counts puts that found no room and were made to wait or to come again; `waiting` those that wait now. `done`
    grows with whatever the actor does; `unemitted` outputs are committed and not out. `idle` says that it is not
    expected to do anything: stopped, starting, or held by its breaker.
    """

    depth: int
    capacity: int
    merged: int = 0
    dropped: int = 0
    refused: int = 0
    held: int = 0
    waiting: int = 0
    done: int = 0
    unemitted: int = 0
    idle: bool = False

    def yielded(self) -> tuple[int, int, int, int]:
        """Return what had no room so far: merged, dropped, refused, held back."""
        return self.merged, self.dropped, self.refused, self.held


class Episode(msgspec.Struct, frozen=True):
    """An overflow that goes on: since when, the account before it, the latest one, and since when there is room."""

    since_ns: int
    before: tuple[int, int, int, int]
    now: tuple[int, int, int, int]
    room_since_ns: int = 0

    def counts(self) -> dict[Yielding, int]:
        """Return what had no room in it, by what became of it; nothing that is 0."""
        words: tuple[Yielding, ...] = ("merged", "dropped", "refused", "held back")
        counts = zip(words, self.before, self.now, strict=True)
        return {word: after - before for word, before, after in counts if after > before}


class Began(msgspec.Struct, frozen=True):
    """A mailbox overflows: how, and how many messages so far."""

    path: str
    counts: dict[Yielding, int]
    capacity: int


class Ended(msgspec.Struct, frozen=True):
    """It has room again. `counts` are those of the whole episode, `seconds` how long it was."""

    path: str
    counts: dict[Yielding, int]
    seconds: float


class Standing(msgspec.Struct, frozen=True):
    """An actor with something to do that does nothing: its totals, and since when they stand."""

    done: int
    since_ns: int


class Watched(msgspec.Struct, frozen=True):
    """What is known of all mailboxes: the last look at each, overflows by path, and actors that stand."""

    boxes: dict[str, Box] = {}
    episodes: dict[str, Episode] = {}
    standing: dict[str, Standing] = {}
    overflows: int = 0


def watch(
    before: Watched, boxes: Mapping[str, Box], now_ns: int, quiet_ns: int
) -> tuple[Watched, tuple[Began | Ended, ...]]:
    """Return what is known after a look, and the overflows that have begun or ended with it.

    Args:
        before: what was known.
        boxes: the look, by path; a path that is no longer there is forgotten, its overflow ended.
        now_ns: when (monotonic).
        quiet_ns: how long there must be room for before an overflow has ended.
    """
    episodes: dict[str, Episode] = {}
    standing: dict[str, Standing] = {}
    told: list[Began | Ended] = []
    begun = 0
    for path, box in boxes.items():
        known, episode = before.boxes.get(path), before.episodes.get(path)
        yielded = box.yielded()
        tight = box.waiting > 0 or (known is not None and yielded != known.yielded())
        if episode is None and tight:
            episode = Episode(now_ns, yielded if known is None else known.yielded(), yielded)
            told.append(Began(path, episode.counts(), box.capacity))
            begun += 1
        elif episode is not None:
            roomy = not tight and box.depth * 2 <= box.capacity
            since = (episode.room_since_ns or now_ns) if roomy else 0
            episode = Episode(episode.since_ns, episode.before, yielded, since)
            if since and now_ns - since >= quiet_ns:
                told.append(_ended(path, episode, now_ns))
                episode = None
        if episode is not None:
            episodes[path] = episode
        if (box.depth or box.unemitted) and not box.idle:
            stood = before.standing.get(path)
            standing[path] = stood if stood is not None and stood.done == box.done else Standing(box.done, now_ns)
    told += [_ended(path, before.episodes[path], now_ns) for path in before.episodes if path not in boxes]
    return Watched(dict(boxes), episodes, standing, before.overflows + begun), tuple(told)


def _ended(path: str, episode: Episode, now_ns: int) -> Ended:
    return Ended(path, episode.counts(), (now_ns - episode.since_ns) / 1e9)


def stuck(watched: Watched, now_ns: int, patience_ns: int) -> dict[str, float]:
    """Return the actors that have had something to do for `patience_ns` and did nothing, with the seconds of it."""
    return {
        path: (now_ns - stood.since_ns) / 1e9
        for path, stood in watched.standing.items()
        if now_ns - stood.since_ns >= patience_ns
    }


def words(counts: Mapping[Yielding, int]) -> str:
    """Return counts as words: `1,204 messages merged, 3 dropped`."""
    parts = [f"{count:,} {word}" for word, count in counts.items()]
    return ", ".join(parts) if parts else "senders wait for room"
