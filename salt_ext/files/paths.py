"""Paths as users type them: nothing that one can be makes a traceback, or a process that waits for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from salt_ext.errors import InputError, OutputError

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# Names with these endings are of files, wherever a model lies.
_SUFFIXES = (".jinja", ".json", ".model", ".safetensors")


def expanded(path: str | Path) -> Path:
    """The path with its leading `~` or `~user` replaced; as it is where there is no such user."""
    return Path(os.path.expanduser(path))


def is_stream(path: str | Path) -> bool:
    """Whether a path is a pipe, a socket or a device: bytes that come or go and lie nowhere."""
    mode = _mode(path)
    return not (mode == 0 or stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def require_regular(file: str | Path, what: str = "") -> None:
    """Checks that a path is no pipe or device; reading one of those may never end.

    A pipe without a name passes, as a shell makes one for `<(command)`: somebody writes into it already.

    Args:
        file: the path; it may be missing, or a folder: opening it says so.
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


def require_file(path: Path, what: str) -> None:
    """Raise InputError unless `path` is a regular file that is not compressed and not empty."""
    if not path.exists():
        raise InputError(f"{what} {path}: no such file")
    if not path.is_file():
        raise InputError(f"{what} {path}: is not a regular file")
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise InputError(f"{what} {path}: cannot be read ({error.strerror})") from error
    if not start:
        raise InputError(f"{what} {path}: is empty")
    if start == b"\x1f\x8b":
        raise InputError(f"{what} {path}: is gzip-compressed, expected the unpacked file (gunzip it first)")


def require_plain_files(folder: Path, what: str) -> None:
    """Checks that what should be a file of a model or a tokenizer is one; whoever opened a pipe might wait for ever.

    Args:
        folder: the folder; its hidden files do not count, and sub-folders only where they have the name of a file.
        what: what the user calls it, for the message.

    Raises:
        InputError: naming the first that is none; or the folder cannot be listed.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{what}: the folder {folder} cannot be read: {error.strerror}") from error
    for entry in entries:
        if entry.name[0] == ".":
            continue
        if entry.suffix in _SUFFIXES and entry.is_dir():
            raise InputError(f"{what}: {entry} is a folder, where a file was expected")
        require_regular(entry, f"{what}:")


def require_text(output: str | Path) -> None:
    """Checks that the name of an output is UTF-8: the tokenizers library can write to no other, and comes last.

    Raises:
        OutputError: it is not.
    """
    try:
        str(output).encode("utf-8")
    except UnicodeEncodeError as error:
        raise OutputError(f"the output {output} cannot be made: its name is not UTF-8") from error


def _mode(path: str | Path) -> int:
    """Of what the path leads to; 0 where that is nothing: missing, a loop of links, a name too long."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return 0
