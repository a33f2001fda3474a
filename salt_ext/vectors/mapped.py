"""A memory-mapped binary file that is read section by section, never beyond its end."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from salt_ext.errors import InputError
from salt_ext.files.paths import require_file


class MappedFile:
    """The bytes of a file, with a position, and errors that name the file."""

    def __init__(self, path: Path, what: str) -> None:
        require_file(path, what)
        self._title = f"{what} {path}"
        try:
            with path.open("rb") as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise InputError(f"{self._title}: cannot be mapped into memory ({error})") from error
        self.size = len(self.data)
        self.position = 0

    def error(self, problem: str) -> InputError:
        """An InputError about this file, to be raised."""
        return InputError(f"{self._title}: {problem}")

    def need(self, count: int, section: str) -> None:
        """Raise InputError unless `count` more bytes follow the position."""
        left = self.size - self.position
        if count > left:
            raise self.error(
                f"is truncated or corrupt: {section} needs {count:,} bytes from byte {self.position:,}, found {left:,}"
            )

    def unpack(self, layout: str, section: str) -> tuple[Any, ...]:
        """Read the next fields, little-endian and unpadded, of the `struct` layout."""
        layout = "<" + layout
        self.need(struct.calcsize(layout), section)
        fields = struct.unpack_from(layout, self.data, self.position)
        self.position += struct.calcsize(layout)
        return fields

    def release(self) -> None:
        """Give the pages read so far back to the system (they stay in its cache), so that resident memory stays low."""
        self.data.madvise(mmap.MADV_DONTNEED)
