"""Bytes off a socket, up to the verdict of validation: what must hold whatever they are. For a fuzzer, and for tests.

`exercise` takes any bytes as what a gateway sent after its handshake: cut into frames where its first bytes say, taken
in by the protocol engine, decoded, validated. It raises when something does not hold that must:

- Nothing of all this raises.
- The engine hands on whole messages, in order, and only a close ends its session.
- However payloads are grouped into batches they decode to the same.
- Every print ends in exactly one bin: accepted, rejected or held.

Run by `scripts/fuzz`: with atheris, guided by coverage, where it is installed; else recorded frames are broken at
random.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from tickloom.actors.connection.decode import Decoder
from tickloom.actors.validation.fold import ValidationFold
from tickloom.actors.validation.rules import Rules
from tickloom.messages.control import SessionStarted
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Instrument, as_list
from tickloom.messages.signalr import SEPARATOR, Close, Limits, Payload, SignalRProtocol, State

HEAD: Final = 8
"""The first bytes of an input say how the rest is cut."""

LIMITS: Final = Limits(message=64 * 1024)
STAMP: Final = 1_767_323_045_000_000_000
STARTED: Final = SessionStarted(
    recv_ns=STAMP,
    version="0",
    settings={},
    instruments=(Instrument("CON.F.US.MNQ.Z25", 1, 4), Instrument("C", 1, 4)),
    timeframes=("1s",),
)


class Broken(AssertionError):
    """Something that must hold does not."""


def exercise(data: bytes) -> None:
    """Take `data` for what came off a socket.

    Raises:
        Broken: something that must hold does not. Anything else that is raised is a defect as well.
    """
    head, rest = data[:HEAD], data[HEAD:]
    payloads = _received(list(_cut(head, rest)), rest)
    whole = Decoder(1).decode("market/1", payloads, [STAMP] * len(payloads), [0] * len(payloads))
    _hold(_facts([whole]) == _facts(_in_batches(head, payloads)), "batches decode to something else than the whole")
    _hold(Decoder(1).decode("user/1", payloads, [STAMP] * len(payloads), [0] * len(payloads)).prints is None, "user")
    _validated(whole)


def _cut(head: bytes, rest: bytes) -> Iterable[bytes]:
    """Yield frames: of lengths that `head` says in turn, or all in one."""
    lengths = [byte for byte in head if byte] or [len(rest) or 1]
    at = turn = 0
    while at < len(rest):
        yield rest[at : at + lengths[turn % len(lengths)]]
        at, turn = at + lengths[turn % len(lengths)], turn + 1


def _received(frames: list[bytes], stream: bytes) -> list[bytes]:
    engine = SignalRProtocol(LIMITS)
    engine.start(0.0)
    engine.receive(b"{}" + SEPARATOR, 0.0)
    payloads, closed = [], False
    for frame in frames:
        for event in engine.receive(frame, 1.0):
            if isinstance(event, Payload):
                payloads.append(event.data)
            closed = closed or isinstance(event, Close)
    _hold(all(payload.endswith(SEPARATOR) for payload in payloads), "a payload that does not end where a message does")
    _hold((engine.state is State.CLOSED) == closed, f"the session is {engine.state} without a close")
    if not closed and not engine.counts.get("bad.oversized"):
        _hold(b"".join(payloads) == stream[: stream.rfind(SEPARATOR) + 1], "bytes are lost, doubled or out of order")
    return payloads


def _in_batches(head: bytes, payloads: list[bytes]) -> list[Frames]:
    decoder, size, batches = Decoder(1), 1 + (head[0] % 7 if head else 0), []
    for at in range(0, len(payloads), size):
        batch = payloads[at : at + size]
        batches.append(decoder.decode("market/1", batch, [STAMP] * len(batch), [0] * len(batch)))
    return batches


def _facts(batches: list[Frames]) -> list[Any]:
    """Return what batches say, frame by frame; NaN as text, because it equals nothing."""
    facts: list[Any] = []
    base = 0
    for each in batches:
        if each.prints is not None:
            p = each.prints
            columns = map(as_list, (p.contract, p.ts_ns, p.price, p.size, p.side, p.frame))
            for tick, (contract, ts, price, size, side, frame) in enumerate(zip(*columns, strict=True), p.first_tick):
                facts.append((base + frame, 0, tick, p.contracts[contract], ts, repr(price), size, side))
        facts += [(base + frame, 1, repr(quote)) for frame, quote in each.quotes]
        facts += [(base + frame, 2, repr(depth)) for frame, depth in each.depth]
        facts += [(base + bad.frame, 3, bad.reason, bad.detail, bad.prints) for bad in each.malformed]
        facts += [(base + frame, 4, target, payload) for frame, target, payload in each.events]
        base += len(each)
    return sorted(facts)


def _validated(frames: Frames) -> None:
    if not len(frames):
        return
    fold = ValidationFold(Rules())
    state, _ = fold.step(fold.initial(), [Numbered(1, STARTED), Numbered(2, frames)])
    counts = state.counts
    received = (len(frames.prints) if frames.prints else 0) + sum(bad.prints for bad in frames.malformed)
    _hold(counts.received == received, f"{counts.received} prints were counted, and {received} came")
    held = sum(len(reference.held) for reference in state.references.values())
    _hold(counts.held == held, f"{counts.held} prints are in no bin, and {held} are held")


def _hold(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)


# ------------------------------------------------------------------------------------------ inputs


def seeds(folder: Path) -> list[bytes]:
    """Return inputs to begin with: recorded frames, cut in several ways."""
    found = []
    for path in sorted(folder.glob("*.frames")):
        lines = path.read_bytes().split(b"\n")[1:-1]
        found += [
            bytes([at % 251] * HEAD) + b"".join(lines[at : at + 4])[:8192] for at in range(0, min(len(lines), 40), 4)
        ]
    return found


def with_mutations(seconds: float, corpus: list[bytes], seed: int, say: Callable[[str], None]) -> int:
    """Break recorded frames at random, for so long; returns how many inputs were tried."""
    rng, end, tried = random.Random(seed), time.monotonic() + seconds, 0  # noqa: S311 - noise, not secrets
    corpus = corpus or [bytes(HEAD)]
    while time.monotonic() < end:
        data = bytearray(rng.choice(corpus))
        for _ in range(rng.randrange(1, 6)):
            at, length = rng.randrange(len(data) or 1), rng.randrange(1, 30)
            match rng.randrange(4):
                case 0:
                    data[at : at + length] = rng.randbytes(length)
                case 1:
                    del data[at : at + length]
                case 2:
                    data[at:at] = data[: rng.randrange(len(data) + 1)][-2000:]
                case _:
                    data[at:at] = rng.choice(
                        (SEPARATOR, b"null", b"[", b"{", b'"', b"1e999", b"-0", b"\\ud800", b"\xff")
                    )
        try:
            exercise(bytes(data))
        except BaseException:
            say(f"fuzz: this input breaks it: {bytes(data)!r}")
            raise
        tried += 1
    return tried
