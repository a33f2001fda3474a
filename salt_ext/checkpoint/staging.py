"""A folder that appears complete or not at all.

Everything is written into a hidden sibling of the output, flushed to the disk, and renamed at the end. A process that
is killed leaves at most that sibling, whose name says which process made it; the next run into the same output removes
it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import socket
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from salt_ext.errors import OutputError, SaltError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def check_output(output: Path, *, inputs: Sequence[Path], force: bool) -> Path:
    """Checks, before any work, that `output` can become a model folder; touches nothing.

    Args:
        output: the folder to make.
        inputs: folders that are read and must survive.
        force: whether an existing model folder may be replaced.

    Returns:
        The absolute path of the output, symbolic links resolved.

    Raises:
        OutputError: it exists (with `force`: and is not a model folder), it is one of the inputs or lies inside one or
            around one, or its parent is missing or not writable.
    """
    resolved = Path(output).expanduser().resolve()
    for folder in inputs:
        other = folder.resolve()
        if resolved == other or other in resolved.parents or resolved in other.parents:
            raise OutputError(f"the output {output} must lie apart from the model {folder} that it is made from")
    if resolved.exists():
        if not force:
            raise OutputError(f"the output {output} exists already; choose another folder or use force to replace it")
        if not resolved.is_dir() or (any(resolved.iterdir()) and not (resolved / "config.json").is_file()):
            raise OutputError(
                f"the output {output} exists and is not a model folder, so even force does not replace it"
            )
    parent = resolved.parent
    if not parent.is_dir():
        raise OutputError(f"the output {output} cannot be made: there is no folder {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"the output {output} cannot be made: the folder {parent} is not writable")
    return resolved


def check_space(output: Path, needed: int) -> None:
    """Checks that the disk of `output` has room.

    Raises:
        OutputError: fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise OutputError(f"the disk of {output} is too full: {_size(needed)} are needed, {_size(free)} are free")


@contextlib.contextmanager
def staged_folder(output: Path, *, force: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `output` when the block ends and vanishes when the block raises.

    Args:
        output: where it shall appear; as returned by `check_output`.
        force: whether it replaces an existing folder. The exchange is atomic where the system can swap two folders;
            elsewhere the old folder is moved aside first, and moved back when the new one cannot take its place.

    Yields:
        An empty folder beside `output`.

    Raises:
        OutputError: writing or renaming failed; nothing is left behind, and an existing output is as it was.
    """
    _remove_stale(output)
    staging = output.parent / f"{_prefix(output)}{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        try:
            staging.mkdir()
            yield staging
            _flush(staging)
            _publish(staging, output, force=force)
        except OSError as error:
            if isinstance(error, SaltError):
                raise
            raise OutputError(f"{output} cannot be written: {error.strerror or error}") from error
    finally:
        # After a success this is the folder that was replaced, or nothing.
        shutil.rmtree(staging, ignore_errors=True)


def _prefix(output: Path) -> str:
    return f".{output.name}.salt-"


def _host() -> str:
    """Process ids mean something on one machine only, and a folder may be shared by several."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _remove_stale(output: Path) -> None:
    """Removes what killed runs of this machine into the same output have left."""
    pattern = re.compile(re.escape(f"{_prefix(output)}{_host()}-") + r"(\d+)-[0-9a-f]{8}(-old)?")
    for path in output.parent.glob(f"{_glob_escape(_prefix(output))}*"):
        match = pattern.fullmatch(path.name)
        # An old output that was moved aside is the only copy where the new one never took its place.
        if match is not None and not _alive(int(match[1])) and (match[2] is None or output.exists()):
            shutil.rmtree(path, ignore_errors=True)


def _glob_escape(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _flush(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in [*names, "."]:
            path = os.path.join(root, name)
            # A hard link brings no bytes of its own: what it points to was there before.
            if name == "." or os.stat(path).st_nlink == 1:
                _sync(path)


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(staging: Path, output: Path, *, force: bool) -> None:
    if not _renamed(staging, output):
        if not force:
            raise OutputError(f"the output {output} appeared while it was being made; it was left alone")
        _replace(staging, output)
    _sync(output.parent)


def _renamed(staging: Path, output: Path) -> bool:
    """Whether the output was not there yet, so that the folder could take its place."""
    if output.exists():
        return False
    try:
        os.rename(staging, output)
    except OSError as error:
        # Another run was faster between the question and the answer.
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True


def _replace(staging: Path, output: Path) -> None:
    if not _exchange(staging, output):
        aside = staging.with_name(staging.name + "-old")
        os.rename(output, aside)
        try:
            os.rename(staging, output)
        except BaseException:
            os.rename(aside, output)
            raise
        os.rename(aside, staging)


def _exchange(first: Path, second: Path) -> bool:
    """Swaps two folders in one step; False where the system or its file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0)


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10**8 else f"{count / 1e6:.2f} MB"
