"""Recovery: what a log comes to is the fold over it, whatever checkpoint it is reckoned from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

import tickloom
from tickloom.actors.bars.digest import combine_digests
from tickloom.actors.checkpoint.files import Checkpoint, checkpoints_in, encode, write
from tickloom.actors.checkpoint.states import Cut, States
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.config.settings import Settings
from tickloom.config.sources import load
from tickloom.errors import Cancelled
from tickloom.messages.bars import Reduced
from tickloom.messages.control import AnyControl, Beat, Gap, SessionStarted, SessionStopped, Subscribed
from tickloom.messages.intake import Frames, Numbered, Validated
from tickloom.messages.market import NS, Instrument, Prints
from tickloom.recovery import Folds, fingerprint, recover

MNQ = "CON.F.US.MNQ.Z25"
EP = "CON.F.US.EP.Z25"
INSTRUMENTS = tuple(Instrument(contract, 1, 4) for contract in (MNQ, EP))
T0 = 1_763_990_000 * NS


def settings_of(**more: object) -> Settings:
    keys = {"session.contracts": (MNQ, EP), "session.timeframes": "1s,5s,1m,40t", "session.lateness_ms": 3000}
    return load(overrides={**keys, **{key.replace("__", "."): value for key, value in more.items()}}).settings


CHOSEN = settings_of()


class Tape:
    """What sessions write to a log: prints in and out of order, jumps, beats, gaps, ends and cuts; by a seed."""

    def __init__(self, seed: int, chosen: Settings = CHOSEN) -> None:
        self.rng = random.Random(seed)
        self.chosen = chosen
        self.now = T0
        self.seq = self.tick = 1
        self.newest = dict.fromkeys((MNQ, EP), T0)
        self.starts: list[int] = []

    def session(self, steps: int, *, resumed: bool = False, stopped: bool = True) -> Iterator[Numbered]:
        """Yield a session's items."""
        self.now += self.rng.randrange(NS, 20 * NS)
        self.starts.append(self.now)
        yield self.put(
            SessionStarted(
                recv_ns=self.now, version="t", settings=self.chosen.redacted(), instruments=INSTRUMENTS,
                timeframes=self.chosen.session.timeframes, resumed=resumed,
            )
        )  # fmt: skip
        for each in INSTRUMENTS:
            yield self.put(
                Subscribed(recv_ns=self.now, hub="market", connection=1, contract=each.contract, instrument=each)
            )
            if resumed:
                span = (self.newest[each.contract], self.now)
                yield self.put(
                    Gap(recv_ns=self.now, contract=each.contract, from_ns=span[0], to_ns=span[1], cause="cut off")
                )
        for _ in range(steps):
            self.now += self.rng.randrange(NS // 3)
            if self.rng.random() < 0.3:
                yield self.put(Beat(recv_ns=self.now))
            else:
                yield self.put(self.frames())
        if stopped:
            yield self.put(SessionStopped(recv_ns=self.now))

    def put(self, item: Frames | AnyControl) -> Numbered:
        numbered = Numbered(self.seq, item)
        self.seq = numbered.last_seq + 1
        return numbered

    def frames(self) -> Frames:
        rng = self.rng
        count = rng.randint(1, 6)
        rows = []
        for i in range(count):
            contract = rng.randrange(2)
            late = rng.choice([0, 0, 0, 0, rng.randrange(5 * NS)])
            price = 25_000.0 + rng.randrange(-20, 20) / 4 + rng.choice([0] * 12 + [9_000, 0.1])
            name = (MNQ, EP)[contract]
            self.newest[name] = max(self.newest[name], self.now - late)
            rows.append((contract, self.now - late, price, rng.choice([1, 2, 5, 0]), rng.randrange(3), i))
        columns = [list(column) for column in zip(*rows, strict=True)]
        prints = Prints((MNQ, EP), *columns, self.tick)
        self.tick += count
        return Frames("market/1", [self.now + i for i in range(count)], [0] * count, [b"{}"] * count, prints)


def record(folder: Path, items: Sequence[Numbered], **options: int) -> None:
    """Write items to a log."""
    with LogWriter(folder, session="t", options=LogOptions(batch_rows=50, **options)) as writer:
        writer.append(items, 0)


def digest(states: States) -> str:
    chains = {**states.timeframes, **states.activities}
    return combine_digests(
        {(name, c): own.chain.digest() for name, each in chains.items() for c, own in each.contracts.items()
         if own.chain.rows}
    )  # fmt: skip


def gather(folds: Folds, items: Sequence[Numbered], rng: random.Random) -> tuple[list[States], States]:
    """Run the folds as actors would, each at its own pace; return the consistent cuts that were found on the way."""
    states = folds.initial()
    inboxes: dict[str, list[object]] = {name: [] for name in ("reduce", *folds.timeframes, *folds.activities)}
    cuts: list[States] = []
    cut = Cut()
    left = list(items)
    while left or any(inboxes.values()):
        who = rng.choice(["validation", *inboxes])
        take = rng.randint(1, 12)
        if who == "validation":
            batch, left = left[:take], left[take:]
            validation, outputs = folds.validation.step(states.validation, batch)
            states = msgspec.structs.replace(states, validation=validation)
            passed = [output for output in outputs if isinstance(output, Validated)]
            for name in ("reduce", *folds.activities):
                inboxes[name] += passed
        else:
            batch, inboxes[who] = inboxes[who][:take], inboxes[who][take:]
            if who == "reduce":
                reduce, reduced = folds.reduce.step(states.reduce, batch)
                assert all(isinstance(each, Reduced) for each in reduced)
                states = msgspec.structs.replace(states, reduce=reduce)
                for name in folds.timeframes:
                    inboxes[name] += reduced
            elif who in folds.timeframes:
                state, _ = folds.timeframes[who].step(states.timeframes[who], batch)
                states = msgspec.structs.replace(states, timeframes={**states.timeframes, who: state})
            else:
                own, _ = folds.activities[who].step(states.activities[who], batch)
                states = msgspec.structs.replace(states, activities={**states.activities, who: own})
        found = cut.look(states)
        if found is not None:
            cuts.append(found)
            cut = Cut()
    return cuts, states


@pytest.mark.parametrize("seed", range(8))
def test_a_checkpoint_at_any_moment_and_the_rest_of_the_log_come_to_what_the_whole_log_does(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    tape = Tape(seed)
    ends = [rng.random() < 0.5 for _ in range(rng.randint(1, 4))]
    items: list[Numbered] = []
    before = True
    for stopped in ends:
        items += tape.session(rng.randint(0, 40), resumed=not before and bool(items), stopped=stopped)
        before = stopped
    folder = tmp_path / "log"
    record(folder, items, segment_bytes=rng.choice([2_000, 10_000_000]))
    cuts, live = gather(Folds(CHOSEN), items, rng)
    with LogReader(folder) as log:
        whole = recover(log, CHOSEN)
        assert digest(whole.states) == digest(live)
        assert whole.states == live.counted_anew()
        assert whole.cut_off is not ends[-1]
        for states in sorted(rng.sample(cuts, min(3, len(cuts))), key=lambda cut: cut.validation.seq):
            started = max((n.item.recv_ns for n in items if n.seq <= states.validation.seq
                           and isinstance(n.item, SessionStarted)), default=0)  # fmt: skip
            path = write(folder, Checkpoint(started, fingerprint(CHOSEN), states))
            quick = recover(log, CHOSEN, [path])
            assert (quick.warnings, quick.from_seq) == ((), states.validation.seq)
            assert quick.states == whole.states


@pytest.fixture
def cut_off(tmp_path: Path) -> tuple[Path, Tape, States]:
    """A log of two sessions, the second cut off; and a consistent cut from the middle of it."""
    tape = Tape(5)
    items = [*tape.session(30), *tape.session(60, stopped=False)]
    record(tmp_path, items)
    cuts, _ = gather(Folds(CHOSEN), items, random.Random(5))
    return tmp_path, tape, next(cut for cut in cuts if cut.validation.seq > tape.seq // 2)


def test_a_log_that_stopped_in_order_has_no_open_bars_and_its_chains_go_on(tmp_path: Path) -> None:
    record(tmp_path, list(Tape(3).session(80)))
    with LogReader(tmp_path) as log:
        recovered = recover(log, CHOSEN)
    assert not recovered.cut_off
    assert recovered.last_seq == log.last_seq
    assert all(recovered.states.open_trades(name) == 0 for name in ("1s", "5s", "1m", "40t"))
    assert digest(recovered.states) == tickloom.replay(tmp_path).digest


def test_a_log_that_was_cut_off_has_the_bars_that_were_open(cut_off: tuple[Path, Tape, States]) -> None:
    folder, _, _ = cut_off
    with LogReader(folder) as log:
        recovered = recover(log, CHOSEN)
    assert recovered.cut_off
    assert recovered.states.open_trades("1m") > 0
    assert recovered.states.reduce.followed == {MNQ, EP}
    assert recovered.states.validation.counts.received == recovered.states.held


def test_the_log_alone_is_used_when_the_newest_checkpoint_does_not_fit_and_the_warning_says_why(
    cut_off: tuple[Path, Tape, States],
) -> None:
    folder, tape, states = cut_off
    mark = fingerprint(CHOSEN)
    good = encode(Checkpoint(tape.starts[-1], mark, states))
    ahead = msgspec.structs.replace(states, reduce=msgspec.structs.replace(states.reduce, seq=10**9))
    cases = {
        "checksum is wrong": good[:-1] + bytes([good[-1] ^ 1]),
        "no checkpoint": b"something else",
        "another log": encode(Checkpoint(tape.starts[-1] + 1, mark, states)),
        "other settings": encode(Checkpoint(tape.starts[-1], "0" * 64, states)),
        "the log ends with": encode(Checkpoint(tape.starts[-1], mark, ahead)),
    }
    with LogReader(folder) as log:
        whole = recover(log, CHOSEN)
        for why, data in cases.items():
            path = folder / "checkpoint-00000000000000000050.tlcp"
            path.write_bytes(data)
            recovered = recover(log, CHOSEN, [path])
            assert recovered.states == whole.states
            assert recovered.from_seq == 0
            [warning] = recovered.warnings
            assert why in warning
            assert "the log itself is read" in warning


def test_an_older_checkpoint_helps_when_the_newest_is_damaged(cut_off: tuple[Path, Tape, States]) -> None:
    folder, tape, states = cut_off
    write(folder, Checkpoint(tape.starts[-1], fingerprint(CHOSEN), states))
    (folder / "checkpoint-00000000000000009999.tlcp").write_bytes(b"TLCP")
    with LogReader(folder) as log:
        recovered = recover(log, CHOSEN, checkpoints_in(folder))
        assert recovered.from_seq == states.validation.seq
        assert len(recovered.warnings) == 1
        assert recovered.states == recover(log, CHOSEN).states


def test_other_timeframes_are_built_from_the_log_as_if_they_had_always_been_asked_for(
    cut_off: tuple[Path, Tape, States],
) -> None:
    folder, tape, states = cut_off
    path = write(folder, Checkpoint(tape.starts[-1], fingerprint(CHOSEN), states))
    other = settings_of(session__timeframes="15s")
    with LogReader(folder) as log:
        recovered = recover(log, other, [path])
    assert recovered.from_seq == 0
    assert list(recovered.states.timeframes) == ["15s"]
    assert recovered.states.open_trades("15s") > 0


def test_a_log_whose_first_segments_were_let_go_still_comes_to_something(tmp_path: Path) -> None:
    record(tmp_path, list(Tape(9).session(200, stopped=False)), segment_bytes=3_000)
    segments = sorted(tmp_path.glob("*.arrows"))
    assert len(segments) > 3
    for gone in segments[:2]:
        gone.unlink()
    with LogReader(tmp_path) as log:
        assert log.first_seq > 1
        recovered = recover(log, CHOSEN)
    assert recovered.states.validation.instruments.keys() == {MNQ, EP}
    assert recovered.states.open_trades("1m") > 0


def test_reading_a_long_log_can_be_called_off(cut_off: tuple[Path, Tape, States]) -> None:
    with LogReader(cut_off[0]) as log, pytest.raises(Cancelled):
        recover(log, CHOSEN, cancelled=lambda: True)


def test_the_settings_that_a_checkpoint_depends_on_are_those_that_change_bars() -> None:
    same = settings_of(recorder__sync_ms=100, session__contracts=(EP,), http__enabled=True)
    assert fingerprint(same) == fingerprint(CHOSEN)
    for change in ({"session__lateness_ms": 4000}, {"validation__confirm": 5}, {"session__timeframes": "1s"}):
        assert fingerprint(settings_of(**change)) != fingerprint(CHOSEN)


def test_a_replay_from_the_middle_knows_what_was_in_force_there(tmp_path: Path) -> None:
    tape = Tape(11)
    items = list(tape.session(120))
    record(tmp_path, items)
    middle = items[len(items) // 2].item
    from_ns = int(middle.recv_ns[0]) if isinstance(middle, Frames) else middle.recv_ns
    part = tickloom.replay(tmp_path, from_ns=from_ns)
    assert part.contracts
    assert part.summary.ticks > part.summary.rejected, "its contracts are known, so its prints are judged"
    assert part.summary.lost == 0


def test_a_replay_of_several_sessions_goes_by_the_settings_of_the_last(tmp_path: Path) -> None:
    tape = Tape(13)
    first = list(tape.session(30))
    tape.chosen = settings_of(session__timeframes="5s")
    record(tmp_path, [*first, *tape.session(30)])
    replayed = tickloom.replay(tmp_path)
    with LogReader(tmp_path) as log:
        assert digest(recover(log, tape.chosen).states) == replayed.digest
    assert replayed.table(MNQ, "5s").num_rows > 0
