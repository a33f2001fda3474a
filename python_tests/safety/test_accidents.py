"""Whole transfers that are killed, run out of disk, may not write, or race: an output is absent, old, or whole."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks, limits and kills processes"),
]
KILLS = 50
OLD = {"config.json": b'{"model_type": "old"}', "model.safetensors": b"old weights"}
NOBODY = 65534


def files_of(folder: Path) -> dict[str, bytes]:
    """Contents by name; of the report what does not depend on the clock."""
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    if "salt_report.json" in found:
        report = json.loads(found["salt_report.json"])
        found["salt_report.json"] = json.dumps([sorted(report), report["rows"]]).encode()
    return found


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)} {path.stat().st_mode} {path.stat().st_mtime_ns}\n".encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


@pytest.fixture(scope="module")
def whole(world, runner) -> dict[str, object]:
    """What an undisturbed transfer makes, and when its steps begin; transformers opens it."""
    runner(world / "whole", here=True)
    begins = runner(world / "timed", here=True)
    (timed,) = runner(world / "forked")
    assert timed["status"] == 0
    expected = files_of(world / "whole")
    assert files_of(world / "forked") == expected
    model = transformers.AutoModelForCausalLM.from_pretrained(world / "whole")
    tokenizer = transformers.AutoTokenizer.from_pretrained(world / "whole")
    with torch.no_grad():
        assert model(**tokenizer("Katze Straße", return_tensors="pt")).logits.isfinite().all()
    for name in ("whole", "timed", "forked"):
        shutil.rmtree(world / name)
    return {"files": expected, "write": begins["write the output"], **timed}


@pytest.fixture
def place(world) -> Iterator[Path]:
    """A folder for outputs, which every test must leave as it must be left."""
    before = digest(world / "source"), digest(world / "donor")
    folder = world / "place"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)
    assert (digest(world / "source"), digest(world / "donor")) == before


def write_old(output: Path) -> None:
    output.mkdir()
    for name, content in OLD.items():
        (output / name).write_bytes(content)


def moments(count: int, seconds: float, write: float) -> Iterator[float]:
    """Random moments of a run: a third of them anywhere, the others from when the writing begins to the end."""
    generator = random.Random(11)
    for number in range(count):
        yield generator.uniform(0 if number % 3 == 0 else write, 1.1 * seconds)


def test_kills_at_random_moments(world, place, runner, whole):
    output, absent, made, left = place / "out", 0, 0, 0
    for moment in moments(KILLS // 2, whole["seconds"], whole["write"]):
        (answer,) = runner(output, kill_after=moment)
        if answer["status"] == 0 or output.exists():
            made += 1
            assert files_of(output) == whole["files"]
            shutil.rmtree(output)
        else:
            absent += 1
            assert answer["status"] == -9
        hidden = [path.name for path in place.iterdir()]
        assert all(name.startswith(".out.salt-") for name in hidden)
        # Every run removes what the one before it left.
        assert len(hidden) <= 1
        left += len(hidden)
    assert absent > 3
    assert left > 1
    assert runner(output)[0]["status"] == 0
    assert files_of(output) == whole["files"]
    assert [path.name for path in place.iterdir()] == ["out"]
    print(f"{KILLS // 2} kills: {absent} times no output, {made} times a whole one, {left} times a hidden rest")


def test_kills_while_an_output_is_replaced(place, runner, whole):
    output, kept, replaced = place / "out", 0, 0
    write_old(output)
    for moment in moments(KILLS - KILLS // 2, whole["seconds"], whole["write"]):
        (answer,) = runner(output, force=True, kill_after=moment)
        if files_of(output) == OLD:
            kept += 1
            assert answer["status"] == -9
        else:
            replaced += 1
            assert files_of(output) == whole["files"]
            shutil.rmtree(output)
            write_old(output)
        assert len(list(place.iterdir())) <= 2
    assert kept > 3
    assert runner(output, force=True)[0]["status"] == 0
    assert files_of(output) == whole["files"]
    assert [path.name for path in place.iterdir()] == ["out"]
    print(f"{KILLS - KILLS // 2} kills: {kept} times the old output, {replaced} times the new one")


@pytest.mark.parametrize("force", [False, True])
def test_files_that_cannot_grow(force, place, runner, whole):
    """Every write beyond a limit fails, as on a full disk; the limit meets one kind of file after the other."""
    output = place / "out"
    if force:
        write_old(output)
    limits = sorted({len(content) - 1 for content in whole["files"].values()})
    for largest in [0, *limits[:: 1 + force]]:
        (answer,) = runner(output, force=force, largest=largest)
        assert answer["error"] == "OutputError", (largest, answer)
        assert "too large" in answer["text"].lower()
        assert {path.name: files_of(path) for path in place.iterdir()} == ({"out": OLD} if force else {})


@pytest.fixture
def small_disk(place) -> Iterator[Path]:
    disk = place / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=160m,mode=755", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up(small_disk, runner, whole):
    output, filler = small_disk / "out", small_disk / "filler"
    size = sum(map(len, whole["files"].values()))
    generator = random.Random(3)
    moments = [("write the output", int(size * generator.uniform(0, 0.9))) for _ in range(6)]
    for at, left in [("open the models", 1000), ("make the new tokens' rows", 1000), *moments, ("check the output", 0)]:
        (answer,) = runner(output, fill={"at": at, "file": str(filler), "left": left})
        assert answer["error"] == "OutputError", (at, left, answer)
        assert "No space left" in answer["text"] or "too full" in answer["text"]
        assert [path.name for path in small_disk.iterdir()] == ["filler"]
        filler.unlink()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_may_not_be_written(place, runner):
    place.chmod(0o555)
    (answer,) = runner(place / "out", user=NOBODY)
    assert (answer["error"], list(place.iterdir())) == ("OutputError", [])
    assert "is not writable" in answer["text"]
    place.chmod(0o777)
    write_old(place / "out")
    (place / "out").chmod(0o555)
    place.chmod(0o555)
    (answer,) = runner(place / "out", user=NOBODY, force=True)
    assert answer["error"] == "OutputError"
    assert {path.name: files_of(path) for path in place.iterdir()} == {"out": OLD}


def test_two_runs_into_one_output(place, runner, whole):
    output = place / "out"
    for _ in range(4):
        answers = runner(output, copies=2)
        assert sorted(answer["status"] for answer in answers) == [0, 1]
        loser = next(answer for answer in answers if answer["status"])
        assert loser["error"] == "OutputError"
        assert "exists already" in loser["text"] or "appeared while" in loser["text"]
        assert [path.name for path in place.iterdir()] == ["out"]
        assert files_of(output) == whole["files"]
        shutil.rmtree(output)


def test_two_runs_that_replace_one_output(place, runner, whole):
    """Each may win: the last to finish stays, and nothing else does."""
    output = place / "out"
    write_old(output)
    answers = runner(output, copies=2, force=True)
    assert [answer["status"] for answer in answers] == [0, 0]
    assert [path.name for path in place.iterdir()] == ["out"]
    assert files_of(output) == whole["files"]
