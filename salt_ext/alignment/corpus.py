"""Parallel text: two files whose lines correspond, and their lines as numbered units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from salt_ext.errors import InputError
from salt_ext.files.paths import expanded, require_regular

# No sentence is this long, and a pair of such lines costs the product of their lengths: they are read as blank.
LONGEST_LINE = 5_000


@dataclass(frozen=True)
class Corpus:
    """One side of a parallel text, as units.

    Attributes:
        starts: int64 [lines + 1]; line n holds the places starts[n] to starts[n + 1].
        units: int64 [places], number of the unit, 0 or more.
    """

    starts: npt.NDArray[np.int64]
    units: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def lines(self) -> Iterator[npt.NDArray[np.int64]]:
        """The units of every line."""
        for begin, end in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            yield self.units[begin:end]


def read_lines(path: str | Path, what: str) -> list[str]:
    """The lines of a UTF-8 file, with or without a byte order mark, ended by LF or CRLF; nothing else ends a line.

    Args:
        path: the file.
        what: what to call it in messages.

    Raises:
        InputError: it cannot be read, is not UTF-8, or holds nothing but blanks.
    """
    file = expanded(path)
    require_regular(file, what)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{what} {file} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{what} {file} is not UTF-8: line {number:,} cannot be decoded") from None
    if not text.strip():
        raise InputError(f"{what} {file} is empty; expected lines of text")
    # str.splitlines would also cut at characters that may stand inside a line of one language only.
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_parallel(source: str | Path, target: str | Path) -> tuple[list[str], list[str]]:
    """The lines of two files that translate each other.

    Raises:
        InputError: a file cannot be used, see `read_lines`, or their numbers of lines differ.
    """
    old, new = read_lines(source, "source text"), read_lines(target, "target text")
    if len(old) != len(new):
        raise InputError(
            f"source text {source} has {len(old):,} lines and target text {target} {len(new):,}; expected line n of "
            "one to translate line n of the other"
        )
    return old, new
