"""Which anchors explain a new token: the sparsemax's support, filled up where it is small."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from salt_ext import ops


class Support(NamedTuple):
    """Canonical CSR [queries, keys].

    Attributes:
        crow: int64 [n + 1].
        col: int64 [nnz], ascending within a row.
        weights: floating [nnz], above 0, the sparsemax's; a neighbour that was filled in has the least of its row.
    """

    crow: Tensor
    col: Tensor
    weights: Tensor


def find_support(queries: Tensor, keys: Tensor, *, temperature: float, minimum: int = 0) -> Support:
    """The keys with a non-zero weight in sparsemax(cosine / temperature), at least `minimum` of them.

    A support holds the keys of highest cosine, so that one which is too small is replaced by the `minimum` nearest. A
    query without a direction has none.

    Args:
        queries: floating [n, D].
        keys: [K, D], dtype and device of queries.
        temperature: of the sparsemax, above 0.
        minimum: of neighbours; all keys where there are fewer.
    """
    crow, col, weights = ops.cosine_sparsemax(queries, keys, temperature=temperature)
    counts = crow.diff()
    minimum = min(minimum, len(keys))
    small = (counts < minimum).nonzero()[:, 0]
    if not len(small):
        return Support(crow, col, weights)
    _, nearest = ops.cosine_topk(queries[small], keys, minimum)
    rows = torch.repeat_interleave(torch.arange(len(counts), device=col.device), counts)
    found = nearest >= 0  # what has no direction is nobody's neighbour, and has none
    filled_rows = small[:, None].expand_as(nearest)[found]
    # One number per (row, key) orders the entries; those of the support come first, so that their weights win.
    places = torch.cat([rows, filled_rows]) * len(keys) + torch.cat([col, nearest[found]])
    least = weights.new_full((len(counts),), torch.inf).scatter_reduce(0, rows, weights, "amin")
    places, order = places.sort(stable=True)
    first = torch.ones_like(places, dtype=torch.bool)
    first[1:] = places.diff() > 0
    kept = places[first]
    weights = torch.cat([weights, least[filled_rows]])[order][first]
    sizes = torch.bincount(kept // len(keys), minlength=len(counts))
    return Support(torch.cat([crow[:1], sizes.cumsum(0)]), kept % len(keys), weights)
