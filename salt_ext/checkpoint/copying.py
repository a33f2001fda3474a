"""Bytes from file to file at the speed of the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from salt_ext.errors import InputError

Advance = Callable[[int], None]

# It stays in a core's cache: through 16 MB the same copy took four times as long where we measured it.
_BUFFER = 1 << 18
# linux/fs.h: lets a file share all blocks of another one, where the file system can.
_FICLONE = 0x40049409
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}


def copy_file(source: Path, target: Path, *, link: bool, advance: Advance) -> None:
    """Makes `target` the same bytes as `source`, as a new file, see `create`.

    Args:
        source: the file to read; a symbolic link is followed, as the hub's cache is made of them.
        target: the file to make.
        link: make a hard link where `can_link` expects one and the system can, so that both names are one file; else a
            copy, which shares its blocks with the source on file systems that can clone.
        advance: called with the bytes of every step.

    Raises:
        InputError: `source` cannot be opened, or shrinks while it is read.
        OSError: `target` exists, or cannot be written.
    """
    with open_for_copy(source) as reader:
        size = os.fstat(reader.fileno()).st_size
        if link and can_link(source, target.parent) and _linked(source, target):
            advance(size)
            return
        with create(target, like=reader) as writer:
            if _cloned(reader, writer):
                advance(size)
            else:
                copy_range(reader, writer, 0, size, advance=advance)


def can_link(source: Path, folder: Path) -> bool:
    """Whether a hard link of `source` in `folder` is to be expected: it is a file itself, and both are on one device.

    What a symbolic link leads to is another's: the hub's cache, or a disk of models that several folders share. A hard
    link of it would let an edit of the output change them all.
    """
    status = source.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_dev == folder.stat().st_dev and not _is_in_the_hub_cache(source)


def create(target: Path, *, like: FileIO) -> FileIO:
    """A new file, open for writing without a buffer; nobody may read it who may not read the file it is made from.

    Args:
        target: the file to make.
        like: the open file that it is made from. As with cp, its permissions bound those of a new file.

    Raises:
        OSError: `target` exists, or cannot be made.
    """
    mode = stat.S_IRUSR | stat.S_IWUSR | os.fstat(like.fileno()).st_mode & 0o066
    return open(target, "xb", buffering=0, opener=lambda path, flags: os.open(path, flags, mode))


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

    Through a small buffer: the kernel's own copy was no faster where we measured both.

    Raises:
        InputError: `reader` ends before that.
        OSError: reading or writing failed.
    """
    left = count
    reader.seek(begin)
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


def _cloned(reader: FileIO, writer: FileIO) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    # Most file systems cannot, and say so in many ways; a disk that fails shows when the bytes are copied.
    with contextlib.suppress(OSError):
        fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        return True
    return False


def _is_in_the_hub_cache(file: Path) -> bool:
    """Without symbolic links, the cache holds its files in the snapshot itself."""
    snapshot = file.parent
    return snapshot.parent.name == "snapshots" and snapshot.parent.parent.name.startswith("models--")


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    return True
