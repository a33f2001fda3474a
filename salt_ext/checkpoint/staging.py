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
from collections.abc import Callable, Iterator
from pathlib import Path

from salt_ext.errors import OutputError, SaltError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# Bytes of the output's name in the hidden one; with all that is put around them, some file systems take no more.
_LONGEST = 96


@contextlib.contextmanager
def staged_folder(output: Path, *, force: bool, check: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """A folder to fill, which becomes `output` when the block ends and vanishes when the block raises.

    Args:
        output: where it shall appear; as returned by `check_output`.
        force: whether it replaces an existing folder. The exchange is atomic where the system can swap two folders;
            elsewhere the old folder is moved aside first, and moved back when the new one cannot take its place.
        check: called with the existing folder right before it is replaced; what it raises leaves the folder there.

    Yields:
        An empty folder beside `output`.

    Raises:
        OutputError: writing or renaming failed; nothing is left behind, and an existing output is as it was.
        SaltError: from the block; where its message names the hidden folder, it names `output` instead.
    """
    _remove_stale(output)
    staging = staging_folder(output)
    try:
        try:
            staging.mkdir()
            yield staging
            _flush(staging)
            _publish(staging, output, force=force, check=check)
        except SaltError as error:
            error.args = tuple(_shown(str(part), staging, output) for part in error.args)
            raise
        except OSError as error:
            reason = _shown(error.strerror or str(error), staging, output)
            raise OutputError(f"{output} cannot be written: {reason}") from error
    finally:
        # After a success this is the folder that was replaced, or nothing.
        shutil.rmtree(staging, ignore_errors=True)


def staging_folder(output: Path) -> Path:
    """A hidden sibling of the output that nobody else uses."""
    return output.parent / f"{_prefix(output)}{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def _shown(text: str, staging: Path, output: Path) -> str:
    """Nobody looks for a hidden folder that is gone by the time its name is read."""
    return text.replace(str(staging), str(output)).replace(staging.name, output.name)


def _prefix(output: Path) -> str:
    name, encoded = output.name, os.fsencode(output.name)
    if len(encoded) > _LONGEST:
        while len(os.fsencode(name)) > _LONGEST:
            name = name[:-1]
        name += f"~{zlib.crc32(encoded):08x}"
    return f".{name}.salt-"


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
            if name == ".":
                _sync_folder(path)
            elif os.stat(path).st_nlink == 1:
                _sync(path)


def _sync_folder(path: str | Path) -> None:
    """Some file systems cannot, and a folder may be writable but not readable: then its files are safe, it is not."""
    with contextlib.suppress(OSError):
        _sync(path)


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(staging: Path, output: Path, *, force: bool, check: Callable[[Path], None] | None) -> None:
    if not _renamed(staging, output):
        if not force:
            raise OutputError(f"the output {output} appeared while it was being made; it was left alone")
        if check is not None:
            check(output)
        _replace(staging, output)
    _sync_folder(output.parent)


def _renamed(staging: Path, output: Path) -> bool:
    """Whether the output was not there yet, so that the folder could take its place."""
    if os.path.lexists(output):
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
