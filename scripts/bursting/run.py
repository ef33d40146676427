"""The burst test: offers more ticks than anybody can take, as fast as a socket takes them, and checks what must hold.

The gateway emulator in one process, the session in another whose address space is capped; between them a real
WebSocket. One timeframe's actor is slow, so are the Parquet files, and a subscriber never reads. Whatever gives way
must be counted; the bars in the files must be those of the gateway's own ticks, every one; memory must stay within
its bound; and the connection's event loop must come round within 50 ms. Where other work keeps the machine busy, what
counts is the time in which our process ran at all; a thread of the parent that does nothing but come round shows what
everybody waits for.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from tickloom.messages.market import NS
from tickloom.scripts.bursting.strain import EVERY_S
from tickloom.scripts.bursting.truth import COLUMNS, Truth, emitted, written
from tickloom.scripts.bursting.words import Task, Word
from tickloom.scripts.emulator import Emulator
from tickloom.wiring import PARQUET, timeframe_path

CONTRACTS: Final = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25")
TIMEFRAMES: Final = {
    "1s": NS, "5s": 5 * NS, "15s": 15 * NS, "1m": 60 * NS, "5m": 300 * NS, "15m": 900 * NS, "1h": 3600 * NS,
    "1d": 86_400 * NS,
}  # fmt: skip
SLOW: Final = "5s"
"""The timeframe whose actor dawdles."""

DAWDLE_S: Final = 0.5
"""How long it, and the sink, dawdle over each batch."""

ADDRESS_MB: Final = 2_500
"""Cap of the session's address space: some twenty threads' stacks and Arrow's reservations are most of it."""

RESIDENT_MB: Final = 200
"""Memory the session may take beyond what it had before the burst."""

STALL_MS: Final = 50
"""Longest the connection's event loop may be held up."""

USER: Final = "burst"
WAVES: Final = 20
WAVE_S: Final = 0.2
"""The ticks come in so many waves, so far apart: a few seconds' bars, and far more than is taken in that time."""

FIRST_S: Final = 30.0
LONGEST_S: Final = 600.0


class Failed(AssertionError):
    """Something that must hold does not. The sentence says what."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a burst came to.

    `seconds` is from the first wave until the session had received everything. `gave_way` is what was conflated or
    dropped by mailbox. `stall_ms` is the longest the event loop was late, `own_ms` the same without what the machine
    gave to others, `machine_ms` the longest an idle thread of the parent was late in that time. Memory in MB: before
    the burst, the most resident, the most address space, and its cap.
    """

    ticks: int
    prints_a_frame: int
    seconds: float
    ticks_per_second: float
    bars: int
    lost: int
    gave_way: dict[str, dict[str, int]]
    subscriber_dropped: int
    published: int
    beats: int
    stall_ms: float
    own_ms: float
    machine_ms: float
    base_mb: float
    resident_mb: float
    address_mb: float
    address_cap_mb: int
    digest: str


class Idle:
    """A thread that does nothing but come round, and notes how late: the machine's share in being late."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="idle", daemon=True)

    def __enter__(self) -> Idle:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            due = time.monotonic() + EVERY_S
            self._over.wait(EVERY_S)
            self.worst_s = max(self.worst_s, time.monotonic() - due)


class Child:
    """The session under strain: what it says is read in a thread."""

    def __init__(self, task: Task, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "tickloom.scripts.bursting.strain", msgspec.json.encode(task).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **env},
            start_new_session=True,
        )
        self._said = threading.Condition()
        self._word: Word | None = None
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="child-words", daemon=True)
        self._reader.start()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._process
        if process.poll() is None:
            process.kill()
        process.wait()
        self._reader.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._said:
                self._word = msgspec.json.decode(line, type=Word)
                self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()

    def wait_for(self, what: str, holds: Callable[[Word], bool], seconds: float) -> Word:
        """Wait until its last word is one for which `holds`.

        Raises:
            Failed: it does not come, or the session ended before.
        """
        with self._said:
            self._said.wait_for(lambda: self._ended or (self._word is not None and holds(self._word)), seconds)
            word = self._word
        if word is None or not holds(word):
            how = f"exit code {self._process.poll()}" if self._ended else f"{seconds:g} s went by"
            last = "nothing" if word is None else f"{word.received:,} prints received"
            raise Failed(f"the session did not {what}: {how}; its last word was: {last}")
        return word

    def stop(self) -> Word:
        """Let it stop in order, and return its last word."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"stop\n")
        self._process.stdin.flush()
        return self.wait_for("stop in order", lambda word: word.over, LONGEST_S)


