"""The gateway as a process of its own."""

import json
import math
import os
import select
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tickloom.scripts.gateway.run import run_gateway
from tickloom.scripts.gateway.settings import GatewaySettings
from tickloom.scripts.gateway.switches import ChaosRequest

COMMAND = [sys.executable, "-m", "tickloom.scripts.gateway"]


def start(*options, **changes):
    return subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **changes)


def ready(process):
    line = json.loads(process.stdout.readline())
    assert set(line) == {"url", "market_hub_url", "user_hub_url", "pid", "contracts"}
    return line


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_when_it_is_ready_and_stops_in_order_on_a_signal(number):
    with start("--contracts", "CON.F.US.EP.Z25") as process:
        line = ready(process)
        assert (line["pid"], line["contracts"]) == (process.pid, ["CON.F.US.EP.Z25"])
        assert post(line["url"] + "/api/Auth/loginKey", {"userName": "demo", "apiKey": "demo-key"})["success"]
        process.send_signal(number)
        rest, errors = process.communicate(timeout=15)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_the_account_comes_from_the_environment_and_is_nowhere_to_be_seen():
    environment = {**os.environ, "GATEWAY_USER": "somebody", "GATEWAY_KEY": "canary-key-4711"}
    with start(env=environment) as process:
        url = ready(process)["url"]
        assert post(url + "/api/Auth/loginKey", {"userName": "somebody", "apiKey": "canary-key-4711"})["success"]
        refused = post(url + "/api/Auth/loginKey", {"userName": "demo", "apiKey": "demo-key"})
        assert refused["errorCode"] == 3
        cmdline = Path(f"/proc/{process.pid}/cmdline")
        assert not cmdline.exists() or b"canary" not in cmdline.read_bytes()
        process.terminate()
        rest, errors = process.communicate(timeout=15)
    assert "canary" not in rest + errors


def test_it_does_not_outlive_the_process_that_holds_its_stdin():
    with start("--with-parent", stdin=subprocess.PIPE) as process:
        ready(process)
        process.stdin.close()
        assert process.wait(timeout=15) == 0


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
def test_it_does_not_outlive_its_parent():
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)\n"
        "print(child.stdout.readline(), end='', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, *COMMAND, "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        child = json.loads(parent.stdout.readline())["pid"]
        handle = os.pidfd_open(child)
        parent.stdin.close()
        parent.wait(timeout=15)
        # the handle becomes readable when the process has gone
        assert select.select([handle], [], [], 15)[0], "it is still there"
        os.close(handle)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"contracts": ("CON.F.US.MNQ.Z26",)}, "CON.F.US.MNQ.Z25"),
        ({"contracts": ()}, "no contract was named"),
        ({"port": 70_000}, "port: "),
        ({"rate": -1.0}, "rate: "),
        ({"rate": math.nan}, "rate: "),
        ({"host": "192.0.2.1"}, "cannot listen on 192.0.2.1"),
        ({"chaos": ChaosRequest(contract="X", burst=1)}, "fault switches: contract 'X' is not served"),
    ],
    ids=str,
)
def test_what_cannot_be_started_is_one_clear_line_and_exit_code_2(settings, says, capsys):
    assert run_gateway(GatewaySettings(**settings)) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert error.startswith("gateway: ")
    assert says in error


def test_a_port_that_is_taken_is_one_clear_line_and_exit_code_2():
    with start() as process:
        port = ready(process)["url"].rpartition(":")[2]
        done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, timeout=20)
        process.terminate()
        process.communicate(timeout=15)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"gateway: cannot listen on 127.0.0.1:{port}: address already in use;"
        " choose another host or port, or port 0 for a free one\n"
    )


def test_a_chaos_file_that_makes_no_sense_is_named(tmp_path):
    path = tmp_path / "faults.toml"
    path.write_text("duplicate_pc = 3\n")
    done = subprocess.run([*COMMAND, "--chaos", str(path)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "faults.toml: unknown switch 'duplicate_pc'; did you mean 'duplicate_pct'?" in done.stderr
