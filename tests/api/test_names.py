"""The names of the face: all there, each when it is first used, and none that is not there."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys

import pytest

import tickloom


@pytest.mark.parametrize("name", tickloom.__all__)
def test_every_name_is_there_and_is_what_the_type_checker_believes(name: str) -> None:
    (block,) = [node for node in ast.parse(inspect.getsource(tickloom)).body if isinstance(node, ast.If)]
    believed = {
        alias.asname or alias.name: (statement.module, alias.name)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    module, original = believed[name]
    assert set(believed) == set(tickloom.__all__)
    assert getattr(tickloom, name) is getattr(sys.modules[str(module)], original)
    assert name in dir(tickloom)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tickloom' has no attribute 'Sesion'"):
        tickloom.Sesion  # noqa: B018


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, tickloom; print(*(n for n in ('numpy', 'pyarrow', 'aiohttp', 'asyncio') if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_python_dash_m_is_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tickloom", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("tickloom ")
    assert done.stderr == ""


def test_a_command_and_its_completion_wait_for_nothing_that_they_do_not_need() -> None:
    code = """
import os, sys
from tickloom.scripts.cli import run

def loaded():
    return [n for n in ("pyarrow", "aiohttp", "pandas", "tickloom.session") if n in sys.modules]

assert (run(["--version"]), run(["config", "show", "--json"])) == (0, 0)
assert loaded() == [], loaded()
os.environ |= {"_TICKLOOM_COMPLETE": "complete_bash", "COMP_WORDS": "tickloom config ", "COMP_CWORD": "2"}
try:
    run([])
except SystemExit as end:
    assert end.code == 0
else:
    raise AssertionError("it answers the shell, and leaves")
assert loaded() == [], loaded()
del os.environ["_TICKLOOM_COMPLETE"]
assert run(["log", "inspect", "--help"]) == 0
assert not {"aiohttp", "pandas"} & set(loaded()), loaded()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
