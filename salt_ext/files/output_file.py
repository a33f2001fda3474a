"""Single files that the user asks for: nothing else is overwritten for them, and no link is written through."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from salt_ext.errors import OutputError
from salt_ext.files.paths import is_stream


def check_output_file(file: Path, *, what: str, inputs: Sequence[Path], force: bool) -> None:
    """Checks, before any work, that a file can be made; touches nothing.

    Args:
        file: the file to make. A device or a pipe may always be written to: nothing lies in it.
        what: what to call it in messages.
        inputs: files and folders that are read and must survive; those that are missing do not count.
        force: whether an existing file may be replaced.

    Raises:
        OutputError: it exists (with `force`: and is a folder, one of the inputs, or in an input folder), or its folder
            is missing or not writable, or its name is longer than the file system takes.
    """
    try:
        os.lstat(file)
        exists = True
    except FileNotFoundError:
        exists = False
    except (OSError, ValueError) as error:
        raise OutputError(f"{what} {file} cannot be made: {getattr(error, 'strerror', None) or error}") from None
    if is_stream(file):
        return
    if file.is_dir():
        raise OutputError(f"{what} {file} is a folder; expected the name of a file to make")
    if exists:
        for given in inputs:
            if _is_or_lies_in(file, given):
                raise OutputError(f"{what} {file} is read for this, as {given}; choose another name")
        if not force:
            raise OutputError(f"{what} {file} exists; choose another name, or --force to replace it")
    if not file.parent.is_dir():
        raise OutputError(f"{what} {file} cannot be made: there is no folder {file.parent}")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{what} {file} cannot be made: the folder {file.parent} is not writable")


def write_anew(file: Path, content: bytes | Iterable[bytes], *, what: str) -> None:
    """Writes a file of its own, which appears complete or not at all.

    What had the name before keeps its bytes where it has other names, and so does what a symbolic link points to. Only
    a device or a pipe is written to as it is.

    Args:
        file: the file.
        content: all of it, or its pieces.
        what: what to call it in the message.

    Raises:
        OutputError: it cannot be written; an older file is then as it was.
    """
    pieces = [content] if isinstance(content, bytes) else content
    try:
        if is_stream(file):
            with file.open("wb") as out:
                out.writelines(pieces)
            return
        draft = file.with_name(f".{secrets.token_hex(8)}")
        try:
            with draft.open("xb") as out:
                out.writelines(pieces)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{what} cannot be written to {file}: {error.strerror or error}") from error


def _is_or_lies_in(file: Path, given: Path) -> bool:
    """Whether a file is an input, under whatever name, or lies in an input folder."""
    try:
        if given.is_dir():
            return given.resolve() in file.resolve().parents
        return os.path.samefile(file, given)
    except (OSError, RuntimeError):  # one of the two leads nowhere
        return False
