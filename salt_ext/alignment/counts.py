"""From counts of translated words to counts of translated tokens, as trans-tokenization does (Remy et al. 2024).

A word of one token that is translated by a word of one token hands on its whole count. Of all other pairs one half of
the count goes to every pair of tokens, the other half to the tokens in order: with n source tokens and m target tokens
each source token is repeated m / gcd(n, m) times and each target token n / gcd(n, m) times, and the two rows are laid
side by side. Every share is divided by the number of source tokens that a target token meets. All of it is done in
whole numbers, rounded down, but never to less than 1: the arithmetic of the authors' program.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salt_ext.alignment.units import Pieces

MIN_COUNT = 10

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WordCounts:
    """How often words translate each other.

    Attributes:
        source_pieces: token ids of the source's words.
        target_pieces: token ids of the target's words.
        source: int64 [n], number of the source word.
        target: int64 [n], number of the target word.
        count: float64 [n].
    """

    source_pieces: list[Pieces]
    target_pieces: list[Pieces]
    source: Ints
    target: Ints
    count: npt.NDArray[np.float64]


@dataclass(frozen=True)
class TokenCounts:
    """How often tokens translate each other, each pair once, ordered by target id, then source id.

    Attributes:
        target_ids: int64 [n].
        source_ids: int64 [n].
        counts: int64 [n], 1 or more.
    """

    target_ids: Ints
    source_ids: Ints
    counts: Ints


def token_counts(words: WordCounts, *, min_count: int = MIN_COUNT) -> TokenCounts:
    """Hands the counts of words on to their tokens.

    Args:
        words: counts of pairs of words; pairs with a word without tokens count nothing.
        min_count: pairs of words with a smaller count, which are most likely noise, are dropped; at least 1.
    """
    whole = np.floor(words.count).astype(np.int64)
    sizes = np.array([len(pieces) for pieces in words.source_pieces], dtype=np.int64)[words.source]
    new_sizes = np.array([len(pieces) for pieces in words.target_pieces], dtype=np.int64)[words.target]
    kept = np.flatnonzero((whole >= max(1, min_count)) & (sizes > 0) & (new_sizes > 0))
    found = [np.empty((3, 0), dtype=np.int64)]
    # All pairs of words with the same two sizes are split alike, at once.
    shapes, shape_of = np.unique(np.stack([sizes[kept], new_sizes[kept]]), axis=1, return_inverse=True)
    order = np.argsort(shape_of, kind="stable")
    borders = np.searchsorted(shape_of[order], np.arange(shapes.shape[1] + 1))
    for shape, begin, end in zip(shapes.T.tolist(), borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        chosen = kept[order[begin:end]]
        old = np.array([words.source_pieces[number] for number in words.source[chosen].tolist()], dtype=np.int64)
        new = np.array([words.target_pieces[number] for number in words.target[chosen].tolist()], dtype=np.int64)
        for sources, targets, share in _split(shape[0], shape[1], whole[chosen]):
            rows = (new[:, targets], old[:, sources], np.broadcast_to(share[:, None], (len(chosen), len(sources))))
            found.append(np.stack(rows).reshape(3, -1))
    target_ids, source_ids, counts = np.concatenate(found, axis=1)
    return merged(target_ids, source_ids, counts)


def merged(target_ids: Ints, source_ids: Ints, counts: Ints) -> TokenCounts:
    """Adds up the counts of equal pairs."""
    if not len(counts):
        return TokenCounts(target_ids, source_ids, counts)
    width = int(source_ids.max()) + 1
    keys, place = np.unique(target_ids * width + source_ids, return_inverse=True)
    sums = np.zeros(len(keys), dtype=np.int64)
    np.add.at(sums, place, counts)
    return TokenCounts(keys // width, keys % width, sums)


def _split(n: int, m: int, counts: Ints) -> list[tuple[Ints, Ints, Ints]]:
    """Places of the source's and the target's tokens that meet, and the share that each such pair gets."""
    if n == m == 1:
        return [(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), counts)]
    half = np.maximum(1, counts // 2)
    divisor = math.gcd(n, m)
    return [
        (np.tile(np.arange(n), m), np.repeat(np.arange(m), n), np.maximum(1, half // n)),
        (
            np.repeat(np.arange(n), m // divisor),
            np.repeat(np.arange(m), n // divisor),
            np.maximum(1, half // (n // divisor)),
        ),
    ]
