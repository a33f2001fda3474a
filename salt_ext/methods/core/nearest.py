"""Rows made of a fixed number of source tokens: what OFA, WECHSEL, OMP and interpolation share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.inputs import MethodInputs
from salt_ext.methods.core.neighbours import Neighbours, SparseRows, combine_blocks


def rows_of_slots(indices: Tensor, weights: Tensor) -> SparseRows:
    """CSR rows, columns ascending, from a table of places.

    Args:
        indices: int64 [n, k], places among the keys, each at most once in a row; -1 in slots that are not used.
        weights: floating [n, k].
    """
    used = indices >= 0
    columns, order = indices.where(used, torch.iinfo(torch.int64).max).sort(dim=1)
    chosen = used.gather(1, order)
    counts = used.sum(dim=1)
    crow = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return SparseRows(crow, columns[chosen], weights.gather(1, order)[chosen].float())


def softmax_of_nearest(
    material: MethodInputs, neighbours: Neighbours, queries: Tensor, keys: Tensor, *, count: int, temperature: float
) -> Combinations:
    """Rows with the weights softmax(cosine / temperature) of their nearest keys.

    Args:
        material: of the method.
        neighbours: which tokens are made, of which source tokens.
        queries: floating [target.size or more, D], the vectors of the target's tokens.
        keys: floating [K, D], those of the source tokens, in the order of `neighbours.key_sources`.
        count: how many keys a row has, at most K.
        temperature: of the softmax.
    """

    def prepare(device: torch.device) -> Callable[[Tensor], SparseRows]:
        key_rows = keys.float().to(device)

        def weigh(block: Tensor) -> SparseRows:
            cosines, nearest = ops.cosine_topk(queries[block].float().to(device), key_rows, count)
            return rows_of_slots(nearest, torch.softmax(cosines.double() / temperature, dim=1))

        return weigh

    return combine_blocks(material, neighbours, prepare, row_bytes=keys.shape[1] * torch.float32.itemsize)
