"""Text that a user gives: lines of UTF-8."""

from __future__ import annotations

from pathlib import Path

from salt_ext.errors import InputError
from salt_ext.files.paths import require_regular


def read_lines(file: Path, *, max_bytes: int | None = None) -> list[str]:
    """The lines of a file, from its front.

    Args:
        file: UTF-8.
        max_bytes: read no more than this, up to the last line that is whole; None for all.

    Raises:
        InputError: it cannot be read, is not UTF-8, or holds no text.
    """
    require_regular(file, "text")
    try:
        with file.open("rb") as stream:
            data = stream.read(-1 if max_bytes is None else max_bytes)
    except OSError as error:
        raise InputError(f"text {file} cannot be read: {error.strerror}") from error
    if len(data) == max_bytes:
        data = data[: data.rfind(b"\n") + 1 or None]
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"text {file} is not UTF-8: byte {error.start} cannot be decoded") from None
    if not any(line.strip() for line in lines):
        raise InputError(f"text {file} holds no text")
    return lines
