"""Vectors as text (.vec): an optional header line "rows dim", then per line a word and its values, split by spaces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from salt_ext.errors import InputError, brief
from salt_ext.files.paths import require_file
from salt_ext.vectors.keys import MAX_DIM, lookup_texts

_HEADER = re.compile(rb"(\d{1,18}) (\d{1,9})")
# 65,536 columns of 40 characters, the longest spelling of a float that anybody writes, and a word.
_MAX_LINE_BYTES = 1 << 22


class TextFile:
    """Word vectors of a fastText or word2vec text file, streamed once per lookup; only the rows asked for are kept.

    A first line of exactly two whole numbers is the header. Without it the first line's values give the dimensions.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing or its first line is not in this format.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"vectors:{path}"
        self._path = path
        require_file(path, "vector file")
        first = next(self._lines(), (0, b""))[1]
        header = _HEADER.fullmatch(first)
        self._rows = int(header[1]) if header else None
        self.dim = int(header[2]) if header else first.count(b" ")
        if not 0 < self.dim <= MAX_DIM:
            raise self._error(1, f"has vectors of {self.dim} dimensions, expected a word and 1 to {MAX_DIM} values")

    def lookup(self, texts: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """Vectors of `texts`: float32 [n, dim]; a zero row where a text is None, empty or has no vector.

        Raises:
            InputError: a line has the wrong number of values, a value is not a number, the header's count of rows
                is not what the file holds, or a vector that was asked for is not finite.
        """
        return lookup_texts(texts, self.dim, self._fetch, self.name)

    def _fetch(self, words: list[bytes]) -> npt.NDArray[np.float32]:
        wanted = {word: place for place, word in enumerate(words)}
        out = np.zeros((len(words), self.dim), dtype=np.float32)
        rows = 0
        for number, line in self._lines():
            if number == 1 and self._rows is not None:
                continue
            rows += 1
            found = line.count(b" ")
            if found != self.dim:
                raise self._error(number, f"has a word and {found} values, expected {self.dim}")
            word, _, values = line.partition(b" ")
            place = wanted.pop(word, None)  # popped: of equal words the first wins
            if place is not None:
                out[place] = self._parse(values, number)
        if self._rows is not None and rows != self._rows:
            raise InputError(f"vector file {self._path}: holds {rows:,} rows, expected {self._rows:,} by its header")
        return out

    def _parse(self, values: bytes, number: int) -> npt.NDArray[np.float32]:
        try:
            row = np.array([float(value) for value in values.split(b" ")])
        except ValueError as error:
            raise self._error(number, f"holds a value that is not a number ({brief(error)})") from error
        with np.errstate(over="ignore"):  # becomes infinity, which the lookup reports with the word
            return row.astype(np.float32)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Numbered lines without their ends; blank lines are left out."""
        with self._path.open("rb", buffering=1 << 20) as file:
            number = 0
            while line := file.readline(_MAX_LINE_BYTES):
                number += 1
                if len(line) == _MAX_LINE_BYTES:
                    raise self._error(number, f"is longer than {_MAX_LINE_BYTES:,} bytes, expected text")
                line = line.rstrip(b" \r\n")
                if line:
                    yield number, line

    def _error(self, number: int, problem: str) -> InputError:
        return InputError(f"vector file {self._path}: line {number:,} {problem}")
