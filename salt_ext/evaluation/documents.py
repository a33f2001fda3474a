"""A user's text files as documents: some to measure on and others to learn from, none in both."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from salt_ext.errors import InputError
from salt_ext.files.text_lines import read_lines

# Of each file: more would not change what is found.
_MOST_BYTES = 4 << 20
HELD_OUT_BYTES = 20_000
# Characters.
_LONGEST_LINE = 2000


class Documents(NamedTuple):
    """Lines, no two alike, in a drawn order.

    Attributes:
        held_out: to measure on.
        training: to learn from.
    """

    held_out: list[str]
    training: list[str]


def read_documents(files: Sequence[str | Path], *, seed: int, training_bytes: int) -> Documents:
    """Reads text files and sets a part of them apart.

    Args:
        files: UTF-8, a document a line; of each the first 4 MiB, or as much as is to be learned from.
        seed: of which lines are measured on.
        training_bytes: how much is learned from, about.

    Returns:
        About 20 kB to measure on, half of the text where it is shorter than 40 kB; the rest may be empty.

    Raises:
        InputError: the files are not a list, or one cannot be read, is not UTF-8 or holds no text.
    """
    if isinstance(files, str | Path):
        raise InputError(f"text is {str(files)!r}, expected a list of files")
    most = max(_MOST_BYTES, training_bytes)
    read = [line for file in files for line in read_lines(Path(file), max_bytes=most) if line.strip()]
    lines = list(dict.fromkeys(part for line in read for part in _parts(line)))
    random.Random(seed).shuffle(lines)
    total = sum(len(line.encode()) for line in lines)
    held_out = _front(lines, min(HELD_OUT_BYTES, total // 2))
    training = lines[held_out:]
    return Documents(lines[:held_out], training[: _front(training, training_bytes)])


def _parts(line: str) -> list[str]:
    """A document in pieces of some hundred words, so that a few long ones are not all that is measured on."""
    if len(line) <= _LONGEST_LINE:
        return [line]
    return textwrap.wrap(line, _LONGEST_LINE, break_on_hyphens=False, drop_whitespace=False, replace_whitespace=False)


def _front(lines: list[str], size: int) -> int:
    """How many of the first lines make up so many bytes, or as few more as can be; at least one."""
    found = 0
    for number, line in enumerate(lines, 1):
        found += len(line.encode())
        if found >= size:
            return number
    return len(lines)
