"""SALT written as fast as PyTorch's own operators allow: the reference that the ops are held against.

Nothing is done token by token. Similarities of a block of tokens are one torch.mm; the sparsemax threshold of the best
of each of 64 groups is a lower bound of the row's, and only what passes it is sorted; regressions of equal support size
are one batch of Gram matrices and Cholesky factors in float32, with w = E_t[t] A⁺ instead of X = A⁺B; torch's
embedding_bag sums the rows.
It does no checks, and a rank-deficient support has no answer here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

Csr = tuple[Tensor, Tensor, Tensor]
BLOCK = 256  # rows of similarities at a time: they stay in the cache
GROUPS = 64
GROUP = 512  # regressions at a time


def sparsemax(aux_new: Tensor, aux_shared: Tensor) -> Csr:
    """Row-wise sparsemax of the cosines, as canonical CSR."""
    keys = normalize(aux_shared)
    spare = -len(keys) % 8
    keys = torch.cat([keys, keys.new_zeros(spare, keys.shape[1])])
    counts, columns, values = [], [], []
    for block in normalize(aux_new).split(BLOCK):
        z = torch.mm(block, keys.T)
        z[:, z.shape[1] - spare :] = -2
        row, col = _above(z, _lower_bound(z))
        found = torch.bincount(row, minlength=len(z))
        slot = torch.arange(len(row)) - (found.cumsum(0) - found)[row]
        score = z[row, col]
        padded = z.new_full((len(z), int(found.max())), -2.0)
        padded[row, slot] = score
        tau, support = _threshold(padded.sort(dim=1, descending=True).values)
        weight = score - tau[row, 0]
        counts.append(support[:, 0])
        columns.append(col[weight > 0])
        values.append(weight[weight > 0])
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cat(counts).cumsum(0)])
    return crow, torch.cat(columns), torch.cat(values)


def _lower_bound(z: Tensor) -> Tensor:
    """A threshold that is never above the row's: that of some of its entries."""
    size = max(1, z.shape[1] // GROUPS)
    best = z[:, : z.shape[1] // size * size].unflatten(1, (size, -1)).amax(1)
    return _threshold(best.sort(dim=1, descending=True).values)[0]


def _above(z: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
    """Where z > bound: eight answers are looked at together, for nearly all are no."""
    eights = (z > bound).view(torch.int64)
    row, column = eights.nonzero(as_tuple=True)
    place, byte = eights[row, column].view(torch.bool).view(-1, 8).nonzero(as_tuple=True)
    return row[place], 8 * column[place] + byte


def _threshold(ordered: Tensor) -> tuple[Tensor, Tensor]:
    """Martins & Astudillo 2016, algorithm 1, on rows in descending order."""
    cumulative = ordered.cumsum(1)
    count = torch.arange(1, ordered.shape[1] + 1)
    support = (1 + count * ordered > cumulative).sum(1, keepdim=True)
    return (cumulative.gather(1, support - 1) - 1) / support, support


def weights(crow: Tensor, col: Tensor, donor_new: Tensor, donor_shared: Tensor) -> Tensor:
    """w = q A⁺ for every row, all rows of one support size together."""
    result = torch.empty(len(col))
    sizes = crow.diff()
    for size in sizes.unique().tolist():
        if size == 0:
            continue
        for rows in (sizes == size).nonzero()[:, 0].split(GROUP):
            slots = crow[rows, None] + torch.arange(size)
            a = donor_shared.index_select(0, col[slots].flatten()).view(len(rows), size, -1)
            factor = torch.linalg.cholesky_ex(torch.bmm(a, a.mT)).L
            right = torch.bmm(a, donor_new[rows, :, None])
            result[slots] = torch.cholesky_solve(right, factor)[:, :, 0]
    return result


def combine(crow: Tensor, col: Tensor, values: Tensor, source: Tensor) -> Tensor:
    return embedding_bag(col, source, crow, mode="sum", per_sample_weights=values, include_last_offset=True)


def transfer(aux_new: Tensor, aux_shared: Tensor, donor_new: Tensor, donor_shared: Tensor, source: Tensor) -> Tensor:
    crow, col, _ = sparsemax(aux_new, aux_shared)
    return combine(crow, col, weights(crow, col, donor_new, donor_shared), source)
