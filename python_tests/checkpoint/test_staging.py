"""The folder appears complete or not at all: full disks, failures, outputs that appear meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from salt_ext.checkpoint import check_output, staging
from salt_ext.checkpoint.staging import staged_folder
from salt_ext.errors import OutputError


def _write(output: Path, files: dict[str, bytes], *, force: bool = False, failure: BaseException | None = None) -> None:
    with staged_folder(output, force=force) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        if failure is not None:
            raise failure


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


@pytest.mark.parametrize("force", [False, True])
def test_output_that_appears_between_question_and_answer(tmp_path, monkeypatch, force):
    output = tmp_path / "out"
    _write(output, {"config.json": b"other"})
    answers = iter([False])
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: next(answers, True) if path == output else exists(path))
    if not force:
        with pytest.raises(OutputError, match="appeared while it was being made"):
            _write(output, {"config.json": b"mine"})
    else:
        _write(output, {"config.json": b"mine"}, force=True)
    assert (output / "config.json").read_bytes() == (b"mine" if force else b"other")
    assert list(tmp_path.iterdir()) == [output]


def test_read_only_disk(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OutputError, match="is not writable"):
        check_output(small_disk / "out", inputs=[], force=False)
    with pytest.raises(OutputError, match="out cannot be written: Read-only file system"):
        _write(small_disk / "out", {"file": b""})


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
