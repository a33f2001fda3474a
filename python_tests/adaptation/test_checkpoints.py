"""A checkpoint that is not whole never counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from salt_ext.adaptation.checkpoints import (
    COMPLETE_FILE,
    is_complete,
    last_complete,
    mark_complete,
    remove_old,
    step_of,
)


def checkpoint(folder: Path, step: int, *, whole: bool = True) -> Path:
    made = folder / f"checkpoint-{step}"
    (made / "shards").mkdir(parents=True)
    (made / "weights").write_bytes(b"1234567")
    (made / "shards" / "0").write_bytes(b"abc")
    if whole:
        mark_complete(made)
    return made


def test_the_newest_whole_one_counts(tmp_path):
    assert last_complete(tmp_path) is None
    for step in (2, 10, 9):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 12, whole=False)
    (tmp_path / "checkpoint-final").mkdir()
    assert last_complete(tmp_path) == tmp_path / "checkpoint-10"
    assert (step_of(last_complete(tmp_path)), step_of(None)) == (10, 0)


@pytest.mark.parametrize("damage", ["cut", "missing", "more", "marker"])
def test_damage_shows(tmp_path, damage):
    made = checkpoint(tmp_path, 4)
    assert is_complete(made)
    if damage == "cut":
        (made / "weights").write_bytes(b"1234")
    elif damage == "missing":
        (made / "shards" / "0").unlink()
    elif damage == "more":
        (made / "optimizer").write_bytes(b"")
    else:
        (made / COMPLETE_FILE).write_bytes((made / COMPLETE_FILE).read_bytes()[:-3])
    assert not is_complete(made)


def test_old_and_half_written_ones_go(tmp_path):
    for step in (2, 4, 10):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 12, whole=False)
    (tmp_path / "model").mkdir()
    remove_old(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-4", "model"]
    remove_old(tmp_path, keep=0)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
