"""Few heaps, asked of the C library."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tickloom.scripts.arenas import CHOSEN, HEAPS, few_heaps

THREADS = """
import ctypes, re, sys, threading
from tickloom.scripts.arenas import few_heaps
done = few_heaps() if sys.argv[1] == "few" else True
libc = ctypes.CDLL(None)
def work():  # a heap is made when a thread first asks for memory while the others' are taken
    kept = [libc.malloc(5000) for _ in range(50)]
    met.wait()
met = threading.Barrier(8)
threads = [threading.Thread(target=work) for _ in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
sys.stdout.flush()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has heaps by thread")


def heaps(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", THREADS, how], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.count("<heap nr=")


@glibc
def test_eight_threads_share_two_heaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHOSEN, raising=False)
    assert heaps("few") <= HEAPS < heaps("as it is")


def test_a_choice_of_the_user_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN, "7")
    assert not few_heaps()
