"""SignalR messages and WebSocket frames as bytes, made without an intermediate object where it is hot.

A frame here is complete: WebSocket header and payload, ready to be written to the transport beside others, so that a
thousand of them cost one system call. Server frames are never masked (RFC 6455, 5.1) and compression is not
negotiated. Text frames only; a SignalR message ends with 0x1e and is never split over two frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

RS: Final = b"\x1e"
GLUE_BYTES: Final = 60_000
"""Messages share a frame only up to this size."""

_encode = msgspec.json.Encoder().encode
_SHORT: Final = tuple(
    b"\x81" + bytes([size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big") for size in range(1024)
)


def header(size: int) -> bytes:
    """Return the header of a text frame of `size` bytes."""
    if size < 1024:
        return _SHORT[size]
    return b"\x81\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x81\x7f" + size.to_bytes(8, "big")


def text_frame(payload: bytes) -> bytes:
    """Return `payload` as one text frame."""
    return header(len(payload)) + payload


def invocation(target: str, *arguments: Any) -> bytes:
    """Return an invocation without an id (no reply is wanted) as a message with its end mark."""
    return _encode({"type": 1, "target": target, "arguments": arguments}) + RS


def invocation_raw(target: str, contract: str, data: bytes) -> bytes:
    """Return an invocation with a contract and one argument that is JSON already."""
    return b'{"type":1,"target":%b,"arguments":[%b,%b]}\x1e' % (_encode(target), _encode(contract), data)


def into_frames(messages: Iterable[bytes], frame_max: int) -> bytes:
    """Return the messages in as many frames as it takes with at most `frame_max` messages each (0: no limit)."""
    if frame_max == 1:
        return b"".join([part for message in messages for part in (header(len(message)), message)])
    frames: list[bytes] = []
    group: list[bytes] = []
    size = 0
    for message in messages:
        if group and (size + len(message) > GLUE_BYTES or len(group) == frame_max):
            frames += (header(size), *group)
            group, size = [], 0
        group.append(message)
        size += len(message)
    if group:
        frames += (header(size), *group)
    return b"".join(frames)


def number(value: float) -> bytes:
    """Return a finite number as the shortest JSON, whole ones without a point, as .NET writes them."""
    text = repr(float(value))
    return text.removesuffix(".0").encode()


def whole_second(second: int) -> bytes:
    """Return a Unix second as `2025-01-02T03:04:05.`, to be followed by a fraction."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode()


def stamp(stamp_ns: int, *, zulu: bool) -> str:
    """Return a time with seven fractional digits and `Z`, or `+00:00`."""
    second, rest = divmod(stamp_ns, 1_000_000_000)
    return f"{whole_second(second).decode()}{rest // 100:07d}{'Z' if zulu else '+00:00'}"


def tick_stamp(index: int, stamp_ns: int) -> str:
    """Return a tick's stamp in its spelling: `Z` for an even number, `+00:00` for an odd one."""
    return stamp(stamp_ns, zulu=not index & 1)
