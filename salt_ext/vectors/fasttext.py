"""fastText's own binary format, read in place: a 7 GB file costs the dictionary and the rows that are asked for.

Layout (little-endian, version 12; 11 is the same for word vectors): magic, version; 12 int32 arguments and a double;
the dictionary (int32 entries, words, labels; int64 tokens, pruned n-grams; per entry the word, NUL, int64 count,
int8 type; then the pruned pairs); one byte "quantised"; the input matrix (int64 rows, columns; float32 values), whose
rows are the words and then the n-gram buckets; one byte "quantised" and the output matrix, which nobody needs here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from salt_ext.vectors.index import WordIndex
from salt_ext.vectors.keys import MAX_DIM, MAX_WORD_BYTES, lookup_texts
from salt_ext.vectors.mapped import MappedFile
from salt_ext.vectors.ngrams import ngram_buckets

_MAGIC = 793712314
_VERSIONS = (11, 12)
_SUPERVISED = 3
_ENTRY_TAIL = 9
# Words and labels share the dictionary; only words (type 0) have vectors of their own.
_WORD = 0
# fastText gives the end-of-sentence mark no n-grams, in the dictionary or out of it.
_END_OF_SENTENCE = b"</s>"
# Rows gathered at once: 16 k rows of 300 float32 are 20 MB, and twice that while they are summed.
_ROWS_AT_ONCE = 1 << 14


class FastTextFile:
    """Word vectors of a Facebook fastText file (.bin, cbow or skip-gram, not quantised), memory-mapped.

    The vector of a text is what fastText's getWordVector returns: the mean of the word's row, if the dictionary has
    the word, and the rows of its character n-grams. A text with neither has a zero row.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, truncated, corrupt, quantised, pruned, or a classifier.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"fasttext:{path}"
        self._file = MappedFile(path, "fastText file")
        self.dim, model, bucket = self._read_arguments()
        words, pruned = self._read_dictionary()
        (quantised,) = self._file.unpack("B", "the quantisation flag")
        if quantised:
            raise self._file.error("is quantised (.ftz), expected the full word vectors (.bin)")
        if pruned:
            raise self._file.error("has a pruned dictionary without being quantised, expected an unpruned file")
        if model == _SUPERVISED:
            raise self._file.error("is a supervised classifier, expected word vectors (cbow or skip-gram)")
        self._bucket = bucket
        self._vectors = self._read_input_matrix(words + bucket)
        self._check_output_matrix()
        self._file.release()

    def lookup(self, texts: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """Vectors of `texts`: float32 [n, dim]; a zero row where a text is None, empty or has no vector.

        Raises:
            InputError: a vector that was asked for is not finite.
        """
        return lookup_texts(texts, self.dim, self._fetch, self.name)

    def has_words(self, words: Sequence[str]) -> npt.NDArray[np.bool_]:
        """bool [n], which words are in the dictionary; a vector of others is made of their n-grams alone."""
        found: npt.NDArray[np.bool_] = self._index.find([word.encode("utf-8") for word in words]) >= 0
        return found

    def _fetch(self, words: list[bytes]) -> npt.NDArray[np.float32]:
        rows = self._index.find(words)
        out = np.zeros((len(words), self.dim), dtype=np.float32)
        for begin, end in self._blocks(words):
            buckets, owners = self._subwords(words[begin:end])
            known = np.flatnonzero(rows[begin:end] >= 0)
            places = np.concatenate([rows[begin:end][known], buckets + len(self._index)])
            owners = np.concatenate([known, owners])
            order = np.argsort(owners, kind="stable")
            served, starts, counts = np.unique(owners[order], return_index=True, return_counts=True)
            if served.size:
                # Each row is read once and in the file's order, which is what disks are good at.
                distinct, which = np.unique(places[order], return_inverse=True)
                vectors = self._vectors[distinct][which]
                with np.errstate(invalid="ignore"):  # a signalling NaN, which the lookup reports with the word
                    sums = np.add.reduceat(vectors, starts, axis=0, dtype=np.float64)
                    out[begin + served] = sums / counts[:, None]
            self._file.release()
        return out

    def _blocks(self, words: list[bytes]) -> Iterator[tuple[int, int]]:
        """Ranges of `words` that need about _ROWS_AT_ONCE rows each, and at least one word."""
        begin, rows = 0, 0
        for end, word in enumerate(words):
            size = len(word) + 2
            more = 1 + size * min(self._maxn, size)
            if rows and rows + more > _ROWS_AT_ONCE:
                yield begin, end
                begin, rows = end, 0
            rows += more
        yield begin, len(words)

    def _subwords(self, words: list[bytes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        if self._maxn <= 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        buckets, owners = ngram_buckets(words, self._minn, self._maxn, self._bucket)
        if _END_OF_SENTENCE in words:
            keep = owners != words.index(_END_OF_SENTENCE)
            buckets, owners = buckets[keep], owners[keep]
        return buckets, owners

    def _read_arguments(self) -> tuple[int, int, int]:
        """Columns, model type and buckets; sets the n-gram lengths."""
        magic, version = self._file.unpack("2i", "the magic number")
        if magic != _MAGIC:
            raise self._file.error(
                f"starts with {magic}, expected fastText's magic number {_MAGIC} "
                "(vectors:FILE reads .vec text and word2vec files)"
            )
        if version not in _VERSIONS:
            raise self._file.error(f"has format version {version}, expected 11 or 12")
        arguments = self._file.unpack("12id", "the arguments")
        dim, model, bucket, self._minn, self._maxn = arguments[0], *arguments[7:11]
        if not 0 < dim <= MAX_DIM:
            raise self._file.error(f"claims vectors of {dim} dimensions, expected 1 to {MAX_DIM}")
        if model not in (1, 2, _SUPERVISED):
            raise self._file.error(f"has model type {model}, expected 1 (cbow) or 2 (skip-gram)")
        if bucket < 0 or (self._maxn > 0 and bucket == 0):
            raise self._file.error(f"claims {bucket} n-gram buckets with n-grams up to {self._maxn} characters")
        return dim, model, bucket

    def _read_dictionary(self) -> tuple[int, bool]:
        """Number of words, and whether n-grams were pruned; builds the index."""
        file = self._file
        size, words, labels, _tokens, pruned = file.unpack("3i2q", "the dictionary's header")
        if min(words, labels) < 0 or size != words + labels:
            raise file.error(f"claims {size} entries, which are not its {words} words and {labels} labels")
        file.need(size * (1 + _ENTRY_TAIL), f"a dictionary of {size:,} entries")
        data, find, end_of_file = file.data, file.data.find, file.size
        self._index = WordIndex(file, b"\0")
        position = file.position
        for entry in range(size):
            end = find(b"\0", position, position + MAX_WORD_BYTES)
            if end < 0 or end + _ENTRY_TAIL >= end_of_file:
                raise file.error(f"is truncated or corrupt: dictionary entry {entry + 1:,} of {size:,} does not end")
            is_word = data[end + _ENTRY_TAIL] == _WORD
            if is_word != (entry < words):
                raise file.error(f"is corrupt: dictionary entry {entry + 1:,} has the wrong type, words come first")
            if is_word:
                self._index.append(data[position:end], position)
            position = end + 1 + _ENTRY_TAIL
        file.position = position
        self._index.finish()
        if pruned > 0:
            file.need(pruned * 8, "the list of pruned n-grams")
            file.position += pruned * 8
        return words, pruned >= 0

    def _read_input_matrix(self, expected: int) -> npt.NDArray[np.float32]:
        """A float32 view [words + buckets, dim] of the mapped file."""
        rows, columns = self._file.unpack("2q", "the input matrix's header")
        if (rows, columns) != (expected, self.dim):
            raise self._file.error(
                f"has an input matrix of {rows} x {columns}, expected {expected} x {self.dim} (words + buckets)"
            )
        self._file.need(rows * columns * 4, "the input matrix")
        start = self._file.position
        self._file.position += rows * columns * 4
        view = np.frombuffer(self._file.data, dtype="<f4", count=rows * columns, offset=start)
        return view.reshape(rows, columns)

    def _check_output_matrix(self) -> None:
        """The last section is not read, but a download that broke off inside it must not pass for a whole file."""
        _quantised, rows, columns = self._file.unpack("B2q", "the output matrix's header")
        if rows < 0 or columns != self.dim:
            raise self._file.error(f"has an output matrix of {rows} x {columns}, expected {self.dim} columns")
        self._file.need(rows * columns * 4, "the output matrix")
