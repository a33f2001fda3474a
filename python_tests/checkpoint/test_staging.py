"""The folder appears complete or not at all: kills, full disks, failures, races."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from salt_ext.checkpoint import check_output, staging
from salt_ext.checkpoint.staging import staged_folder
from salt_ext.errors import OutputError

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


def _write(output: Path, files: dict[str, bytes], *, force: bool = False, failure: BaseException | None = None) -> None:
    with staged_folder(output, force=force) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        if failure is not None:
            raise failure


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
    duration = _duration(tmp_path)
    generator = random.Random(3)
    absent = 0
    for number in range(25):
        output = tmp_path / f"out{number}"
        child = _child(output, force=False, tag="n")
        assert child.stdout.readline() == b"ready\n"
        time.sleep(generator.uniform(0, 1.2) * duration)
        child.send_signal(signal.SIGKILL)
        child.wait()
        absent += not output.exists()
        if output.exists():
            assert _tag(output) == "n"
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


def test_failure_leaves_nothing(tmp_path):
    for failure in (RuntimeError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(failure)):
            _write(tmp_path / "out", {"file": b"x"}, failure=failure)
        assert not list(tmp_path.iterdir())


def test_failure_keeps_the_existing_output(tmp_path, monkeypatch):
    output = tmp_path / "out"
    _write(output, {"config.json": b"old"})
    with pytest.raises(RuntimeError):
        _write(output, {"config.json": b"new"}, force=True, failure=RuntimeError())
    assert (output / "config.json").read_bytes() == b"old"

    # Without an atomic exchange the old folder is moved aside; it must come back when the new one cannot follow.
    monkeypatch.setattr(staging, "_exchange", lambda *_: False)
    rename = os.rename

    def failing(first: Path, second: Path) -> None:
        if Path(second) == output and not str(first).endswith("-old"):
            raise PermissionError(1, "Operation not permitted")
        rename(first, second)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OutputError, match="out cannot be written: Operation not permitted"):
        _write(output, {"config.json": b"new"}, force=True)
    assert (output / "config.json").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [output]

    monkeypatch.setattr(os, "rename", rename)
    _write(output, {"config.json": b"new"}, force=True)
    assert (output / "config.json").read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [output]


def test_force_replaces(tmp_path):
    output = tmp_path / "out"
    _write(output, {"old": b""})
    _write(output, {"new": b""}, force=True)
    assert [path.name for path in output.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [output]


def test_two_runs_at_once(tmp_path):
    output = tmp_path / "out"

    def first() -> None:
        with staged_folder(output, force=False) as folder:
            (folder / "first").touch()
            _write(output, {"second": b""})

    with pytest.raises(OutputError, match="appeared while it was being made"):
        first()
    assert [path.name for path in output.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [output]


def test_only_the_dead_are_swept_away(tmp_path):
    output = tmp_path / "o[u]t"
    host = staging._host()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {
        f".o[u]t.salt-{host}-{dead.pid}-00000000": False,
        f".o[u]t.salt-{host}-{dead.pid}-00000000-old": True,  # the output itself, moved aside and never replaced
        f".o[u]t.salt-{host}-{os.getpid()}-00000000": True,
        f".o[u]t.salt-00000000-{dead.pid}-00000000": True,  # another machine that shares the folder
        f".other.salt-{host}-{dead.pid}-00000000": True,
        ".o[u]t.salt-notes": True,
    }
    for name in names:
        (tmp_path / name).mkdir()
    with staged_folder(output, force=False):
        pass
    assert {name: (tmp_path / name).exists() for name in names} == names
    with staged_folder(output, force=True):
        pass
    assert not (tmp_path / f".o[u]t.salt-{host}-{dead.pid}-00000000-old").exists()


def test_full_disk(small_disk):
    with pytest.raises(OutputError, match="out cannot be written: No space left on device"):
        _write(small_disk / "out", {str(number): bytes(400_000) for number in range(5)})
    assert not list(small_disk.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="needs a device that is always full")
def test_full_device(tmp_path):
    """What a full disk does to a write, wherever the tests run."""

    def write() -> None:
        with staged_folder(tmp_path / "out", force=False) as folder:
            (folder / "full").symlink_to("/dev/full")
            (folder / "full").write_bytes(b"x")

    with pytest.raises(OutputError, match="out cannot be written: No space left on device"):
        write()
    assert not list(tmp_path.iterdir())


def test_check_output(tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "config.json").touch()
    (tmp_path / "link").symlink_to(source)

    def refused(output: Path, message: str, *, force: bool = True) -> None:
        with pytest.raises(OutputError, match=message):
            check_output(output, inputs=[source], force=force)

    for output in (source, source / "new", tmp_path, tmp_path / "link", tmp_path / "x" / ".." / "source"):
        refused(output, "must lie apart")
    refused(tmp_path / "no" / "out", "there is no folder")
    existing = tmp_path / "existing"
    existing.mkdir()
    refused(existing, "exists already", force=False)
    assert check_output(existing, inputs=[source], force=True) == existing.resolve()
    (existing / "thesis.txt").touch()
    refused(existing, "is not a model folder")
    (existing / "config.json").touch()
    assert check_output(existing, inputs=[source], force=True) == existing.resolve()
    file = tmp_path / "file"
    file.touch()
    refused(file, "is not a model folder")
    assert check_output(tmp_path / "source2", inputs=[source], force=False) == (tmp_path / "source2").resolve()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_parent(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="is not writable"):
        check_output(tmp_path / "out", inputs=[], force=False)


def test_read_only_parent(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="is not writable"):
        check_output(tmp_path / "out", inputs=[], force=False)
