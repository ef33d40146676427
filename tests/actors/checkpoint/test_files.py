"""Checkpoint files: whole and private or not there, and nothing in them is believed that was not checked."""

from __future__ import annotations

import stat
import struct
import sys
from pathlib import Path

import msgspec
import pytest

from tickloom.actors.bars.activity import ActivityContract, ActivityState, Count
from tickloom.actors.bars.digest import Chain
from tickloom.actors.bars.fold import TimeframeState
from tickloom.actors.bars.reduce import ReduceState
from tickloom.actors.bars.weave import ContractState, Live
from tickloom.actors.checkpoint import files
from tickloom.actors.checkpoint.files import BadCheckpointError, Checkpoint, checkpoints_in, decode, encode, read, write
from tickloom.actors.checkpoint.states import States
from tickloom.actors.recorder.files import SystemFiles
from tickloom.actors.validation.fold import Counts, ValidationState
from tickloom.actors.validation.rules import Held, Reference
from tickloom.messages.bars import BarFlag, Delta, Mark
from tickloom.messages.market import Instrument

ES = "CON.F.US.EP.Z25"


def checkpoint(seq: int = 7) -> Checkpoint:
    """A checkpoint with something in every field that can hold something, at the ends of its range."""
    delta = Delta(ES, 60, 1, 60, 1, 4, -3, 2, 61, 5, 10, 3, 2**61, 6, 4, int(BarFlag.GAP), 99)
    contract = ContractState(
        61, {60: Live(delta, 120)}, {0: Live(delta, 60, 2)}, (Mark(ES, 0, 9, 2, -(2**63)),), 120, 60, -1, 7,
        Chain(bytes(range(32)), b"rest" * 26, 130),
    )  # fmt: skip
    validation = ValidationState(
        {ES: Instrument(ES, 1, 4, symbol="F.US.EP", description="E-mini")},
        {ES: Reference(61, 27_000, (Held(9, 62, 1, 0.25, 3, 1),)), "B": Reference()},
        {ES: 2**62},
        Counts(12, 10, {"jump": 1}),
        seq,
    )
    reduce = ReduceState(seq, 58, {ES: 61}, frozenset({ES, "B"}))
    count = Count(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
    states = States(
        validation,
        reduce,
        {"1m": TimeframeState({ES: contract}, 58, seq, 1)},
        {"500t": ActivityState({ES: ActivityContract(count, 1, Chain())}, seq)},
    )
    return Checkpoint(1_763_990_000_000_000_000, "fingerprint", states)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path, checkpoint())
    assert read(path) == checkpoint()
    assert path.name == "checkpoint-00000000000000000007.tlcp"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_checkpoint_is_its_owners_alone(tmp_path: Path) -> None:
    assert stat.S_IMODE(write(tmp_path, checkpoint()).stat().st_mode) == 0o600


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    whole = encode(checkpoint())
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            with pytest.raises(BadCheckpointError):
                decode(bytes(damaged))
    for length in range(len(whole)):
        with pytest.raises(BadCheckpointError):
            decode(whole[:length])
    with pytest.raises(BadCheckpointError):
        decode(whole + b"\0")


def test_another_version_is_said_to_be_one() -> None:
    whole = bytearray(encode(checkpoint()))
    struct.pack_into("<I", whole, 4, files.VERSION + 1)
    with pytest.raises(BadCheckpointError, match=rf"version {files.VERSION + 1}.*reads version {files.VERSION}"):
        decode(bytes(whole))


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    for seq in (3, 40, 100, 20_000):
        write(tmp_path, checkpoint(seq))
    assert [read(path).states.validation.seq for path in checkpoints_in(tmp_path)] == [20_000, 100]


def test_those_that_are_ahead_of_a_log_that_was_cut_back_are_in_nobodys_way(tmp_path: Path) -> None:
    for seq in (50, 60):
        write(tmp_path, checkpoint(seq))
    write(tmp_path, checkpoint(7))
    assert [read(path).states.validation.seq for path in checkpoints_in(tmp_path)] == [7]


class Full(SystemFiles):
    """A disk on which nothing more fits after some bytes, or that cannot sync."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, fd: int, data: memoryview) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = super().write(fd, data[: self.room])
        self.room -= taken
        return taken

    def sync(self, fd: int) -> None:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("room", [0, 10, 1_000_000])
def test_a_disk_that_refuses_leaves_the_checkpoint_before_and_nothing_else(tmp_path: Path, room: int) -> None:
    before = write(tmp_path, checkpoint(1))
    with pytest.raises(OSError, match=r"No space|Input/output"):
        write(tmp_path, checkpoint(2), Full(room))
    assert list(tmp_path.iterdir()) == [before]
    assert read(before) == checkpoint(1)


def test_what_a_crash_left_half_written_is_in_nobodys_way(tmp_path: Path) -> None:
    hidden = tmp_path / ".checkpoint-00000000000000000007.tlcp"
    hidden.write_bytes(b"TLCP half")
    assert checkpoints_in(tmp_path) == []
    write(tmp_path, checkpoint())
    assert not hidden.exists()


def test_a_file_that_is_not_there_is_a_bad_checkpoint_and_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpointError, match="cannot be read"):
        read(tmp_path / "checkpoint-00000000000000000001.tlcp")


def test_a_payload_of_another_shape_is_refused_although_its_checksum_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_encoder", type("E", (), {"encode": lambda self, _: msgspec.msgpack.encode([1, 2])})())
    data = encode(checkpoint())
    with pytest.raises(BadCheckpointError, match="does not read back"):
        decode(data)
