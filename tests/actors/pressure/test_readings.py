"""Memory is read from where the kernel says it; what cannot be read is missing, and said so."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tickloom.actors.pressure.readings import OWN, MemoryProbe, Reading

MIB = 2**20


@pytest.fixture
def machine(tmp_path: Path):
    """A machine made of files: 8 GiB, 2 of them available; this process has 300 MiB resident; no control groups."""

    def write(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write(
        "proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    2097152 kB\nHugePages_Total: 0\n"
    )
    write("proc/self/status", "Name:\tpython\nVmSize:\t 1024000 kB\nVmRSS:\t  307200 kB\n")
    write(
        "proc/self/limits", "Limit   Soft Limit   Hard Limit   Units\nMax address space  unlimited  unlimited  bytes\n"
    )
    write("proc/self/cgroup", "0::/\n")
    return tmp_path, write


def by_source(probe: MemoryProbe) -> dict[str, Reading]:
    return {reading.source: reading for reading in probe.read().readings}


def test_the_machine_s_memory_is_what_is_not_available(machine):
    root, _ = machine
    memory = MemoryProbe(root=root).read()
    assert memory.resident == 300 * MIB
    assert memory.tightest == Reading("the machine's memory", 6144 * MIB, 8192 * MIB)
    assert str(memory.tightest) == "75% of the machine's memory (6.00 GiB of 8.00 GiB)"
    assert memory.missing == ()


def test_a_bound_of_our_own_is_held_against_the_resident_memory(machine):
    root, _ = machine
    assert by_source(MemoryProbe(400 * MIB, root))[OWN] == Reading(OWN, 300 * MIB, 400 * MIB)


def test_version_2_of_control_groups_without_the_cache_that_can_be_had_back(machine):
    root, write = machine
    write("proc/self/cgroup", "0::/system.slice/tickloom.service\n")
    group = "sys/fs/cgroup/system.slice/tickloom.service"
    write(f"{group}/memory.max", f"{512 * MIB}\n")
    write(f"{group}/memory.current", f"{400 * MIB}\n")
    write(f"{group}/memory.stat", f"anon 1\nfile 2\ninactive_file {100 * MIB}\n")
    found = by_source(MemoryProbe(root=root))["the control group's memory"]
    assert (found.used, found.limit) == (300 * MIB, 512 * MIB)


def test_a_group_above_may_be_the_tighter_one(machine):
    root, write = machine
    write("proc/self/cgroup", "0::/outer/inner\n")
    write("sys/fs/cgroup/outer/inner/memory.max", "max\n")
    write("sys/fs/cgroup/outer/inner/memory.current", f"{90 * MIB}\n")
    write("sys/fs/cgroup/outer/memory.max", f"{100 * MIB}\n")
    write("sys/fs/cgroup/outer/memory.current", f"{95 * MIB}\n")
    found = by_source(MemoryProbe(root=root))["the control group's memory"]
    assert (found.used, found.limit) == (95 * MIB, 100 * MIB)


def test_version_1_of_control_groups_where_the_largest_number_means_none(machine):
    root, write = machine
    write("proc/self/cgroup", "12:cpu,cpuacct:/x\n4:memory:/docker/abc\n")
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", f"{MIB}\n")
    assert "the control group's memory" not in by_source(MemoryProbe(root=root))
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", f"{64 * MIB}\n")
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", f"{48 * MIB}\n")
    write("sys/fs/cgroup/memory/memory.stat", f"total_inactive_file {16 * MIB}\n")
    assert by_source(MemoryProbe(root=root))["the control group's memory"].share == 0.5


def test_a_bound_of_the_address_space(machine):
    root, write = machine
    write("proc/self/limits", f"Max address space         {2000 * MIB}    unlimited            bytes     \n")
    assert by_source(MemoryProbe(root=root))["the address space (RLIMIT_AS)"] == Reading(
        "the address space (RLIMIT_AS)", 1000 * MIB, 2000 * MIB
    )


def test_what_cannot_be_read_is_no_reading_and_says_why(tmp_path):
    memory = MemoryProbe(100 * MIB, tmp_path).read()
    assert memory.readings == ()
    assert memory.tightest is None
    assert memory.resident is None
    assert len(memory.missing) == 4
    assert all("cannot be read" in sentence and "No such file" in sentence for sentence in memory.missing)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's files are Linux's")
def test_on_this_machine_the_readings_are_this_machine_s():
    memory = MemoryProbe(2**40).read()
    assert memory.missing == ()
    assert memory.resident is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 0 < memory.resident <= peak * 1.05
    assert {OWN, "the machine's memory"} <= {reading.source for reading in memory.readings}


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is told by Linux's files")
def test_a_limit_set_on_a_process_is_the_one_it_reads():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30));"
        "from tickloom.actors.pressure.readings import MemoryProbe;"
        "print([r.limit for r in MemoryProbe().read().readings if 'RLIMIT_AS' in r.source])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert said.stdout.strip() == str([3 << 30])
