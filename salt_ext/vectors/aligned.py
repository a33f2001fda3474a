"""Word vectors of two languages in one space: the rotation that brings translations together.

Orthogonal Procrustes (Schönemann 1966): of all orthogonal R, the one with the least |S R - T| over the vectors S and T
of translations is U V' from the singular value decomposition S'T = U D V'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from salt_ext.errors import InputError
from salt_ext.files.paths import require_file
from salt_ext.vectors.fasttext import FastTextFile

if TYPE_CHECKING:
    from salt_ext.vectors import VectorSource

_BLOCK = 1 << 14
_FORMAT = "expected lines of: source word, tab, target word"


class Rotation(NamedTuple):
    """What brings source vectors to the target's space.

    Attributes:
        matrix: float64 [D, D], orthogonal: source vectors [n, D] @ matrix are in the target's space.
        pairs: how many distinct pairs of spellings it was fitted on.
    """

    matrix: npt.NDArray[np.float64]
    pairs: int


def read_dictionary(path: Path) -> list[tuple[str, str]]:
    """Pairs of (source word, target word): a pair a line, with a tab between, or a space where both are single words.

    Raises:
        InputError: no such file, not UTF-8, or a line that is no pair.
    """
    require_file(path, "dictionary")
    pairs = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise InputError(f"dictionary {path}: line {number:,} is {line[:40]!r}, expected UTF-8") from error
        if not text:
            continue
        words = [word.strip() for word in text.split("\t")] if "\t" in text else text.split()
        if len(words) != 2 or not all(words):
            raise InputError(f"dictionary {path}: line {number:,} is {text[:60]!r}, {_FORMAT}")
        pairs.append((words[0], words[1]))
    return pairs


def fit_rotation(source: VectorSource, target: VectorSource, dictionary: Path) -> Rotation:
    """Fits the rotation on a dictionary, as WECHSEL does (Minixhofer et al. 2022).

    Both words of a pair are taken as they are, in lower case and in title case, each way with each; the pairs whose
    words both have a vector of their own count, as often as they come. Vectors have the lengths that they have.

    Raises:
        InputError: the two have different dimensions, or the dictionary is missing, malformed, of other languages, or
            the wrong way round.
    """
    if source.dim != target.dim:
        raise InputError(
            f"source_vectors {source.name} has {source.dim} dimensions and target_vectors {target.name} has "
            f"{target.dim}: expected as many, a rotation changes none"
        )
    pairs = read_dictionary(dictionary)
    forward, backward = (_known_pairs(source, target, words) for words in (pairs, [pair[::-1] for pair in pairs]))
    if backward > forward:
        raise InputError(
            f"dictionary {dictionary} is the wrong way round: {forward:,} of {len(pairs):,} pairs have both words in "
            f"the vectors as they stand, {backward:,} when turned; {_FORMAT}"
        )
    if not forward:
        raise InputError(
            f"dictionary {dictionary}: none of its {len(pairs):,} pairs has both words in {source.name} and "
            f"{target.name}; {_FORMAT}"
        )
    spelled = [(one, two) for left, right in pairs for one in _spellings(left) for two in _spellings(right)]
    left, right = _Words(source, [one for one, _ in spelled]), _Words(target, [two for _, two in spelled])
    usable = left.known[left.places] & right.known[right.places]
    ids = np.stack([left.places[usable], right.places[usable]], axis=1)
    distinct, counts = np.unique(ids, axis=0, return_counts=True)
    product = np.zeros((source.dim, target.dim))
    for begin in range(0, len(distinct), _BLOCK):
        block, weights = distinct[begin : begin + _BLOCK], counts[begin : begin + _BLOCK, None]
        product += (weights * left.vectors(block[:, 0])).T @ right.vectors(block[:, 1])
    u, _, vh = np.linalg.svd(product)
    return Rotation(u @ vh, len(distinct))


class _Words:
    """The distinct words of a list, and which of them the vectors have."""

    def __init__(self, source: VectorSource, words: Sequence[str]) -> None:
        self._source = source
        self._distinct, self.places = np.unique(np.array(words, dtype=object), return_inverse=True)
        self.known = _has_words(source, self._distinct.tolist())

    def vectors(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """float64 [n, D]."""
        return self._source.lookup(self._distinct[numbers].tolist()).astype(np.float64)


def _spellings(word: str) -> tuple[str, str, str]:
    return word, word.lower(), word.title()


def _known_pairs(source: VectorSource, target: VectorSource, pairs: Sequence[tuple[str, str]]) -> int:
    known = _has_words(source, [word for word, _ in pairs]) & _has_words(target, [word for _, word in pairs])
    return int(known.sum())


def _has_words(source: VectorSource, words: Sequence[str]) -> npt.NDArray[np.bool_]:
    """bool [n]. Only fastText has vectors of words that it does not know."""
    if isinstance(source, FastTextFile):
        return source.has_words(words)
    found: npt.NDArray[np.bool_] = np.any(source.lookup(words) != 0, axis=1)
    return found
