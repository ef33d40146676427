"""`tickloom doctor`: a line a finding, JSON, and the code of the first failure."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

Tickloom = Callable[..., Any]
ACCOUNT = {"PROJECT_X_USERNAME": "canary-user", "PROJECT_X_API_KEY": "canary-key"}


def test_offline_it_looks_at_this_machine_only(tickloom: Tickloom) -> None:
    done = tickloom("doctor", "--offline", "--json", **ACCOUNT)
    assert (done.code, done.json["ok"]) == (0, True)
    assert [each["name"] for each in done.json["findings"]] == [
        "versions", "time zones", "settings", "credentials", "disk", "memory",
    ]  # fmt: skip
    assert "canary" not in done.out[0]


def test_each_finding_is_a_line_that_begins_with_its_status(tickloom: Tickloom) -> None:
    done = tickloom("doctor", "--offline", **ACCOUNT)
    assert done.code == 0
    assert len(done.out) == 6
    assert all(line.split()[0] in ("ok", "warning") for line in done.out)


def test_the_first_failure_gives_the_code(tickloom: Tickloom) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    env = {f"TICKLOOM__GATEWAY__{name}_URL": address for name in ("API", "MARKET_HUB", "USER_HUB")}
    done = tickloom("doctor", **env, **ACCOUNT)
    assert done.code == 4
    assert [line.split()[:2] for line in done.out if not line.startswith("ok")] == [["FAILURE", "connection"]]
    Path("notes.txt").write_text("")
    both = tickloom("doctor", **env, **ACCOUNT, TICKLOOM__RECORDER__DIR="notes.txt/log")
    assert both.code == 2


def test_settings_that_are_wrong_do_not_keep_it_from_the_rest(tickloom: Tickloom) -> None:
    Path("tickloom.toml").write_text("[session]\ngrace = 1\n")
    done = tickloom("doctor", "--json", **ACCOUNT)
    assert (done.code, done.json["ok"]) == (2, False)
    status = {each["name"]: each["status"] for each in done.json["findings"]}
    assert (status["settings"], status["credentials"], "name" in status) == ("failure", "ok", False)
