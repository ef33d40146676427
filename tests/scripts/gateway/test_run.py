"""The gateway as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

COMMAND = [sys.executable, "-m", "tickloom.scripts.gateway"]


def start(*options, **changes):
    return subprocess.Popen(
        [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **changes
    )


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
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            assert b"canary" not in file.read()
        process.terminate()
        rest, errors = process.communicate(timeout=15)
    assert "canary" not in rest + errors


def test_it_does_not_outlive_the_process_that_holds_its_stdin():
    with start("--with-parent", stdin=subprocess.PIPE) as process:
        ready(process)
        process.stdin.close()
        assert process.wait(timeout=15) == 0


def test_it_does_not_outlive_its_parent():
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)\n"
        "print(child.stdout.readline(), end='', flush=True)\n"
    )
    command = [sys.executable, "-c", script, *COMMAND, "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = json.loads(parent.stdout.readline())["pid"]
        parent.wait(timeout=15)
        # the child holds a pidfd's worth of its own end: it is readable once the process is gone
        handle = os.pidfd_open(child) if os.path.exists(f"/proc/{child}") else None
        if handle is not None:
            import select

            assert select.select([handle], [], [], 15)[0], "it is still there"
            os.close(handle)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--contracts", "CON.F.US.MNQ.Z26"], "CON.F.US.MNQ.Z25"),
        (["--contracts", ""], "no contract was named"),
        (["--port", "70000"], "port: "),
        (["--rate", "-1"], "rate: "),
        (["--rate", "nan"], "rate: "),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
        (["--chaos", "nowhere.toml"], "chaos file nowhere.toml"),
    ],
    ids=str,
)
def test_what_cannot_be_started_is_one_clear_line_and_exit_code_2(options, says):
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("gateway: ")
    assert says in done.stderr


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
