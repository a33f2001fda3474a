"""The folder appears complete or not at all, whatever happens to the processes that make it: kills and races."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from salt_ext.checkpoint import staging
from salt_ext.checkpoint.staging import staged_folder

pytestmark = pytest.mark.slow
FILES = 30
# The module alone, so that a child starts in milliseconds and the kills fall into the writing.
CHILD = """
import importlib.util, pathlib, sys, types

root, output, force, tag, count = sys.argv[1:]
def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
sys.modules["salt_ext"] = types.ModuleType("salt_ext")
load("salt_ext.errors", root + "/errors.py")
staging = load("staging", root + "/checkpoint/staging.py")
print("ready", flush=True)
with staging.staged_folder(pathlib.Path(output), force=force == "force") as folder:
    for number in range(int(count)):
        (folder / f"{number}.txt").write_bytes(tag.encode() * 50_000)
    (folder / "config.json").write_text("{}")
"""
PACKAGE = Path(staging.__file__).parent.parent


def _child(output: Path, *, force: bool, tag: str) -> subprocess.Popen[bytes]:
    arguments = [
        sys.executable,
        "-S",
        "-c",
        CHILD,
        str(PACKAGE),
        str(output),
        "force" if force else "no",
        tag,
        str(FILES),
    ]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _tag(output: Path) -> str:
    """Which run made this folder; fails when it is not complete."""
    assert len(list(output.iterdir())) == FILES + 1
    tags = {(output / f"{number}.txt").read_bytes() for number in range(FILES)}
    assert len(tags) == 1
    content = tags.pop().decode()
    assert len(content) == 50_000
    return content[0]


def _duration(tmp_path: Path) -> float:
    child = _child(tmp_path / "timed", force=False, tag="t")
    assert child.stdout.readline() == b"ready\n"
    begin = time.perf_counter()
    child.wait()
    assert child.returncode == 0
    return time.perf_counter() - begin


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_kill_at_any_moment(tmp_path):
    """25 kills: the output is absent or whole, leftovers are hidden, and the next run sweeps them away."""
    wait, generator, absent = _duration(tmp_path), random.Random(3), 0
    for number in range(25):
        output = tmp_path / f"out{number}"
        child = _child(output, force=False, tag="n")
        assert child.stdout.readline() == b"ready\n"
        time.sleep(generator.uniform(0, 1.2) * wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
        # Whatever else the machine does meanwhile, the moments gather around the one at which the output appears.
        if output.exists():
            assert _tag(output) == "n"
            wait *= 0.7
        else:
            absent += 1
            wait *= 1.3
        assert all(path.name.startswith(".") for path in tmp_path.glob(f"*out{number}*") if path != output)
    assert absent >= 5
    leftovers = list(tmp_path.glob(".out*"))
    assert leftovers
    for left in leftovers:
        name = left.name.split(".salt-")[0][1:]
        with staged_folder(tmp_path / name, force=True):
            pass
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs the atomic exchange of folders")
def test_kill_while_an_existing_output_is_replaced(tmp_path):
    """15 kills with force: at any moment there is a whole output, the old one or the new one."""
    duration = _duration(tmp_path)
    output = tmp_path / "out"
    child = _child(output, force=False, tag="0")
    assert child.wait() == 0
    generator = random.Random(4)
    for number in range(15):
        previous, tag = _tag(output), chr(ord("a") + number)
        child = _child(output, force=True, tag=tag)
        assert child.stdout.readline() == b"ready\n"
        time.sleep(generator.uniform(0.3, 1.2) * duration)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert _tag(output) in (previous, tag)
    child = _child(output, force=True, tag="z")
    assert child.wait() == 0
    assert _tag(output) == "z"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "timed"]


def test_two_processes_at_once(tmp_path):
    """Ten races of two processes without force: one wins, the other is refused, and the winner's folder is whole."""
    for number in range(10):
        output = tmp_path / f"out{number}"
        children = {tag: _child(output, force=False, tag=tag) for tag in "ab"}
        codes = {tag: child.wait() for tag, child in children.items()}
        assert sorted(codes.values()) == [0, 1]
        assert codes[_tag(output)] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"out{number}" for number in range(10)]


def test_two_processes_that_both_replace(tmp_path):
    output = tmp_path / "out"
    for number in range(10):
        children = [_child(output, force=True, tag=tag) for tag in "ab"]
        assert [child.wait() for child in children] == [0, 0], number
        assert _tag(output) in "ab"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
