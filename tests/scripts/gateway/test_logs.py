import json
import subprocess
import sys

import pytest

from tickloom.actors.recorder.errors import DamagedLog
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import SessionStarted, SessionStopped
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Instrument, Prints
from tickloom.scripts.gateway.logs import instruments_of, market_from_log, ticks_of

S = 10**9
START_NS = 1_763_829_000 * S
RECEIVED = 1_700_000_000 * S
GOLD, SILVER = Instrument("CON.F.US.GCE.Z13", 1, 10), Instrument("CON.F.US.SIE.Z13", 1, 200)


@pytest.fixture
def log(tmp_path):
    """A log of 40 frames, one each 100 ms, of two prints each; one stamp is rubbish."""
    frames = Frames(
        "market/1",
        [RECEIVED + k * S // 10 for k in range(40)],
        list(range(40)),
        [b"{}" for _ in range(40)],
        Prints(
            (GOLD.contract, SILVER.contract),
            [k % 2 for k in range(80)],
            [(1 << 62) if k == 4 else RECEIVED - S + k // 2 * S // 10 for k in range(80)],
            [1300.0 + k / 10 for k in range(80)],
            [1 + k % 3 for k in range(80)],
            [k % 2 for k in range(80)],
            [k // 2 for k in range(80)],
            0,
        ),
    )
    started = SessionStarted(recv_ns=RECEIVED, version="1", settings={}, instruments=(GOLD, SILVER), timeframes=("1s",))
    items = [Numbered(1, started), Numbered(2, frames), Numbered(42, SessionStopped(recv_ns=RECEIVED + 5 * S))]
    with LogWriter(tmp_path / "log", session="s") as writer:
        writer.append(items, 0)
    return tmp_path / "log"


def never(error):
    raise AssertionError(error)


def test_the_contracts_are_those_the_log_names(log):
    with LogReader(log) as reader:
        assert {instrument.contract for instrument in instruments_of(reader)} == {GOLD.contract, SILVER.contract}


def test_every_print_is_played_in_its_order_of_arrival(log):
    with LogReader(log) as reader:
        ticks = list(ticks_of(reader, never))
    assert [tick.price for tick in ticks] == [1300.0 + k / 10 for k in range(80)]
    assert [tick.contract for tick in ticks[:2]] == [GOLD.contract, SILVER.contract]
    assert [tick.due_ns for tick in ticks[::2]] == [RECEIVED + k * S // 10 for k in range(40)]


def test_the_pace_is_that_of_the_receipt_so_a_rubbish_stamp_stops_nothing(log):
    with LogReader(log) as reader:
        market = market_from_log(reader, start_ns=0, speed=2.0, damaged=never)
        market.advance(10 * S)
        market.advance(10 * S + S)
        assert market.last(GOLD.contract) + 1 == 21
        market.advance(10 * S + 2 * S)
        assert market.finished
    assert market.ticks(GOLD.contract, 0, 39).price == [1300.0 + k / 10 for k in range(0, 80, 2)]


def spoil(log, share):
    """Write zeros over a part of the log, so much of the way through it."""
    (segment,) = log.glob("*.arrows")
    data = bytearray(segment.read_bytes())
    at = int(len(data) * share)
    data[at : at + 64] = bytes(64)
    segment.write_bytes(data)


def test_damage_ends_the_playback_and_is_told(log, tmp_path):
    copied = tmp_path / "copied"
    with (
        LogReader(log) as reader,
        LogWriter(copied, session="s", options=LogOptions(batch_rows=10)) as writer,
    ):
        for item in reader.items(raw=True, max_rows=10):
            writer.append([item], 0)
    spoil(copied, 0.7)
    told = []
    with LogReader(copied, fresh=True) as reader:
        played = list(ticks_of(reader, told.append))
    assert 0 < len(played) < 80
    assert [type(error) for error in told] == [DamagedLog]


def test_a_log_that_is_damaged_before_its_first_print_is_not_served(log):
    spoil(log, 0.5)
    with LogReader(log, fresh=True) as reader, pytest.raises(DamagedLog):
        market_from_log(reader, start_ns=0, damaged=never)
    done = subprocess.run(command("--from-log", log), capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1)
    assert "log recover" in done.stderr


def test_a_client_that_comes_later_has_the_log_from_its_first_tick_on(log, play):
    async def scenario(gateway):
        await gateway.pass_time(30)
        client = await gateway.hub()
        for contract in (GOLD.contract, SILVER.contract):
            await client.invoke("SubscribeContractTrades", contract)
            await gateway.pass_time(0.2)
        await gateway.pass_time(5, steps=50)
        for k, contract in enumerate((GOLD.contract, SILVER.contract)):
            await client.invoke("UnsubscribeContractTrades", contract)
            assert [trade["price"] for trade in client.trades(contract)] == [1300.0 + i / 10 for i in range(k, 80, 2)]

    with LogReader(log) as reader:
        play(scenario, market=market_from_log(reader, start_ns=START_NS, hold=True, damaged=never))


def test_a_log_without_instruments_cannot_be_served(tmp_path):
    with LogWriter(tmp_path / "log", session="s") as writer:
        writer.append([Numbered(1, SessionStopped(recv_ns=RECEIVED))], 0)
    with LogReader(tmp_path / "log") as reader, pytest.raises(ValueError, match="names no instrument"):
        market_from_log(reader, start_ns=0)


def command(*options):
    return [sys.executable, "-m", "tickloom.scripts.gateway", *map(str, options)]


def test_a_log_is_served_from_the_command_line(log):
    with subprocess.Popen(command("--from-log", log), stdout=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stdout.readline())["contracts"] == [GOLD.contract, SILVER.contract]
        process.terminate()
        process.communicate(timeout=15)
    assert process.returncode == 0


def test_a_log_that_is_not_there_is_one_clear_line(tmp_path):
    done = subprocess.run(command("--from-log", tmp_path), capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"gateway: {tmp_path} holds no log")
