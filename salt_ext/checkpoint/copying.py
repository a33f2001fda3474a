"""Bytes from file to file at the speed of the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from salt_ext.errors import InputError

Advance = Callable[[int], None]

_BUFFER = 1 << 24
# One step of the kernel's copy, so that progress moves.
_STEP = 1 << 28
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
_NO_KERNEL_COPY = {errno.EXDEV, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}


def copy_file(source: Path, target: Path, *, link: bool, advance: Advance) -> None:
    """Makes `target` the same bytes as `source`, with the permissions of a new file.

    Args:
        source: the file to read; a symbolic link is followed, as the hub's cache is made of them.
        target: the file to make.
        link: make a hard link where the system can, so that both names are one file; else a copy, which shares its
            blocks with the source on file systems that can clone.
        advance: told the bytes of every step.

    Raises:
        InputError: `source` cannot be opened, or shrinks while it is read.
        OSError: `target` cannot be written.
    """
    with open_for_copy(source) as reader:
        size = os.fstat(reader.fileno()).st_size
        if link and _linked(source, target):
            advance(size)
            return
        with target.open("wb", buffering=0) as writer:
            copy_range(reader, writer, 0, size, advance=advance)


def can_link(source: Path, folder: Path) -> bool:
    """Whether a hard link of `source` in `folder` is to be expected: both are on one device."""
    return source.resolve().stat().st_dev == folder.stat().st_dev


def open_for_copy(source: Path) -> FileIO:
    """A file to copy from, opened without a buffer.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        return source.open("rb", buffering=0)
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}") from error


def copy_range(reader: FileIO, writer: FileIO, begin: int, count: int, *, advance: Advance) -> None:
    """Appends bytes `begin` to `begin + count` of one open file to another.

    The kernel copies, about twice as fast as through a buffer, and clones where the file system can.

    Raises:
        InputError: `reader` ends before that.
        OSError: reading or writing failed.
    """
    left = count
    while left and (done := _kernel_copy(reader, writer, begin + count - left, min(left, _STEP))):
        left -= done
        advance(done)
    reader.seek(begin + count - left)
    buffer = memoryview(bytearray(min(_BUFFER, left)))
    while left:
        done = reader.readinto(buffer[: min(len(buffer), left)])
        if not done:
            raise InputError(f"{reader.name} ended while it was copied: it changed since it was opened")
        write_all(writer, buffer[:done])
        left -= done
        advance(done)


def write_all(writer: FileIO, data: memoryview | bytes) -> None:
    """Writes everything; one call of an unbuffered file may write less.

    Raises:
        OSError: writing failed.
    """
    view = memoryview(data)
    while view:
        view = view[writer.write(view) :]


def _kernel_copy(reader: FileIO, writer: FileIO, begin: int, count: int) -> int:
    """The bytes that the kernel copied by itself; 0 where it cannot, or the file ends."""
    if not hasattr(os, "copy_file_range"):
        return 0
    try:
        return os.copy_file_range(reader.fileno(), writer.fileno(), count, begin)
    except OSError as error:
        if error.errno in _NO_KERNEL_COPY:
            return 0
        raise


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    return True
