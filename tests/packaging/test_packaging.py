"""The wheel holds what the tree holds, lives beside an app's own `config.py` and `messages/`, and starts nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"api": "tickloom"} | {f: f"tickloom/{f}" for f in ("actors", "config", "messages", "scripts", "supervision")}
TOOLS = {ROOT / "scripts" / "interop_clients"}
"""Folders of programs that run in environments of their own, with other people's packages: no part of ours."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tree as it stands."""
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    source.mkdir()
    for name in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE"):
        # a copy, so that the build leaves nothing in the tree
        subprocess.run(["cp", "-r", str(ROOT / name), str(source / name)], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(source)],
        check=True,
        timeout=120,
    )
    return next(out.glob("tickloom-*.whl"))


def shipped_files() -> set[str]:
    """What the tree says the wheel should hold: modules, type markers, TOML data and the files of web pages."""
    files = set()
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            if TOOLS & set(path.parents):
                continue
            relative = path.relative_to(ROOT / folder)
            data = "static" in relative.parts and path.is_file()
            if path.suffix in (".py", ".toml") or path.name == "py.typed" or data:
                files.add(f"{package}/{relative.as_posix()}")
    return files


@pytest.mark.timeout(180)
def test_the_wheel_holds_what_the_tree_holds(wheel: Path) -> None:
    held = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert held == shipped_files()


def test_every_folder_with_modules_is_a_typed_package_named_in_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for folder, package in FOLDERS.items():
        for init in (ROOT / folder).rglob("*.py"):
            place = init.parent
            if place in TOOLS:
                continue
            name = ".".join([*package.split("/"), *place.relative_to(ROOT / folder).parts])
            assert name in project["packages"], f"{place} is not in pyproject's packages"
            assert (place / "__init__.py").exists(), f"{place} has no __init__.py"
            assert (place / "py.typed").exists(), f"{place} has no py.typed"


@pytest.mark.timeout(180)
def test_it_installs_beside_an_app_with_its_own_config_and_messages(wheel: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    (app / "messages").mkdir(parents=True)
    (app / "config.py").write_text("OWNER = 'the app'\n")
    (app / "messages" / "__init__.py").write_text("OWNER = 'the app'\n")
    (app / "main.py").write_text(
        "import config, messages, tickloom, tickloom.config, tickloom.messages\n"
        "print(config.OWNER, messages.OWNER, tickloom.config.__name__, tickloom.messages.__name__, tickloom.__file__)\n"
    )
    environment = tmp_path / "env"
    # dependencies come from the environment that runs the tests: what is under test is our own wheel
    venv.create(environment, with_pip=False)
    site = next((environment / "lib").glob("python3.*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    dependencies = [p for p in sys.path if p.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    done = subprocess.run(
        [str(environment / "bin" / "python"), "main.py"],
        cwd=app,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    *owners, config_name, messages_name, file = done.stdout.split()
    assert owners == ["the", "app", "the", "app"]
    assert (config_name, messages_name) == ("tickloom.config", "tickloom.messages")
    assert Path(file).is_relative_to(site)


def test_importing_tickloom_starts_no_thread_and_touches_no_signal_or_loop_policy() -> None:
    code = (
        "import asyncio, signal, sys, threading\n"
        "before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.getswitchinterval())\n"
        "import tickloom\n"
        "after = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.getswitchinterval())\n"
        "assert before == after\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert asyncio.events._event_loop_policy is None\n"
    )
    env = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
