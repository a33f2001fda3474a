"""Checkpoints that can be trusted: one counts when a file in it lists all others with their sizes, on the disk."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

COMPLETE_FILE = "salt_complete.json"
_NAME = re.compile(r"checkpoint-(\d+)")


def mark_complete(folder: Path) -> None:
    """Flushes a checkpoint's files to the disk, and then says that they are all there.

    Raises:
        OSError: the disk is full, or fails.
    """
    sizes = _sizes(folder)
    for name in sizes:
        _flush(folder / name)
    draft = folder / f".{COMPLETE_FILE}"
    draft.write_text(json.dumps(sizes), encoding="utf-8")
    _flush(draft)
    draft.replace(folder / COMPLETE_FILE)


def is_complete(folder: Path) -> bool:
    """Whether nothing of a checkpoint is missing or cut off."""
    try:
        sizes = json.loads((folder / COMPLETE_FILE).read_bytes())
        return isinstance(sizes, dict) and sizes == {
            name: size for name, size in _sizes(folder).items() if name != COMPLETE_FILE
        }
    except (OSError, ValueError):
        return False


def last_complete(folder: Path) -> Path | None:
    """The newest checkpoint of a phase that is complete; None for none."""
    return next((path for path in _newest_first(folder) if is_complete(path)), None)


def step_of(checkpoint: Path | None) -> int:
    """Updates that were made when it was written; 0 for None."""
    match = None if checkpoint is None else _NAME.fullmatch(checkpoint.name)
    return 0 if match is None else int(match[1])


def remove_old(folder: Path, *, keep: int) -> None:
    """Removes all but the newest complete checkpoints, half-written ones too: they are in the way of the next."""
    complete = [path for path in _newest_first(folder) if is_complete(path)]
    for path in _newest_first(folder):
        if path not in complete[:keep]:
            shutil.rmtree(path, ignore_errors=True)


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name)), key=step_of)[::-1]


def _sizes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def _flush(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
