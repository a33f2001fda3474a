"""IBM Model 1 (Brown et al. 1993, section 4.1): how likely a source unit is to be translated by a target unit.

A target unit t of a pair of lines comes from one of the line's n source units or from the null word, each with the
prior 1 / (n + 1), so that the posterior of source unit s is p(t|s) over the sum of p(t|.) in that line; and
p(t|s) = count(s, t) / count(s) with the counts summed over these posteriors. The first round knows nothing: every
p(t|s) is equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from salt_ext.alignment.corpus import Corpus
from salt_ext.errors import InputError

# fast_align -I 7 updates its table in all rounds but the last, in which it only aligns.
UPDATES = 6
# fast_align's table leaves out a translation whose ln p lies below this times that of the source unit's best one.
_BEAM = 4
# Co-occurrences that are worked on at a time.
_BLOCK = 1 << 20

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Translations:
    """A translation table, ordered by source unit, then target unit.

    Attributes:
        source: int64 [n], number of the source unit, -1 for the null word.
        target: int64 [n], number of the target unit.
        log_probability: float64 [n], ln p(target|source).
        count: float64 [n], how often the source unit is expected to be translated so.
    """

    source: Ints
    target: Ints
    log_probability: npt.NDArray[np.float64]
    count: npt.NDArray[np.float64]

    def likely(self) -> Translations:
        """Without the translations whose ln p is below 4 times that of the source unit's best one, as in fast_align."""
        best = np.full(int(self.source.max(initial=-1)) + 2, -np.inf)
        np.maximum.at(best, self.source + 1, self.log_probability)
        kept = self.log_probability >= _BEAM * best[self.source + 1]
        return Translations(self.source[kept], self.target[kept], self.log_probability[kept], self.count[kept])


def fit_ibm1(
    source: Corpus, target: Corpus, *, updates: int = UPDATES, progress: Callable[[int, int], None] | None = None
) -> Translations:
    """Fits the table by expectation maximisation; deterministic.

    It holds 4 bytes for each co-occurrence (a target unit beside a source unit or the null word of its line), 16 for
    each pair that is different within a block of a million of them, and some 60 for each pair that is different in all.

    Args:
        source: lines of source units.
        target: as many lines of target units.
        updates: rounds of the expectation maximisation, at least 1.
        progress: called with (rounds done, rounds in all).

    Returns:
        Every pair that occurs together; count and probability are those of the last update.

    Raises:
        InputError: the two sides have different numbers of lines, or no line has units on both.
    """
    if len(source) != len(target):
        raise InputError(f"source text has {len(source):,} lines and target text {len(target):,}, expected as many")
    empty = np.diff(source.starts) == 0
    if not (np.diff(target.starts)[~empty] > 0).any():
        raise InputError(f"none of the {len(source):,} pairs of lines has words on both sides")
    keys, blocks, targets = _co_occurrences(_with_null(source), target, ~empty)
    owners = keys // targets
    rows = np.cumsum(np.concatenate([[0], np.diff(owners) > 0]))
    probability = np.ones(len(keys))
    counts = np.empty(0)
    for update in range(updates):
        counts = np.zeros(len(keys))
        for block in blocks:
            weights = probability[block.pairs][block.places]
            sums = np.add.reduceat(weights, np.cumsum(block.groups) - block.groups)
            weights /= np.repeat(sums, block.groups)
            # At the last digits the order of additions shows; it depends on nothing but the text.
            counts[block.pairs] += np.bincount(block.places, weights, minlength=len(block.pairs))
        probability = counts / np.bincount(rows, counts)[rows]
        if progress is not None:
            progress(update + 1, updates)
    with np.errstate(divide="ignore"):  # the rarest can end at zero: ln p is -inf
        return Translations(owners - 1, keys % targets, np.log(probability), counts)


class _Block(NamedTuple):
    """Some co-occurrences in the order of the text: for each target unit the null word and its line's source units."""

    groups: Ints  # how many there are for each target unit
    places: npt.NDArray[np.int32]  # of each its place in `pairs`
    pairs: Ints  # ascending, the numbers of the different pairs


def _co_occurrences(source: Corpus, target: Corpus, used: npt.NDArray[np.bool_]) -> tuple[Ints, list[_Block], int]:
    """All different pairs as source * targets + target, ascending, the co-occurrences, and the number of targets."""
    lines = np.repeat(np.arange(len(used)), np.diff(target.starts))
    chosen = used[lines]
    units, lines = target.units[chosen], lines[chosen]
    first, sizes = source.starts[lines], np.diff(source.starts)[lines]
    targets = int(units.max()) + 1
    found = []
    for begin, end in _borders(np.cumsum(sizes)):
        groups = sizes[begin:end]
        inside = np.arange(int(groups.sum())) - np.repeat(np.cumsum(groups) - groups, groups)
        keys = source.units[np.repeat(first[begin:end], groups) + inside] * targets
        keys += np.repeat(units[begin:end], groups)
        different, places = np.unique(keys, return_inverse=True)
        found.append((groups, places.astype(np.int32), different))
    every = np.unique(np.concatenate([different for _, _, different in found]))
    return every, [_Block(groups, places, np.searchsorted(every, keys)) for groups, places, keys in found], targets


def _borders(ends: Ints) -> Iterator[tuple[int, int]]:
    """Runs of groups, which end at `ends`, that together have as many places as a block, or of one larger group."""
    begin = 0
    while begin < len(ends):
        done = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + _BLOCK, side="right")))
        yield begin, end
        begin = end


def _with_null(side: Corpus) -> Corpus:
    """Unit numbers one higher, and the null word, 0, at the beginning of every line."""
    return Corpus(side.starts + np.arange(len(side.starts)), np.insert(side.units + 1, side.starts[:-1], 0))
