"""What decoding costs: nanoseconds a print, from frames as the gateway sends them, against a plain client's way.

Run: `python benchmarks/decode.py [--json]`. Each case decodes 512 frames, the most a connection hands over at once; the
figure is the best of nine rounds. The last lines are for logs, whose frames come thousands at a time: read together
(`tickloom.actors.connection.alike`) and one by one; *varied* has three contracts, and prices, stamps and volumes of many lengths. The peer does what a plain client does: `json.loads` of each message, the stamp by
`datetime.fromisoformat` (which loses the seventh digit), and the same lists at the end. Both run in turn on the same
machine, so read the ratio.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable
from datetime import datetime

from tickloom.actors.connection.alike import ENOUGH
from tickloom.actors.connection.decode import Decoder
from tickloom.messages.signalr import SignalRProtocol
from tickloom.messages.stamps import format_stamp

FRAMES = 512
START = 1_750_000_000_000_000_000


def varied(count: int) -> list[bytes]:
    """Frames of one print each, written in as many ways as a market that trims its noughts."""
    rng, made, ts = random.Random(1), [], START
    for _ in range(count):
        ts += rng.randrange(200_000)
        stamp = f"{format_stamp(ts - ts % 10**9)[:-1]}.{ts % 10**9 // 100:07}".rstrip("0")
        symbol = rng.choice(("ENQ", "EP", "GCE"))
        print_ = (
            f'{{"symbolId":"F.US.{symbol}","price":{20_997 + rng.randrange(4) * 0.25:g},"timestamp":"{stamp}+00:00",'
            f'"type":{rng.randrange(2)},"volume":{rng.choice((1, 1, 1, 2, 3, 5, 10, 12, 100))}}}'
        )
        made.append(
            f'{{"type":1,"target":"GatewayTrade","arguments":["CON.F.US.{symbol}.U25",[{print_}]]}}\x1e'.encode()
        )
    return made


def frames(prints: int, zones: tuple[str, ...], step_ns: int = 130_700) -> list[bytes]:
    """Frames of `prints` prints each; stamps have seven digits and end in one of `zones`, in turn."""
    made, ts = [], START
    for n in range(FRAMES):
        rows = []
        for i in range(prints):
            ts += step_ns
            zone = zones[(n * prints + i) % len(zones)]
            stamp = f"{format_stamp(ts - ts % 10**9)[:-1]}.{ts % 10**9 // 100:07}{zone}"
            price = f"{20_997 + (n + i) % 9 * 0.25:g}"
            rows.append(
                f'{{"symbolId":"F.US.ENQ","price":{price},"timestamp":"{stamp}","type":{i & 1},"volume":{1 + n % 9}}}'
            )
        made.append(
            f'{{"type":1,"target":"GatewayTrade","arguments":["CON.F.US.ENQ.U25",[{",".join(rows)}]]}}\x1e'.encode()
        )
    return made


def best(work: Callable[[], object], rounds: int = 9) -> float:
    """Seconds of the fastest round."""
    fastest = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        fastest = min(fastest, time.perf_counter() - began)
    return fastest


def decoding(payloads: list[bytes], at_once: int) -> float:
    """Nanoseconds a frame, so many frames at once."""
    decoder, stamps = Decoder(), [0] * at_once
    parts = [payloads[i : i + at_once] for i in range(0, len(payloads), at_once)]
    return best(lambda: [decoder.decode("market/1", part, stamps, stamps) for part in parts]) / len(payloads) * 1e9


def plain(payloads: list[bytes]) -> None:
    """What a plain client does with the same frames."""
    contracts, stamps, prices, sizes, sides = [], [], [], [], []
    for payload in payloads:
        contract, prints = json.loads(payload[:-1])["arguments"]
        for row in prints:
            contracts.append(contract)
            stamps.append(datetime.fromisoformat(row["timestamp"]).timestamp())
            prices.append(row["price"])
            sizes.append(row["volume"])
            sides.append(row["type"])


def engine(payloads: list[bytes]) -> None:
    """The SignalR engine alone: framing and the look for what steers the session."""
    protocol = SignalRProtocol()
    protocol.start(0.0)
    protocol.receive(b"{}\x1e", 0.0)
    for payload in payloads:
        protocol.receive(payload, 0.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    wanted = parser.parse_args()
    cases = {
        "one print a frame": frames(1, ("+00:00",)),
        "one print a frame, Z and +00:00 in turn": frames(1, ("Z", "+00:00")),
        "20 prints a frame": frames(20, ("+00:00",)),
        "one print a message, 64 messages a frame": [],
    }
    single = cases["one print a frame"]
    cases["one print a message, 64 messages a frame"] = [b"".join(single[i : i + 64]) for i in range(0, FRAMES, 64)]
    results: dict[str, dict[str, float]] = {}
    print(f"Python {platform.python_version()} on {platform.machine()}; nanoseconds a print, best of nine")
    for name, payloads in cases.items():
        decoder = Decoder()
        stamps = list(range(len(payloads)))
        decoded = decoder.decode("market/1", payloads, stamps, stamps).prints
        assert decoded is not None
        count = len(decoded)

        def decode(decoder: Decoder = decoder, payloads: list[bytes] = payloads, stamps: list[int] = stamps) -> None:
            decoder.decode("market/1", payloads, stamps, stamps)

        apart = [message + b"\x1e" for payload in payloads for message in payload.split(b"\x1e") if message]
        ours = best(decode) / count * 1e9
        theirs = best(lambda apart=apart: plain(apart)) / count * 1e9
        framing = best(lambda payloads=payloads: engine(payloads)) / count * 1e9
        results[name] = {"decode_ns": ours, "plain_ns": theirs, "ratio": theirs / ours, "engine_ns": framing}
        print(f"{name:42} {ours:7.0f}   json.loads {theirs:7.0f}   {theirs / ours:4.1f} times   engine {framing:5.0f}")
    small = Decoder()
    alone = best(lambda: [small.decode("market/1", [payload], [0], [0]) for payload in single]) / FRAMES * 1e9
    results["one frame a batch"] = {"decode_ns": alone}
    print(f"{'one frame a batch (a quiet market)':42} {alone:7.0f}")
    for name, payloads in (
        ("of a log, 4,096 frames alike", single * (ENOUGH // FRAMES)),
        ("of a log, 4,096 frames varied", varied(ENOUGH)),
        ("of a log, 32,768 frames varied", varied(8 * ENOUGH)),
    ):
        whole, each = (decoding(payloads, at_once) for at_once in (len(payloads), FRAMES))
        results[name] = {"decode_ns": whole, "one_by_one_ns": each, "ratio": each / whole}
        print(f"{name:42} {whole:7.0f}   one by one {each:7.0f}   {each / whole:4.1f} times")
    if wanted.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
