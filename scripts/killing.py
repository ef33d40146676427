"""Kill a recording session with SIGKILL at random moments, let the next one go on with its log, and check everything.

A child process runs a session against the gateway emulator, and says how far its log is on the disk. It is killed, and
another goes on; the last one stops in order. A kill loses nothing that was written; a power failure loses what was not
synced: so every other time the log is also cut somewhere past its last sync. At the end the log must be whole, with
everything in it that was ever said to be on the disk, and numbered without a hole; the digest of the last process must
be that of a replay of the whole log; and the bars must be those that a few lines of plain arithmetic make of the
recorded prints, each bar once, flagged where a session was cut off. Run by `scripts/kill-test`.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from tickloom import Replay, Session, replay
from tickloom.actors.checkpoint.files import checkpoints_in, read
from tickloom.actors.recorder.care import verify
from tickloom.actors.recorder.reader import LogReader
from tickloom.config.settings import Settings
from tickloom.config.sources import load
from tickloom.messages.control import Gap, SessionStarted, SessionStopped
from tickloom.messages.intake import Frames
from tickloom.messages.market import NS, as_list
from tickloom.recovery import recover
from tickloom.scripts import output
from tickloom.scripts.emulator import Emulator

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25")
TIMEFRAMES = {"1s": NS, "5s": 5 * NS, "1m": 60 * NS}

TELL_S = 0.01
"""How often the child says how far it is."""

FIRST_S = 30.0
"""Longest a child may take until its first word."""

TEARS = 0.5
"""Share of the kills that are made power failures."""

LAST_S = 30.0
"""Longest it may take to stop in order."""


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line the child says: the number that is on the disk, or at its end the digest and what was lost."""

    synced: int = -1
    digest: str = ""
    lost: int = -1


class Failed(AssertionError):
    """Something that must hold does not. The sentence says what."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to: what is in the log, tails that were cut, how often a checkpoint helped, and the digest.

    `unborn` sessions were killed before a word of theirs was known to be on the disk; they may have left none.
    """

    kills: int
    unborn: int
    frames: int
    prints: int
    bars: int
    gaps: int
    tails: int
    checkpoints: int
    recovery_ms: float
    digest: str


def child(settings: Sequence[str]) -> None:
    """Run a session until a line, or the end, comes on stdin."""
    session = Session(_settings(settings))
    session.start()
    over = threading.Event()

    def wait() -> None:
        sys.stdin.readline()
        over.set()

    threading.Thread(target=wait, name="child-asked", daemon=True).start()
    told = None
    while not over.wait(TELL_S):
        synced = session.synced_seq
        if synced is not None and synced != told:
            told = synced
            _say(Word(synced=synced))
    summary = session.stop()
    _say(Word(synced=session.synced_seq or 0, digest=summary.digest, lost=summary.lost))


def _settings(pairs: Sequence[str]) -> Settings:
    return load(overrides={key: value for key, _, value in (pair.partition("=") for pair in pairs)}).settings


def _say(word: Word) -> None:
    sys.stdout.write(msgspec.json.encode(word).decode() + "\n")
    sys.stdout.flush()