def run(ticks: int, place: Path, *, prints: int = 20) -> Report:
    """Offer `ticks` ticks at once, `prints` in a frame, and check everything; files go below `place`.

    Args:
        ticks: how many, all contracts together.
        place: a folder.
        prints: prints a frame.

    Raises:
        Failed: something does not hold.
    """
    key = secrets.token_urlsafe(16)
    each = -(-ticks // (len(CONTRACTS) * WAVES))
    shape = ["--no-rate-limits", "--batch-max", str(prints), "--coalesce-ms", "0" if prints == 1 else "1"]
    with Emulator(CONTRACTS, rate=0, user=USER, key=key, options=shape) as gateway:
        task = Task(
            settings=_settings(gateway, place, key),
            address_mb=ADDRESS_MB,
            delays={timeframe_path(SLOW): DAWDLE_S, PARQUET: DAWDLE_S},
        )
        with Child(task, {"PROJECT_X_USERNAME": USER, "PROJECT_X_API_KEY": key}) as child:
            child.wait_for("begin", lambda word: True, FIRST_S)
            with Idle() as idle:
                began = time.monotonic()
                for _ in range(WAVES):
                    _burst(gateway.api_url, each)
                    time.sleep(WAVE_S)
                counts = {contract: _emitted(gateway.api_url, contract) for contract in CONTRACTS}
                total = sum(counts.values())
                child.wait_for("receive everything", lambda word: word.received >= total, LONGEST_S)
                seconds = time.monotonic() - began
            word = child.stop()
        bars = _compare(gateway.api_url, place / "out", counts)
    _check(word, total, bars)
    return Report(
        ticks=total,
        prints_a_frame=prints,
        seconds=round(seconds, 2),
        ticks_per_second=round(total / seconds, 1),
        bars=bars,
        lost=word.lost,
        gave_way={
            box.path: {"conflated": box.conflated, "dropped": box.dropped}
            for box in word.boxes
            if box.conflated or box.dropped
        },
        subscriber_dropped=word.subscriber_dropped,
        published=word.published,
        beats=word.beats,
        stall_ms=word.stall_ms,
        own_ms=word.own_ms,
        machine_ms=round(idle.worst_s * 1e3, 2),
        base_mb=word.base_mb,
        resident_mb=word.resident_mb,
        address_mb=word.address_mb,
        address_cap_mb=ADDRESS_MB,
        digest=word.digest,
    )


def _settings(gateway: Emulator, place: Path, key: str) -> tuple[str, ...]:
    return (
        f"gateway.api_url={gateway.api_url}",
        f"gateway.market_hub_url={gateway.market_hub_url}",
        f"gateway.user_hub_url={gateway.user_hub_url}",
        f"session.contracts={','.join(CONTRACTS)}",
        f"session.timeframes={','.join(TIMEFRAMES)}",
        "flags.session_calendars=false",  # days from midnight to midnight UTC
        f"recorder.dir={place / 'log'}",
        f"sinks.out={place / 'out'}",
        "mailboxes.timeframe=2",
        "mailboxes.sinks=64",
    )


def _burst(url: str, each: int) -> None:
    request = urllib.request.Request(  # noqa: S310 - our own, on loopback
        f"{url}/chaos", msgspec.json.encode({"burst": each}), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
        answer.read()


def _emitted(url: str, contract: str) -> int:
    """Return how many ticks of a contract there were: trades happen whole, so it may be one or two more."""
    with urllib.request.urlopen(f"{url}/truth/last?contract={contract}", timeout=60) as answer:  # noqa: S310 - as above
        last: dict[str, Any] = msgspec.json.decode(answer.read())
    return int(last["i"]) + 1


def _compare(url: str, out: Path, counts: dict[str, int]) -> int:
    """Compare every bar in the files with the gateway's ticks, `counts` of each contract; returns how many there are.

    Raises:
        Failed: one is missing, doubled, or other than its ticks.
    """
    count = 0
    for contract, each in counts.items():
        truth = Truth(TIMEFRAMES)
        for piece in emitted(url, contract, each):
            truth.add(piece)
        _hold(truth.ticks == each, f"the gateway knows of {truth.ticks} ticks of {contract}, and was asked for {each}")
        for name, expected in truth.bars.items():
            found, doubled = written(out, contract, name)
            what = f"{name} bars of {contract}"
            _hold(not doubled, f"{what}: {doubled} are there twice")
            _hold(found.keys() == expected.keys(), f"{what}: {len(found)} are there, and {len(expected)} must be")
            for at, bar in expected.items():
                words = dict(zip(COLUMNS, found[at], strict=True))
                _hold(found[at] == bar, f"{what}: the one at {at} is {words}, and its ticks make {bar}")
            count += len(expected)
    return count


def _check(word: Word, total: int, bars: int) -> None:
    _hold(word.received == total, f"{word.received} prints were received, and {total} offered")
    _hold((word.lost, word.quarantined) == (0, 0), f"{word.lost} prints are lost, {word.quarantined} in quarantine")
    _hold((word.rejected, word.gaps) == (0, 0), f"{word.rejected} prints were rejected, {word.gaps} gaps made")
    _hold(word.bars == bars, f"{word.bars} bars were counted, and {bars} must be")
    for box in word.boxes:
        _hold(box.balanced, f"the account of {box.path} does not balance: something gave way uncounted")
    told = word.subscriber_dropped + word.subscriber_held
    _hold(told == word.published, f"of {word.published} bars the subscriber that sleeps has dropped or held {told}")
    grown = word.resident_mb - word.base_mb
    _hold(grown <= RESIDENT_MB, f"memory grew by {grown:.0f} MB, and may by {RESIDENT_MB}")
    _hold(word.own_ms <= STALL_MS, f"the event loop was held up for {word.own_ms:.0f} ms, and may be for {STALL_MS}")


def _hold(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


__all__: Sequence[str] = ("Failed", "Report", "run")
