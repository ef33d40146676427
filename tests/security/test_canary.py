"""The canary: a known key and the tokens it brings, through everything that can happen, and then a search for them.

A log-in that is refused, one that is not, renewals, an expiry, a link cut off, a 401, an actor that crashes, a replay:
all at DEBUG. Then everything that came out is searched: logging, standard error, tracebacks, events, metrics, the
message log, files, checkpoints, reprs and pickles of what is on the way, and the command line.
"""

from __future__ import annotations

import base64
import gc
import json
import logging
import pickle
import secrets
import traceback
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tickloom
from tickloom.scripts.emulator import Emulator
from tickloom.supervision import NOTHING
from tickloom.supervision.faults import FaultPlan

MNQ = "CON.F.US.MNQ.Z25"
KEY = "canary-" + secrets.token_urlsafe(24)


@pytest.fixture
def gateway() -> Iterator[Emulator]:
    options = ["--steady", "--no-rate-limits", "--token-ttl", "3"]
    with Emulator((MNQ,), rate=200, user="tester", key=KEY, options=options) as running:
        yield running


def chaos(gateway: Emulator, **switches: Any) -> None:
    request = urllib.request.Request(
        f"{gateway.api_url}/chaos", json.dumps(switches).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()


def session_on(gateway: Emulator, folder: Path, key: str, faults: FaultPlan | None = None) -> tickloom.Session:
    config = {
        "gateway.api_url": gateway.api_url,
        "gateway.market_hub_url": gateway.market_hub_url,
        "gateway.user_hub_url": gateway.user_hub_url,
        "gateway.reconnect_base_s": 0.05,
        "session.contracts": (MNQ,),
        "session.timeframes": "1s",
        "recorder.dir": str(folder / "log"),
        "sinks.out": str(folder / "out"),
    }
    return tickloom.Session(
        config, credentials=tickloom.Credentials("tester", tickloom.Secret(key), "x"), faults=faults
    )


def disguises(secret: str) -> list[bytes]:
    """The secret as it might be seen: plain, quoted, and in base64 at any offset."""
    plain = secret.encode()
    encoded = [base64.b64encode(b" " * n + plain)[4:-4] for n in range(3)]
    return [plain, urllib.parse.quote(secret, safe="").encode(), *encoded]


@pytest.mark.timeout(120)
def test_neither_key_nor_token_is_anywhere_after_all_that_can_happen(
    gateway: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.DEBUG)
    logging.getLogger("aiohttp").setLevel(logging.DEBUG)
    said: list[str] = []
    tokens: set[str] = set()

    refused = session_on(gateway, tmp_path / "refused", KEY + "-wrong")
    with pytest.raises(Exception, match="key") as caught:
        refused.start()
    said += traceback.format_exception(caught.value)
    said.append("".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()))

    plan = FaultPlan()
    plan.crash("/pipeline/finest", "after_fold", nth=40)
    plan.crash("/feed/token", "on_control", nth=2)
    session = session_on(gateway, tmp_path / "run", KEY, plan)

    def note_token() -> None:
        life = session._running().tree.recall("/feed/token")
        if life is not NOTHING and life.token is not None:
            tokens.add(life.token.reveal())

    with session:
        stream = session.bars(MNQ, "1s")
        for second in range(8):
            next(stream)
            note_token()
            if second == 3:
                chaos(gateway, abort="tcp")
            if second == 5:
                chaos(gateway, revoke_tokens=True, abort=True)
            view = session.tree()
            said += [repr(view), str(session.health()), repr(session.statistics()), repr(session.settings)]
            said.append(msgspec.json.encode(session.statistics()).decode())
        tree = session._running().tree
        said += [repr(event) for event in tree.events()]
        said += [str(getattr(event, "traceback_text", "")) for event in tree.events()]
        said += [repr(letter) for letter in tree.dead_letters.recent()]
        life = tree.recall("/feed/token")
        said += [repr(life), f"{life}", repr(session._credentials), str(session._credentials)]
        for hidden in (life.token, session._credentials.api_key):
            for copy in (pickle.dumps, msgspec.json.encode, json.dumps):
                with pytest.raises(TypeError) as refusal:
                    copy(hidden)
                said.append(repr(refusal.value))
        said += [repr(each) for each in gc.get_objects() if str(type(each).__module__).startswith("tickloom.")]
    assert len(tokens) >= 2, "the token was renewed"
    assert plan.crashes >= 1
    replayed = tickloom.replay(tmp_path / "run" / "log", verify=True)
    said += [repr(replayed.summary), repr(session.summary)]
    said += [record.getMessage() for record in caplog.records] + [repr(record.args) for record in caplog.records]
    out, err = capfd.readouterr()
    said += [out, err, Path("/proc/self/cmdline").read_text()]

    haystacks = {f"said {i}": text.encode("utf-8", "replace") for i, text in enumerate(said)}
    haystacks |= {str(p): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert any("log" in name for name in haystacks), "the log was searched"
    for secret in (KEY, *tokens):
        for form in disguises(secret):
            found = [name for name, hay in haystacks.items() if form in hay]
            assert found == [], f"{form[:12]!r}… is in {found[:3]}"
