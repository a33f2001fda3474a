"""Which row of a file a word has, without keeping two million Python strings."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from salt_ext.vectors.mapped import MappedFile


class WordIndex:
    """Rows by word: hashes and offsets in memory (32 bytes a word), the spellings stay in the mapped file."""

    def __init__(self, file: MappedFile, terminator: bytes) -> None:
        self._file = file
        self._terminator = terminator
        # CPython's own hash of bytes: fast, and only ever compared inside this process.
        self._hashes = array("q")
        self._starts = array("q")

    def __len__(self) -> int:
        return len(self._starts)

    def append(self, word: bytes, start: int) -> None:
        """Add the next row, whose `word` is spelled at byte `start` of the file and ended by the terminator."""
        self._hashes.append(hash(word))
        self._starts.append(start)

    def finish(self) -> None:
        """Sort, once every row is there."""
        hashes = np.array(self._hashes, dtype=np.int64)
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]
        del self._hashes

    def start(self, row: int) -> int:
        """The byte of the file at which a row's word starts."""
        return self._starts[row]

    def find(self, words: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Rows of `words`, int64 [n], -1 where absent; of equal words in the file the first wins."""
        wanted = np.array([hash(word) for word in words], dtype=np.int64)
        begin = np.searchsorted(self._sorted, wanted, side="left")
        end = np.searchsorted(self._sorted, wanted, side="right")
        rows = np.full(len(words), -1, dtype=np.int64)
        for i in np.flatnonzero(end > begin).tolist():
            spelled = words[i] + self._terminator
            for row in self._order[begin[i] : end[i]].tolist():
                start = self._starts[row]
                if self._file.data[start : start + len(spelled)] == spelled:
                    rows[i] = row
                    break
        return rows
