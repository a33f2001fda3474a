"""The binary format of word2vec: a header line "rows dim", then per row the word, a space and dim float32 values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from salt_ext.vectors.index import WordIndex
from salt_ext.vectors.keys import MAX_DIM, MAX_WORD_BYTES, lookup_texts
from salt_ext.vectors.mapped import MappedFile

_HEADER = re.compile(rb"(\d{1,18}) +(\d{1,9}) *\r?")
_HEADER_BYTES = 64
_FASTTEXT_MAGIC = (793712314).to_bytes(4, "little")
# Words lie between the vectors, so indexing touches every page; they are given back in steps of about this size.
_RELEASE_BYTES = 1 << 26


class Word2VecFile:
    """Word vectors of a word2vec binary file (with or without a newline behind each row), memory-mapped.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, truncated, corrupt, or not in this format.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"vectors:{path}"
        self._file = MappedFile(path, "word2vec file")
        rows, self.dim = self._read_header(path)
        self._index = self._read_words(rows)

    def lookup(self, texts: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """Vectors of `texts`: float32 [n, dim]; a zero row where a text is None, empty or has no vector.

        Raises:
            InputError: a vector that was asked for is not finite.
        """
        return lookup_texts(texts, self.dim, self._fetch, self.name)

    def _fetch(self, words: list[bytes]) -> npt.NDArray[np.float32]:
        out = np.zeros((len(words), self.dim), dtype=np.float32)
        for place, row in enumerate(self._index.find(words).tolist()):
            if row >= 0:
                start = self._index.start(row) + len(words[place]) + 1
                out[place] = np.frombuffer(self._file.data, dtype="<f4", count=self.dim, offset=start)
        self._file.release()
        return out

    def _read_header(self, path: Path) -> tuple[int, int]:
        file = self._file
        start = file.data[:_HEADER_BYTES]
        if start[:4] == _FASTTEXT_MAGIC:
            raise file.error(f"is in fastText's binary format, use fasttext:{path}")
        line, newline, _ = start.partition(b"\n")
        header = _HEADER.fullmatch(line)
        if not newline or not header:
            raise file.error(f'starts with {line[:20]!r}, expected a line "rows dim"')
        rows, dim = int(header[1]), int(header[2])
        if not 0 < dim <= MAX_DIM:
            raise file.error(f"claims vectors of {dim} dimensions, expected 1 to {MAX_DIM}")
        file.position = len(line) + 1
        file.need(rows * (1 + 4 * dim), f"a table of {rows:,} x {dim}")
        return rows, dim

    def _read_words(self, rows: int) -> WordIndex:
        file, width = self._file, 4 * self.dim
        data, find, size = file.data, file.data.find, file.size
        index = WordIndex(file, b" ")
        position = released = file.position
        for row in range(rows):
            if position < size and data[position] == 0x0A:
                position += 1
            end = find(b" ", position, position + MAX_WORD_BYTES)
            if end < 0 or end + width >= size:
                raise file.error(f"is truncated or corrupt: row {row + 1:,} of {rows:,} does not end")
            index.append(data[position:end], position)
            position = end + 1 + width
            if position - released > _RELEASE_BYTES:
                file.release()
                released = position
        if data[position : position + 2] not in (b"", b"\n"):
            raise file.error(f"is corrupt: it goes on behind its {rows:,} rows of {self.dim} values")
        index.finish()
        file.release()
        return index
