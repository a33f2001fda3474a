"""Vectors of tokens from the company that they keep in a text: GloVe (Pennington, Socher & Manning 2014).

Counts: two tokens of a line that stand d <= window apart count 1/d for each other, both ways; tokens rarer than the
minimum are taken out of the line before. Vectors: with counts X the sum of

    f(X_ij) (w_i . v_j + b_i + c_j - ln X_ij)^2,    f(x) = min(1, (x / x_max)^(3/4))

is brought down by AdaGrad, and a token's vector is w + v. The authors' program updates pair by pair from several
threads, so that its result depends on their race; here a block of pairs makes one update, and the seed decides all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]

X_MAX = 10.0
_POWER = 0.75
_RATE = 0.05
_PAIRS = 1 << 14  # of one update


class Counts(NamedTuple):
    """How often tokens stand near each other, both orders of a pair.

    Attributes:
        rows: int64 [n].
        columns: int64 [n].
        values: float64 [n], above 0.
    """

    rows: Ints
    columns: Ints
    values: npt.NDArray[np.float64]


def count_pairs(lines: Sequence[Sequence[int]], *, size: int, window: int, minimum: int) -> Counts:
    """Counts the pairs of a text.

    Args:
        lines: ids of each line's tokens, 0 to size - 1.
        size: of the vocabulary.
        window: the largest distance.
        minimum: how often a token has to occur to be counted.
    """
    ids = np.fromiter((number for line in lines for number in line), dtype=np.int64)
    owners = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    frequent = np.bincount(ids, minlength=size)[ids] >= minimum
    ids, owners = ids[frequent], owners[frequent]
    places: Ints = np.empty(0, dtype=np.int64)
    weights: npt.NDArray[np.float64] = np.empty(0)
    for distance in range(1, window + 1):
        together = owners[distance:] == owners[:-distance]
        low, high = ids[:-distance][together], ids[distance:][together]
        # A pair of one token with itself counts twice, as in both orders of any other.
        found, counts = np.unique(np.concatenate([low * size + high, high * size + low]), return_counts=True)
        places, where = np.unique(np.concatenate([places, found]), return_inverse=True)
        weights = np.bincount(where, np.concatenate([weights, counts / distance]), minlength=len(places)).astype(
            np.float64
        )
    return Counts(places // size, places % size, weights)


def train_vectors(
    counts: Counts,
    *,
    size: int,
    dimensions: int,
    iterations: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The vectors, float32 [size, dimensions]; zeros for tokens that are in no pair.

    Args:
        counts: of the pairs.
        size: of the vocabulary.
        dimensions: of the vectors.
        iterations: how often all pairs are read.
        seed: of the first vectors and of the order.
        progress: called with (iterations done, in all).
    """
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.from_numpy(counts.rows), torch.from_numpy(counts.columns)
    values = torch.from_numpy(counts.values)
    weights, logarithms = (values / X_MAX).pow(_POWER).clamp_max(1).float(), values.log().float()
    # The last column is the bias: w b meets 1 and 1 meets c.
    tables = [(torch.rand(size, dimensions + 1, generator=generator) - 0.5) / dimensions for _ in range(2)]
    squares = [torch.ones(size, dimensions + 1) for _ in range(2)]
    for iteration in range(iterations):
        for block in torch.randperm(len(rows), generator=generator).split(_PAIRS):
            pairs = (rows[block], columns[block])
            update(tables, squares, pairs, weights[block], logarithms[block])
        if progress is not None:
            progress(iteration + 1, iterations)
    made = (tables[0] + tables[1])[:, :-1]
    seen = torch.zeros(size, dtype=torch.bool)
    seen[rows] = True
    return made * seen[:, None]


def update(
    tables: list[Tensor], squares: list[Tensor], pairs: tuple[Tensor, Tensor], weights: Tensor, logarithms: Tensor
) -> None:
    """One step of AdaGrad on a block of pairs, in place.

    Args:
        tables: w with b and v with c, float [size, dimensions + 1] each.
        squares: sums of squared steps, the same shapes.
        pairs: int64 [n] each, rows of the first and of the second table.
        weights: float [n], f(X).
        logarithms: float [n], ln X.
    """
    first, second = tables[0][pairs[0]], tables[1][pairs[1]]
    wrong = (first[:, :-1] * second[:, :-1]).sum(dim=1) + first[:, -1] + second[:, -1] - logarithms
    scale = (_RATE * weights * wrong)[:, None]
    for side, other in enumerate((second, first)):
        own, square = pairs[side], squares[side]
        steps = torch.cat([scale * other[:, :-1], scale], dim=1)
        # The squares of this block count already: a token that is in a thousand of its pairs would leap otherwise.
        square.index_add_(0, own, steps.square())
        tables[side].index_add_(0, own, -steps / square[own].sqrt())