class Child:
    """A process that records."""

    def __init__(self, settings: Sequence[str], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "tickloom.scripts.killing", "--child", *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **env},
            start_new_session=True,
        )
        self.words: list[Word] = []
        self._first = threading.Event()
        self._reader = threading.Thread(target=self._read, name="child-words", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.words.append(msgspec.json.decode(line, type=Word))
                self._first.set()
        self._first.set()

    def first(self) -> None:
        """Wait until it records."""
        if not self._first.wait(FIRST_S) or not self.words:
            raise Failed("a session did not begin to record; its reason is above")

    def kill(self) -> int:
        """Kill it as a power switch would, and return the last number it said to be on the disk."""
        self.process.send_signal(signal.SIGKILL)
        self._end()
        return max(word.synced for word in self.words)

    def stop(self) -> Word:
        """Let it stop in order, and return its last word."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"stop\n")
        self.process.stdin.flush()
        self._end()
        if self.process.returncode != 0 or not self.words or not self.words[-1].digest:
            raise Failed(f"the last session ended with exit code {self.process.returncode}; its reason is above")
        return self.words[-1]

    def _end(self) -> None:
        self.process.wait(LAST_S)
        self._reader.join(LAST_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def discard(self) -> None:
        """End it if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
            self._end()


def run(
    kills: int,
    log: Path,
    *,
    rate: float = 400,
    seed: int = 0,
    longest_s: float = 1.5,
    progress: Callable[[str], None] = lambda words: None,
) -> Report:
    """Kill `kills` sessions that record to `log`, one after the other, stop one more in order, and check it all.

    Raises:
        Failed: something does not hold.
    """
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    key = secrets.token_urlsafe(16)
    env = {"PROJECT_X_USERNAME": "tester", "PROJECT_X_API_KEY": key}
    options = ["--steady", "--no-rate-limits"]
    tails = checkpoints = unborn = 0
    took = 0.0
    with Emulator(CONTRACTS, rate=rate, user="tester", key=key, options=options) as emulator:
        settings = [
            f"gateway.api_url={emulator.api_url}",
            f"gateway.market_hub_url={emulator.market_hub_url}",
            f"gateway.user_hub_url={emulator.user_hub_url}",
            f"session.contracts={','.join(CONTRACTS)}",
            f"session.timeframes={','.join(TIMEFRAMES)}",
            "session.heal_gaps=false",  # the bars are compared with the prints that were received
            f"recorder.dir={log}",
            "recorder.batch_ms=10",
            "recorder.sync_ms=200",
            "recorder.checkpoint_s=1",
        ]
        synced = before = 0
        for number in range(kills + 1):
            recorder = Child(settings, env)
            try:
                recorder.first()
                time.sleep(chance.uniform(0.05, longest_s))
                if number == kills:
                    last = recorder.stop()
                    break
                synced = recorder.kill()
            finally:
                recorder.discard()
            unborn += synced <= before
            if chance.random() < TEARS:
                tear(log, synced, chance)
            torn, since, seconds, before = after_kill(log, synced, settings)
            tails, checkpoints, took = tails + torn, checkpoints + (since > 0), took + seconds
            progress(f"{number + 1} of {kills} killed; the log is whole up to number {synced:,} and beyond")
    recovery_ms = took / max(kills, 1) * 1e3
    return finished(log, kills, last, unborn=unborn, tails=tails, checkpoints=checkpoints, recovery_ms=recovery_ms)


def tear(log: Path, synced: int, chance: random.Random) -> None:
    """Cut the log anywhere past what was synced, as a power failure would, which a kill alone does not show."""
    kept = [read(path).states.last_seq for path in checkpoints_in(log)]  # written after a sync we were not told of
    with LogReader(log, keep_index=False) as reader:
        last = reader.segments[-1]
        beyond = last.column("offset")[last.column("first_seq") > max(synced, *kept, 0)]
        if not len(beyond):
            return
        with last.path.open("r+b") as file:
            file.truncate(chance.randrange(int(beyond[0]), last.size))


def after_kill(log: Path, synced: int, settings: Sequence[str]) -> tuple[int, int, float, int]:
    """Check a log that was left as it was; returns tails torn, the checkpoint gone on from, the seconds that took, and
    the log's last number.

    Raises:
        Failed: something is missing, damaged, or the checkpoints lead elsewhere than the log.
    """
    checked = verify(log)
    _hold(checked.whole, f"the log is damaged after a kill: {'; '.join(map(str, checked.problems))}")
    chosen = _settings(settings)
    with LogReader(log) as reader:
        _hold(
            (reader.last_seq or 0) >= synced, f"number {synced} was on the disk, and the log ends at {reader.last_seq}"
        )
        alone = recover(reader, chosen)
        began = time.perf_counter()
        quick = recover(reader, chosen, checkpoints_in(log))
        seconds = time.perf_counter() - began
    _hold(quick.cut_off, "a session that was killed does not count as cut off")
    _hold(not quick.warnings, f"a checkpoint does not fit: {quick.warnings}")
    _hold(quick.states == alone.states, "a checkpoint and the rest of the log lead elsewhere than the log")
    return len(checked.torn), quick.from_seq, seconds, alone.last_seq


def finished(
    log: Path, kills: int, last: Word, *, unborn: int, tails: int, checkpoints: int, recovery_ms: float
) -> Report:
    """Check the log of all sessions, the last one stopped in order.

    Raises:
        Failed: something does not hold.
    """
    checked = verify(log)
    _hold(checked.whole and not checked.torn, "the log is not whole at the end")
    _hold(last.lost == 0, f"the last session lost {last.lost} prints")
    sessions, gaps, prints, numbers = _scan(log)
    _hold(numbers, "numbers in the log do not follow one another")
    _hold(
        kills + 1 - unborn <= len(sessions) <= kills + 1,
        f"{kills + 1} sessions wrote the log, {unborn} may have left no trace, and {len(sessions)} are in it",
    )
    _hold([s.resumed for s in sessions] == [False] + [True] * (len(sessions) - 1), "a session does not say it goes on")
    result = replay(log, verify=True)
    _hold(result.digest == last.digest, "a replay of the log has other bars than the last session had")
    _hold(result.summary.lost == 0, "a replay of the log loses prints")
    bars = sum(_compare(result, contract, frame, width, prints, gaps) for contract in CONTRACTS
               for frame, width in TIMEFRAMES.items())  # fmt: skip
    return Report(
        kills=kills, unborn=unborn, frames=checked.frames, prints=checked.prints, bars=bars, gaps=len(gaps),
        tails=tails, checkpoints=checkpoints, recovery_ms=round(recovery_ms, 1), digest=last.digest,
    )  # fmt: skip


Print = tuple[str, int, int, float, int]
"""contract, stamp, arrival number, price, size"""


def _scan(log: Path) -> tuple[list[SessionStarted], list[Gap], list[Print], bool]:
    """Read the log in the plainest way: sessions, gaps, prints, and whether its numbers leave no hole.

    Raises:
        Failed: a session that was cut off is not followed by a gap that spans the stretch in between.
    """
    sessions: list[SessionStarted] = []
    gaps: list[Gap] = []
    prints: list[Print] = []
    newest: dict[str, int] = {}
    waiting: dict[str, int] = {}
    next_seq, next_tick, dense = 1, None, True
    with LogReader(log) as reader:
        for numbered in reader.items(max_rows=1):
            item = numbered.item
            dense &= numbered.seq == next_seq
            next_seq = numbered.last_seq + 1
            if isinstance(item, SessionStarted):
                _hold(item.resumed or not sessions, "a session after a kill does not go on with the one before")
                sessions.append(item)
                waiting = dict(newest)
            elif isinstance(item, Gap):
                gaps.append(item)
                before = waiting.pop(item.contract, None)
                _hold(before is None or item.from_ns <= before < item.to_ns, "a gap does not begin at the last print")
            elif isinstance(item, SessionStopped):
                _hold(not waiting, f"there is no gap for {', '.join(waiting)} where a session was cut off")
            elif isinstance(item, Frames) and item.prints is not None:
                dense &= next_tick is None or item.prints.first_tick == next_tick
                next_tick = item.prints.first_tick + len(item.prints)
                for row in _rows(item):
                    _hold(
                        row[0] not in waiting, f"prints of {row[0]} come before the gap that explains what is missing"
                    )
                    newest[row[0]] = max(newest.get(row[0], 0), row[1])
                    prints.append(row)
    return sessions, gaps, prints, dense


def _rows(frames: Frames) -> Iterator[Print]:
    prints = frames.prints
    assert prints is not None
    columns = map(as_list, (prints.contract, prints.ts_ns, prints.price, prints.size))
    for tick, (contract, ts, price, size) in enumerate(zip(*columns, strict=True), start=prints.first_tick):
        yield prints.contracts[contract], ts, tick, price, size


def _compare(
    result: Replay, contract: str, frame: str, width: int, prints: Sequence[Print], gaps: Sequence[Gap]
) -> int:
    """Compare a timeframe's bars with plain arithmetic on the prints; returns how many there are.

    Raises:
        Failed: a bar is missing, doubled, other than its prints, or not flagged though part of it was not received.
    """
    buckets: dict[int, list[Print]] = {}
    for row in prints:
        if row[0] == contract:
            buckets.setdefault(row[1] // width * width, []).append(row)
    rows = result.table(contract, frame).to_pylist()
    what = f"{frame} bars of {contract}"
    twice = [at for at, count in Counter(row["open_time"] for row in rows).items() if count > 1]
    _hold(not twice, f"{what}: {len(twice)} are there twice")
    missing = len(buckets) - len(rows)
    _hold(not missing, f"{what}: {missing} are missing")
    for row in rows:
        opened = int(row["open_time"].timestamp()) * NS
        own = sorted(buckets[opened], key=lambda each: each[1:3])
        prices = [each[3] for each in own]
        expected = (prices[0], max(prices), min(prices), prices[-1], sum(each[4] for each in own), len(own))
        found = tuple(row[name] for name in ("open", "high", "low", "close", "volume", "trades"))
        _hold(found == expected, f"{what}: the one at {row['open_time']} is {found}, and its prints make {expected}")
        cut = any(g.contract == contract and g.from_ns < opened + width and g.to_ns > opened for g in gaps)
        _hold(("gap" in row["flags"].split("|")) == cut, f"{what}: the flag of the one at {row['open_time']} is wrong")
    return len(rows)


def _hold(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="scripts/kill-test", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="how many sessions to kill")
    parser.add_argument("--rate", type=float, default=2000, help="prints a second and contract")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--log", type=Path, help="folder for the log, kept; default: a temporary one")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = run(
                asked.rounds, asked.log or Path(folder) / "log", rate=asked.rate, seed=asked.seed, progress=output.say
            )
        except Failed as error:
            output.say(f"kill-test: {error}")
            sys.exit(1)
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")


if __name__ == "__main__":
    main()
