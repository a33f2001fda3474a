"""Paths as users type them: nothing that one can be makes a traceback, or a process that waits for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from salt_ext.errors import InputError
from salt_ext.listing import listed

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def expanded(path: str | Path) -> Path:
    """The path with its leading `~` or `~user` replaced; as it is where there is no such user."""
    return Path(os.path.expanduser(path))


def is_stream(path: str | Path) -> bool:
    """Whether a path is a pipe, a socket or a device: bytes that come or go and lie nowhere."""
    mode = _mode(path)
    return not (mode == 0 or stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def require_regular(file: str | Path, what: str = "") -> None:
    """Checks that a path is no folder, pipe or device; reading one of those may never end.

    A pipe without a name passes, as a shell makes one for `<(command)`: somebody writes into it already.

    Args:
        file: the path; it may be missing.
        what: what to call it in the message.

    Raises:
        InputError: it is one of those.
    """
    mode = _mode(file)
    if stat.S_ISFIFO(mode) and not os.path.exists(os.path.realpath(file)):
        return
    kind = next((kind for is_one, kind in _KINDS if is_one(mode)), None)
    if kind is not None:
        raise InputError(f"{what} {file} is {kind}, where a file was expected".lstrip())


def require_plain_files(folder: Path, what: str) -> None:
    """Checks that nothing in a folder is a pipe or a device: whoever opened that as a file might wait for ever.

    Args:
        folder: the folder; its hidden files do not count.
        what: what the user calls it, for the message.

    Raises:
        InputError: naming the first one; or the folder cannot be listed.
    """
    try:
        streams = [path.name for path in sorted(folder.iterdir()) if is_stream(path) and path.name[0] != "."]
    except OSError as error:
        raise InputError(f"{what}: the folder {folder} cannot be read: {error.strerror}") from error
    if streams:
        raise InputError(f"{what}: {folder} holds {listed(streams)}: a pipe or a device, where files were expected")


def _mode(path: str | Path) -> int:
    """Of what the path leads to; 0 where that is nothing: missing, a loop of links, a name too long."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return 0
