"""Another process's session, looked at through its HTTP API: where it is, and what it says. Reads only.

A session is addressed by what it printed (`http://127.0.0.1:8787/?token=…`), or by its port where it left a note. As
in a browser, the token is exchanged for the cookie, which outlives a restart of the session on the same port. Plain
HTTP goes to this machine alone; from another one, the port is forwarded (`ssh -L 8787:127.0.0.1:8787 host`).
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import msgspec

from tickloom.actors.http.charts import Chart, Columns
from tickloom.actors.http.forms import ActorForm, SessionForm
from tickloom.actors.http.guard import LOOPBACK
from tickloom.config.secrets import Secret, redact
from tickloom.errors import AuthenticationError, FeedLostError, TickloomError, UsageError
from tickloom.messages.reports import Health, Statistics
from tickloom.scripts.notes import found

T = TypeVar("T")

TIMEOUT_S: Final = 3.0
"""Longest an answer is waited for; it comes from this machine."""

MOST_CONTRACTS: Final = 24
"""Contracts whose bars are asked for."""

NAMES: Final = (LOOPBACK, "localhost")
_LARGEST: Final = 32 << 20


class Gone(TickloomError):
    """Nobody answers there, at the moment or any more."""

    exit_code = FeedLostError.exit_code


class Address(msgspec.Struct, frozen=True):
    """Where a session listens, and the token of its start, where that is known."""

    host: str
    port: int
    token: Secret | None = None

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"{self.host}:{self.port}"


class Look(msgspec.Struct, frozen=True):
    """What a session said at one moment. `bars` are the newest of the timeframe, by contract."""

    place: str
    session: SessionForm
    health: Health
    statistics: Statistics
    tree: ActorForm
    timeframe: str
    bars: Mapping[str, Columns]


def parse(text: str) -> Address:
    """Return the address in what a person wrote: a URL as it was printed, `host:port`, or a port.

    Raises:
        UsageError: it is none, or of another machine.
    """
    if re.fullmatch(r"\d{1,5}", text, re.ASCII):
        text = f"http://127.0.0.1:{text}"
    elif "//" not in text:
        text = f"http://{text}"
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port = "", None
    if not port:
        raise UsageError(f"{redact(text)} is no address of a session: give the one it printed, or its port")
    if url.scheme != "http" or host not in NAMES:
        raise UsageError(
            f"{redact(text)}: sessions are served on this machine only, as http://127.0.0.1:PORT; from another one "
            f"forward the port (ssh -L {port}:127.0.0.1:{port} {host or 'HOST'}) and give that address"
        )
    given = parse_qs(url.query).get("token")
    return Address(host, port, Secret(given[0]) if given else None)


def choose(text: str | None, notes: Path) -> Address:
    """Return the address of the session that is meant. One that nobody answers at is not among those to choose from.

    Args:
        text: what was given; None: the one that runs.
        notes: the folder of notes.

    Raises:
        UsageError: it is not clear which one is meant.
    """
    asked = None if text is None else parse(text)
    if asked is not None and asked.token is not None:
        return asked
    running = []
    for path, note in found(notes):
        if asked is not None and note.port != asked.port:
            continue
        address = Address(LOOPBACK, note.port, note.token)
        with Remote(address) as remote:
            if remote.answers():
                running.append((address, note))
            else:
                path.unlink(missing_ok=True)
    if len(running) == 1:
        return running[0][0]
    if asked is not None:
        return asked
    if not running:
        raise UsageError(
            "no session that serves its API is known to run: start one (`tickloom demo`, or `tickloom live … "
            "--dashboard 8787`), or give the address it printed"
        )
    listed = ", ".join(f"`tickloom top {address.port}` ({note.title})" for address, note in running)
    raise UsageError(f"{len(running)} sessions run: say which, {listed}")


class Remote:
    """A session of another process. Not for several threads at once.

    Args:
        address: from `choose` or `parse`.
    """

    def __init__(self, address: Address) -> None:
        self.place = address.place
        self._address = address
        self._cookie = ""
        self._connection = http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def answers(self) -> bool:
        """Whether somebody listens there who takes the token."""
        try:
            self._admit()
        except (Gone, AuthenticationError):
            return False
        return True

    def look(self, timeframe: str | None = None, bars: int = 1) -> Look:
        """Return what the session says now.

        Args:
            timeframe: whose bars; None: one minute where that is built, else the finest.
            bars: how many of each contract, newest last.

        Raises:
            Gone: nobody answers.
            AuthenticationError: it does not let us in.
            UsageError: the timeframe is not built, or what answers is no session.
        """
        if not self._cookie:
            self._admit()
        session = self._get("/api/session", SessionForm)
        if timeframe is None:
            timeframe = "1m" if "1m" in session.timeframes else session.timeframes[0]
        asked = f"timeframe={quote(timeframe)}&last={bars}"
        return Look(
            place=self.place,
            session=session,
            health=self._get("/api/health", Health),
            statistics=self._get("/api/statistics", Statistics),
            tree=self._get("/api/tree", ActorForm),
            timeframe=timeframe,
            bars={
                each.contract: self._get(f"/api/bars?contract={quote(each.contract)}&{asked}", Chart).bars
                for each in session.contracts[:MOST_CONTRACTS]
            },
        )

    def _admit(self) -> None:
        """Exchange the token for the cookie.

        Raises:
            Gone, AuthenticationError: as in `look`.
        """
        token = self._address.token
        status, headers, _ = self._request("/" if token is None else f"/?token={quote(token.reveal())}")
        cookie = headers.get("Set-Cookie", "").partition(";")[0]
        if status != 303 or not cookie:
            raise self._not_admitted()
        self._cookie = cookie

    def _not_admitted(self) -> AuthenticationError:
        known = self._address.token is not None
        why = "does not take this token: it may be of an earlier start" if known else "wants its token"
        return AuthenticationError(f"what listens at {self.place} {why}; give the address the session printed")

    def _get(self, path: str, shape: type[T]) -> T:
        status, _, body = self._request(path)
        if status == 401:
            raise self._not_admitted()
        if status != 200:
            raise UsageError(f"{self.place} answered: {_error(body, status)}")
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.DecodeError as error:
            raise UsageError(
                f"what listens at {self.place} answers {path.partition('?')[0]} in another form than tickloom of this "
                f"version ({error}): use the tickloom that started it"
            ) from None

    def _request(self, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = {"Cookie": self._cookie} if self._cookie else {}
        for last in (False, True):
            kept = self._connection.sock is not None
            try:
                self._connection.request("GET", path, headers=headers)
                response = self._connection.getresponse()
                return response.status, response.headers, response.read(_LARGEST)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                # a connection that was kept may have been closed meanwhile, which says nothing about the session
                if last or not kept:
                    raise Gone(
                        f"nobody answers at {self.place} ({_reason(error)}): is the session still running, with a "
                        "dashboard?"
                    ) from None
        raise AssertionError("unreachable")


def _error(body: bytes, status: int) -> str:
    try:
        return str(msgspec.json.decode(body)["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {status}, which is not what a session says"


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
