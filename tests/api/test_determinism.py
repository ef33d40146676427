"""One log, one digest: at any speed, batch size and mailbox size, with crashes injected, under every Python we support.

The digests written down here are those of the rules as they stand. A change of the rules that changes bars changes them
too: then, and only then, write the new ones down, and tell of it in the changelog.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tickloom
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import Beat, Disconnected, Gap, SessionStarted, SessionStopped, Subscribed
from tickloom.messages.intake import Frames, Intake, Numbered
from tickloom.messages.market import NS, Instrument, Prints
from tickloom.supervision.faults import FaultPlan

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "actors" / "recorder" / "fixtures"
FIXTURE_DIGESTS = {
    "v1": "0a5fd685b31c12185defe51238fa41caa6c8a417e1e09a2aeffce3298fe78764",
    "v2": "f91641a43668126343f8683fde455abcfe796f451622ff9e883f6768d1060b3c",
}
TAPE_DIGEST = "a6a993c8b25871159e11f5c855ef53ff93dcc14114f414a277256a66f27e5b64"

MNQ, EP = "CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25"
TIMEFRAMES = ("1s", "5s", "1m", "50t", "200v")
T0 = 1_763_990_000 * NS


def tape(seed: int, steps: int) -> Iterator[Intake]:
    """Two sessions of a market with all that makes bars hard: late prints, rubbish, jumps, gaps, beats, a cut."""
    rng = random.Random(seed)
    settings = tickloom.load_settings(overrides={"session.timeframes": ",".join(TIMEFRAMES)}).settings
    instruments = (Instrument(MNQ, 1, 4), Instrument(EP, 1, 4))
    now, tick = T0, 0
    for resumed in (False, True):
        yield SessionStarted(recv_ns=now, version="t", settings=settings.redacted(), instruments=instruments,
                             timeframes=TIMEFRAMES, resumed=resumed)  # fmt: skip
        for each in instruments:
            yield Subscribed(recv_ns=now, hub="market", connection=1, contract=each.contract, instrument=each)
            if resumed:
                yield Gap(recv_ns=now, contract=each.contract, from_ns=now - 20 * NS, to_ns=now, cause="cut off")
        for step in range(steps):
            now += rng.randrange(NS // 4)
            if step % 40 == 39:
                yield Disconnected(recv_ns=now, hub="market", connection=1, cause="the wire")
                yield Gap(recv_ns=now, contract=MNQ, from_ns=now - NS, to_ns=now + NS, cause="the wire")
            elif step % 5 == 4:
                yield Beat(recv_ns=now)
            else:
                count = rng.randint(1, 9)
                rows = [
                    (
                        rng.randrange(2),
                        now - rng.choice([0, 0, 0, rng.randrange(3 * NS)]),
                        25_000.0 + rng.randrange(-20, 20) / 4 + rng.choice([0] * 20 + [9_000.0, 0.1]),
                        rng.choice([1, 2, 5, 0]),
                        rng.randrange(3),
                        frame,
                    )
                    for frame in range(count)
                ]
                columns = [list(column) for column in zip(*rows, strict=True)]
                received = [now + frame for frame in range(count)]
                yield Frames("market/1", received, [0] * count, None, Prints((MNQ, EP), *columns, tick))
                tick += count
        now += 20 * NS
    yield SessionStopped(recv_ns=now)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "log"
    seq = 1
    with LogWriter(folder, session="t", options=LogOptions(batch_rows=100)) as writer:
        for item in tape(1, 400):
            numbered = Numbered(seq, item)
            writer.append([numbered], 0)
            seq = numbered.last_seq + 1
    return folder


@pytest.mark.parametrize("version", FIXTURE_DIGESTS)
def test_the_log_of_each_format_version_has_the_digest_written_down(tmp_path: Path, version: str) -> None:
    log = shutil.copytree(FIXTURES / version, tmp_path / "log")
    assert tickloom.replay(log, timeframes=TIMEFRAMES).digest == FIXTURE_DIGESTS[version]


def test_the_tape_has_the_digest_written_down(log: Path) -> None:
    result = tickloom.replay(log)
    assert (result.summary.lost, result.summary.quarantined) == (0, 0)
    assert result.summary.rejected > 50
    flags = {row["flags"] for each in (MNQ, EP) for row in result.table(each, "1s").to_pylist()}
    assert {"", "gap", "revised"} <= flags, "the tape has what makes bars hard"
    assert result.digest == TAPE_DIGEST


@pytest.mark.parametrize("rows", [1, 3, 64, 1_000_000])
def test_the_size_of_batches_does_not_show(log: Path, rows: int) -> None:
    assert tickloom.replay(log, batch_rows=rows).digest == TAPE_DIGEST


@pytest.mark.parametrize("capacity", [1, 2, 100_000])
@pytest.mark.parametrize("batch", [1, 4096])
def test_the_size_of_mailboxes_does_not_show(log: Path, capacity: int, batch: int) -> None:
    boxes = {f"mailboxes.{name}": capacity for name in ("validation", "bars", "timeframe", "sinks", "observers")}
    keys = {"session.timeframes": ",".join(TIMEFRAMES), "mailboxes.max_batch": batch, **boxes}
    settings = tickloom.load_settings(overrides=keys).settings
    result = tickloom.replay(log, settings=settings, batch_rows=5)
    assert (result.digest, result.summary.lost) == (TAPE_DIGEST, 0)


@pytest.mark.parametrize("speed", [200.0, 1000.0])
def test_the_speed_does_not_show(log: Path, speed: float) -> None:
    assert tickloom.replay(log, speed=speed).digest == TAPE_DIGEST


def test_neither_do_pauses_and_steps(log: Path) -> None:
    with tickloom.Playback(log, speed=float("inf"), paused=True) as playback:
        for frames in (1, 2, 50, 7, 300):
            playback.step(frames)
        playback.resume()
        assert playback.wait(40).digest == TAPE_DIGEST


@pytest.mark.parametrize("seed", range(3))
def test_crashes_anywhere_do_not_show(log: Path, seed: int) -> None:
    rng = random.Random(seed)
    plan = FaultPlan()
    for path in ("validation", "finest", *(f"bars/{each}" for each in TIMEFRAMES)):
        for point in rng.sample(["before_fold", "after_fold", "before_commit", "after_commit", "on_emit"], 2):
            plan.crash(f"/pipeline/{path}", point, nth=rng.randint(2, 4))
    keys = {"session.timeframes": ",".join(TIMEFRAMES), "supervision.backoff_base_s": 0.001,
            "supervision.backoff_cap_s": 0.01}  # fmt: skip
    settings = tickloom.load_settings(overrides=keys).settings
    result = tickloom.replay(log, settings=settings, batch_rows=20, faults=plan)
    assert plan.crashes >= 5, "how often a mailbox is emptied is up to the machine"
    assert (result.digest, result.summary.lost, result.summary.quarantined) == (TAPE_DIGEST, 0, 0)


def pythons() -> dict[str, Path]:
    """Interpreters of the versions we support that are on this machine, by version."""
    found: dict[str, Path] = {}
    for minor in (11, 12, 13):
        name = f"python3.{minor}"
        kept = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}"))
        there = shutil.which(name)
        if kept or there:
            found[f"3.{minor}"] = kept[-1] if kept else Path(str(there))
    return found


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.name == "nt", reason="interpreters are looked for as on POSIX")
@pytest.mark.parametrize("version", sorted(pythons()))
def test_the_version_of_python_does_not_show(
    log: Path, tmp_path: Path, version: str, install: Callable[[Path, Path], Path]
) -> None:
    python = install(pythons()[version], tmp_path)
    code = "import sys, tickloom; print(*(tickloom.replay(log).digest for log in sys.argv[1:]), sys.version)"
    done = subprocess.run(
        [str(python), "-c", code, str(log)], capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    digest, said = done.stdout.split()[:2]
    assert said.startswith(version)
    assert digest == TAPE_DIGEST


@pytest.fixture
def install() -> Callable[[Path, Path], Path]:
    """Install a copy of the tree into an environment of another interpreter; return its python."""

    def into(python: Path, folder: Path) -> Path:
        source = folder / "source"
        source.mkdir()
        for name in ("api", "actors", "config", "messages", "scripts", "supervision"):
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source / name)
        place = folder / "env"
        subprocess.run([str(python), "-m", "venv", str(place)], check=True, timeout=120)
        subprocess.run(
            [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(source)],
            check=True, timeout=600,
        )  # fmt: skip
        return place / "bin" / "python"

    return into
