"""What the dashboard costs a session: CPU of its actor's thread, with no page, with two pages open, and with a scraper.

    python benchmarks/dashboard.py [--rate 10000] [--seconds 10] [--pages 2]

The emulator and the readers of the pages are processes of their own, as a gateway and a browser are. The http actor
has a thread to itself in which everything it does is done (it reads what others have committed, and asks nobody), so
that thread's CPU time is what it costs; it is told from the others by its native id. `cores` is that over the time,
`share` is it over the CPU time of the whole session, which other work on the machine does not change.

- `idle`: the dashboard is on and nobody looks.
- `pages`: each follows another contract's chart and is sent everything that changes.
- `pages and metrics`: and `/metrics` is asked for every second, ten times as often as usual.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import psutil

import tickloom
from tickloom.config.secrets import Secret
from tickloom.scripts.emulator import Emulator

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26")
ACTOR = "/observers/http"

READER = """
import sys, urllib.request
address, token = sys.argv[1:]
request = urllib.request.Request(address, headers={"Authorization": "Bearer " + token})
with urllib.request.urlopen(request) as stream:
    size = 0
    while chunk := stream.read1(65536):
        size += len(chunk)
        sys.stdout.write(f"{size}\\n")
        sys.stdout.flush()
"""


def http_thread() -> int:
    """Return the native id of the http actor's thread."""
    (found,) = (thread for thread in threading.enumerate() if thread.name.endswith(ACTOR))
    assert found.native_id is not None
    return found.native_id


def cpu_of(process: psutil.Process, thread: int) -> tuple[float, float]:
    """Return the CPU seconds of one thread and of the whole process."""
    (own,) = (each for each in process.threads() if each.id == thread)
    whole = process.cpu_times()
    return own.user_time + own.system_time, whole.user + whole.system


def measure(seconds: float, scrape: str | None) -> dict[str, float]:
    """Watch for so many seconds; `scrape` is asked for every second."""
    process, thread = psutil.Process(), http_thread()
    began, before = time.monotonic(), cpu_of(process, thread)
    while time.monotonic() - began < seconds:
        if scrape is not None:
            urllib.request.urlopen(scrape).read()
        time.sleep(1.0)
    took, after = time.monotonic() - began, cpu_of(process, thread)
    own, whole = after[0] - before[0], after[1] - before[1]
    return {"cores": round(own / took, 4), "session_cores": round(whole / took, 3), "share": round(own / whole, 4)}


def main() -> None:
    """Run once and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pages", type=int, default=2)
    options = parser.parse_args()
    sys.setswitchinterval(0.0005)
    key = secrets.token_urlsafe(16)
    shape = ["--steady", "--batch-max", "1", "--coalesce-ms", "0"]
    figures: dict[str, object] = {"rate_asked": options.rate, "pages": options.pages}
    with (
        tempfile.TemporaryDirectory() as place,
        Emulator(CONTRACTS, rate=options.rate, user="bench", key=key, options=shape) as gateway,
    ):
        session = tickloom.Session(
            {
                "gateway.api_url": gateway.api_url,
                "gateway.market_hub_url": gateway.market_hub_url,
                "gateway.user_hub_url": gateway.user_hub_url,
                "session.contracts": CONTRACTS,
                "recorder.dir": str(Path(place) / "log"),
                "http.enabled": True,
                "http.port": 0,
            },
            credentials=tickloom.Credentials("bench", Secret(key), "benchmark"),
        )
        with session:
            base, _, token = str(session.dashboard).partition("/?token=")
            time.sleep(2)
            began, ticks = time.monotonic(), session.statistics().ticks
            figures["idle"] = measure(options.seconds, None)
            readers = [
                subprocess.Popen(
                    [
                        sys.executable,
                        "-c",
                        READER,
                        f"{base}/api/stream?contract={CONTRACTS[n % 3]}&timeframe=1s",
                        token,
                    ],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for n in range(options.pages)
            ]
            for reader in readers:
                assert reader.stdout is not None
                reader.stdout.readline()  # it has begun
            figures["open"] = measure(options.seconds, None)
            figures["open_and_scraped"] = measure(options.seconds, f"{base}/metrics")
            figures["ticks_per_second"] = round((session.statistics().ticks - ticks) / (time.monotonic() - began))
            sent = []
            for reader in readers:
                reader.terminate()
                assert reader.stdout is not None
                sent.append(int(reader.stdout.read().split()[-1]))
                reader.wait()
            figures["kilobytes_a_page_and_second"] = round(sum(sent) / len(sent) / 2 / options.seconds / 1000, 1)
        assert session.summary is not None
        figures["lost"] = session.summary.lost
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
