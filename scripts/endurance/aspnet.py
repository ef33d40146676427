"""The real gateway as a child process: an ASP.NET Core SignalR server that emits ticks, tells the truth about them
afterwards, and breaks on demand. It lies beside the repository (`shared/interop`), not in it.
"""

from __future__ import annotations

import subprocess
import threading
import urllib.request
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

RUN: Final = Path(__file__).resolve().parents[2].parent / "shared" / "interop" / "run.sh"
START_S: Final = 90.0
STOP_S: Final = 10.0


class Tick(msgspec.Struct, gc=False):
    """A tick as the truth has it."""

    i: int
    t_ns: int
    price: float
    volume: int
    type: int


_tick = msgspec.json.Decoder(Tick).decode


class NoGateway(Exception):
    """It is not there, or did not start."""


class Aspnet:
    """The gateway, for as long as the `with` block lasts. Settings are those of its README."""

    def __init__(self, **settings: object) -> None:
        self.url = ""
        self.counts: Counter[str] = Counter()
        self.tokens_from: Counter[str] = Counter()
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._listening = threading.Event()
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Aspnet:
        if not RUN.exists():
            raise NoGateway(f"{RUN} is not there: the gateway to test against lies in shared/interop")
        words = [f"{name}={value}" for name, value in self._settings.items()]
        process = self._process = subprocess.Popen(  # noqa: S603 - the gateway's own script
            [str(RUN), "0", *words], stdout=subprocess.PIPE, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read, name="aspnet-log", daemon=True)
        self._reader.start()
        if not self._listening.wait(START_S) or not self.url:
            process.kill()
            raise NoGateway("the gateway did not start; its reason is above")
        return self

    def _read(self) -> None:
        """Count what it logs, one JSON object a line; its log is long, so nothing of it is kept."""
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.startswith(b"{"):
                continue
            event: dict[str, Any] = msgspec.json.decode(line)
            name = str(event.get("ev"))
            self.counts[name] += 1
            if name == "listening":
                self.url = str(event["url"])
                self._listening.set()
            elif name == "connect":
                self.counts[f"connect {event['hub']}"] += 1
                self.tokens_from[str(event["tokenFrom"])] += 1
            elif name == "disconnect":
                self.counts[f"disconnect {event['hub']} {event['reason']}"] += 1
            elif name == "login":
                self.counts["login ok" if event.get("ok") else "login failed"] += 1
        self._listening.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(STOP_S)
        if process.stdout is not None:
            process.stdout.close()

    # --- faults and truth ------------------------------------------------------------

    def chaos(self, **switches: object) -> None:
        """Set fault switches."""
        body = msgspec.json.encode(switches)
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/chaos", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310

    def get(self, path: str, **query: object) -> Any:
        """Return a JSON answer."""
        return msgspec.json.decode(self._body(path, query))

    def lines(self, path: str, **query: object) -> list[Any]:
        """Return an answer of one JSON object a line."""
        return [msgspec.json.decode(line) for line in self._body(path, query).splitlines() if line]

    def ticks(self, contract: str, first: int, last: int, piece: int = 100_000) -> list[Tick]:
        """Return ticks `first` to `last`, both included."""
        found: list[Tick] = []
        for start in range(first, last + 1, piece):
            body = self._body("/truth", {"contract": contract, "from": start, "to": min(start + piece - 1, last)})
            found += map(_tick, body.splitlines())
        return found

    def _body(self, path: str, query: dict[str, object]) -> bytes:
        words = f"?{urlencode({key: str(value) for key, value in query.items()})}" if query else ""
        with urllib.request.urlopen(f"{self.url}{path}{words}", timeout=120) as answer:  # noqa: S310 - loopback
            body: bytes = answer.read()
        return body
