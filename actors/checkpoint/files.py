"""Checkpoint files: `checkpoint-<number>.tlcp` beside a log's segments. Whole, checked and private, or not there.

Layout: the magic `TLCP`, then little-endian uint32 version, uint32 CRC-32 of the rest, uint64 length of the rest; the
rest is a `Checkpoint` as MessagePack. A file is written under a hidden name, synced, and renamed; the two newest are
kept, so that one that does not read back costs a little time and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import zlib
from pathlib import Path

import msgspec

from tickloom.actors.checkpoint.states import States
from tickloom.actors.recorder.files import SystemFiles

VERSION = 2
"""Of the layout and of what is in it."""

KEPT = 2
"""Checkpoints kept beside a log."""

MAX_BYTES = 1 << 30
"""A file larger than this is not one of ours."""

_MAGIC = b"TLCP"
_HEAD = struct.Struct("<4sIIQ")
_NAME = re.compile(r"checkpoint-(\d{20})\.tlcp")
_encoder = msgspec.msgpack.Encoder()


class Checkpoint(msgspec.Struct, frozen=True):
    """States, and what they belong to.

    Attributes:
        session_ns: when the session began that wrote it (its record's `recv_ns`): tells another log's from ours.
        settings: fingerprint of the settings that decide what the folds do.
        states: a consistent cut.
    """

    session_ns: int
    settings: str
    states: States


_decoder = msgspec.msgpack.Decoder(Checkpoint)


class BadCheckpointError(ValueError):
    """A file that is no checkpoint of this version, or damaged. The sentence says which file and why."""


def encode(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as the bytes of its file."""
    payload = _encoder.encode(checkpoint)
    return _HEAD.pack(_MAGIC, VERSION, zlib.crc32(payload), len(payload)) + payload


def decode(data: bytes) -> Checkpoint:
    """Read a checkpoint back.

    Raises:
        BadCheckpointError: it is none, another version's, or damaged.
    """
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        raise BadCheckpointError("it is no checkpoint, or was cut short")
    _, version, crc, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BadCheckpointError(f"it is of version {version}, and this program reads version {VERSION}")
    payload = memoryview(data)[_HEAD.size :]
    if len(payload) != length or zlib.crc32(payload) != crc:
        raise BadCheckpointError("its checksum is wrong")
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise BadCheckpointError(f"it does not read back: {error}") from None


def read(path: Path) -> Checkpoint:
    """Read a file.

    Raises:
        BadCheckpointError: see `decode`; or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return decode(file.read(MAX_BYTES))
    except OSError as error:
        raise BadCheckpointError(f"it cannot be read ({error.strerror or error})") from None


def checkpoints_in(directory: Path) -> list[Path]:
    """Return the checkpoint files in a log's folder, newest first."""
    if not directory.is_dir():
        return []
    return sorted((path for path in directory.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def write(directory: Path, checkpoint: Checkpoint, files: SystemFiles | None = None) -> Path:
    """Write a checkpoint, whole or not at all, and keep one before it (`KEPT` in all).

    Raises:
        OSError: the disk refused. What was there is still there.
    """
    files = files if files is not None else SystemFiles()
    path = directory / f"checkpoint-{checkpoint.states.validation.seq:020d}.tlcp"
    hidden = directory / f".{path.name}"
    with contextlib.suppress(FileNotFoundError):
        files.remove(hidden)  # what a crash left
    fd = files.create(hidden)
    try:
        try:
            data = memoryview(encode(checkpoint))
            while data:
                data = data[files.write(fd, data) :]
            files.sync(fd)
        finally:
            files.close(fd)
        os.replace(hidden, path)  # noqa: PTH105 - atomic on every system
    except BaseException:
        with contextlib.suppress(OSError):
            files.remove(hidden)
        raise
    files.sync_directory(directory)
    found = checkpoints_in(directory)
    ahead = found.index(path)  # of a log that has been cut back since: nobody can go on from those
    for old in (*found[:ahead], *found[ahead + KEPT :]):
        with contextlib.suppress(FileNotFoundError):
            files.remove(old)
    return path
